//! Writes the changes for people: the worst first, one line for each change and class.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::compare::Change;
use super::effect::{Class, Effect};

/// Writes all changes, grouped by class, and how many there are for each side.
pub fn report(changes: &[Change], against: &str, out: &mut dyn Write) -> io::Result<()> {
    for class in Class::ALL {
        for change in changes {
            if let Some(side) = side(change.effect, class) {
                write_line(class, side, change, out)?;
            }
        }
    }
    if changes.is_empty() {
        return writeln!(out, "nothing has changed since {against}");
    }
    let (callers, servers) = (summary(changes, |effect| effect.callers), summary(changes, |effect| effect.servers));
    writeln!(out, "since {against}, for callers: {callers}; for servers: {servers}")
}

/// Who takes the change as one of that class.
fn side(effect: Effect, class: Class) -> Option<&'static str> {
    match (effect.callers == class, effect.servers == class) {
        (true, true) => Some("both"),
        (true, false) => Some("callers"),
        (false, true) => Some("servers"),
        (false, false) => None,
    }
}

fn write_line(class: Class, side: &str, change: &Change, out: &mut dyn Write) -> io::Result<()> {
    let Change { path, line, pointer, what, .. } = change;
    let (style, word) = (style(class), class.word());
    let line = line.map_or(String::new(), |line| format!(":{line}"));
    writeln!(out, "{style}{word:<13}{style:#}  {side:<7}  {path}{line} {pointer}: {what}")
}

fn style(class: Class) -> Style {
    match class {
        Class::Breaking => AnsiColor::Red.on_default().bold(),
        Class::Unclassified => AnsiColor::Yellow.on_default().bold(),
        Class::Additive => AnsiColor::Green.on_default(),
        Class::Documentation => AnsiColor::Cyan.on_default(),
    }
}

/// How many changes one side takes as each class.
fn summary(changes: &[Change], side: fn(Effect) -> Class) -> String {
    let count = |class| changes.iter().filter(|change| side(change.effect) == class).count();
    let parts = Class::ALL.map(|class| format!("{} {}", count(class), class.word()));
    parts.join(", ")
}
