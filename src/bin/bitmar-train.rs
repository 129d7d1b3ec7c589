//! The trainer's command line: makes the tokenizer and the model, and scores it.

use std::path::PathBuf;
use std::process::ExitCode;

use bitmar::train::commands;
use bitmar::train::commands::choose_label_captions::choose_lent_sentences;
use bitmar::train::data::photo_set::Split;
use bitmar::train::eval::curves::{draw, read_curves};
use bitmar::train::eval::memory_reads::activations;
use bitmar::train::eval::probe::probe;
use bitmar::train::inputs::Places;
use bitmar::train::model_source::Scored;
use bitmar::train::trainer::recipe;
use bitmar::train::trainer::RunOptions;
use lexopt::prelude::*;

const USAGE: &str = "\
usage: bitmar-train tokenizer --data DIR --out FILE
       bitmar-train vision    --data DIR --out DIR [training] [--teacher lite0|lite2|lite3:FILE|dinov2:FILE]... [--sentences FOLDER]   distils the vision encoder
       bitmar-train text      --data DIR --out DIR [training]   trains on captions without photos
       bitmar-train captions  --data DIR --out DIR [training] [--teacher ...]... [--sentences FOLDER]   trains the whole model
       bitmar-train critical  --data DIR --out DIR [training] [--teacher ...]... [--sentences FOLDER]   goes on by what its own captions are worth
       bitmar-train lend      --data DIR --out DIR --checkpoint FILE... --lent FILE   chooses sentences for photos with labels
       bitmar-train all       --data DIR --out DIR              tokenizer, stages, model and scores; goes on where it stopped
       bitmar-train curves    --log FILE --svg FILE --title TEXT MEASURE...   draws what a stage printed
       bitmar-train activations --data DIR --out DIR --checkpoint FILE... --svg FILE   draws what the memory answers
       bitmar-train export    --data DIR --out DIR --checkpoint FILE... --model FILE [--trained JSON]
       bitmar-train eval      --data DIR --out DIR [--model FILE | --checkpoint FILE...] [--examples N] [--beams N] [--on-train] [--list] [--teacher ...]
       bitmar-train probe     --data DIR --out DIR [--model FILE] [--checkpoint FILE]... [--teacher ...]...   what can be read off each representation
       bitmar-train eval-memory --data DIR [--model FILE] [--examples N]
   training: [--steps N] [--examples N] [--cores N] [--rate R] [--dropout P] [--seed N] [--resume]
             [--lent FILE] what `lend` chose, for captions and critical
             [--init MODEL] starts from a shipped model, [--from CHECKPOINT]... from earlier stages
             [--without ternary|patches|lengths|alignment|consistency|memory|conditioning|balance] for an ablation
   export, eval: several --checkpoint stand for the mean of their weights
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
    places: Places,
    /// One, or several whose mean is meant.
    checkpoints: Vec<PathBuf>,
    model: PathBuf,
    trained: String,
    log: PathBuf,
    svg: PathBuf,
    title: String,
    /// What to draw.
    measures: Vec<String>,
    options: RunOptions,
    /// Steps that were asked for.
    steps: Option<usize>,
    /// Photos of an evaluation.
    photos: usize,
    beams: usize,
    resume: bool,
    split: Split,
    list: bool,
}

