//! Output. File names and remembered captions may contain control characters, which a terminal must
//! not obey.

use std::borrow::Cow;
use std::io::{stderr, stdout, IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Writes to standard output and flushes it.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::Output)
}

pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    print(format!("{line}\n").as_bytes())
}

/// Prints a line of JSON, with control characters escaped whether it goes to a terminal or not.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print_line(&escaped(&serde_json::to_string(value).expect("our own types have a JSON form")))
}

/// The text in the form that standard output may show.
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
    // If standard error is closed, there is nowhere to report that.
    let _ = writeln!(stderr(), "bitmar: {message}");
}

/// The text with escapes such as `\u001b` for characters that a terminal obeys: control characters,
/// and those that reverse the direction of the text after them.
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
