//! The options of each training stage: the defaults of the command line, and the recipe of
//! `bitmar-train all`. The vision stage of the shipped model was run in two parts, of 3,000 and
//! 4,000 steps.

use crate::train::objective::ablation::Ablation;
use crate::train::trainer::RunOptions;

/// Threads of a step, each with a graph of its own. A step learns from `workers *
/// batch_size_per_worker` examples, so this number is part of the recipe and does not depend on the
/// machine.
const WORKERS: usize = 2;

/// Seed of all random numbers.
const SEED: u64 = 1;

/// The options of a stage: `text`, `vision`, `captions` or `critical`.
pub fn options(stage: &str) -> RunOptions {
    match stage {
        // 115,200 texts, a third of all; the captions stage continues to train on them.
        "text" => RunOptions {
            steps: 1800,
            batch_size_per_worker: 32,
            workers: WORKERS,
            learning_rate: 1.5e-3,
            dropout: 0.1,
            seed: SEED,
            ablation: Ablation::Nothing,
        },
        // Batches are large because photos are cheap without a decoder: 250 a second on two cores,
        // against 30 in the captions stage. Dropout is low because the model hardly overfits 30,000
        // photos.
        "vision" => RunOptions {
            steps: 7000,
            batch_size_per_worker: 64,
            workers: WORKERS,
            learning_rate: 1.5e-3,
            dropout: 0.05,
            seed: SEED,
            ablation: Ablation::Nothing,
        },
        // The rate is a fifth because the stage starts from a trained model. Batches are small
        // because five captions are generated for each photo, which takes the longest of all
        // stages: 18 photos a second.
        "critical" => RunOptions {
            steps: 1700,
            batch_size_per_worker: 10,
            workers: WORKERS,
            learning_rate: 2e-4,
            dropout: 0.1,
            // Another seed than that of the captions stage, so that the order of photos differs.
            seed: 5,
            ablation: Ablation::Nothing,
        },
        // Dropout is highest because there are few photos with captions, which the model overfits.
        _ => RunOptions {
            steps: 4200,
            batch_size_per_worker: 12,
            workers: WORKERS,
            learning_rate: 1e-3,
            dropout: 0.15,
            seed: SEED,
            ablation: Ablation::Nothing,
        },
    }
}
