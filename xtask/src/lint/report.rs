//! What the rules find.

use crate::document::cursor::Cursor;

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The name of the rule.
    pub rule: &'static str,
    /// The file, seen from the root of the checkout.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The place in the document, such as `#/components/schemas/Point`.
    pub pointer: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

/// Takes the findings of the rule that is being checked.
#[derive(Default)]
pub(super) struct Report {
    pub(super) rule: &'static str,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// Adds a finding at a place of a document.
    pub(super) fn add(&mut self, place: &Cursor<'_>, problem: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding {
            rule: self.rule,
            path: place.source.path.clone(),
            line: place.line,
            pointer: place.pointer.clone(),
            problem: problem.into(),
            fix: fix.into(),
        });
    }

    /// Adds a finding about a file or a folder itself.
    pub(super) fn add_file(&mut self, path: String, problem: &str, fix: &str) {
        let (problem, fix) = (problem.to_owned(), fix.to_owned());
        self.findings.push(Finding { rule: self.rule, path, line: 1, pointer: "#".to_owned(), problem, fix });
    }

    /// Whether nothing has been found so far.
    pub(super) fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }
}
