//! The native command line by itself, outside the checkout; tests/e2e/command-lines.test.js holds
//! it to the same behavior as `npx bitmar`.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should fail")]

use std::path::Path;
use std::process::{Command, Output};

const CAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/photos/cat.jpg");

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitmar"));
    command.env_remove("BITMAR_MODEL_DIR").current_dir(folder).args(arguments);
    command.output().unwrap()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_correction_is_recalled_listed_exported_and_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    succeeded(&run(&["correct", "--memory", "memory", CAT, "Rex, not a cat"]));
    let caption = succeeded(&run(&["--no-write", "--memory", "memory", CAT]));
    assert_eq!(caption, format!("{CAT}: Rex, not a cat\n"));
    let list = || succeeded(&run(&["memory", "list", "--memory", "memory"]));
    assert_eq!(list(), "0\tcorrected\trecalled 0\tRex, not a cat\n");
    let exported = run(&["memory", "export", "--memory", "memory"]).stdout;
    assert_eq!(exported, std::fs::read(folder.path().join("memory")).unwrap());
    succeeded(&run(&["memory", "clear", "--memory", "memory"]));
    assert_eq!(list(), "");
    let files = std::fs::read_dir(folder.path()).unwrap();
    assert_eq!(files.count(), 1, "nothing is left next to the memory");
}

#[test]
fn a_wrong_command_line_and_a_failed_photo_have_exit_codes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &["memory", "list"]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &["nowhere.jpg"]).status.code(), Some(1));
}
