//! Printing, in a way that a closed pipe does not turn into a failure.

use std::io::{ErrorKind, Write};

/// Prints text and a line's end.
pub fn print(text: &str) -> anyhow::Result<()> {
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
