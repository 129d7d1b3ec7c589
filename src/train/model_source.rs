//! Loads models for evaluation and export, from a model file or from checkpoints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::checkpoint::ModelFile;
use crate::config::Config;
use crate::model::BitMar;
use crate::stem::Stem;
use crate::train::files;
use crate::train::inputs::Inputs;
use crate::train::objective::ablation::Ablation;
use crate::train::objective::features::features;
use crate::train::trainer::{checkpoint_latents, checkpoint_options, warm_start};
use crate::vision::EncodedPhotos;
use crate::weights::Variables;

/// Makes a model whose latent weights are the mean of those of `checkpoints` (a model soup,
/// Wortsman et al. 2022). Returns it with its variables.
///
/// # Errors
///
/// If a checkpoint cannot be read, or lacks a variable of the model or has it in another size.
pub(crate) fn restored(
    checkpoints: &[PathBuf],
    config: &Config,
    ablation: Ablation,
) -> Result<(BitMar, Variables)> {
    let weights = ablation.weights(0);
    let model = BitMar::new(&weights, config)?;
    let variables = weights.variables();
    let mut mean: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for checkpoint in checkpoints {
        let latents = checkpoint_latents(checkpoint)?;
        for (name, variable) in &variables {
            let values = latents.get(name).filter(|values| values.len() == variable.elem_count());
            let values = values.with_context(|| {
                format!("{}: no {name} of the expected size", checkpoint.display())
            })?;
            let sum = mean.entry(name.clone()).or_insert_with(|| vec![0.0; values.len()]);
            let share = 1.0 / checkpoints.len() as f32;
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += share * value);
        }
    }
    warm_start(&variables, &mean)?;
    Ok((model, variables))
}

/// A model under evaluation.
pub struct EvaluatedModel {
    /// The model.
    pub model: BitMar,
    /// Scale of the int8 stem features: `feature = stem_scale * int8`.
    pub stem_scale: f32,
    /// The ablation of its training, which evaluation applies as well.
    pub ablation: Ablation,
}

impl EvaluatedModel {
    /// Encodes photos, given the stem features of one view of each, `[patches * channels]` int8.
    pub(crate) fn encode(&self, views: &[Arc<[i8]>]) -> candle_core::Result<EncodedPhotos> {
        let config = self.model.config();
        let channels = config.stem.output_channels();
        let features = features(views, channels, self.stem_scale)?;
        self.model.vision().forward(&self.ablation.input_features(features, config.num_patches())?)
    }
}

/// The model that `eval` scores: a model file, or checkpoints, with the ablation in the options of
/// the first.
#[derive(Debug, Clone, Copy)]
pub enum ModelSource<'a> {
    /// A model file.
    Model(&'a Path),
    /// The mean of the weights of these checkpoints.
    Checkpoints(&'a [PathBuf]),
}

impl ModelSource<'_> {
    /// The name of the model file or of the first checkpoint, without extension.
    pub(crate) fn name(self) -> String {
        let file = match self {
            Self::Model(file) => Some(file),
            Self::Checkpoints(files) => files.first().map(PathBuf::as_path),
        };
        let name = file.and_then(Path::file_stem);
        name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Loads the model, with packed ternary weights unless it is the float model, and its stem.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, the model file has another tokenizer, or the checkpoints do not
    /// fit the small configuration.
    pub(crate) fn load(
        self,
        inputs: &Inputs,
        tokenizer_sha256: &str,
    ) -> Result<(EvaluatedModel, Stem)> {
        let (model, stem, ablation) = match self {
            Self::Model(file) => {
                let at = || file.display().to_string();
                let loaded = ModelFile::read(&files::read(file)?).with_context(at)?;
                loaded.check_tokenizer(tokenizer_sha256).with_context(at)?;
                (loaded.model, loaded.stem, Ablation::Nothing)
            }
            Self::Checkpoints(files) => {
                let config = Config::small();
                let first = files.first().context("no checkpoint is given")?;
                let ablation = checkpoint_options(first)?.ablation;
                let (model, variables) = restored(files, &config, ablation)?;
                let packed = ablation.packed(&variables, &config)?;
                (packed.unwrap_or(model), inputs.stem(&config)?, ablation)
            }
        };
        Ok((EvaluatedModel { model, stem_scale: stem.output_scale(), ablation }, stem))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::train::trainer::recipe;
    use crate::train::trainer::Run;

    #[test]
    fn checkpoints_are_averaged() {
        let folder = std::env::temp_dir().join(format!("bitmar-soup-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = Config::tiny();
        let save = |seed: u64| {
            let weights = Ablation::Nothing.weights(seed);
            BitMar::new(&weights, &config).unwrap();
            let file = folder.join(format!("{seed}.safetensors"));
            Run::new(weights.variables(), recipe::options("text")).unwrap().save(&file).unwrap();
            file
        };
        let files = [save(1), save(2)];
        let query_tokens = |files: &[PathBuf]| {
            let (_, variables) = restored(files, &config, Ablation::Nothing).unwrap();
            variables["query_tokens"].flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let [a, b, mean] = [&files[..1], &files[1..], &files[..]].map(query_tokens);
        assert_ne!(a, b);
        let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| 0.5 * a + 0.5 * b).collect();
        assert_eq!(mean, expected);
        let missing = restored(&[folder.join("3.safetensors")], &config, Ablation::Nothing);
        assert!(missing.is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
