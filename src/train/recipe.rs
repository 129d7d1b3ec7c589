//! How the shipped model's stages are run: the command line's defaults and what `bitmar-train all` does.

use crate::train::ablation::Ablation;
use crate::train::trainer::RunOptions;

const CORES: usize = 2;
const SEED: u64 = 1;

/// Options of a stage: `vision`, `text`, `captions` or `critical`.
pub fn options(stage: &str) -> RunOptions {
    let run = |steps, examples_per_shard, learning_rate, dropout| RunOptions {
        steps,
        examples_per_shard,
        shards: CORES,
        learning_rate,
        dropout,
        seed: SEED,
        ablation: Ablation::Nothing,
    };
    match stage {
        "text" => run(1800, 32, 1.5e-3, 0.1),
        "critical" => run(1300, 10, 1.5e-4, 0.0),
        _ => run(4800, 12, 1e-3, 0.15),
    }
}
