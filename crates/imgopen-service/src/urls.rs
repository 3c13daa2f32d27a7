//! The URLs under which callers reach the service.

use imgopen_store::AssetToken;

/// The URLs of pictures.
#[derive(Debug, Clone)]
pub struct Urls {
    /// The service's own address, without a slash at its end.
    pub base: String,
}

impl Urls {
    /// Returns the URL of an asset.
    pub fn asset(&self, token: &AssetToken) -> String {
        format!("{}/assets/{token}", self.base)
    }

    /// Returns the URL of the latest intermediate picture of a running task.
    pub fn preview(&self, token: &AssetToken) -> String {
        format!("{}/previews/{token}", self.base)
    }
}
