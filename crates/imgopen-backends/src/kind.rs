//! The kinds of back end.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A program that generates pictures, by the API that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `sd-server` of stable-diffusion.cpp.
    SdServer,
    /// ComfyUI.
    #[serde(rename = "comfyui")]
    ComfyUi,
    /// The Stable Diffusion web UI of AUTOMATIC1111, or Forge.
    SdWebui,
}

impl Kind {
    /// All kinds, in the order of the columns of the table of fields.
    pub const ALL: [Kind; 3] = [Kind::SdServer, Kind::ComfyUi, Kind::SdWebui];

    /// Returns its name in settings, such as `sd-webui`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::SdServer => "sd-server",
            Kind::ComfyUi => "comfyui",
            Kind::SdWebui => "sd-webui",
        }
    }

    /// Returns the name of the program to show to people.
    pub const fn program(self) -> &'static str {
        match self {
            Kind::SdServer => "sd-server",
            Kind::ComfyUi => "ComfyUI",
            Kind::SdWebui => "A1111 or Forge",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
