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
    /// Pictures that the database refers to, and whose file is missing.
    pub missing: Vec<AssetToken>,
    /// Pictures whose file has another size than the database says.
    pub damaged: Vec<AssetToken>,
    /// Files that are named like pictures, and that nothing in the database accounts for.
    pub unknown: Vec<AssetToken>,
    /// Their bytes.
    pub unknown_bytes: u64,
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

    /// How many findings there are.
    pub fn count(&self) -> usize {
        self.checks.iter().map(|(_, findings)| findings.len()).sum()
    }
}
