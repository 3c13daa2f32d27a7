//! The contract's own rules: what the documents in `spec/` must keep so that people and generators can rely on them.
//!
//! The rules look at the YAML itself, not at the model, so that they can report everything that is wrong at once.

mod bodies;
mod bounds;
pub(crate) mod contract;
pub(crate) mod cursor;
mod descriptions;
mod document;
mod enums;
mod examples;
mod extensions;
mod jobs;
mod leniency;
mod names;
mod operations;
pub(crate) mod outline;
mod parameters;
mod provenance;
mod references;
mod reserved;
mod roles;
mod rules;
mod schemas;
mod strict;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use anstyle::AnsiColor;

use crate::spec::Source;
use contract::{Contract, Document};
use cursor::Cursor;
use outline::Place;

/// What came of checking all documents.
#[derive(Debug)]
pub struct Findings {
    /// What breaks a rule, in the order of the documents and their lines.
    pub list: Vec<Finding>,
    /// One line for each document: how much of it was checked and what came of it.
    summaries: Vec<String>,
}

impl Findings {
    /// Whether the documents keep all rules.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How often the documents break a rule.
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

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

/// Checks all documents of the checkout at `root`.
pub fn lint(root: &Path, sources: &[Source]) -> Findings {
    let contract = Contract::new(root, sources);
    let mut report = Report { rule: "", findings: Vec::new() };
    for rule in rules::RULES {
        report.rule = rule.name;
        (rule.check)(&contract, &mut report);
    }
    let rank = |finding: &Finding| sources.iter().position(|source| source.path == finding.path).unwrap_or(usize::MAX);
    let mut list = report.findings;
    list.sort_by_key(|finding| (rank(finding), finding.path.clone(), finding.line));
    let summaries = contract.documents.iter().map(|document| summary(document, &list)).collect();
    Findings { list, summaries }
}

/// Writes the findings for people, then why the broken rules exist, and last how much was checked.
pub fn report(findings: &Findings, out: &mut dyn Write) -> io::Result<()> {
    let (rule_style, fix_style) = (AnsiColor::Red.on_default().bold(), AnsiColor::Cyan.on_default());
    for Finding { rule, path, line, pointer, problem, fix } in &findings.list {
        writeln!(out, "{path}:{line}: {rule_style}[{rule}]{rule_style:#} {pointer}: {problem}")?;
        writeln!(out, "    {fix_style}fix:{fix_style:#} {fix}")?;
    }
    let broken: BTreeSet<_> = findings.list.iter().map(|finding| finding.rule).collect();
    for rule in rules::RULES.iter().filter(|rule| broken.contains(rule.name)) {
        writeln!(out, "{rule_style}[{}]{rule_style:#} {}", rule.name, rule.reason)?;
    }
    for line in &findings.summaries {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// How much of a document was checked and what came of it.
fn summary(document: &Document<'_>, findings: &[Finding]) -> String {
    let path = &document.root.source.path;
    let found = findings.iter().filter(|finding| finding.path == *path).count();
    let (operations, schemas) = (document.operations.len(), document.all(Place::Component).count());
    let checked = format!("{} and {}", counted(operations, "operation"), counted(schemas, "schema"));
    format!("{path}: {} in {checked}", counted(found, "finding"))
}

/// A number of things in words, such as `1 finding`.
fn counted(count: usize, thing: &str) -> String {
    match count {
        0 => format!("no {thing}s"),
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

/// Takes the findings of the rule that is being checked.
struct Report {
    rule: &'static str,
    findings: Vec<Finding>,
}

impl Report {
    /// Adds a finding at a place of a document.
    fn add(&mut self, place: &Cursor<'_>, problem: impl Into<String>, fix: impl Into<String>) {
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
    fn add_file(&mut self, path: String, problem: &str, fix: &str) {
        let (problem, fix) = (problem.to_owned(), fix.to_owned());
        self.findings.push(Finding { rule: self.rule, path, line: 1, pointer: "#".to_owned(), problem, fix });
    }

    /// Whether nothing has been found so far.
    fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Every schema that can have limits or a set of values.
fn schemas_with_limits<'c, 'a>(contract: &'c Contract<'a>) -> impl Iterator<Item = &'c Cursor<'a>> {
    contract.all(Place::Component).chain(contract.all(Place::Property)).chain(contract.all(Place::Inner))
}
