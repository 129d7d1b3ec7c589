//! Ablations: parts of the method that a run can leave out, to measure what they contribute.

use std::str::FromStr;

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::checkpoint::packed_model;
use crate::config::Config;
use crate::generate::Length;
use crate::model::BitMar;
use crate::train::data::sample::CaptionTokens;
use crate::train::objective::batch::BatchOptions;
use crate::weights::{ModelError, VariableKind, Variables, Weights};

/// The part of the method that a run leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ablation {
    /// Nothing.
    #[default]
    Nothing,
    /// Ternary weights and int8 activations, which gives the float model; its token table stays
    /// int8.
    Ternary,
    /// The spatial detail: every patch is the mean of the photo's patches.
    Patches,
    /// The length tokens: every caption starts with the token for medium length.
    Lengths,
    /// The alignment loss.
    Alignment,
    /// The memory's consistency loss.
    Consistency,
    /// The episodes: the memory is empty in training.
    Memory,
    /// The modulation of the decoder by the memory's context vector.
    Conditioning,
    /// The modality-balance controller.
    Balance,
}

impl FromStr for Ablation {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let value = serde_json::Value::String(name.to_owned());
        serde_json::from_value(value).map_err(|error| error.to_string())
    }
}

impl Ablation {
    /// An empty set of fresh variables for the ablated model, initialized from `seed`.
    pub fn weights(self, seed: u64) -> Weights {
        match self {
            Self::Ternary => Weights::fresh_float(seed),
            _ => Weights::fresh(seed),
        }
    }

    /// The model of these variables with packed ternary weights, as it is shipped. `None` for the
    /// float model, whose weights are not ternary.
    pub(crate) fn packed(
        self,
        variables: &Variables,
        config: &Config,
    ) -> std::result::Result<Option<BitMar>, ModelError> {
        match self {
            Self::Ternary => Ok(None),
            _ => packed_model(variables, config).map(Some),
        }
    }

    /// How batches are drawn.
    pub fn batch_options(self) -> BatchOptions {
        let options = BatchOptions::default();
        match self {
            Self::Memory => BatchOptions { empty_memory: 1.0, ..options },
            _ => options,
        }
    }

    /// The vision encoder's input for stem features `[photos * patches, channels]`, in that shape.
    pub fn input_features(self, features: Tensor, patches: usize) -> Result<Tensor> {
        if self != Self::Patches {
            return Ok(features);
        }
        let (rows, channels) = features.dims2()?;
        let photos = features.reshape((rows / patches, patches, channels))?;
        photos.mean_keepdim(1)?.broadcast_as(photos.shape())?.reshape((rows, channels))
    }

    /// The start token of a caption.
    pub fn start(self, caption: &CaptionTokens) -> u32 {
        match self {
            Self::Lengths => Length::default().start_token(),
            _ => caption.start,
        }
    }

    /// The factors of the alignment loss and of the consistency loss: 0 for one that is left out,
    /// else 1.
    pub fn loss_factors(self) -> (f64, f64) {
        (f64::from(self != Self::Alignment), f64::from(self != Self::Consistency))
    }

    /// Sets the variables that [`Self::freezes`] names to 0.
    pub fn zero_frozen(self, variables: &Variables) -> Result<()> {
        let mut frozen = variables.iter().filter(|(_, variable)| self.freezes(variable.kind));
        frozen.try_for_each(|(_, variable)| variable.set(&variable.zeros_like()?))
    }

    /// Whether training leaves variables of this kind at 0.
    pub fn freezes(self, kind: VariableKind) -> bool {
        self == Self::Conditioning && kind == VariableKind::Gate
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::model::PlacedText;
    use crate::random::Random;

    #[test]
    fn parses_the_names_of_the_command_line() {
        assert_eq!("patches".parse(), Ok(Ablation::Patches));
        assert!("patch".parse::<Ablation>().is_err());
    }

    #[test]
    fn without_patches_every_patch_is_the_mean_of_its_photo() {
        let rows =
            Tensor::new(&[[1f32, 0.0], [3.0, 2.0], [5.0, 5.0], [5.0, 7.0]], &Device::Cpu).unwrap();
        let features = Ablation::Patches.input_features(rows.clone(), 2).unwrap();
        let means = [[2.0, 1.0], [2.0, 1.0], [5.0, 6.0], [5.0, 6.0]];
        assert_eq!(features.to_vec2::<f32>().unwrap(), means);
        let all = Ablation::Nothing.input_features(rows.clone(), 2).unwrap();
        assert_eq!(all.to_vec2::<f32>().unwrap(), rows.to_vec2::<f32>().unwrap());
    }

    #[test]
    fn without_conditioning_the_gates_are_zero_and_frozen() {
        let weights = Ablation::Conditioning.weights(1);
        BitMar::new(&weights, &Config::tiny()).unwrap();
        let variables = weights.variables();
        let frozen = |ablation: Ablation| {
            variables.values().filter(|v| ablation.freezes(v.kind)).collect::<Vec<_>>()
        };
        let gates = frozen(Ablation::Conditioning);
        assert_eq!(gates.len(), Config::tiny().decoder_layers);
        assert!(frozen(Ablation::Nothing).is_empty());
        let gate = gates[0];
        gate.set(&gate.ones_like().unwrap()).unwrap();
        Ablation::Conditioning.zero_frozen(&variables).unwrap();
        assert_eq!(gate.to_vec1::<f32>().unwrap(), [0.0]);
    }

    /// The cached decoding step and the training pass of the float model agree, and differ from the
    /// ternary model with the same latent weights.
    #[test]
    fn the_float_model_decodes_as_it_is_trained() {
        let config = Config::tiny();
        let mut random = Random::new(5);
        let features: Vec<f32> = (0..config.num_patches() * config.stem.output_channels())
            .map(|_| random.normal())
            .collect();
        let start = Length::default().start_token();
        let logits = [Ablation::Ternary, Ablation::Nothing].map(|ablation| {
            let model = BitMar::new(&ablation.weights(2), &config).unwrap();
            let fused = model.fuse(&model.encode_photo(&features).unwrap(), &[]).unwrap();
            let context = model.read_parameters().unwrap().null_value;
            let state = model.prefill(&fused, &[], &context).unwrap();
            let stepped = model.step(&mut [state], &[start]).unwrap().remove(0);
            let encoded = model.encode_photo(&features).unwrap();
            let table = model.table().unwrap();
            let fused = model.fuse_photos(&table, &encoded, &[Vec::new()]).unwrap();
            let text = [PlacedText { photo: 0, tokens: vec![start] }];
            let context = model.null_context(1).unwrap();
            let whole = model.decode_captions(&table, &fused, &[], &text, &context).unwrap();
            (stepped, whole.to_vec2::<f32>().unwrap().remove(0))
        });
        let distance = |a: &[f32], b: &[f32]| {
            let squares =
                |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
            squares(&mut a.iter().zip(b).map(|(a, b)| a - b)) / squares(&mut b.iter().copied())
        };
        let [(stepped, whole), (_, ternary)] = &logits;
        assert!(distance(stepped, whole) < 1e-3, "{}", distance(stepped, whole));
        assert!(distance(ternary, whole) > 1e-2, "{}", distance(ternary, whole));
    }
}
