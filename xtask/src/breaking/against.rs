//! The documents to compare with: those of a git revision, or one file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::document::source::Source;

/// Where the old documents come from.
pub enum Against {
    /// Every `spec/*.yaml` of a git revision.
    Revision(String),
    /// One file, an older state of the document of the same name.
    File(PathBuf),
}

impl Against {
    /// A path to a file is that file, anything else a revision.
    pub fn new(text: &str) -> Self {
        match Path::new(text).is_file() {
            true => Self::File(PathBuf::from(text)),
            false => Self::Revision(text.to_owned()),
        }
    }

    /// Loads the old documents of the checkout at `root`.
    pub fn load(&self, root: &Path) -> Result<Vec<Source>> {
        match self {
            Self::Revision(revision) => at_revision(root, revision),
            Self::File(file) => Ok(vec![from_file(file)?]),
        }
    }

    /// Whether a document that is missing here did not exist then. One file says nothing of the other documents.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Revision(_))
    }
}

fn from_file(file: &Path) -> Result<Source> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = stem.with_context(|| format!("{} has no name", file.display()))?;
    Source::parse(name, text).with_context(|| format!("reading {}", file.display()))
}

fn at_revision(root: &Path, revision: &str) -> Result<Vec<Source>> {
    let wanted = format!("{revision}^{{commit}}");
    let commit = git(root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted])
        .with_context(|| format!("`{revision}` is neither a file nor a git revision; give --against one of them"))?;
    let commit = commit.trim();
    let files = git(root, &["ls-tree", "--name-only", commit, "spec/"])?;
    let names = files.lines().filter_map(|file| file.strip_prefix("spec/")?.strip_suffix(".yaml"));
    names.map(|name| document_at(root, revision, commit, name)).collect()
}

fn document_at(root: &Path, revision: &str, commit: &str, name: &str) -> Result<Source> {
    let text = git(root, &["show", &format!("{commit}:./spec/{name}.yaml")])?;
    Source::parse(name.to_owned(), text).with_context(|| format!("reading the document of {revision}"))
}

/// What git prints.
fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    let run = Command::new("git").arg("-C").arg(root).args(arguments).output();
    let output = run.context("running git, which finds the old documents; install it or compare with a file")?;
    if !output.status.success() {
        let reported = String::from_utf8_lossy(&output.stderr);
        bail!("git {} failed {}", arguments.join(" "), reported.trim());
    }
    String::from_utf8(output.stdout).context("git printed what is not UTF-8")
}
