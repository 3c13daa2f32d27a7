//! Printing. A closed pipe is not an error, and control characters do not reach the terminal.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Seek, Write};

use anyhow::Context;

/// Prints text and a newline on standard output.
pub fn print(text: &str) -> anyhow::Result<()> {
    write(&escaped(text))
}

/// Prints a script unchanged.
pub fn print_script(script: &str) -> anyhow::Result<()> {
    write(script)
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut output = anstream::stdout().lock();
    match writeln!(output, "{}", text.trim_end_matches('\n')).and_then(|()| output.flush()) {
        // The reader has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot write to standard output"),
    }
}

/// Copies a file to standard output, unchanged.
pub fn print_file(file: &mut File) -> io::Result<()> {
    file.rewind()?;
    let mut output = io::stdout().lock();
    match io::copy(file, &mut output).and_then(|_| output.flush()) {
        // The reader has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Prints JSON over several lines.
pub fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// Prints a note or an error on standard error.
pub fn note(text: &str) {
    // Standard error may be closed.
    let _ = writeln!(anstream::stderr(), "imgopen: {}", escaped(text));
}

/// Escapes control characters except newlines: much of the text comes from servers and could otherwise control the
/// terminal.
fn escaped(text: &str) -> Cow<'_, str> {
    let is_control = |c: char| c.is_control() && c != '\n';
    if !text.contains(is_control) {
        return text.into();
    }
    let shown = |c: char| if is_control(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect::<String>().into()
}

/// Prints JSON on one line, for streams of JSON.
pub fn print_line(value: &serde_json::Value) -> anyhow::Result<()> {
    print(&value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped("bad \u{1b}[31mred\u{9b}2J\r\u{7f}"), "bad \\u{1b}[31mred\\u{9b}2J\\r\\u{7f}");
        assert_eq!(escaped("plain\n  犬 \\u{1b}"), "plain\n  犬 \\u{1b}");
    }
}
