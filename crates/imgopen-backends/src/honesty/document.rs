//! The table as a page of documentation.

use std::fmt::Write as _;

use super::row::{Cell, Treatment};
use super::table::ROWS;
use crate::kind::Kind;

const OPERATIONS: [&str; 4] = ["text_to_image", "image_to_image", "controlnet", "flux_text_to_image"];

const HEAD: &str = "\
# What back ends do with each field

Generated from `src/honesty/table.rs`, by which requests are also checked.

- **yes**: the back end does what is asked.
- **by us**: done before or after the back end works, with the same result.
- **near**: approximated; the result has a note.
- **if listed**: yes if the back end's own lists have the value, refused otherwise.
- **no**: refused when the task is submitted, with this reason.
- **\u{2013}**: for the service, not for the back end.

A star marks what was read in the program's source and not seen in a program that ran. `*` as a field stands for members
that no other row names.
";

/// Returns the table as Markdown.
pub fn document() -> String {
    let mut page = HEAD.to_owned();
    for operation in OPERATIONS {
        let _ = write!(page, "\n## `{operation}`\n\n| field |");
        Kind::ALL.iter().for_each(|kind| {
            let _ = write!(page, " {} |", kind.program());
        });
        page.push_str("\n|---|---|---|---|\n");
        for row in ROWS.iter().filter(|row| row.operations.contains(&operation)) {
            let _ = write!(page, "| `{}` |", row.field);
            row.cells.iter().for_each(|cell| {
                let _ = write!(page, " {} |", shown(*cell));
            });
            page.push('\n');
        }
    }
    page
}

fn shown(cell: Cell) -> String {
    let word = match cell.treatment {
        Treatment::Honoured => "yes",
        Treatment::ByUs => "by us",
        Treatment::Approximated => "near",
        Treatment::IfListed => "if listed",
        Treatment::Refused => "no",
        Treatment::Service => "\u{2013}",
    };
    let star = if cell.is_verified { "" } else { "\\*" };
    let text = if cell.text.is_empty() { String::new() } else { format!(": {}", cell.text) };
    format!("**{word}**{star}{text}")
}
