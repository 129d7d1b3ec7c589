//! Replaces files as a whole: whoever reads the file finds its old contents or its new ones, and
//! after a crash in between it still has the old ones.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Resolves symbolic links. The file need not exist.
///
/// # Errors
///
/// If a link or a folder cannot be read, or links form a cycle.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    // A link to a file that does not exist yet. A cycle of links is another error than NotFound.
    match fs::read_link(path) {
        Ok(target) => resolve(&path.parent().unwrap_or(Path::new("")).join(target)),
        Err(_) => Ok(path.to_owned()),
    }
}

/// Replaces the contents of the file at `path` by `bytes`: writes a temporary file in its folder,
/// then renames that. A symbolic link stays a link, the new file has the old one's mode, and what
/// is no regular file, such as a pipe, is written in place.
///
/// # Errors
///
/// If the file cannot be written. The old file then stays as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = resolve(path)?;
    let old = fs::metadata(&path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return fs::write(path, bytes);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    let mut new = tempfile::Builder::new()
        .prefix(&name)
        .suffix(".tmp")
        // Not tempfile's default mode, which makes the file private to the user.
        .make_in(folder.unwrap_or(Path::new(".")), |path| File::create_new(path))?;
    if let Some(old) = old {
        new.as_file().set_permissions(old.permissions())?;
    }
    new.write_all(bytes)?;
    new.persist(path)?;
    Ok(())
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use std::os::unix::fs::{symlink, PermissionsExt};

    use super::*;

    #[test]
    fn a_link_stays_a_link_and_its_file_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("real")).unwrap();
        fs::write(at("real/file"), "old").unwrap();
        fs::set_permissions(at("real/file"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real/file", at("link")).unwrap();
        replace(&at("link"), b"new").unwrap();
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert_eq!(fs::read(at("real/file")).unwrap(), b"new");
        assert_eq!(fs::metadata(at("real/file")).unwrap().permissions().mode() & 0o777, 0o640);
        // No temporary file is left in either folder.
        let count = |folder: PathBuf| fs::read_dir(folder).unwrap().count();
        assert_eq!((count(at("")), count(at("real"))), (2, 1));
    }

    #[test]
    fn a_link_to_a_file_that_does_not_exist_creates_that_file() {
        let folder = tempfile::tempdir().unwrap();
        symlink("new", folder.path().join("link")).unwrap();
        replace(&folder.path().join("link"), b"bytes").unwrap();
        assert!(fs::symlink_metadata(folder.path().join("link")).unwrap().is_symlink());
        assert_eq!(fs::read(folder.path().join("new")).unwrap(), b"bytes");
    }

    #[test]
    fn what_is_no_regular_file_is_written_in_place() {
        replace(Path::new("/dev/null"), b"bytes").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
