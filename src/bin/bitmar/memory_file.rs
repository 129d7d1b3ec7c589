//! The file of a memory.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use bitmar::atomic_file;
use bitmar::captioner::Captioner;
use bitmar::checkpoint::sha256;

use crate::failure::CodedError;
use crate::lock::Lock;
use crate::output::report;

/// The file that stores a memory. It need not exist yet.
pub(crate) struct MemoryFile {
    /// With links resolved, so that every link to the file has the same lock.
    path: PathBuf,
}

impl MemoryFile {
    pub(crate) fn at(given: &Path) -> Result<Self, CodedError> {
        let path = atomic_file::resolve(given).map_err(|error| storage_error(given, &error))?;
        let is_other = fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file());
        if is_other || path.file_name().is_none() {
            let message = "not a regular file".into();
            return Err(CodedError { code: "storage", message }.at(given));
        }
        Ok(Self { path })
    }

    /// Waits for the lock of the file.
    pub(crate) fn lock(&self) -> Result<Lock, CodedError> {
        Lock::take(&self.path)
    }

    /// Loads the memory from the file, unless the file's contents are still `known`.
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

    /// Writes the memory to the file and returns the bytes. Keeps a file of another model as
    /// `FILE.HASH.old`.
    pub(crate) fn store(&self, captioner: &Captioner) -> Result<Vec<u8>, CodedError> {
        if let Ok(old) = fs::read(&self.path) {
            if !captioner.is_own_memory(&old)? {
                let kept = with_ending(&self.path, &format!(".{}.old", &sha256(&old)[..12]));
                atomic_file::replace(&kept, &old).map_err(|error| storage_error(&kept, &error))?;
            }
        }
        let snapshot = captioner.export_memory();
        self.replace(&snapshot)?;
        Ok(snapshot)
    }

    /// Replaces the file by these bytes, whatever it contains.
    pub(crate) fn replace(&self, bytes: &[u8]) -> Result<(), CodedError> {
        atomic_file::replace(&self.path, bytes).map_err(|error| storage_error(&self.path, &error))
    }
}

/// Loads the memory from a snapshot. Re-encodes a snapshot of another model.
pub(crate) fn load_snapshot(
    captioner: &mut Captioner,
    snapshot: &[u8],
) -> Result<(), bitmar::Error> {
    if captioner.is_own_memory(snapshot)? {
        return captioner.reload_memory(snapshot);
    }
    let mut migration = captioner.begin_migration(snapshot)?;
    while captioner.migrate_next(&mut migration)? {}
    captioner.reload_memory(&captioner.migrated_memory(&migration))?;
    let (total, left) = (migration.total(), migration.left());
    let kept = total - left;
    report(&format!("another model wrote this memory: {kept} of {total} photos re-encoded"));
    Ok(())
}

/// The error of a memory file that cannot be read or written.
pub(crate) fn storage_error(path: &Path, error: &io::Error) -> CodedError {
    CodedError::of_file("storage", path, error)
}

/// The path with `ending` appended to its file name.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(ending);
    path.into()
}
