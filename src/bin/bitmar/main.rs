//! `bitmar`: captions photos, and shows and teaches the memory, on the command line.

use std::error::Error as StdError;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use bitmar::captioner::{Caption, CaptionOptions, Captioner};
use bitmar::memory::SlotRecord;
use lexopt::prelude::*;
use serde::Serialize;

mod memory_file;

use memory_file::{replace, restore, store, Lock};

const USAGE: &str = "\
bitmar caption [OPTIONS] PHOTO...          say what photos show
bitmar correct [OPTIONS] PHOTO TEXT        teach what a photo shows (needs --memory)
bitmar memory list [OPTIONS]               show what is remembered (needs --memory)
bitmar memory delete [OPTIONS] SLOT        forget one remembered photo (needs --memory)
bitmar memory export [OPTIONS]             copy the memory to stdout, for import elsewhere (needs --memory)
bitmar memory import [OPTIONS] FILE        put an exported memory in the place of this one (needs --memory)
bitmar memory clear [OPTIONS]              empty the memory (needs --memory)

  --model FILE       model.safetensors; both files are looked for in $BITMAR_MODEL_DIR, then in pkg/model
  --tokenizer FILE   tokenizer.json
  --memory FILE      keep the memory in this file; one of another model is taken over, and kept beside it
  --no-write         leave the memory as it is
  --beams N          candidates to keep, 1 to 8 (3)
  --length LENGTH    short, medium or long (medium)
  --hint TEXT        what the photos are known to show
  --json             one line of JSON a photo, or a remembered photo
";

type Failure = Box<dyn StdError>;

#[derive(Default)]
struct Arguments {
    words: Vec<OsString>,
    model: Option<PathBuf>,
    tokenizer: Option<PathBuf>,
    memory: Option<PathBuf>,
    options: CaptionOptions,
    json: bool,
}

/// A photo's line with `--json`.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Caption { photo: &'a str, caption: &'a str, tokens: usize, confidence: f32, ms: Milliseconds },
    Error { photo: &'a str, error: CodeAndMessage },
}

#[derive(Serialize)]
struct Milliseconds {
    decode: f64,
    vision: f64,
    memory: f64,
    text: f64,
    total: f64,
}

/// A remembered photo's line with `--json`.
#[derive(Serialize)]
struct Entry<'a> {
    slot: usize,
    caption: &'a str,
    corrected: bool,
    written_at: u64,
    recalls: u64,
}

#[derive(Serialize)]
struct CodeAndMessage {
    code: &'static str,
    message: String,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bitmar: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let arguments = parse()?;
    let words: Vec<&str> = arguments.words.iter().map(|word| word.to_str().unwrap_or("")).collect();
    match words[..] {
        ["caption", _, ..] => caption(&arguments),
        ["correct", _, text] => correct(&arguments, text),
        ["memory", "list"] => list_memory(&arguments),
        ["memory", "delete", slot] => delete_memory(&arguments, slot),
        ["memory", "export"] => export_memory(&arguments),
        ["memory", "import", _] => import_memory(&arguments),
        ["memory", "clear"] => clear_memory(&arguments),
        ["help"] => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}

fn parse() -> Result<Arguments, Failure> {
    let mut arguments = Arguments::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => arguments.words = vec!["help".into()],
            Long("model") => arguments.model = Some(parser.value()?.into()),
            Long("tokenizer") => arguments.tokenizer = Some(parser.value()?.into()),
            Long("memory") => arguments.memory = Some(parser.value()?.into()),
            Long("no-write") => arguments.options.remember = false,
            Long("beams") => arguments.options.beams = parser.value()?.parse()?,
            Long("length") => arguments.options.length = parser.value()?.parse()?,
            Long("hint") => arguments.options.hint = parser.value()?.string()?,
            Long("json") => arguments.json = true,
            Value(word) => arguments.words.push(word),
            _ => return Err(argument.unexpected().into()),
        }
    }
    // Without a memory file one photo's caption must not depend on the photos before it.
    arguments.options.remember &= arguments.memory.is_some();
    arguments.options.count_recalls = arguments.options.remember;
    Ok(arguments)
}

/// Captions every photo; one that fails is reported and the others go on.
fn caption(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut captioner = load(arguments)?;
    let changed = arguments.memory.as_deref().filter(|_| arguments.options.remember);
    if let (Some(memory), None) = (&arguments.memory, changed) {
        restore(&mut captioner, memory, None)?;
    }
    // What the memory's file holds, as far as we know.
    let mut known: Option<Vec<u8>> = None;
    let mut code = ExitCode::SUCCESS;
    for path in arguments.words[1..].iter().map(Path::new) {
        let photo = path.to_string_lossy();
        let lock = changed.map(Lock::take).transpose()?;
        if let Some(memory) = changed {
            restore(&mut captioner, memory, known.as_deref())?;
        }
        let caption = read_photo(path).and_then(|bytes| {
            captioner
                .caption(&bytes, &arguments.options)
                .map_err(|error| CodeAndMessage { code: error.code(), message: error.to_string() })
        });
        match (&caption, changed) {
            (Ok(_), Some(memory)) => known = Some(store(&captioner, memory)?),
            (Ok(_), None) => {}
            (Err(_), _) => code = ExitCode::FAILURE,
        }
        drop(lock);
        match (&caption, arguments.json) {
            (Ok(caption), true) => print_line(&line(&photo, caption))?,
            (Ok(caption), false) => println!("{photo}: {}", caption.text),
            (Err(_), true) => {}
            (Err(error), false) => eprintln!("bitmar: {photo}: {}", error.message),
        }
        if let (Err(error), true) = (caption, arguments.json) {
            print_line(&Line::Error { photo: &photo, error })?;
        }
    }
    Ok(code)
}

