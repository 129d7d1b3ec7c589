//! Reads and writes whole files with errors that name the file.

use std::path::Path;

use anyhow::{Context, Result};

/// The bytes of `file`.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Writes `bytes` to a temporary file and renames it to `file`, which is therefore either whole or
/// absent.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = file.with_extension("part");
    let written =
        std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, file));
    written.with_context(|| format!("cannot write {}", file.display()))
}
