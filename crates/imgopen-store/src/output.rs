//! The result of a task as its row holds it: what an engine made, with its pictures as assets.

use imgopen_types::{Face, StyleLabel};
use serde::{Deserialize, Serialize};

use crate::ids::AssetToken;

/// The result of a task. Each operation fills its own part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskOutput {
    /// The pictures, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<StoredPicture>,
    /// Text about a picture, of `describe_image`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// Expanded prompts, of `expand_prompt`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,
    /// Recognised styles, of `recognize_style`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style_labels: Option<Vec<StyleLabel>>,
    /// Detected faces from left to right, of `detect_faces`. No face is a result too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faces: Option<Vec<Face>>,
}

/// A picture of a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredPicture {
    /// The asset that holds the file.
    pub token: AssetToken,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The seed of its noise, if the operation has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seed: Option<i64>,
}
