//! The command line's memory, as a person uses it, with the shipped model.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const CAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/photos/cat.jpg");
const COFFEE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/photos/coffee.jpg");

/// A folder for one test's files, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bitmar-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn memory(&self) -> PathBuf {
        self.0.join("memory.safetensors")
    }

    /// Names of the files in it.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in the way of nothing.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(memory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitmar"));
    command.env_remove("BITMAR_MODEL_DIR").args(arguments).arg("--memory").arg(memory);
    command.output().unwrap()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn list(memory: &Path) -> String {
    succeeded(&run(memory, &["memory", "list"]))
}

#[test]
fn a_correction_is_listed_exported_and_cleared() {
    let folder = Folder::new("correct");
    let memory = folder.memory();
    succeeded(&run(&memory, &["correct", CAT, "Rex, not a cat"]));
    assert_eq!(list(&memory), "0\tcorrected\trecalled 0\tRex, not a cat\n");
    let json = succeeded(&run(&memory, &["memory", "list", "--json"]));
    assert!(
        json.starts_with(r#"{"slot":0,"caption":"Rex, not a cat","corrected":true,"#),
        "{json}"
    );
    let exported = run(&memory, &["memory", "export"]).stdout;
    assert_eq!(exported, std::fs::read(&memory).unwrap());
    succeeded(&run(&memory, &["memory", "clear"]));
    assert_eq!(list(&memory), "");
    assert_eq!(folder.files(), ["memory.safetensors"], "nothing is left beside it");
}

#[test]
fn one_photo_is_forgotten_and_an_export_is_put_in_the_place_of_the_memory() {
    let folder = Folder::new("import");
    let memory = folder.memory();
    succeeded(&run(&memory, &["correct", CAT, "Rex"]));
    let exported = folder.0.join("exported");
    std::fs::write(&exported, run(&memory, &["memory", "export"]).stdout).unwrap();
    succeeded(&run(&memory, &["correct", COFFEE, "A cup"]));
    succeeded(&run(&memory, &["memory", "delete", "0"]));
    assert_eq!(list(&memory), "1\tcorrected\trecalled 0\tA cup\n");
    for (slot, expected) in
        [("0", "slot 0 holds no episode"), ("first", "expected a slot's number")]
    {
        let output = run(&memory, &["memory", "delete", slot]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
    let before = std::fs::read(&memory).unwrap();
    assert!(!run(&memory, &["memory", "import", CAT]).status.success(), "a photo is no memory");
    assert_eq!(std::fs::read(&memory).unwrap(), before);
    succeeded(&run(&memory, &["memory", "import", exported.to_str().unwrap()]));
    assert_eq!(list(&memory), "0\tcorrected\trecalled 0\tRex\n");
}

#[test]
fn captions_are_remembered_unless_told_otherwise() {
    let folder = Folder::new("caption");
    let memory = folder.memory();
    succeeded(&run(&memory, &["caption", "--no-write", CAT]));
    assert_eq!(folder.files(), [""; 0]);
    succeeded(&run(&memory, &["caption", CAT, COFFEE]));
    assert!(list(&memory).starts_with("0\tcaptioned\t"), "{}", list(&memory));
    let before = std::fs::read(&memory).unwrap();
    succeeded(&run(&memory, &["caption", "--no-write", CAT]));
    assert_eq!(std::fs::read(&memory).unwrap(), before);
}

#[test]
fn a_damaged_memory_is_refused_and_left_as_it_is() {
    let folder = Folder::new("damaged");
    let memory = folder.memory();
    succeeded(&run(&memory, &["correct", CAT, "Rex"]));
    let mut bytes = std::fs::read(&memory).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&memory, &bytes).unwrap();
    for arguments in [
        &["caption", CAT][..],
        &["correct", CAT, "Mia"],
        &["memory", "list"],
        &["memory", "export"],
    ] {
        let output = run(&memory, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("bad memory snapshot"), "{said}");
    }
    assert_eq!(std::fs::read(&memory).unwrap(), bytes);
}

#[test]
fn another_models_memory_is_taken_over_and_kept_beside() {
    let folder = Folder::new("foreign");
    let memory = folder.memory();
    succeeded(&run(&memory, &["correct", CAT, "Rex"]));
    let mut bytes = std::fs::read(&memory).unwrap();
    let name = b"\"model_sha256\":\"";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    bytes[at..at + 64].fill(b'0');
    std::fs::write(&memory, &bytes).unwrap();
    assert_eq!(list(&memory), "0\tcorrected\trecalled 0\tRex\n");
    assert_eq!(std::fs::read(&memory).unwrap(), bytes, "looking changes nothing");
    succeeded(&run(&memory, &["correct", COFFEE, "A cup"]));
    assert!(list(&memory).contains("A cup"));
    let files = folder.files();
    assert_eq!(files.len(), 2);
    assert_eq!(std::fs::read(folder.0.join(&files[1])).unwrap(), bytes, "{files:?}");
}

#[test]
fn what_needs_a_memory_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_bitmar")).args(["memory", "list"]).output();
    let output = output.unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--memory"));
}

#[test]
fn several_command_lines_at_once_lose_nothing_of_what_the_others_learn() {
    let folder = Folder::new("at-once");
    let memory = folder.memory();
    let photos = [(CAT, "my cat"), (COFFEE, "my cup")];
    let lock = memory.with_file_name("memory.safetensors.lock");
    // Who is gone holds nobody up.
    let mut gone = Command::new(env!("CARGO_BIN_EXE_bitmar"));
    let mut gone = gone.arg("help").stdout(Stdio::null()).spawn().unwrap();
    gone.wait().unwrap();
    std::fs::write(&lock, gone.id().to_string()).unwrap();
    let at_once = |arguments: &(dyn Fn(usize) -> Vec<&'static str> + Sync)| {
        std::thread::scope(|scope| {
            let run = |i| run(&memory, &arguments(i));
            let runs: Vec<_> = (0..4).map(|i| scope.spawn(move || run(i))).collect();
            for run in runs {
                succeeded(&run.join().unwrap());
            }
        });
    };
    at_once(&|i| vec!["correct", photos[i % 2].0, photos[i % 2].1]);
    at_once(&|i| vec!["caption", photos[i % 2].0]);
    let list = list(&memory);
    for (_, text) in photos {
        assert!(list.contains(&format!("corrected\trecalled 2\t{text}\n")), "{list}");
    }
    assert_eq!(folder.files(), ["memory.safetensors"], "nothing is left beside it");
}
