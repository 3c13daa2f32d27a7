//! The contract's own rules: what the documents in `spec/` must keep so that people and generators can rely on them.
//!
//! The rules look at the YAML itself, not at the model, so that they can report everything that is wrong at once.

mod bodies;
mod bounds;
mod contract;
mod descriptions;
mod document;
mod enums;
mod examples;
mod extensions;
mod jobs;
mod leniency;
mod names;
mod operations;
mod parameters;
mod provenance;
mod references;
mod report;
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

use crate::document::contents::Document;
use crate::document::outline::Place;
use crate::document::source::Source;
use contract::Contract;
pub use report::Finding;
use report::Report;

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

/// Checks all documents of the checkout at `root`.
pub fn lint(root: &Path, sources: &[Source]) -> Findings {
    let contract = Contract::new(root, sources);
    let mut report = Report::default();
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
