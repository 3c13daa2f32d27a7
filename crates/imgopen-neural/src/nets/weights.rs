//! A net's model file: where it is from, and what is known of it without loading it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use imgopen_nets::ModelFile;

/// What there is of a pack, or for a role.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    Missing,
    /// It is there, but cannot be used, for this reason, which ends with what to do.
    Broken(String),
    Whole(Arc<[Weights]>),
}

/// A model file.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    pub origin: Origin,
    pub path: PathBuf,
    /// What is known of it without loading it.
    pub file: Arc<ModelFile>,
}

/// Where a model file is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The pack of that name.
    Pack(&'static str),
    /// The operator has put it into this folder of the models directory.
    Own(String),
}

impl Weights {
    /// Returns where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many bytes a run takes beside the pictures: the weights, and for inputs of these shapes `working`, or if the
    /// file does not determine that, `least`.
    pub fn memory(&self, inputs: &[(&str, &[usize])], least: u64) -> u64 {
        let working = self.file.working(inputs).ok().flatten().unwrap_or(least);
        self.file.weights().saturating_add(working)
    }

    /// Says which net it is, for people.
    pub fn described(&self) -> String {
        let from = match &self.origin {
            Origin::Pack(pack) => format!("of the pack `{pack}`"),
            Origin::Own(folder) => format!("of your own in `{folder}/`"),
        };
        format!("{} {from}", named(self.file.name(), self.file.hash()))
    }

    /// Appends to a problem of the file what to do about it.
    pub fn with_remedy(&self, problem: &str) -> String {
        match &self.origin {
            Origin::Pack(pack) => with_pull(problem, pack),
            Origin::Own(folder) => format!(
                "{problem}; replace the file in `{folder}/` in the models directory, or touch it to have it tried again"
            ),
        }
    }
}

/// Names a model file for people, with the first digits of its SHA-256.
pub(crate) fn named(file: &str, hash: &str) -> String {
    const DIGITS: usize = 12;
    let digits = hash.get(..DIGITS).unwrap_or(hash);
    format!("`{file}` (SHA-256 {digits}…)")
}

/// Appends what to do about a pack.
pub(crate) fn with_pull(problem: &str, pack: &str) -> String {
    format!("{problem}; pull it again with `imgopen models pull {pack}`")
}
