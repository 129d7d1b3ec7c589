use candle_core::{Device, Tensor, Var};

use super::*;
use crate::config::MemoryConfig;
use crate::random::Random;
use crate::weights::Variable;

/// `Config::tiny` with a stem whose channels fit the ternary kernels.
fn config() -> Config {
    let stem = crate::stem::StemConfig { input_size: 64, num_blocks: 12 };
    Config { stem, ..Config::tiny() }
}

/// A stem of small random weights.
fn stem(config: &Config) -> Stem {
    let mut random = Random::new(9);
    let mut get = |name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        Ok::<_, StemError>(if name.ends_with(".weight") {
            let weight = |_| i8::try_from(random.below(21)).expect("below 21") - 10;
            StemTensor::I8((0..count).map(weight).collect())
        } else {
            StemTensor::F32((0..count).map(|_| 0.01 + 0.01 * random.uniform()).collect())
        })
    };
    Stem::from_tensors(&config.stem, &mut get).unwrap()
}

fn provenance() -> Provenance {
    Provenance { tokenizer_sha256: "abc".into(), commit: "123".into(), trained: "{}".into() }
}

fn model_file() -> (Vec<u8>, Weights, BitMar, Stem) {
    let config = config();
    let weights = Weights::fresh(3);
    let model = BitMar::new(&weights, &config).unwrap();
    let stem = stem(&config);
    let bytes = ModelFile::write(&weights.variables(), &stem, &config, &provenance()).unwrap();
    (bytes, weights, model, stem)
}

/// The logits after two tokens and a photo.
fn logits(model: &BitMar, features: &[f32]) -> Vec<f32> {
    let fused = model.fuse(&model.encode_photo(features).unwrap(), &[20, 21]).unwrap();
    let context = model.read_parameters().unwrap().null_value;
    let mut states = [model.prefill(&fused, &[], &context).unwrap()];
    model.step(&mut states, &[3]).unwrap();
    model.step(&mut states, &[30]).unwrap().remove(0)
}

/// The file with changed tensors or metadata.
fn changed(
    bytes: &[u8],
    change: impl FnOnce(&mut BTreeMap<String, RawTensor>, &mut BTreeMap<String, String>),
) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let mut metadata = header.metadata().clone().unwrap().into_iter().collect();
    let tensors = SafeTensors::deserialize(bytes).unwrap().tensors().into_iter();
    let mut tensors = tensors
        .map(|(name, view)| {
            let (dtype, shape, data) = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name, RawTensor { dtype, shape, data })
        })
        .collect();
    change(&mut tensors, &mut metadata);
    to_safetensors(&tensors, &metadata)
}

#[test]
fn a_written_model_reads_back_with_the_same_logits() {
    let (bytes, _, model, stem) = model_file();
    let loaded = ModelFile::read(&bytes).unwrap();
    assert_eq!(loaded.config, config());
    assert_eq!(loaded.sha256, sha256(&bytes));
    assert_eq!(loaded.stem.tensors(), stem.tensors());
    let size = config().num_patches() * config().stem.output_channels();
    let mut random = Random::new(2);
    let features: Vec<f32> = (0..size).map(|_| random.normal()).collect();
    let (latent, packed) = (logits(&model, &features), logits(&loaded.model, &features));
    for (latent, packed) in latent.iter().zip(&packed) {
        // The latent head multiplies in floats, the packed one in integers.
        assert!((latent - packed).abs() < 1e-3, "{latent} and {packed}");
    }
}

#[test]
fn the_same_variables_make_the_same_file() {
    assert!(model_file().0 == model_file().0);
}

#[test]
fn latents_of_a_file_make_the_same_codes_again() {
    let (bytes, weights, ..) = model_file();
    let latents = ModelFile::latents(&bytes).unwrap();
    let names: Vec<&String> = latents.keys().collect();
    assert_eq!(names, weights.variables().keys().collect::<Vec<_>>());
    let variables = latents.into_iter().map(|(name, (shape, values))| {
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        let kind = weights.variables()[&name].kind;
        (name, Variable { var: Var::from_tensor(&tensor).unwrap(), kind })
    });
    let again = ModelFile::write(&variables.collect(), &stem(&config()), &config(), &provenance());
    let again = again.unwrap();
    let (first, second) =
        (SafeTensors::deserialize(&bytes).unwrap(), SafeTensors::deserialize(&again).unwrap());
    for (name, tensor) in first.tensors() {
        let found = second.tensor(&name).unwrap();
        if name.ends_with(".weight_scale") {
            for (a, b) in f32s(tensor.data()).into_iter().zip(f32s(found.data())) {
                assert!((a - b).abs() <= 1e-5 * a.abs(), "{name}: {a} and {b}");
            }
        } else {
            assert_eq!(tensor.data(), found.data(), "{name}");
        }
    }
}

#[test]
fn another_tokenizer_is_refused() {
    let loaded = ModelFile::read(&model_file().0).unwrap();
    loaded.check_tokenizer("abc").unwrap();
    let error = loaded.check_tokenizer("def").unwrap_err();
    assert!(matches!(error, ModelError::OtherTokenizer { .. }), "{error}");
}

