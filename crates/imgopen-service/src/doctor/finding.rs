//! What an examination returns.

use std::fmt;

use imgopen_store::{AssetToken, StoreError};
use serde::Serialize;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong, and where.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

impl Finding {
    pub(super) fn new(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { problem: problem.into(), fix: fix.into() }
    }

    /// What a store says, up to the semicolon, and what it advises after that.
    pub(super) fn of(error: &StoreError) -> Self {
        Self::split(&error.to_string(), "see the service's log")
    }

    /// A text up to the semicolon, and what it advises after that, or else this.
    pub(super) fn split(text: &str, otherwise: &str) -> Self {
        let (problem, fix) = text.split_once("; ").unwrap_or((text, otherwise));
        Self::new(problem, fix)
    }

    /// An error of the system on a file or directory.
    pub(super) fn on(what: impl fmt::Display, error: impl fmt::Display, fix: &str) -> Self {
        Self::new(format!("{what}: {error}"), fix)
    }
}

/// The pictures of a data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pictures {
    /// How many pictures the database refers to.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Pictures that the database refers to, and whose file is missing; at most 100,000 of them.
    pub missing: Vec<AssetToken>,
    /// Pictures whose file has another size than the database says; at most 100,000.
    pub damaged: Vec<AssetToken>,
    /// Files that are named like pictures, and that nothing in the database accounts for; at most 100,000.
    pub unknown: Vec<AssetToken>,
    /// The bytes of all of these.
    pub unknown_bytes: u64,
    /// How many there are of each in all.
    pub counts: PictureCounts,
}

/// How many pictures something is wrong with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PictureCounts {
    /// Pictures whose file is missing.
    pub missing: u64,
    /// Pictures whose file has another size.
    pub damaged: u64,
    /// Files that nothing accounts for.
    pub unknown: u64,
}

/// How many pictures of each kind are listed. Of a bucket that belongs to another database, all may be unknown.
const LISTED: usize = 100_000;

impl Pictures {
    pub(super) fn add_missing(&mut self, token: AssetToken) {
        self.counts.missing += 1;
        list(&mut self.missing, token);
    }

    pub(super) fn add_damaged(&mut self, token: AssetToken) {
        self.counts.damaged += 1;
        list(&mut self.damaged, token);
    }

    pub(super) fn add_unknown(&mut self, token: AssetToken, bytes: u64) {
        self.counts.unknown += 1;
        self.unknown_bytes += bytes;
        list(&mut self.unknown, token);
    }
}

fn list(tokens: &mut Vec<AssetToken>, token: AssetToken) {
    if tokens.len() < LISTED {
        tokens.push(token);
    }
}

/// The outcome of an examination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was looked at, each with what is wrong.
    pub checks: Vec<(&'static str, Vec<Finding>)>,
    /// The pictures, if the database could be read.
    pub pictures: Option<Pictures>,
}

impl Report {
    pub(super) fn add(&mut self, check: &'static str, findings: Vec<Finding>) {
        self.checks.push((check, findings));
    }

    /// Adds what a comparison of the pictures with their rows has found.
    pub(super) fn compared(&mut self, outcome: Result<(Pictures, Vec<Finding>), Finding>) {
        match outcome {
            Ok((pictures, findings)) => {
                self.pictures = Some(pictures);
                self.add("pictures", findings);
            }
            Err(finding) => self.add("pictures", vec![finding]),
        }
    }

    /// How many findings there are.
    pub fn count(&self) -> usize {
        self.checks.iter().map(|(_, findings)| findings.len()).sum()
    }
}
