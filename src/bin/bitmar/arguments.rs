//! The command line: the commands and options of `npx bitmar` (pkg/bin/arguments.js).

use std::ffi::OsString;
use std::path::PathBuf;

use bitmar::captioner::CaptionOptions;
use bitmar::generate::MAX_BEAMS;
use lexopt::prelude::*;

use crate::failure::Failure;

/// What `--help` prints, in both programs.
pub(crate) const USAGE: &str = include_str!("../../../pkg/bin/usage.txt");
/// Where a photo or file is standard input.
pub(crate) const STDIN: &str = "-";

pub(crate) struct Arguments {
    pub(crate) command: Command,
    /// The folder of the model.
    pub(crate) model: Option<PathBuf>,
    pub(crate) json: bool,
}

pub(crate) enum Command {
    Help,
    Version,
    Info,
    Caption { photos: Vec<PathBuf>, memory: Option<PathBuf>, options: CaptionOptions },
    Correct { photo: PathBuf, text: String, memory: PathBuf },
    ListMemory { memory: PathBuf },
    DeleteMemory { slot: usize, memory: PathBuf },
    ExportMemory { memory: PathBuf },
    ImportMemory { file: PathBuf, memory: PathBuf },
    ClearMemory { memory: PathBuf },
}

/// The options and words as they are given.
#[derive(Default)]
struct Given {
    words: Vec<OsString>,
    model: Option<PathBuf>,
    memory: Option<PathBuf>,
    length: Option<OsString>,
    hint: Option<OsString>,
    beams: Option<OsString>,
    no_write: bool,
    json: bool,
    help: bool,
    version: bool,
}

impl Arguments {
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let given = Given::parse(lexopt::Parser::from_args(arguments))?;
        Ok(Self { model: given.model.clone(), json: given.json, command: given.command()? })
    }
}

impl Given {
    fn parse(mut parser: lexopt::Parser) -> Result<Self, Failure> {
        let mut given = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => given.help = true,
                Short('V') | Long("version") => given.version = true,
                Long("model") => given.model = Some(path(&mut parser, "model")?),
                Long("memory") => given.memory = Some(path(&mut parser, "memory")?),
                Long("length") => given.length = Some(value(&mut parser, "length")?),
                Long("hint") => given.hint = Some(value(&mut parser, "hint")?),
                Long("beams") => given.beams = Some(value(&mut parser, "beams")?),
                Long("no-write") => given.no_write = true,
                Long("json") => given.json = true,
                Value(word) => given.words.push(word),
                _ => return Err(argument.unexpected().into()),
            }
        }
        Ok(given)
    }

    fn command(self) -> Result<Command, Failure> {
        if self.help {
            return Ok(Command::Help);
        }
        if self.version {
            return Ok(Command::Version);
        }
        // No word of a command is anything but UTF-8.
        let words: Vec<&str> = self.words.iter().map(|word| word.to_str().unwrap_or("")).collect();
        match words[..] {
            ["help"] => Ok(Command::Help),
            ["info"] => Ok(Command::Info),
            ["correct", _, _] => Ok(Command::Correct {
                photo: self.path(1),
                text: self.words[2].clone().string()?,
                memory: self.needed_memory()?,
            }),
            ["memory", "list"] => Ok(Command::ListMemory { memory: self.needed_memory()? }),
            ["memory", "delete", slot] => Ok(Command::DeleteMemory {
                slot: number(slot)
                    .ok_or_else(|| usage(format!("SLOT must be a number, found {slot:?}")))?,
                memory: self.needed_memory()?,
            }),
            ["memory", "export"] => Ok(Command::ExportMemory { memory: self.needed_memory()? }),
            ["memory", "import", _] => {
                Ok(Command::ImportMemory { file: self.path(2), memory: self.needed_memory()? })
            }
            ["memory", "clear"] => Ok(Command::ClearMemory { memory: self.needed_memory()? }),
            ["help" | "info" | "correct" | "memory", ..] => {
                Err(usage(format!("not a command: {}", words.join(" "))))
            }
            [] | ["caption"] => Err(usage("no photo is given".into())),
            ["caption", ..] => self.caption(1),
            _ => self.caption(0),
        }
    }

    /// Captions of the words from this one on.
    fn caption(self, first: usize) -> Result<Command, Failure> {
        let options = self.caption_options()?;
        let photos: Vec<PathBuf> = self.words[first..].iter().map(PathBuf::from).collect();
        if photos.iter().filter(|photo| photo.as_os_str() == STDIN).count() > 1 {
            return Err(usage("standard input can be one photo only".into()));
        }
        Ok(Command::Caption { photos, memory: self.memory, options })
    }

    fn caption_options(&self) -> Result<CaptionOptions, Failure> {
        let mut options = CaptionOptions::default();
        if let Some(length) = &self.length {
            let expected = "--length must be short, medium or long";
            let length = length.to_string_lossy();
            let parsed = length.parse();
            options.length = parsed.map_err(|_| usage(format!("{expected}, found {length:?}")))?;
        }
        if let Some(beams) = &self.beams {
            let beams = beams.to_string_lossy();
            let allowed = number(&beams).filter(|number| (1..=MAX_BEAMS).contains(number));
            options.beams = allowed.ok_or_else(|| {
                usage(format!("--beams must be a number from 1 to {MAX_BEAMS}, found {beams:?}"))
            })?;
        }
        if let Some(hint) = &self.hint {
            options.hint = hint.clone().string()?;
        }
        // Without a memory file one photo's caption must not depend on the photos before it.
        options.remember = self.memory.is_some() && !self.no_write;
        options.count_recalls = options.remember;
        Ok(options)
    }

    fn path(&self, word: usize) -> PathBuf {
        PathBuf::from(&self.words[word])
    }

    fn needed_memory(&self) -> Result<PathBuf, Failure> {
        let memory = self.memory.clone();
        memory.ok_or_else(|| usage("name the file of the memory with --memory".into()))
    }
}

/// An option's value. One that begins with a hyphen must be given as `--option=-value`: otherwise
/// it is probably another option, and the value was forgotten.
fn value(parser: &mut lexopt::Parser, option: &str) -> Result<OsString, Failure> {
    if let Some(value) = parser.optional_value() {
        return Ok(value);
    }
    let value = parser.value()?;
    let bytes = value.as_encoded_bytes();
    if bytes.len() > 1 && bytes[0] == b'-' {
        let value = value.to_string_lossy();
        let meant = format!("if it is {value}, write --{option}={value}");
        return Err(usage(format!("--{option} needs a value; {meant}")));
    }
    Ok(value)
}

/// An option's value that names a file or folder.
fn path(parser: &mut lexopt::Parser, option: &str) -> Result<PathBuf, Failure> {
    let path = value(parser, option)?;
    if path.is_empty() {
        return Err(usage(format!("--{option} is empty")));
    }
    Ok(path.into())
}

/// Digits only, at most 32 bits: slots are 32 bits wide in WebAssembly.
fn number(text: &str) -> Option<usize> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<u32>().ok().filter(|_| is_number)?;
    usize::try_from(number).ok()
}

fn usage(message: String) -> Failure {
    Failure::Usage(message)
}
