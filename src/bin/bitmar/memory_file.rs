//! A memory's file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use bitmar::captioner::Captioner;
use bitmar::checkpoint::sha256;

use crate::failure::CodedError;
use crate::lock::Lock;
use crate::output::report;

/// The file that keeps a memory. It need not exist yet.
pub(crate) struct MemoryFile {
    /// Links followed: the file itself is replaced, and a link to it stays one.
    path: PathBuf,
}

impl MemoryFile {
    pub(crate) fn at(given: &Path) -> Result<Self, CodedError> {
        let path = followed(given).map_err(|error| storage_error(given, &error))?;
        let is_other = fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file());
        if is_other || path.file_name().is_none() {
            let message = "not a regular file".into();
            return Err(CodedError { code: "storage", message }.at(given));
        }
        Ok(Self { path })
    }

    /// Waits for the right to change it.
    pub(crate) fn lock(&self) -> Result<Lock, CodedError> {
        Lock::take(&self.path)
    }

    /// Fills the memory from the file, unless it holds what is `known` already.
    pub(crate) fn restore(
        &self,
        captioner: &mut Captioner,
        known: Option<&[u8]>,
    ) -> Result<(), CodedError> {
        let snapshot = match fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            read => read.map_err(|error| storage_error(&self.path, &error))?,
        };
        if known == Some(&snapshot) {
            return Ok(());
        }
        load_snapshot(captioner, &snapshot).map_err(|error| CodedError::from(error).at(&self.path))
    }

    /// Writes the memory to the file, and returns the bytes. A file of another model is kept as
    /// `FILE.HASH.old`.
    pub(crate) fn store(&self, captioner: &Captioner) -> Result<Vec<u8>, CodedError> {
        if let Ok(old) = fs::read(&self.path) {
            if !captioner.is_own_memory(&old)? {
                let kept = with_ending(&self.path, &format!(".{}.old", &sha256(&old)[..12]));
                replace(&kept, &old)?;
            }
        }
        let snapshot = captioner.export_memory();
        self.replace(&snapshot)?;
        Ok(snapshot)
    }

    /// Puts these bytes in the file's place, whatever it holds.
    pub(crate) fn replace(&self, bytes: &[u8]) -> Result<(), CodedError> {
        replace(&self.path, bytes)
    }
}

/// Fills the memory from a snapshot. One of another model is re-encoded.
pub(crate) fn load_snapshot(
    captioner: &mut Captioner,
    snapshot: &[u8],
) -> Result<(), bitmar::Error> {
    if captioner.is_own_memory(snapshot)? {
        return captioner.reload_memory(snapshot);
    }
    let mut adoption = captioner.begin_adoption(snapshot)?;
    while captioner.adopt_next(&mut adoption)? {}
    captioner.reload_memory(&captioner.adopted_memory(&adoption))?;
    let (total, left) = (adoption.total(), adoption.left());
    let kept = total - left;
    report(&format!("another model wrote this memory: {kept} of {total} photos re-encoded"));
    Ok(())
}

/// The error of a memory file that cannot be read or written.
pub(crate) fn storage_error(path: &Path, error: &io::Error) -> CodedError {
    CodedError::of_file("storage", path, error)
}

/// The path with something behind its file name.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(ending);
    path.into()
}

/// The file that a path leads to, which need not exist, without links.
fn followed(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    // A link to a file that does not exist yet. A circle of links is another error than NotFound.
    match fs::read_link(path) {
        Ok(target) => followed(&path.parent().unwrap_or(Path::new("")).join(target)),
        Err(_) => Ok(path.to_owned()),
    }
}

/// Writes a new file in the same folder, then renames it: the old one stays whole until the new one
/// is. The new one gets the mode of the old one.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), CodedError> {
    let write = || -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".");
        let mut new = tempfile::Builder::new()
            .prefix(&name)
            .suffix(".tmp")
            // Not tempfile's own mode, which hides the file from everybody else.
            .make_in(folder.unwrap_or(Path::new(".")), |path| File::create_new(path))?;
        if let Ok(old) = fs::metadata(path) {
            new.as_file().set_permissions(old.permissions())?;
        }
        new.write_all(bytes)?;
        new.persist(path)?;
        Ok(())
    };
    write().map_err(|error| storage_error(path, &error))
}
