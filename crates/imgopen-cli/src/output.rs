//! Printing, in a way that a closed pipe does not turn into a failure.

use std::borrow::Cow;
use std::io::{ErrorKind, Write};

/// Prints text and a line's end.
pub fn print(text: &str) -> anyhow::Result<()> {
    write(&harmless(text))
}

/// Prints a script, byte for byte.
pub fn print_script(script: &str) -> anyhow::Result<()> {
    write(script)
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut output = anstream::stdout().lock();
    match writeln!(output, "{}", text.trim_end_matches('\n')).and_then(|()| output.flush()) {
        // Whoever read has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Prints JSON.
pub fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// Says something that is no result, on standard error.
pub fn note(text: &str) {
    anstream::eprintln!("imgopen: {}", harmless(text));
}

/// Text as a terminal may be shown it: much of it comes from servers, and a control character in it could do anything to
/// the terminal but begin a line.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| c.is_control() && c != '\n';
    if !text.contains(is_harmful) {
        return text.into();
    }
    let shown = |c: char| if is_harmful(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect::<String>().into()
}

/// Prints JSON on one line, for streams of it.
pub fn print_line(value: &serde_json::Value) -> anyhow::Result<()> {
    print(&value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(harmless("bad \u{1b}[31mred\u{9b}2J\r\u{7f}"), "bad \\u{1b}[31mred\\u{9b}2J\\r\\u{7f}");
        assert_eq!(harmless("plain\n  犬 \\u{1b}"), "plain\n  犬 \\u{1b}");
    }
}
