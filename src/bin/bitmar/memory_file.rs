//! A memory's file. One command line at a time works on it, this one or `npx bitmar` (pkg/bin/lock.js): what two read
//! and write at once, one of them would lose.

use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bitmar::captioner::Captioner;
use bitmar::checkpoint::sha256;

use crate::{at, Failure};

/// How long to wait for another command line, and how often to look.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// The right to change a memory's file, until it is dropped: `FILE.lock` with the number of this process in it.
pub(crate) struct Lock {
    path: PathBuf,
}

impl Lock {
    /// Waits for the right to change the memory in this file.
    pub(crate) fn take(memory: &Path) -> Result<Self, Failure> {
        let path = beside(memory, ".lock")?;
        let start = Instant::now();
        loop {
            match fs::File::create_new(&path) {
                Ok(mut file) => {
                    // Made first: what cannot be written is removed again.
                    let lock = Self { path };
                    let written = write!(file, "{}", std::process::id());
                    written.map_err(|error| at(&lock.path, &error))?;
                    return Ok(lock);
                }
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(at(&path, &error));
                }
                Err(_) if start.elapsed() > PATIENCE => {
                    let busy =
                        "another command line works on this memory; if none does, delete this file";
                    return Err(format!("{}: {busy}", path.display()).into());
                }
                Err(_) => {
                    remove_if_abandoned(&path)?;
                    sleep(PAUSE);
                }
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever waits for it sees that this process is gone.
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_if_abandoned(lock: &Path) -> Result<(), Failure> {
    let Some(owner) = owner_of(lock).filter(|&owner| !is_alive(owner)) else { return Ok(()) };
    // Two may see this at once. Only one can move it, and a lock that was taken meanwhile is put back.
    let aside = beside(lock, &format!(".{}", std::process::id()))?;
    if fs::rename(lock, &aside).is_err() {
        return Ok(());
    }
    if owner_of(&aside) != Some(owner) {
        let _ = fs::hard_link(&aside, lock);
    }
    let _ = fs::remove_file(&aside);
    Ok(())
}

/// The process in a lock; none if it is not written yet.
fn owner_of(lock: &Path) -> Option<u32> {
    fs::read_to_string(lock).ok()?.trim().parse().ok()
}

/// Whether a process runs. Where that cannot be seen it is taken to.
fn is_alive(process: u32) -> bool {
    let all = Path::new("/proc");
    !all.join("self").exists() || all.join(process.to_string()).exists()
}

/// Fills the memory from its file, if there is one and it does not hold `known`.
pub(crate) fn restore(
    captioner: &mut Captioner,
    path: &Path,
    known: Option<&[u8]>,
) -> Result<(), Failure> {
    let snapshot = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|error| at(path, &error))?,
    };
    if known == Some(&snapshot) {
        return Ok(());
    }
    take_in(captioner, &snapshot).map_err(|error| at(path, &*error))
}

/// Fills the memory from the bytes of a file. Another model's is encoded anew.
fn take_in(captioner: &mut Captioner, snapshot: &[u8]) -> Result<(), Failure> {
    if captioner.is_own_memory(snapshot)? {
        return Ok(captioner.reload_memory(snapshot)?);
    }
    let mut adoption = captioner.begin_adoption(snapshot)?;
    while captioner.adopt_next(&mut adoption)? {}
    captioner.reload_memory(&captioner.adopted_memory(&adoption))?;
    let (total, left) = (adoption.total(), adoption.left());
    eprintln!(
        "bitmar: the memory is another model's: {} of {total} photos taken over",
        total - left
    );
    Ok(())
}

/// Writes the memory to its file, and returns what it wrote. One of another model that is there is kept beside it.
pub(crate) fn store(captioner: &Captioner, path: &Path) -> Result<Vec<u8>, Failure> {
    if let Ok(old) = fs::read(path) {
        if !captioner.is_own_memory(&old)? {
            replace(&beside(path, &format!(".{}.old", &sha256(&old)[..12]))?, &old)?;
        }
    }
    let snapshot = captioner.export_memory();
    replace(path, &snapshot)?;
    Ok(snapshot)
}

/// Writes beside, then renames: the old file stays whole until the new one is.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let new = beside(path, &format!(".{}.tmp", std::process::id()))?;
    let written = fs::write(&new, bytes).and_then(|()| fs::rename(&new, path));
    written.map_err(|error| {
        // Nothing is lost if it is not there.
        let _ = fs::remove_file(&new);
        at(path, &error)
    })
}

/// The file of this name with something behind it.
fn beside(path: &Path, ending: &str) -> Result<PathBuf, Failure> {
    let mut name = path.file_name().map(OsStr::to_owned).ok_or("the memory needs a file name")?;
    name.push(ending);
    Ok(path.with_file_name(name))
}
