//! The trainer's command line: makes the tokenizer and the model, and scores it.

use std::path::PathBuf;
use std::process::ExitCode;

use bitmar::train::commands;
use bitmar::train::commands::choose_label_captions::choose_label_captions;
use bitmar::train::data::photo_set::Split;
use bitmar::train::eval::curves::{draw, read_curves};
use bitmar::train::eval::memory_reads::draw_memory_reads;
use bitmar::train::eval::probe::probe;
use bitmar::train::inputs::Inputs;
use bitmar::train::model_source::ModelSource;
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
    inputs: Inputs,
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
            inputs: Inputs {
                data: "data".into(),
                out: "runs".into(),
                tokenizer: "pkg/model/tokenizer.json".into(),
                init: None,
                from: Vec::new(),
                teachers: Vec::new(),
                sentences: None,
                label_captions: None,
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
    let Arguments { inputs, options, resume, .. } = &arguments;
    match command.as_str() {
        "tokenizer" => commands::tokenizer(&inputs.data, &inputs.out),
        "vision" => commands::vision(inputs, &command, options.clone(), *resume),
        "text" => commands::text(inputs, &command, options.clone(), *resume),
        "captions" => commands::captions(inputs, &command, options.clone(), *resume),
        "critical" => commands::critical(inputs, &command, options.clone(), *resume),
        "lend" => choose_label_captions(inputs, ModelSource::Checkpoints(&arguments.checkpoints)),
        "all" => commands::all(inputs, &arguments.trained, arguments.steps),
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
            commands::export(inputs, checkpoints, trained, model)
        }
        "eval" => {
            let Arguments { checkpoints, model, photos, beams, split, list, .. } = &arguments;
            let scored = match checkpoints.as_slice() {
                [] => ModelSource::Model(model),
                checkpoints => ModelSource::Checkpoints(checkpoints),
            };
            commands::eval(inputs, scored, (*split, *photos, *beams), *list)
        }
        "activations" => {
            let models: Vec<ModelSource<'_>> =
                arguments.checkpoints.chunks(1).map(ModelSource::Checkpoints).collect();
            draw_memory_reads(inputs, &models, &arguments.svg)
        }
        "probe" => {
            let Arguments { checkpoints, model, .. } = &arguments;
            let mut models = vec![ModelSource::Model(model)];
            models.extend(checkpoints.chunks(1).map(ModelSource::Checkpoints));
            probe(inputs, &models)
        }
        "eval-memory" => commands::eval_memory(inputs, &arguments.model, arguments.photos),
        _ => Err(USAGE.into()),
    }
}

fn parse(command: &str, mut parser: lexopt::Parser) -> Result<Arguments, lexopt::Error> {
    let mut a = Arguments::of(command);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("data") => a.inputs.data = parser.value()?.into(),
            Long("out") => a.inputs.out = parser.value()?.into(),
            Long("tokenizer") => a.inputs.tokenizer = parser.value()?.into(),
            Long("sentences") => a.inputs.sentences = Some(parser.value()?.into()),
            Long("teacher") => a.inputs.teachers.push(parser.value()?.parse()?),
            Long("lent") => a.inputs.label_captions = Some(parser.value()?.into()),
            Long("init") => a.inputs.init = Some(parser.value()?.into()),
            Long("from") => a.inputs.from.push(parser.value()?.into()),
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
                a.options.batch_size_per_worker = a.photos;
            }
            Long("cores") => a.options.workers = parser.value()?.parse()?,
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
