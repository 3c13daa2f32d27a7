//! What was found of the files of pictures.

use imgopen_store::AssetToken;

/// The files of the pictures.
#[derive(Debug, Default)]
pub struct Files {
    /// How many there are.
    pub count: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// How many of them an earlier move has copied.
    pub before: u64,
    /// Pictures that have no file of the right size, or none at all.
    pub missing: Vec<AssetToken>,
}
