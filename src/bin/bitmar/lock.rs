//! The lock of a memory file. One command line at a time works on it, this one or `npx bitmar`
//! (pkg/bin/lock.js): of two that read and write at once, one would lose its changes.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::failure::CodedError;
use crate::memory_file::{storage_error, with_ending};

/// How long to wait for another command line, and how often to look.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// The right to change a memory file, until it is dropped: `FILE.lock` with the number of this
/// process in it.
pub(crate) struct Lock {
    path: PathBuf,
}

impl Lock {
    /// Waits for the right to change the memory in this file.
    pub(crate) fn take(memory: &Path) -> Result<Self, CodedError> {
        let path = with_ending(memory, ".lock");
        let start = Instant::now();
        loop {
            match fs::File::create_new(&path) {
                Ok(mut file) => {
                    // Made first: a lock that cannot be written is removed again.
                    let lock = Self { path };
                    let written = write!(file, "{}", std::process::id());
                    written.map_err(|error| storage_error(&lock.path, &error))?;
                    return Ok(lock);
                }
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(storage_error(&path, &error));
                }
                Err(_) if start.elapsed() > PATIENCE => {
                    let message = "another bitmar process is using this memory; if none is \
                                   running, delete this lock file";
                    return Err(CodedError { code: "storage", message: message.into() }.at(&path));
                }
                Err(_) => {
                    remove_if_abandoned(&path);
                    sleep(PAUSE);
                }
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If this fails, whoever waits for the lock sees that this process has ended.
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_if_abandoned(lock: &Path) {
    let Some(owner) = owner_of(lock).filter(|&owner| !is_alive(owner)) else { return };
    // Two processes may see this at once. Only one can move the lock, and one that was taken
    // meanwhile is put back.
    let aside = with_ending(lock, &format!(".{}", std::process::id()));
    if fs::rename(lock, &aside).is_err() {
        return;
    }
    if owner_of(&aside) != Some(owner) {
        let _ = fs::hard_link(&aside, lock);
    }
    let _ = fs::remove_file(&aside);
}

/// The process in a lock; none if it is not written yet.
fn owner_of(lock: &Path) -> Option<u32> {
    fs::read_to_string(lock).ok()?.trim().parse().ok()
}

/// Whether a process runs; true where the system does not say.
fn is_alive(process: u32) -> bool {
    let all = Path::new("/proc");
    !all.join("self").exists() || all.join(process.to_string()).exists()
}
