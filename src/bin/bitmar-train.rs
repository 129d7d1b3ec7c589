//! The trainer's command line: makes the tokenizer and the model, and scores it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bitmar::train::commands;
use bitmar::train::tokenizer::{train_tokenizer, training_texts, VOCAB_SIZE};
use bitmar::train::trainer::RunOptions;
use lexopt::prelude::*;

const USAGE: &str = "\
usage: bitmar-train tokenizer --data DIR --out FILE
       bitmar-train captions  --data DIR --out DIR [--steps N] [--photos N] [--cores N] [--rate R]
                              [--seed N] [--init MODEL] [--resume]
       bitmar-train export    --data DIR --checkpoint FILE --out MODEL [--init MODEL] [--trained JSON]
       bitmar-train eval      --data DIR --cache DIR [--model FILE] [--photos N] [--beams N] [--list]
   all: [--tokenizer FILE], by default pkg/model/tokenizer.json";

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    // One graph a core is faster than every operation on all cores (architecture.md, "Training").
    std::env::set_var("RAYON_NUM_THREADS", "1");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bitmar-train: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    data: PathBuf,
    out: PathBuf,
    cache: PathBuf,
    checkpoint: PathBuf,
    model: PathBuf,
    tokenizer: PathBuf,
    init: Option<PathBuf>,
    trained: String,
    options: RunOptions,
    photos: usize,
    beams: usize,
    resume: bool,
    list: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        let options = RunOptions {
            steps: 2000,
            photos_per_shard: 10,
            shards: 2,
            learning_rate: 1.5e-3,
            seed: 1,
        };
        Self {
            data: "data".into(),
            out: "runs".into(),
            cache: "runs".into(),
            checkpoint: "runs/captions.safetensors".into(),
            model: "pkg/model/model.safetensors".into(),
            tokenizer: "pkg/model/tokenizer.json".into(),
            init: None,
            trained: "{}".into(),
            options,
            photos: 1000,
            beams: 3,
            resume: false,
            list: false,
        }
    }
}

fn run() -> Outcome {
    let mut parser = lexopt::Parser::from_env();
    let command = match parser.next()? {
        Some(Value(command)) => command.string()?,
        Some(Long("help") | Short('h')) => {
            println!("{USAGE}");
            return Ok(());
        }
        _ => return Err(USAGE.into()),
    };
    let arguments = parse(parser)?;
    let Arguments { data, out, cache, checkpoint, model, tokenizer, .. } = &arguments;
    let init = arguments.init.as_deref();
    match command.as_str() {
        "tokenizer" => write_tokenizer(data, out),
        "captions" => commands::captions(
            data,
            out,
            (tokenizer, init),
            arguments.options.clone(),
            arguments.resume,
        ),
        "export" => commands::export(data, checkpoint, (tokenizer, init), &arguments.trained, out),
        "eval" => {
            let (photos, beams) = (arguments.photos, arguments.beams);
            commands::eval(data, cache, (tokenizer, model), (photos, beams), arguments.list)
        }
        _ => Err(USAGE.into()),
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Arguments, lexopt::Error> {
    let mut a = Arguments::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("data") => a.data = parser.value()?.into(),
            Long("out") => a.out = parser.value()?.into(),
            Long("cache") => a.cache = parser.value()?.into(),
            Long("checkpoint") => a.checkpoint = parser.value()?.into(),
            Long("model") => a.model = parser.value()?.into(),
            Long("tokenizer") => a.tokenizer = parser.value()?.into(),
            Long("init") => a.init = Some(parser.value()?.into()),
            Long("trained") => a.trained = parser.value()?.string()?,
            Long("steps") => a.options.steps = parser.value()?.parse()?,
            Long("photos") => {
                a.photos = parser.value()?.parse()?;
                a.options.photos_per_shard = a.photos;
            }
            Long("cores") => a.options.shards = parser.value()?.parse()?,
            Long("rate") => a.options.learning_rate = parser.value()?.parse()?,
            Long("seed") => a.options.seed = parser.value()?.parse()?,
            Long("beams") => a.beams = parser.value()?.parse()?,
            Long("resume") => a.resume = true,
            Long("list") => a.list = true,
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(a)
}

fn write_tokenizer(data: &Path, out: &Path) -> Outcome {
    let tokenizer = train_tokenizer(training_texts(data)?.into_iter(), VOCAB_SIZE)
        .map_err(|e| e.to_string())?;
    tokenizer.save(out, false).map_err(|e| e.to_string())?;
    Ok(())
}
