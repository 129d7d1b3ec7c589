//! How the shipped model's stages are run: the command line's defaults and what `bitmar-train all` does. The shipped
//! model's vision stage was run in two parts, of 3,000 and 4,000 steps.

use crate::train::objective::ablation::Ablation;
use crate::train::trainer::RunOptions;

const CORES: usize = 2;

/// Options of a stage: `text`, `vision`, `captions` or `critical`.
pub fn options(stage: &str) -> RunOptions {
    let run = |seed, steps, batch_size_per_worker, learning_rate, dropout| RunOptions {
        steps,
        batch_size_per_worker,
        workers: CORES,
        learning_rate,
        dropout,
        seed,
        ablation: Ablation::Nothing,
    };
    match stage {
        "vision" => run(1, 7000, 64, 1.5e-3, 0.05),
        "text" => run(1, 1800, 32, 1.5e-3, 0.1),
        "critical" => run(5, 1700, 10, 2e-4, 0.1),
        _ => run(1, 4200, 12, 1e-3, 0.15),
    }
}
