//! The layers with made-up weights, each compared with a plain loop.

use safetensors::tensor::TensorView;
use safetensors::Dtype;

use super::source::floats;
use super::*;

/// Numbers between `low` and `high` with a period of 1009.
fn numbers(length: usize, seed: usize, low: f32, high: f32) -> Vec<f32> {
    let number = |index: usize| {
        let step = (index * 7919 + seed * 104_729) % 1009;
        low + (high - low) * step as f32 / 1008.0
    };
    (0..length).map(number).collect()
}

/// The bytes of a Lite0 weight file with made-up f32 values, after `change` has edited the names
/// and shapes.
fn lite0_file(change: impl Fn(&mut Vec<(String, Vec<usize>)>)) -> Vec<u8> {
    let mut shapes = Vec::new();
    let mut put = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    let norm = |put: &mut dyn FnMut(String, &[usize]), name: String, channels: usize| {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            put(format!("{name}.{part}"), &[channels]);
        }
    };
    put("_conv_stem.weight".into(), &[32, 3, 3, 3]);
    norm(&mut put, "_bn0".into(), 32);
    let mut inputs = 32;
    let filters = [3, 3, 5, 3, 5, 5, 3];
    let channels = [16, 24, 40, 80, 112, 192, 320];
    let stages = (0..7).flat_map(|stage| (0..LITE0_REPEATS[stage]).map(move |_| stage));
    for (index, stage) in stages.enumerate() {
        let name = |part: &str| format!("_blocks.{index}.{part}");
        let hidden = if index == 0 { inputs } else { 6 * inputs };
        if index > 0 {
            put(name("_expand_conv.weight"), &[hidden, inputs, 1, 1]);
            norm(&mut put, name("_bn0"), hidden);
        }
        put(name("_depthwise_conv.weight"), &[hidden, 1, filters[stage], filters[stage]]);
        norm(&mut put, name("_bn1"), hidden);
        put(name("_project_conv.weight"), &[channels[stage], hidden, 1, 1]);
        norm(&mut put, name("_bn2"), channels[stage]);
        inputs = channels[stage];
    }
    put("_conv_head.weight".into(), &[1280, 320, 1, 1]);
    norm(&mut put, "_bn1".into(), 1280);
    put("_fc.weight".into(), &[1000, 1280]);
    put("_fc.bias".into(), &[1000]);
    change(&mut shapes);

    let data: Vec<Vec<u8>> = shapes
        .iter()
        .enumerate()
        .map(|(seed, (name, shape))| {
            let length: usize = shape.iter().product();
            let fan_in = (length / shape[0].max(1)) as f32;
            let values = if name.ends_with("running_var") {
                numbers(length, seed, 0.5, 1.5)
            } else {
                numbers(length, seed, -1.0 / fan_in.sqrt(), 1.2 / fan_in.sqrt())
            };
            bytemuck::cast_slice(&values).to_vec()
        })
        .collect();
    let views = shapes.iter().zip(&data).map(|((name, shape), data)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), data).expect("the right length");
        (name.clone(), view)
    });
    safetensors::serialize(views, None).expect("valid tensors")
}

/// Lite0 with made-up weights.
pub(crate) fn made_up_lite0() -> EfficientNet {
    EfficientNet::load(&lite0_file(|_| {})).expect("a complete Lite0")
}

#[test]
fn halves_are_read_exactly() {
    let halves: [(u16, f32); 9] = [
        (0x0000, 0.0),
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x3555, 0.333_251_95),
        (0x7bff, 65504.0),
        (0x0001, 2f32.powi(-24)),
        (0x83ff, -1023.0 * 2f32.powi(-24)),
        (0x0400, 2f32.powi(-14)),
        (0xfc00, f32::NEG_INFINITY),
    ];
    let bits = [halves.map(|(bits, _)| bits).as_slice(), &[0x7e00]].concat();
    let bytes = bytemuck::cast_slice(&bits);
    let view = TensorView::new(Dtype::F16, vec![bits.len()], bytes).expect("the right length");
    let values = floats(&view).expect("f16 values");
    for ((bits, expected), found) in halves.iter().zip(&values) {
        assert_eq!(found.to_bits(), expected.to_bits(), "{bits:#06x}");
    }
    assert!(values[halves.len()].is_nan());
    let view = TensorView::new(Dtype::I16, vec![bits.len()], bytes).expect("the right length");
    assert_eq!(floats(&view), None);
}

#[test]
fn padding_puts_the_odd_zero_at_the_end() {
    assert_eq!([same_padding(224, 3, 2), same_padding(28, 5, 2)], [0, 1]);
    assert_eq!([same_padding(112, 3, 1), same_padding(7, 5, 1)], [1, 2]);
    assert_eq!([same_padding(65, 3, 2), same_padding(7, 5, 2)], [1, 2]);
}

