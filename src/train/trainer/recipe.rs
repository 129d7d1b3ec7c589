//! How the shipped model's stages are run: the command line's defaults and what `bitmar-train all`
//! does. The shipped model's vision stage was run in two parts, of 3,000 and 4,000 steps.

use crate::train::objective::ablation::Ablation;
use crate::train::trainer::RunOptions;

/// Graphs of a step, each on a thread of its own. A step learns from `shards * examples_per_shard`
/// examples, so that this number is part of the recipe: it does not follow the machine.
const WORKERS: usize = 2;

/// Seed of everything random.
const SEED: u64 = 1;

/// Options of a stage: `text`, `vision`, `tags`, `captions` or `critical`.
pub fn options(stage: &str) -> RunOptions {
    match stage {
        // 115,200 texts, a third of what there is: the captions stage goes on reading them.
        "text" => RunOptions {
            steps: 1800,
            batch_size_per_worker: 32,
            workers: WORKERS,
            learning_rate: 1.5e-3,
            dropout: 0.1,
            seed: SEED,
            ablation: Ablation::Nothing,
        },
        // A head on cached features: 20 passes over the photos and as many crops.
        "tags" => RunOptions {
            steps: 3000,
            batch_size_per_worker: 512,
            workers: 1,
            learning_rate: 1e-3,
            dropout: 0.0,
            seed: SEED,
            ablation: Ablation::Nothing,
        },
        // Without a decoder photos are cheap (250 a second on the machine of docs/training.md, 30
        // in the captions stage): large batches. The 30,000 photos of all sets are hardly learned
        // by heart: little dropout.
        "vision" => RunOptions {
            steps: 7000,
            batch_size_per_worker: 64,
            workers: WORKERS,
            learning_rate: 1.5e-3,
            dropout: 0.05,
            seed: SEED,
            ablation: Ablation::Nothing,
        },
        // Starts from a trained model: a fifth of the rate. Five captions are written for each
        // photo, which makes it the slowest: 18 photos a second, small batches.
        "critical" => RunOptions {
            steps: 1700,
            batch_size_per_worker: 10,
            workers: WORKERS,
            learning_rate: 2e-4,
            dropout: 0.1,
            // Not the captions stage's, or the photos would come in the same order again.
            seed: 5,
            ablation: Ablation::Nothing,
        },
        // Photos with captions are few and are soon learned by heart: the most dropout of all
        // stages.
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
