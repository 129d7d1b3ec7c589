//! A small network with made-up weights against the NumPy reference (`tests/reference/dinov2`), and
//! files of other networks.

use safetensors::tensor::TensorView;
use serde::Deserialize;

use super::*;
use crate::random::Random;

/// The output of `tests/reference/dinov2/make_golden.py`.
#[derive(Deserialize)]
struct Golden {
    cls: Vec<f32>,
    patches: Vec<f32>,
    resized: Vec<f32>,
}

fn golden() -> Golden {
    let text = include_str!("../../../../tests/reference/dinov2/golden.json");
    serde_json::from_str(text).expect("the reference's output")
}

/// Names and shapes of tensors.
pub(crate) type Shapes = Vec<(String, Vec<usize>)>;

/// The shapes of a network with `layers` blocks of width `hidden` and positions for `grid * grid`
/// patches.
pub(crate) fn shapes(hidden: usize, layers: usize, grid: usize) -> Shapes {
    let mut shapes: Shapes = [
        ("embeddings.cls_token", vec![1, 1, hidden]),
        ("embeddings.mask_token", vec![1, hidden]),
        ("embeddings.position_embeddings", vec![1, 1 + grid * grid, hidden]),
        ("embeddings.patch_embeddings.projection.weight", vec![hidden, 3, 14, 14]),
        ("embeddings.patch_embeddings.projection.bias", vec![hidden]),
        ("layernorm.weight", vec![hidden]),
        ("layernorm.bias", vec![hidden]),
    ]
    .map(|(name, shape)| (name.to_owned(), shape))
    .into();
    for layer in 0..layers {
        let mut put = |part: &str, shape: &[usize]| {
            shapes.push((format!("encoder.layer.{layer}.{part}"), shape.to_vec()));
        };
        for part in ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"] {
            put(part, &[hidden]);
        }
        let linears = ["attention.query", "attention.key", "attention.value", "output.dense"];
        for part in linears {
            put(&format!("attention.{part}.weight"), &[hidden, hidden]);
            put(&format!("attention.{part}.bias"), &[hidden]);
        }
        put("layer_scale1.lambda1", &[hidden]);
        put("mlp.fc1.weight", &[4 * hidden, hidden]);
        put("mlp.fc1.bias", &[4 * hidden]);
        put("mlp.fc2.weight", &[hidden, 4 * hidden]);
        put("mlp.fc2.bias", &[hidden]);
        put("layer_scale2.lambda1", &[hidden]);
    }
    shapes
}

fn numbers(name: &str, count: usize) -> Vec<f32> {
    let mut random = Random::named(0, name);
    (0..count).map(|_| 2.0 * random.uniform() - 1.0).collect()
}

/// The values of the tensor `name`, made up as in the reference.
fn weight(name: &str, count: usize) -> Vec<f32> {
    let values = numbers(name, count).into_iter();
    if name.ends_with("lambda1") {
        values.map(|value| 0.5 + value / 2.0).collect()
    } else if name.contains("norm") && name.ends_with("weight") {
        values.map(|value| 1.0 + value / 2.0).collect()
    } else if ["embeddings.cls_token", "embeddings.position_embeddings"].contains(&name) {
        values.collect()
    } else {
        values.map(|value| value / 8.0).collect()
    }
}

/// The bytes of a safetensors file of these shapes with the values of [`weight`].
pub(crate) fn file(shapes: &[(String, Vec<usize>)]) -> Vec<u8> {
    let bytes = |(name, shape): &(String, Vec<usize>)| -> Vec<u8> {
        bytemuck::cast_slice(&weight(name, shape.iter().product())).to_vec()
    };
    let data: Vec<Vec<u8>> = shapes.iter().map(bytes).collect();
    let views = shapes.iter().zip(&data).map(|((name, shape), data)| {
        let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), data);
        (name.clone(), view.expect("the right length"))
    });
    safetensors::serialize(views, None).expect("valid tensors")
}

fn pixels(size: usize) -> Vec<u8> {
    let mut random = Random::named(0, "photo");
    (0..3 * size * size).map(|_| random.next_u64().to_be_bytes()[0]).collect()
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < tolerance, "{i}: {found}, {expected}");
    }
}

#[test]
fn a_small_network_matches_the_reference() {
    let net = Dinov2::load(&file(&shapes(128, 2, 5)), 42).expect("a complete network");
    let (tokens, golden) = (net.forward(&pixels(42)), golden());
    // The reference is in float64; here sums of 588 and 512 products are in f32 and reach 4.
    assert_close(&tokens.cls, &golden.cls, 1e-4);
    assert_close(&tokens.patches, &golden.patches, 1e-4);
}

#[test]
fn positions_of_518_pixels_are_resized_bicubically_to_those_of_224() {
    assert_close(&resize_positions(&numbers("table", 37 * 37), 37, 16), &golden().resized, 2e-6);
    let table = numbers("table", 16 * 16 * 2);
    assert_eq!(resize_positions(&table, 16, 16), table);
}

#[test]
fn a_file_with_the_names_and_shapes_of_dinov2_small_runs() {
    let shapes = shapes(384, 12, 37);
    let parameters: usize = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    // By hand: 226,176 for patches, 526,080 for positions, 12 x 1,775,232, and four vectors.
    assert_eq!((shapes.len(), parameters), (223, 22_056_576));
    let net = Dinov2::load(&file(&shapes), 224).expect("dinov2-small");
    assert_eq!((net.hidden_size(), net.grid(), net.blocks.len()), (384, 16, 12));
    let tokens = net.forward(&pixels(224));
    assert_eq!((tokens.cls.len(), tokens.patches.len()), (384, 256 * 384));
    assert!(tokens.cls.iter().chain(&tokens.patches).all(|value| value.is_finite()));
}

#[test]
fn weights_of_another_network_are_refused() {
    let load = |change: &dyn Fn(&mut Shapes)| {
        let mut shapes = shapes(64, 1, 2);
        change(&mut shapes);
        Dinov2::load(&file(&shapes), 28)
    };
    assert!(load(&|_| ()).is_ok());
    assert!(matches!(Dinov2::load(b"pth", 28), Err(Dinov2Error::Container(_))));
    let name = "encoder.layer.0.attention.attention.key.bias";
    let error = load(&|shapes| shapes.retain(|(n, _)| n != name)).expect_err("a missing tensor");
    assert!(matches!(error, Dinov2Error::MissingTensor { name: missing } if missing == name));
    let registers = "embeddings.register_tokens";
    let error = load(&|shapes| shapes.push((registers.into(), vec![1, 4, 64])));
    let error = error.expect_err("a network with registers");
    assert!(matches!(error, Dinov2Error::UnknownTensor { name } if name == registers));
    let reshape = |name: &'static str, shape: &'static [usize]| {
        load(&|shapes| {
            let tensor = shapes.iter_mut().find(|(n, _)| n == name);
            tensor.expect("a tensor of the network").1 = shape.to_vec();
        })
    };
    for (name, shape) in [
        ("embeddings.cls_token", &[1, 1, 60][..]),
        ("embeddings.position_embeddings", &[1, 4, 64]),
        ("embeddings.patch_embeddings.projection.weight", &[64, 3, 16, 16]),
        ("encoder.layer.0.mlp.fc1.weight", &[64, 64]),
    ] {
        let error = reshape(name, shape).expect_err("another shape");
        assert!(matches!(error, Dinov2Error::WrongShape { found, .. } if found == shape));
    }
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let mut bytes = file(&shapes(64, 1, 2));
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(matches!(Dinov2::load(&bytes, 28), Err(Dinov2Error::BadValues { .. })));
}
