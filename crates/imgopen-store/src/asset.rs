//! Assets as rows: which file belongs to which task, and until when.

use crate::clock::Moment;
use crate::ids::AssetToken;

/// An asset whose file is written and which now becomes visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAsset {
    /// The token in its URL, which is also the name of its file.
    pub token: AssetToken,
    /// The media type, such as `image/png`.
    pub media_type: &'static str,
    /// The size in bytes.
    pub bytes: u64,
    /// When it is to be deleted, if ever.
    pub expires_at: Option<Moment>,
    /// The name for those who download it; `None` for a picture.
    pub name: Option<String>,
}

/// An asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetRow {
    /// The media type, such as `image/png`.
    pub media_type: String,
    /// The size in bytes.
    pub bytes: u64,
    /// When its task ended.
    pub created_at: Moment,
    /// When it is to be deleted, if ever.
    pub expires_at: Option<Moment>,
    /// When its file was deleted, if it was.
    pub deleted_at: Option<Moment>,
    /// The name for those who download it; `None` for a picture.
    pub name: Option<String>,
}

/// The file of an asset, as its row describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetFile {
    /// Its name.
    pub token: AssetToken,
    /// The size in bytes.
    pub bytes: u64,
    /// When it is to be deleted, if ever.
    pub expires_at: Option<Moment>,
}
