//! Reads and writes whole files with errors that name the file.

use std::path::Path;

use anyhow::{Context, Result};

use crate::atomic_file;

/// The bytes of `file`.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Replaces the contents of `file` by `bytes`, as [`atomic_file::replace`] does.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    atomic_file::replace(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}
