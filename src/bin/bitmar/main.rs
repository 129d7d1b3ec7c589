//! `bitmar`: captions photos, and shows and teaches the memory, on the command line. `npx bitmar`
//! (pkg/bin) takes the same commands and prints the same: tests/e2e/command-lines.test.js.

use std::io::{stderr, ErrorKind, Write};
use std::process::ExitCode;

use serde::Serialize;

mod arguments;
mod commands;
mod failure;
mod lock;
mod memory_file;
mod model_files;
mod output;

use arguments::Arguments;
use failure::{reason, CodedError, Failure};
use output::{print_json, report};

/// The line of JSON for a command that failed.
#[derive(Serialize)]
struct ErrorLine {
    error: CodedError,
}

fn main() -> ExitCode {
    match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => {
            commands::run(&arguments).unwrap_or_else(|failure| explain(failure, arguments.json))
        }
        Err(failure) => explain(failure, false),
    }
}

/// Says why the command failed.
fn explain(failure: Failure, json: bool) -> ExitCode {
    match failure {
        Failure::Usage(message) => {
            report(&message);
            // Nobody is left who could be told that this fails.
            let _ = writeln!(stderr(), "Try `bitmar --help`.");
            ExitCode::from(2)
        }
        // The reader of our output wants no more of it.
        Failure::Output(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Failure::Output(error) => {
            report(&format!("cannot write to standard output: {}", reason(&error)));
            ExitCode::FAILURE
        }
        Failure::Coded(error) => {
            report(&error.message);
            if json {
                // The command fails anyway, and standard error has the reason.
                let _ = print_json(&ErrorLine { error });
            }
            ExitCode::FAILURE
        }
    }
}