impl Arguments {
    fn of(command: &str) -> Self {
        Self {
            places: Places {
                data: "data".into(),
                out: "runs".into(),
                tokenizer: "pkg/model/tokenizer.json".into(),
                init: None,
                from: Vec::new(),
                teachers: Vec::new(),
                sentences: None,
                lent: None,
            },
            checkpoints: Vec::new(),
            model: "pkg/model/model.safetensors".into(),
            trained: "{}".into(),
            log: "run.log".into(),
            svg: "run.svg".into(),
            title: String::new(),
            measures: Vec::new(),
            options: recipe::options(command),
            steps: None,
            photos: 1000,
            beams: 3,
            resume: false,
            split: Split::Dev,
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
    let arguments = parse(&command, parser)?;
    let Arguments { places, options, resume, .. } = &arguments;
    match command.as_str() {
        "tokenizer" => commands::tokenizer(&places.data, &places.out),
        "vision" => commands::vision(places, &command, options.clone(), *resume),
        "text" => commands::text(places, &command, options.clone(), *resume),
        "captions" => commands::captions(places, &command, options.clone(), *resume),
        "critical" => commands::critical(places, &command, options.clone(), *resume),
        "lend" => choose_lent_sentences(places, Scored::Checkpoints(&arguments.checkpoints)),
        "all" => commands::all(places, &arguments.trained, arguments.steps),
        "curves" => {
            let Arguments { log, svg, title, measures, .. } = &arguments;
            let curves = read_curves(&std::fs::read_to_string(log)?, measures);
            std::fs::write(svg, draw(title, &curves))?;
            Ok(())
        }
        "export" => {
            let Arguments { checkpoints, model, trained, .. } = &arguments;
            if checkpoints.is_empty() {
                return Err("export needs a --checkpoint".into());
            }
            commands::export(places, checkpoints, trained, model)
        }
        "eval" => {
            let Arguments { checkpoints, model, photos, beams, split, list, .. } = &arguments;
            let scored = match checkpoints.as_slice() {
                [] => Scored::Model(model),
                checkpoints => Scored::Checkpoints(checkpoints),
            };
            commands::eval(places, scored, (*split, *photos, *beams), *list)
        }
        "activations" => {
            let models: Vec<Scored<'_>> =
                arguments.checkpoints.chunks(1).map(Scored::Checkpoints).collect();
            activations(places, &models, &arguments.svg)
        }
        "probe" => {
            let Arguments { checkpoints, model, .. } = &arguments;
            let mut models = vec![Scored::Model(model)];
            models.extend(checkpoints.chunks(1).map(Scored::Checkpoints));
            probe(places, &models)
        }
        "eval-memory" => commands::eval_memory(places, &arguments.model, arguments.photos),
        _ => Err(USAGE.into()),
    }
}

fn parse(command: &str, mut parser: lexopt::Parser) -> Result<Arguments, lexopt::Error> {
    let mut a = Arguments::of(command);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("data") => a.places.data = parser.value()?.into(),
            Long("out") => a.places.out = parser.value()?.into(),
            Long("tokenizer") => a.places.tokenizer = parser.value()?.into(),
            Long("sentences") => a.places.sentences = Some(parser.value()?.into()),
            Long("teacher") => a.places.teachers.push(parser.value()?.parse()?),
            Long("lent") => a.places.lent = Some(parser.value()?.into()),
            Long("init") => a.places.init = Some(parser.value()?.into()),
            Long("from") => a.places.from.push(parser.value()?.into()),
            Long("checkpoint") => a.checkpoints.push(parser.value()?.into()),
            Long("model") => a.model = parser.value()?.into(),
            Long("trained") => a.trained = parser.value()?.string()?,
            Long("log") => a.log = parser.value()?.into(),
            Long("svg") => a.svg = parser.value()?.into(),
            Long("title") => a.title = parser.value()?.string()?,
            Value(measure) => a.measures.push(measure.string()?),
            Long("steps") => {
                a.options.steps = parser.value()?.parse()?;
                a.steps = Some(a.options.steps);
            }
            Long("examples") => {
                a.photos = parser.value()?.parse()?;
                a.options.examples_per_shard = a.photos;
            }
            Long("cores") => a.options.shards = parser.value()?.parse()?,
            Long("rate") => a.options.learning_rate = parser.value()?.parse()?,
            Long("dropout") => a.options.dropout = parser.value()?.parse()?,
            Long("without") => a.options.ablation = parser.value()?.parse()?,
            Long("seed") => a.options.seed = parser.value()?.parse()?,
            Long("beams") => a.beams = parser.value()?.parse()?,
            Long("resume") => a.resume = true,
            Long("on-train") => a.split = Split::Train,
            Long("list") => a.list = true,
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(a)
}