#[test]
fn wrong_metadata_is_refused() {
    let (bytes, ..) = model_file();
    let without = |name: &str| changed(&bytes, |_, metadata| drop(metadata.remove(name)));
    for name in
        ["format", "format_version", "config", "weight_scale", "tokenizer_sha256", "trained"]
    {
        let error = ModelFile::read(&without(name)).err().unwrap();
        assert!(matches!(error, ModelError::MissingMetadata { name: n } if n == name), "{error}");
    }
    let version =
        changed(&bytes, |_, metadata| drop(metadata.insert("format_version".into(), "1".into())));
    let error = ModelFile::read(&version).err().unwrap();
    assert!(matches!(error, ModelError::InvalidMetadata { name: "format_version", .. }), "{error}");
    let wide = Config { memory: MemoryConfig { num_slots: 8, width: 1 << 30 }, ..config() };
    let wide = serde_json::to_string(&wide).unwrap();
    let wide = changed(&bytes, |_, metadata| drop(metadata.insert("config".into(), wide)));
    assert!(matches!(ModelFile::read(&wide).err().unwrap(), ModelError::Config(_)));
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let (bytes, ..) = model_file();
    let read = |change: fn(&mut BTreeMap<String, RawTensor>)| {
        ModelFile::read(&changed(&bytes, |tensors, _| change(tensors))).err().unwrap()
    };
    let missing = read(|tensors| drop(tensors.remove("decoder.norm.weight")));
    assert!(matches!(missing, ModelError::MissingTensor { .. }), "{missing}");
    let left_over = read(|tensors| {
        let tensor = tensors["decoder.norm.weight"].clone();
        tensors.insert("stray".into(), tensor);
    });
    assert!(matches!(left_over, ModelError::UnknownTensor { .. }), "{left_over}");
    let shape = read(|tensors| tensors.get_mut("sink_tokens").unwrap().shape.reverse());
    assert!(matches!(shape, ModelError::WrongShape { .. }), "{shape}");
    let dtype = read(|tensors| tensors.get_mut("sink_tokens").unwrap().dtype = Dtype::I32);
    assert!(matches!(dtype, ModelError::WrongType { .. }), "{dtype}");
    let nan = f32::NAN.to_le_bytes();
    let finite = read(|t| {
        t.get_mut("sink_tokens").unwrap().data[..4].copy_from_slice(&f32::NAN.to_le_bytes())
    });
    assert!(nan.len() == 4 && matches!(finite, ModelError::NotFinite { .. }), "{finite}");
    let code = read(|tensors| tensors.get_mut("memory.value_proj.weight").unwrap().data[5] = 243);
    assert!(matches!(code, ModelError::InvalidCode { .. }), "{code}");
    let extreme = read(|tensors| tensors.get_mut("embedding.weight").unwrap().data[5] = 0x80);
    assert!(matches!(extreme, ModelError::WrongType { .. }), "{extreme}");
    let stem = read(|tensors| tensors.get_mut("stem.conv.weight").unwrap().data[5] = 0x80);
    assert!(matches!(stem, ModelError::WrongType { .. }), "{stem}");
}

#[test]
fn only_projections_are_ternary() {
    let (bytes, weights, ..) = model_file();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let dtypes = [("_proj.weight", Dtype::U8), ("embedding.weight", Dtype::I8), ("", Dtype::F32)];
    for name in weights.variables().keys() {
        let (_, expected) = dtypes.iter().find(|(ending, _)| name.ends_with(ending)).unwrap();
        assert_eq!(file.tensor(name).unwrap().dtype(), *expected, "{name}");
    }
}

/// The example of docs/model-format.md.
#[test]
fn the_documented_example_packs_as_documented() {
    let (rows, cols) = (4, 32);
    let mut latent = vec![0.0; rows * cols];
    let corner = [
        [0.5, -0.5, 0.0, 0.5],
        [-0.5, -0.5, 0.5, 0.0],
        [0.0, 0.5, 0.5, -0.5],
        [0.5, 0.0, -0.5, -0.5],
    ];
    for (row, values) in corner.iter().enumerate() {
        latent[row * cols..][..4].copy_from_slice(values);
    }
    let mut tensors = BTreeMap::new();
    put_ternary(&mut tensors, "example_proj.weight", &[rows, cols], &latent);
    let weight = &tensors["example_proj.weight"];
    assert_eq!((weight.dtype, weight.shape.as_slice()), (Dtype::U8, &[4, 7][..]));
    for (bytes, first) in weight.data.chunks_exact(7).zip([0x92, 0x7e, 0x6a, 0x56]) {
        assert_eq!(bytes, [first, 0x79, 0x79, 0x79, 0x79, 0x79, 0x04]);
    }
    // 12 of 128 weights are 0.5 in magnitude.
    assert_eq!(tensors["example_proj.weight_scale"].data, 0.046_875f32.to_le_bytes());
}
