//! The commands.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use bitmar::captioner::{Caption, CaptionOptions, Captioner, Timings};
use bitmar::checkpoint::sha256;
use bitmar::memory::SlotRecord;
use bitmar::model_name::model_name;
use bitmar::tag_head::Tag;
use serde::Serialize;

use crate::arguments::{Arguments, Command, STDIN, USAGE};
use crate::failure::{reason, CodedError, Failure};
use crate::memory_file::{load_snapshot, MemoryFile};
use crate::model_files::ModelFiles;
use crate::output::{print, print_json, print_line, report, shown};

/// JSON output for a photo.
#[derive(Serialize)]
#[serde(untagged)]
enum PhotoLine<'a> {
    Captioned {
        photo: &'a str,
        caption: &'a str,
        tokens: usize,
        confidence: f32,
        #[serde(skip_serializing_if = "Option::is_none")]
        tags: Option<&'a [Tag]>,
        ms: Timings,
    },
    Failed {
        photo: &'a str,
        error: &'a CodedError,
    },
}

/// JSON output for a remembered photo.
#[derive(Serialize)]
struct RememberedLine<'a> {
    slot: usize,
    caption: &'a str,
    corrected: bool,
    written_at: u64,
    recalls: u64,
}

/// JSON output of `info`.
#[derive(Serialize)]
struct Info {
    version: &'static str,
    model: String,
    sha256: String,
    bytes: usize,
    slots: usize,
    kernels: &'static str,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let files = ModelFiles::find(arguments.model.as_deref());
    let json = arguments.json;
    match &arguments.command {
        Command::Caption { photos, memory, options } => {
            return caption(&files, photos, memory.as_deref(), options, json);
        }
        Command::Help => print(USAGE.as_bytes())?,
        Command::Version => print_version(&files)?,
        Command::Info => print_info(&files, json)?,
        Command::Correct { photo, text, memory } => {
            let bytes = read_photo(photo).map_err(|error| error.at(photo))?;
            let teach = |captioner: &mut Captioner| captioner.teach(&bytes, text).map(|_| ());
            change(&files, memory, teach)?;
        }
        Command::ListMemory { memory } => list_memory(&files, memory, json)?,
        Command::DeleteMemory { slot, memory } => {
            change(&files, memory, |captioner| captioner.delete_memory(*slot))?;
        }
        Command::ExportMemory { memory } => print(&remembering(&files, memory)?.export_memory())?,
        Command::ImportMemory { file, memory } => import_memory(&files, file, memory)?,
        Command::ClearMemory { memory } => clear_memory(&files, memory)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Captions every photo; if one fails, reports it and continues with the others.
fn caption(
    files: &ModelFiles,
    photos: &[PathBuf],
    memory: Option<&Path>,
    options: &CaptionOptions,
    json: bool,
) -> Result<ExitCode, Failure> {
    let memory = memory.map(MemoryFile::at).transpose()?;
    let mut captioner = load(files)?;
    let changed = memory.as_ref().filter(|_| options.remember);
    if let (Some(memory), None) = (&memory, changed) {
        memory.restore(&mut captioner, None)?;
    }
    // Contents of the memory file, as far as this process knows them.
    let mut known: Option<Vec<u8>> = None;
    let mut code = ExitCode::SUCCESS;
    for photo in photos {
        let lock = changed.map(MemoryFile::lock).transpose()?;
        if let Some(memory) = changed {
            memory.restore(&mut captioner, known.as_deref())?;
        }
        let caption = read_photo(photo)
            .and_then(|bytes| captioner.caption(&bytes, options).map_err(CodedError::from));
        if let (Ok(_), Some(memory)) = (&caption, changed) {
            known = Some(memory.store(&captioner)?);
        }
        // Unlocked before printing: a slow reader of the output must not block other processes.
        drop(lock);
        if caption.is_err() {
            code = ExitCode::FAILURE;
        }
        print_caption(&photo.to_string_lossy(), &caption, json)?;
    }
    Ok(code)
}

fn print_caption(
    photo: &str,
    caption: &Result<Caption, CodedError>,
    json: bool,
) -> Result<(), Failure> {
    match caption {
        Ok(Caption { text: caption, tokens, confidence, tags, ms, .. }) if json => {
            let (tokens, confidence, ms) = (*tokens, *confidence, rounded(ms));
            let tags = tags.as_deref();
            print_json(&PhotoLine::Captioned { photo, caption, tokens, confidence, tags, ms })
        }
        Ok(caption) => print_line(&format!("{}: {}", shown(photo), shown(&caption.text))),
        Err(error) => {
            report(&format!("{photo}: {}", error.message));
            if json {
                print_json(&PhotoLine::Failed { photo, error })?;
            }
            Ok(())
        }
    }
}

/// Changes the memory in its file, under the file's lock.
fn change(
    files: &ModelFiles,
    memory: &Path,
    change: impl FnOnce(&mut Captioner) -> Result<(), bitmar::Error>,
) -> Result<(), Failure> {
    let memory = MemoryFile::at(memory)?;
    let mut captioner = load(files)?;
    let _lock = memory.lock()?;
    memory.restore(&mut captioner, None)?;
    change(&mut captioner)?;
    memory.store(&captioner)?;
    Ok(())
}

/// A captioner with the memory of a file.
fn remembering(files: &ModelFiles, memory: &Path) -> Result<Captioner, Failure> {
    let memory = MemoryFile::at(memory)?;
    let mut captioner = load(files)?;
    memory.restore(&mut captioner, None)?;
    Ok(captioner)
}

fn list_memory(files: &ModelFiles, memory: &Path, json: bool) -> Result<(), Failure> {
    let captioner = remembering(files, memory)?;
    for (slot, record) in captioner.memory().iter() {
        let recalls = captioner.memory().recalls(slot);
        let SlotRecord { caption, corrected, written_at, .. } = record;
        if json {
            let (corrected, written_at) = (*corrected, *written_at);
            print_json(&RememberedLine { slot, caption, corrected, written_at, recalls })?;
        } else {
            let mark = if *corrected { "corrected" } else { "captioned" };
            print_line(&format!("{slot}\t{mark}\trecalled {recalls}\t{}", shown(caption)))?;
        }
    }
    Ok(())
}

/// Replaces the memory file without reading it. Re-encodes a snapshot of another model.
fn import_memory(files: &ModelFiles, file: &Path, memory: &Path) -> Result<(), Failure> {
    let unread = |error| CodedError::of_file("snapshot", file, &error);
    let snapshot = read(file).map_err(unread)?;
    let memory = MemoryFile::at(memory)?;
    let mut captioner = load(files)?;
    load_snapshot(&mut captioner, &snapshot).map_err(|error| CodedError::from(error).at(file))?;
    let _lock = memory.lock()?;
    memory.replace(&captioner.export_memory())?;
    Ok(())
}

/// Replaces the memory file without reading it, so that a damaged one can be cleared.
fn clear_memory(files: &ModelFiles, memory: &Path) -> Result<(), Failure> {
    let memory = MemoryFile::at(memory)?;
    let empty = load(files)?.export_memory();
    let _lock = memory.lock()?;
    memory.replace(&empty)?;
    Ok(())
}

fn print_version(files: &ModelFiles) -> Result<(), Failure> {
    let name = model_name(&sha256(&files.model()?));
    print_line(&format!("bitmar {}, model {name}", env!("CARGO_PKG_VERSION")))
}

fn print_info(files: &ModelFiles, json: bool) -> Result<(), Failure> {
    let captioner = load(files)?;
    let info = captioner.info();
    let info = Info {
        version: info.version,
        model: info.name,
        sha256: info.sha256,
        bytes: files.model()?.len(),
        slots: captioner.memory().num_slots(),
        kernels: info.kernels,
    };
    if json {
        return print_json(&info);
    }
    let Info { version, model, sha256, bytes, slots, kernels } = info;
    print_line(&format!("bitmar   {version}"))?;
    print_line(&format!("model    {model}, {bytes} bytes"))?;
    print_line(&format!("sha256   {sha256}"))?;
    print_line(&format!("memory   {slots} photos"))?;
    print_line(&format!("kernels  {kernels}"))
}

/// A captioner with an empty memory.
fn load(files: &ModelFiles) -> Result<Captioner, Failure> {
    Ok(Captioner::new(&files.model()?, &files.tokenizer()?, now)?)
}

fn read_photo(photo: &Path) -> Result<Vec<u8>, CodedError> {
    let unread = |error| CodedError {
        code: "photo",
        message: format!("cannot read the photo: {}", reason(&error)),
    };
    read(photo).map_err(unread)
}

/// The bytes of a file or of standard input.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path.as_os_str() != STDIN {
        return fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Rounds to whole microseconds, the resolution of the clock.
fn rounded(ms: &Timings) -> Timings {
    let rounded = |ms: f64| (ms * 1000.0).round() / 1000.0;
    Timings {
        decode: rounded(ms.decode),
        vision: rounded(ms.vision),
        stem: rounded(ms.stem),
        memory: rounded(ms.memory),
        text: rounded(ms.text),
        fusion: rounded(ms.fusion),
        prefill: rounded(ms.prefill),
        total: rounded(ms.total),
    }
}

/// Milliseconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is past 1970").as_secs_f64() * 1000.0
}
