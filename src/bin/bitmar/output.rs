//! What is printed, and how. Names of files and remembered captions may hold control characters: a
//! terminal must not obey them.

use std::borrow::Cow;
use std::io::{stderr, stdout, IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Writes to standard output, at once.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::Output)
}

pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    print(format!("{line}\n").as_bytes())
}

/// Prints a line of JSON. It holds no control character, on a terminal or not.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print_line(&escaped(&serde_json::to_string(value).expect("our own types have a JSON form")))
}

/// The text as standard output may show it.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if stdout().is_terminal() {
        escaped(text).into()
    } else {
        text.into()
    }
}

/// Writes a line to standard error.
pub(crate) fn report(message: &str) {
    let message = if stderr().is_terminal() { escaped(message) } else { message.to_owned() };
    // Nobody is left who could be told that this fails.
    let _ = writeln!(stderr(), "bitmar: {message}");
}

/// The text with `\u001b` for what a terminal obeys: control characters, and those that reverse the
/// direction of what follows.
fn escaped(text: &str) -> String {
    let is_obeyed = |character: char| {
        let reverses = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        character.is_control() || reverses
    };
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_obeyed(character) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            escaped.push(character);
        }
    }
    escaped
}