fn correct(arguments: &Arguments, text: &str) -> Result<ExitCode, Failure> {
    let photo = Path::new(&arguments.words[1]);
    let bytes = read_photo(photo).map_err(|error| error.message)?;
    change(arguments, |captioner| Ok(captioner.teach(&bytes, text).map(|_| ())?))
}

/// Changes the memory in its file.
fn change(
    arguments: &Arguments,
    change: impl FnOnce(&mut Captioner) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let memory = memory_file(arguments)?;
    let mut captioner = load(arguments)?;
    let _lock = Lock::take(memory)?;
    restore(&mut captioner, memory, None)?;
    change(&mut captioner)?;
    store(&captioner, memory)?;
    Ok(ExitCode::SUCCESS)
}

/// The captioner with the memory of its file.
fn remembering(arguments: &Arguments) -> Result<Captioner, Failure> {
    let memory = memory_file(arguments)?;
    let mut captioner = load(arguments)?;
    restore(&mut captioner, memory, None)?;
    Ok(captioner)
}

fn list_memory(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let captioner = remembering(arguments)?;
    for (slot, record) in captioner.memory().iter() {
        let recalls = captioner.memory().recalls(slot);
        let SlotRecord { caption, corrected, written_at, .. } = record;
        if arguments.json {
            let (corrected, written_at) = (*corrected, *written_at);
            print_line(&Entry { slot, caption, corrected, written_at, recalls })?;
        } else {
            let mark = if *corrected { "corrected" } else { "captioned" };
            println!("{slot}\t{mark}\trecalled {recalls}\t{caption}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn export_memory(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let snapshot = remembering(arguments)?.export_memory();
    std::io::Write::write_all(&mut std::io::stdout().lock(), &snapshot)?;
    Ok(ExitCode::SUCCESS)
}

fn delete_memory(arguments: &Arguments, slot: &str) -> Result<ExitCode, Failure> {
    let slot = slot.parse().map_err(|_| format!("expected a slot's number, found {slot:?}"))?;
    change(arguments, |captioner| Ok(captioner.delete_memory(slot)?))
}

/// Replaces the file without reading it; one of another model is taken over.
fn import_memory(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let memory = memory_file(arguments)?;
    let imported = Path::new(&arguments.words[2]);
    // A file that is not there is no empty memory.
    std::fs::metadata(imported).map_err(|error| at(imported, &error))?;
    let mut captioner = load(arguments)?;
    restore(&mut captioner, imported, None)?;
    let _lock = Lock::take(memory)?;
    replace(memory, &captioner.export_memory())?;
    Ok(ExitCode::SUCCESS)
}

/// Replaces the file without reading it: what cannot be read can still be cleared.
fn clear_memory(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let memory = memory_file(arguments)?;
    let empty = load(arguments)?.export_memory();
    let _lock = Lock::take(memory)?;
    replace(memory, &empty)?;
    Ok(ExitCode::SUCCESS)
}

/// The captioner with an empty memory.
fn load(arguments: &Arguments) -> Result<Captioner, Failure> {
    let model = asset(arguments.model.as_deref(), "model.safetensors")?;
    let tokenizer = asset(arguments.tokenizer.as_deref(), "tokenizer.json")?;
    Ok(Captioner::new(&model, &tokenizer, now)?)
}

fn asset(given: Option<&Path>, name: &str) -> Result<Vec<u8>, Failure> {
    let path = match (given, std::env::var_os("BITMAR_MODEL_DIR")) {
        (Some(path), _) => path.to_owned(),
        (None, Some(folder)) => Path::new(&folder).join(name),
        (None, None) => Path::new(env!("CARGO_MANIFEST_DIR")).join("pkg/model").join(name),
    };
    std::fs::read(&path).map_err(|error| {
        let hint = "name it with an option, or its folder with BITMAR_MODEL_DIR";
        format!("{}; {hint}", at(&path, &error)).into()
    })
}

fn read_photo(path: &Path) -> Result<Vec<u8>, CodeAndMessage> {
    let failure = |error| CodeAndMessage {
        code: "photo",
        message: format!("cannot read the photo: {error}"),
    };
    std::fs::read(path).map_err(failure)
}

fn memory_file(arguments: &Arguments) -> Result<&Path, Failure> {
    arguments.memory.as_deref().ok_or_else(|| "name the memory's file with --memory".into())
}

fn at(path: &Path, error: &dyn StdError) -> Failure {
    format!("{}: {error}", path.display()).into()
}

fn line<'a>(photo: &'a str, caption: &'a Caption) -> Line<'a> {
    // Microseconds are as fine as the clock is.
    let rounded = |ms: f64| (ms * 1000.0).round() / 1000.0;
    let ms = Milliseconds {
        decode: rounded(caption.ms.decode),
        vision: rounded(caption.ms.vision),
        memory: rounded(caption.ms.memory),
        text: rounded(caption.ms.text),
        total: rounded(caption.ms.total),
    };
    let Caption { text, tokens, confidence, .. } = caption;
    Line::Caption { photo, caption: text, tokens: *tokens, confidence: *confidence, ms }
}

fn print_line(line: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string(line)?);
    Ok(())
}

/// Milliseconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is past 1970").as_secs_f64() * 1000.0
}
