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
use clap::Parser;

use cli::{Cli, Command, Extras, InputFiles, Out, TokenizerFile};

mod cli;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    // One graph a core is faster than every operation on all cores (architecture.md, "Training").
    std::env::set_var("RAYON_NUM_THREADS", "1");
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bitmar-train: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Tokenizer { data, out } => commands::tokenizer(&data.data, &out),
        Command::Text(training) => {
            let (paths, options, is_resumed) = training.of("text")?;
            commands::text(&paths, "text", options, is_resumed)
        }
        Command::Vision { training, teachers, sentences } => {
            let (paths, options, is_resumed) = training.of("vision")?;
            let paths = Inputs { teachers: teachers.teachers, sentences, ..paths };
            commands::vision(&paths, "vision", options, is_resumed)
        }
        Command::Captions(captioning) => {
            let (paths, options, is_resumed) = captioning.of("captions")?;
            commands::captions(&paths, "captions", options, is_resumed)
        }
        Command::Critical(captioning) => {
            let (paths, options, is_resumed) = captioning.of("critical")?;
            commands::critical(&paths, "critical", options, is_resumed)
        }
        Command::LabelCaptions { inputs, checkpoints, label_captions } => {
            let paths = Inputs { label_captions: Some(label_captions), ..inputs.paths() };
            choose_label_captions(&paths, ModelSource::Checkpoints(&checkpoints))
        }
        Command::All { data, out, teachers, extras, steps, trained } => {
            // The tokenizer that it makes takes the place of this one.
            let tokenizer = TokenizerFile { tokenizer: out.out.join("tokenizer.json") };
            let Extras { sentences, label_captions } = extras;
            let teachers = teachers.teachers;
            let paths = InputFiles { data, out, tokenizer }.paths();
            let paths = Inputs { teachers, sentences, label_captions, ..paths };
            commands::all(&paths, &trained.trained, steps)
        }
        Command::Curves { log, svg, title, measures } => {
            let curves = read_curves(&std::fs::read_to_string(&log)?, &measures)
                .map_err(|error| format!("{}: {error}", log.display()))?;
            std::fs::write(svg, draw(&title, &curves)?)?;
            Ok(())
        }
        Command::MemoryReads { inputs, checkpoints, svg } => {
            let models: Vec<ModelSource<'_>> =
                checkpoints.chunks(1).map(ModelSource::Checkpoints).collect();
            draw_memory_reads(&inputs.paths(), &models, &svg)
        }
        Command::Export { inputs, checkpoints, model, trained } => {
            commands::export(&inputs.paths(), &checkpoints, &trained.trained, &model)
        }
        Command::Eval { inputs, model, checkpoints, photos, beams, on_train, list, teacher } => {
            let scored = match checkpoints.as_slice() {
                [] => ModelSource::Model(&model),
                checkpoints => ModelSource::Checkpoints(checkpoints),
            };
            let split = if on_train { Split::Train } else { Split::Dev };
            let paths = Inputs { teachers: teacher.into_iter().collect(), ..inputs.paths() };
            commands::eval(&paths, scored, (split, photos, beams), list)
        }
        Command::EvalMemory { data, tokenizer, model, photos } => {
            // It computes no features, so that there is nothing to keep.
            let out = Out { out: PathBuf::new() };
            let paths = InputFiles { data, out, tokenizer }.paths();
            commands::eval_memory(&paths, &model, photos.try_into()?)
        }
        Command::Probe { inputs, model, checkpoints, teachers } => {
            let mut models = vec![ModelSource::Model(&model)];
            models.extend(checkpoints.chunks(1).map(ModelSource::Checkpoints));
            let paths = Inputs { teachers: teachers.teachers, ..inputs.paths() };
            probe(&paths, &models)
        }
    }
}