#[test]
fn the_product_equals_the_plain_sum() {
    for (pixels, inputs, outputs) in [(1, 1, 1), (7, 27, 32), (61, 40, 17), (130, 16, 96)] {
        let weights = numbers(outputs * inputs, 1, -1.0, 1.0);
        let bias = numbers(outputs, 2, -1.0, 1.0);
        let values = numbers(pixels * inputs, 3, -1.0, 1.0);
        let mut out = vec![f32::NAN; pixels * outputs];
        product(&Panels::new(outputs, &weights), &bias, (-2.0, 2.0), &values, &mut out);
        for (index, out) in out.into_iter().enumerate() {
            let row = &weights[index % outputs * inputs..][..inputs];
            let pixel = &values[index / outputs * inputs..][..inputs];
            let sum: f32 = row.iter().zip(pixel).map(|(w, x)| w * x).sum();
            let expected = (sum + bias[index % outputs]).clamp(-2.0, 2.0);
            assert!((out - expected).abs() < 1e-5, "{out} {expected}");
        }
    }
}

#[test]
fn a_depthwise_filter_equals_the_plain_sum() {
    for (size, stride, side) in [(3, 1, 5), (3, 2, 8), (5, 1, 7), (5, 2, 6), (5, 2, 7)] {
        let channels = 32;
        let weight = numbers(size * size * channels, 1, -1.0, 1.0);
        let bias = numbers(channels, 2, 1.0, 3.0);
        let filter = Depthwise { weight, bias, size, stride };
        let input = numbers(side * side * channels, 3, -1.0, 1.0);
        let output = filter.forward(&input, side);
        let out_side = side.div_ceil(stride);
        let before = ((out_side - 1) * stride + size - side) / 2;
        for (index, out) in output.into_iter().enumerate() {
            let (pixel, channel) = (index / channels, index % channels);
            let mut sum = filter.bias[channel];
            for tap in 0..size * size {
                let y = (pixel / out_side * stride + tap / size).checked_sub(before);
                let x = (pixel % out_side * stride + tap % size).checked_sub(before);
                if let (Some(y), Some(x)) = (y.filter(|&y| y < side), x.filter(|&x| x < side)) {
                    let value = input[(y * side + x) * channels + channel];
                    sum += filter.weight[tap * channels + channel] * value;
                }
            }
            assert!((out - sum.clamp(0.0, 6.0)).abs() < 1e-5, "{size} {stride} {side}");
        }
    }
}

#[test]
fn lite0_is_recognized_and_has_the_declared_shapes() {
    let net = made_up_lite0();
    let residuals = net.blocks().iter().filter(|block| block.has_residual).count();
    assert_eq!((net.blocks().len(), net.grid_channels(), residuals), (16, 320, 9));
    let mut observed = Vec::new();
    let pixels: Vec<u8> = (0..64 * 64 * 3).map(|i| u8::try_from(i % 251).unwrap_or(0)).collect();
    let features = net.forward_observed(&pixels, 64, &mut |layer, values| {
        assert!(values.iter().all(|value| value.is_finite()));
        observed.push((layer, values.len()));
    });
    let Features { grid, pooled, logits } = &features;
    assert_eq!([grid.len(), pooled.len(), logits.len()], [2 * 2 * 320, 1280, 1000]);
    assert_eq!(observed[0], (Layer::Stem, 32 * 32 * 32));
    assert_eq!(observed[1], (Layer::Depthwise(0), 32 * 32 * 32));
    assert!(observed.contains(&(Layer::Block(10), 4 * 4 * 112)));
    assert_eq!(features, net.forward(&pixels, 64));
}

#[test]
fn weights_of_another_network_are_refused() {
    assert!(matches!(EfficientNet::load(b"pth"), Err(EfficientNetError::Container(_))));
    let fewer = lite0_file(|shapes| shapes.retain(|(name, _)| !name.starts_with("_blocks.7.")));
    let error = EfficientNet::load(&fewer).expect_err("15 blocks");
    assert!(matches!(error, EfficientNetError::UnknownVariant { found: 15 }));
    let other = lite0_file(|shapes| shapes.retain(|(name, _)| name != "_bn1.running_mean"));
    let error = EfficientNet::load(&other).expect_err("no mean");
    assert!(
        matches!(error, EfficientNetError::MissingTensor { name } if name == "_bn1.running_mean")
    );
    for shape in [vec![16, 31, 1, 1], vec![0, 32, 1, 1], vec![16]] {
        let other = lite0_file(|shapes| {
            let project =
                shapes.iter_mut().find(|(name, _)| name == "_blocks.0._project_conv.weight");
            project.expect("a projection").1 = shape.clone();
        });
        let error = EfficientNet::load(&other).expect_err("another shape");
        assert!(matches!(error, EfficientNetError::WrongShape { found, .. } if found == shape));
    }
}
