//! The variants of FLUX.1 that back ends run.

use imgopen_types::ComfyTaskType;
use serde::{Deserialize, Serialize};

/// A variant of FLUX.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FluxVariant {
    /// FLUX.1 dev.
    Dev,
    /// FLUX.1 schnell.
    Schnell,
}

impl FluxVariant {
    /// Both variants.
    pub(crate) const ALL: [Self; 2] = [Self::Dev, Self::Schnell];

    /// Returns its name in requests, the value of `comfyTaskType`.
    pub(crate) fn wire_name(self) -> &'static str {
        static DEV: ComfyTaskType = ComfyTaskType::Flux1DevFp8;
        static SCHNELL: ComfyTaskType = ComfyTaskType::Flux1SchnellFp8;
        match self {
            Self::Dev => DEV.as_str(),
            Self::Schnell => SCHNELL.as_str(),
        }
    }
}
