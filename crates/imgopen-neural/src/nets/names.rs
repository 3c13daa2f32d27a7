//! The names of the packs whose nets are run.

/// The packs whose nets are run.
pub(super) const PACKS: [&str; 6] = [BACKGROUND, FACES, PORTRAIT, SAFETY, TAGS, UPSCALE];

pub(crate) const BACKGROUND: &str = "background";
pub(crate) const FACES: &str = "faces";
pub(crate) const PORTRAIT: &str = "portrait";
pub(crate) const SAFETY: &str = "safety";
pub(crate) const TAGS: &str = "tags";
pub(crate) const UPSCALE: &str = "upscale";
