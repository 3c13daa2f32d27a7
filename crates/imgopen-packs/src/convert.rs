//! How the members of an archive become a file of a pack.

use std::ops::RangeInclusive;

use serde::Deserialize;

/// How the members of an archive become a file of a pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Convert {
    /// One member, as it is.
    #[default]
    None,
    /// All members, one behind the other.
    Join,
}

impl Convert {
    /// How many members it takes.
    pub(crate) fn takes(self) -> RangeInclusive<usize> {
        match self {
            Self::None => 1..=1,
            Self::Join => 1..=10_000,
        }
    }

    /// Returns the contents of the file, in pieces that follow each other.
    ///
    /// # Errors
    ///
    /// Says why the members cannot be converted.
    pub(crate) fn apply(self, members: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
        match self {
            Self::None | Self::Join => Ok(members),
        }
    }
}
