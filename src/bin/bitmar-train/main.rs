//! The trainer's command line: makes the tokenizer and the model, and scores it.

mod cli;
mod options;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Error, Result};
use bitmar::train::commands;
use bitmar::train::commands::choose_label_captions::choose_label_captions;
use bitmar::train::commands::features::features;
use bitmar::train::commands::tag_names::tag_names;
use bitmar::train::commands::tags::{add_tags, eval_tags, list_tags, train_tags};
use bitmar::train::commands::EvalOptions;
use bitmar::train::data::photo_set::Split;
use bitmar::train::eval::curves::draw_curves;
use bitmar::train::eval::memory_reads::draw_memory_reads;
use bitmar::train::eval::probe::probe;
use bitmar::train::eval::quantization::compare_quantized;
use bitmar::train::inputs::Inputs;
use bitmar::train::model_source::ModelSource;
use clap::Parser;

use cli::{Cli, Command};
use options::{Extras, InputOptions, Out, TokenizerFile};

fn main() -> ExitCode {
    // One graph a core is faster than every operation on all cores (architecture.md, "Training").
    std::env::set_var("RAYON_NUM_THREADS", "1");
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bitmar-train: {}", message(&error));
            ExitCode::FAILURE
        }
    }
}

/// The texts of an error and its causes. The crate's own errors contain the text of their cause,
/// which is not repeated.
fn message(error: &Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Tokenizer { data, out } => commands::tokenizer(&data.data, &out),
        Command::Text(training) => {
            let (inputs, options, is_resumed) = training.of("text")?;
            commands::text(&inputs, "text", options, is_resumed)
        }
        Command::Vision { training, teachers, sentences } => {
            let (inputs, options, is_resumed) = training.of("vision")?;
            let inputs = Inputs { teachers: teachers.teachers, sentences, ..inputs };
            commands::vision(&inputs, "vision", options, is_resumed)
        }
        Command::Captions(captioning) => {
            let (inputs, options, is_resumed) = captioning.of("captions")?;
            commands::captions(&inputs, "captions", options, is_resumed)
        }
        Command::Critical(captioning) => {
            let (inputs, options, is_resumed) = captioning.of("critical")?;
            commands::critical(&inputs, "critical", options, is_resumed)
        }
        Command::TagNames { data, out, count } => tag_names(&data.data, &out, count),
        Command::Tags(training) => {
            let (inputs, options, head) = training.split();
            train_tags(&inputs, options, &head)
        }
        Command::AddTags { data, out, model, head, tagged } => {
            add_tags(&data.data, &out.out, &model, &head, &tagged)
        }
        Command::EvalTags { data, features, head, list } => match list {
            None => eval_tags(&data.data, &features.features, &head),
            Some(set) => list_tags(&data.data, &features.features, &head, &set),
        },
        Command::Features { data, out, model, crops } => {
            features(&data.data, &out.out, &model, crops.as_deref())
        }
        Command::CompareQuantized { data, out, model, photos } => {
            compare_quantized(&data.data, &out.out, &model, photos)
        }
        Command::LabelCaptions { inputs, checkpoints, label_captions } => {
            let inputs = Inputs { label_captions: Some(label_captions), ..inputs.inputs() };
            choose_label_captions(&inputs, ModelSource::Checkpoints(&checkpoints))
        }
        Command::All { data, out, teachers, extras, steps, trained } => {
            // The tokenizer that it makes takes the place of this one.
            let tokenizer = TokenizerFile { tokenizer: out.out.join("tokenizer.json") };
            let Extras { sentences, label_captions, tags } = extras;
            let teachers = teachers.teachers;
            let inputs = InputOptions { data, out, tokenizer }.inputs();
            let inputs = Inputs { teachers, sentences, label_captions, tags, ..inputs };
            commands::all(&inputs, &trained.trained, steps)
        }
        Command::Curves { log, svg, title, measures } => draw_curves(&log, &measures, &title, &svg),
        Command::MemoryReads { inputs, checkpoints, svg } => {
            let models: Vec<ModelSource<'_>> =
                checkpoints.chunks(1).map(ModelSource::Checkpoints).collect();
            draw_memory_reads(&inputs.inputs(), &models, &svg)
        }
        Command::Export { inputs, checkpoints, model, trained } => {
            commands::export(&inputs.inputs(), &checkpoints, &trained.trained, &model)
        }
        Command::Eval {
            inputs,
            model,
            checkpoints,
            photos,
            beams,
            on_train,
            set,
            tags,
            list,
            teacher,
        } => {
            let scored = match checkpoints.as_slice() {
                [] => ModelSource::Model(&model),
                checkpoints => ModelSource::Checkpoints(checkpoints),
            };
            let split = if on_train { Split::Train } else { Split::Dev };
            let teachers = teacher.into_iter().collect();
            let inputs = Inputs { teachers, tags, ..inputs.inputs() };
            let options = EvalOptions { set, split, photos, beams, list };
            commands::eval(&inputs, scored, options)
        }
        Command::EvalMemory { data, tokenizer, model, photos, drawn } => {
            // It computes no features, so that there is nothing to keep.
            let out = Out { out: PathBuf::new() };
            let inputs = InputOptions { data, out, tokenizer }.inputs();
            commands::eval_memory(&inputs, &model, photos.try_into()?, drawn.as_deref())
        }
        Command::Probe { inputs, model, checkpoints, teachers } => {
            let mut models = vec![ModelSource::Model(&model)];
            models.extend(checkpoints.chunks(1).map(ModelSource::Checkpoints));
            let inputs = Inputs { teachers: teachers.teachers, ..inputs.inputs() };
            probe(&inputs, &models)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bitmar::train::data::archive::load_index;
    use bitmar::train::data::photo_set::PhotoSet;

    use super::*;

    #[test]
    fn an_error_is_printed_with_its_causes_each_once() {
        // The text of this error ends with that of its cause.
        let error = load_index(Path::new("no-such-folder"), PhotoSet::flickr8k());
        let error = error.expect_err("no such folder");
        let text = error.to_string();
        assert_eq!(message(&Error::new(error)), text);
        let missing = std::fs::read("no-such-file").expect_err("no such file");
        let text = missing.to_string();
        let error = Error::new(missing).context("cannot read no-such-file").context("stem");
        assert_eq!(message(&error), format!("stem: cannot read no-such-file: {text}"));
    }
}
