//! Models out of checkpoints, for scores and for export.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Var;

use crate::checkpoint::ModelFile;
use crate::config::Config;
use crate::model::BitMar;
use crate::stem::Stem;
use crate::train::inputs::Inputs;
use crate::train::objective::ablation::Ablation;
use crate::train::objective::features::features;
use crate::train::trainer::{checkpoint_latents, checkpoint_options, warm_start};
use crate::vision::EncodedPhotos;

type AnyError = Box<dyn std::error::Error>;

/// The model whose latent weights are the mean of those of some checkpoints (a model soup, Wortsman
/// et al. 2022), and its variables.
pub(crate) fn restored(
    checkpoints: &[PathBuf],
    config: &Config,
    ablation: Ablation,
) -> Result<(BitMar, BTreeMap<String, Var>), AnyError> {
    let weights = ablation.weights(0);
    let model = BitMar::new(&weights, config)?;
    let variables = weights.variables();
    let mut mean: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for checkpoint in checkpoints {
        let latents = checkpoint_latents(checkpoint)?;
        for (name, variable) in &variables {
            let values = latents.get(name).filter(|values| values.len() == variable.elem_count());
            let values = values.ok_or_else(|| format!("{} has no {name}", checkpoint.display()))?;
            let sum = mean.entry(name.clone()).or_insert_with(|| vec![0.0; values.len()]);
            let share = 1.0 / checkpoints.len() as f32;
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += share * value);
        }
    }
    warm_start(&variables, &mean)?;
    Ok((model, variables))
}

/// What is scored.
pub struct EvaluatedModel {
    /// The model.
    pub model: BitMar,
    /// What a stem feature is worth.
    pub stem_scale: f32,
    /// What it was trained without and has to do without now.
    pub ablation: Ablation,
}

impl EvaluatedModel {
    /// Views of photos, one each, as the model sees them.
    pub(crate) fn encode(&self, views: &[Arc<[i8]>]) -> candle_core::Result<EncodedPhotos> {
        let config = self.model.config();
        let channels = config.stem.output_channels();
        let features = features(views, channels, self.stem_scale)?;
        self.model.vision().forward(&self.ablation.input_features(features, config.num_patches())?)
    }
}

/// What `eval` scores: a model file, or checkpoints as the run of the first was run.
#[derive(Debug, Clone, Copy)]
pub enum ModelSource<'a> {
    /// A model file.
    Model(&'a Path),
    /// The mean of some checkpoints.
    Checkpoints(&'a [PathBuf]),
}

impl ModelSource<'_> {
    /// The name of its file, or of the first of them.
    pub(crate) fn name(self) -> String {
        let file = match self {
            Self::Model(file) => Some(file),
            Self::Checkpoints(files) => files.first().map(PathBuf::as_path),
        };
        let stem = file.and_then(Path::file_stem);
        stem.map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
    }

    pub(crate) fn load(
        self,
        inputs: &Inputs,
        tokenizer_sha256: &str,
    ) -> Result<(EvaluatedModel, Stem), AnyError> {
        let (model, stem, ablation) = match self {
            Self::Model(file) => {
                let loaded = ModelFile::read(&std::fs::read(file)?)?;
                loaded.check_tokenizer(tokenizer_sha256)?;
                (loaded.model, loaded.stem, Ablation::Nothing)
            }
            Self::Checkpoints(files) => {
                let config = Config::small();
                let first = files.first().ok_or("no checkpoint")?;
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
    fn several_checkpoints_are_the_mean_of_their_weights() {
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
        let of = |files: &[PathBuf]| {
            let (_, variables) = restored(files, &config, Ablation::Nothing).unwrap();
            variables["query_tokens"].flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let [a, b, mean] = [&files[..1], &files[1..], &files[..]].map(of);
        assert_ne!(a, b);
        let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| 0.5 * a + 0.5 * b).collect();
        assert_eq!(mean, expected);
        let missing = restored(&[folder.join("3.safetensors")], &config, Ablation::Nothing);
        assert!(missing.is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
