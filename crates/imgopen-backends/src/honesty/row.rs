//! A row of the table.

use serde_json::Value;

use crate::kind::Kind;

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// The back end does what is asked.
    Honoured,
    /// It is done before or after the back end works, with the same result.
    ByUs,
    /// The back end does something close to it, and the result says so.
    Approximated,
    /// Honoured if the back end's own lists have the value, and refused otherwise.
    IfListed,
    /// Refused when the task is submitted.
    Refused,
    /// For the service, not for the back end.
    Service,
}

/// What one kind of back end does with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// What becomes of the field.
    pub treatment: Treatment,
    /// How, or why not. Empty if there is nothing to add.
    pub text: &'static str,
    /// Whether this was seen in a program that ran, and not only read in its source.
    pub is_verified: bool,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The operations that it holds for.
    pub operations: &'static [&'static str],
    /// The field by its path, such as `controlnet.args[].weight`. A last part of `*` stands for all members that have no
    /// row of their own.
    pub field: &'static str,
    /// The values that ask for nothing, as JSON; they are never refused.
    pub neutral: &'static [&'static str],
    /// One cell for each of [`Kind::ALL`].
    pub cells: [Cell; 3],
}

impl Row {
    /// Returns the cell of a kind of back end.
    pub const fn cell(&self, kind: Kind) -> Cell {
        self.cells[kind as usize]
    }

    /// Returns whether a value asks for nothing.
    pub(super) fn is_neutral(&self, value: &Value) -> bool {
        let text = value.to_string();
        self.neutral.iter().any(|neutral| *neutral == text)
    }
}
