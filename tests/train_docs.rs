//! Every `bitmar-train` line of the documents is one that the program accepts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The Markdown files of the repository's root and of `docs`.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join("docs")];
    let mut entries: Vec<_> = std::fs::read_dir(root).unwrap().collect();
    while let Some(folder) = folders.pop() {
        entries.extend(std::fs::read_dir(folder).unwrap());
        let (inner, other): (Vec<PathBuf>, Vec<PathBuf>) =
            entries.drain(..).map(|entry| entry.unwrap().path()).partition(|path| path.is_dir());
        folders.extend(inner.into_iter().filter(|path| path.starts_with(root.join("docs"))));
        files.extend(other.into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    files
}

/// The names of the commands, as `bitmar-train --help` lists them.
fn commands() -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_bitmar-train")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let names = help.lines().filter_map(|line| line.strip_prefix("  "));
    let names = names.filter(|line| line.starts_with(char::is_alphabetic));
    names.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// The arguments of each call of `bitmar-train` in a code block or code span, and of each code span
/// that begins with one of `commands` and an option. A span that only names the program is no call.
fn calls(markdown: &str, commands: &[String]) -> Vec<Vec<String>> {
    let markdown = markdown.replace("\\\n", " ");
    let mut calls = Vec::new();
    // Blocks lie between "```" and have a call a line; a span between single marks is one call.
    for (number, part) in markdown.split("```").enumerate() {
        let is_block = number % 2 == 1;
        let lines: Vec<&str> = if is_block {
            part.lines().collect()
        } else {
            part.split('`').skip(1).step_by(2).collect()
        };
        for line in lines {
            let line = line.split(" #").next().unwrap_or_default();
            let words = line.split_whitespace().take_while(|&word| word != ">");
            let words: Vec<String> = words.map(String::from).collect();
            match words.as_slice() {
                [program, call @ ..] if program == "bitmar-train" => calls.push(call.to_vec()),
                [command, option, ..] if commands.contains(command) && option.starts_with("--") => {
                    calls.push(words);
                }
                _ => {}
            }
        }
    }
    calls.retain(|words: &Vec<String>| !words.is_empty());
    calls
}

#[test]
fn the_program_accepts_every_documented_call() {
    let (commands, mut count) = (commands(), 0);
    for file in documents() {
        for words in calls(&std::fs::read_to_string(&file).unwrap(), &commands) {
            let words = words.iter().map(|word| match word.as_str() {
                // Placeholders for any command and any part of the method.
                "COMMAND" => "text",
                "PART" => "memory",
                word => word,
            });
            let words: Vec<&str> = words.collect();
            // `--help` comes last, so that options and values before it are parsed, and nothing is
            // run.
            let mut program = Command::new(env!("CARGO_BIN_EXE_bitmar-train"));
            let output = program.args(&words).arg("--help").output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {words:?}\n{error}", file.display());
            count += 1;
        }
    }
    assert!(count > 30, "found only {count} calls");
}

#[test]
fn an_option_or_value_that_does_not_exist_is_refused_before_help() {
    for line in ["eval --steps 3 --help", "text --without patch --help", "no-such --help"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_bitmar-train"));
        let output = program.args(line.split(' ')).output().unwrap();
        assert!(!output.status.success(), "{line}");
    }
}
