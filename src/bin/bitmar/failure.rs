//! Why a command failed, and the exit status that says so.

use std::io;
use std::path::Path;

use serde::Serialize;

/// Why a command failed.
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// Standard output cannot be written.
    Output(io::Error),
    /// Anything else.
    Coded(CodedError),
}

/// An error as programs see it.
#[derive(Serialize)]
pub(crate) struct CodedError {
    /// One of [`bitmar::Error::code`], or `storage` for a memory file that cannot be used.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl CodedError {
    /// The error of a file that cannot be read or written.
    pub(crate) fn of_file(code: &'static str, path: &Path, error: &io::Error) -> Self {
        Self { code, message: format!("{}: {}", path.display(), reason(error)) }
    }

    /// The same error with the name of the file it is about.
    pub(crate) fn at(self, path: &Path) -> Self {
        Self { message: format!("{}: {}", path.display(), self.message), ..self }
    }
}

impl From<bitmar::Error> for CodedError {
    fn from(error: bitmar::Error) -> Self {
        Self { code: error.code(), message: error.to_string() }
    }
}

impl From<bitmar::Error> for Failure {
    fn from(error: bitmar::Error) -> Self {
        Self::Coded(error.into())
    }
}

impl From<CodedError> for Failure {
    fn from(error: CodedError) -> Self {
        Self::Coded(error)
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

/// The system's reason in the words of `npx bitmar`: without the number, in lower case.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
