//! The cycles that are allowed: a parent that dispatches to its children, which take the parent's type.

use anyhow::{Result, bail};

/// Where visitors are named, and why each is one.
pub const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// A module whose children may refer to it although it refers to them.
#[derive(Debug, PartialEq)]
pub struct Visitor {
    pub package: String,
    pub module: String,
    /// Where ARCHITECTURE.md names it.
    pub line: usize,
}

impl Visitor {
    /// Whether a reference of one module to another is that of a child to this parent.
    pub fn allows(&self, from: &str, to: &str) -> bool {
        to == self.module && from.strip_prefix(&self.module).is_some_and(|rest| rest.starts_with("::"))
    }
}

/// Reads the table below the heading `Visitors`: a crate, a module and the reason in each row.
pub fn read(text: &str) -> Result<Vec<Visitor>> {
    let mut visitors = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') {
            inside = line.trim_start_matches('#').trim() == "Visitors";
        }
        // The table's head and rule hold no backquotes.
        if !inside || !line.starts_with("| `") {
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let code = |cell: &str| cell.strip_prefix('`')?.strip_suffix('`').map(str::to_owned);
        match cells[..] {
            [package, module, reason] if !reason.is_empty() => match (code(package), code(module)) {
                (Some(package), Some(module)) => visitors.push(Visitor { package, module, line: index + 1 }),
                _ => bail!("{ARCHITECTURE}:{}: put the crate and the module into backquotes", index + 1),
            },
            _ => bail!("{ARCHITECTURE}:{}: give a crate, a module and a reason", index + 1),
        }
    }
    Ok(visitors)
}
