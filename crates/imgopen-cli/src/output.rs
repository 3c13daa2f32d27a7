//! Printing, in a way that a closed pipe does not turn into a failure.

use std::io::{ErrorKind, Write};

/// Prints text and a line's end.
pub fn print(text: &str) -> anyhow::Result<()> {
    write(text)
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
    anstream::eprintln!("imgopen: {text}");
}

/// Prints JSON on one line, for streams of it.
pub fn print_line(value: &serde_json::Value) -> anyhow::Result<()> {
    print(&value.to_string())
}
