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
    /// The files beside pictures, of `submit_training`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<StoredFile>,
    /// What differs from the request, or could not be verified, in sentences for the caller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
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
    /// What an audit found in it; nothing, if it passed. `None` if it was not audited.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub audit: Option<Vec<StoredLabel>>,
}

/// What an audit found in a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredLabel {
    /// The name, such as `nsfw`.
    pub label: String,
    /// How likely the picture shows it, from 0 to 1.
    pub confidence: f64,
}

/// A file of a result that is not a picture, such as a trained LoRA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// The asset that holds the file.
    pub token: AssetToken,
    /// The name for those who download it, such as `my-style.safetensors`.
    pub name: String,
    /// The size in bytes.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_kept_and_rows_of_earlier_versions_have_none() {
        let with = |notes: &[&str]| TaskOutput {
            caption: Some("a cat".into()),
            notes: notes.iter().map(|&note| note.to_owned()).collect(),
            ..TaskOutput::default()
        };
        let earlier = r#"{"caption":"a cat"}"#;
        assert_eq!(serde_json::from_str::<TaskOutput>(earlier).unwrap(), with(&[]));
        assert_eq!(serde_json::to_string(&with(&[])).unwrap(), earlier);
        let noted = with(&["`steps`: not used by \"DPM adaptive\""]);
        assert_eq!(serde_json::from_str::<TaskOutput>(&serde_json::to_string(&noted).unwrap()).unwrap(), noted);
    }

    #[test]
    fn audits_are_kept_and_pictures_of_earlier_versions_have_none() {
        let picture =
            |audit| StoredPicture { token: AssetToken("a.png".into()), width: 8, height: 6, seed: None, audit };
        let earlier = r#"{"token":"a.png","width":8,"height":6}"#;
        assert_eq!(serde_json::from_str::<StoredPicture>(earlier).unwrap(), picture(None));
        assert_eq!(serde_json::to_string(&picture(None)).unwrap(), earlier);
        // One that passed differs from one that was not audited.
        for labels in [vec![], vec![StoredLabel { label: "nsfw".into(), confidence: 0.9321 }]] {
            let audited = picture(Some(labels));
            let text = serde_json::to_string(&audited).unwrap();
            assert_eq!(serde_json::from_str::<StoredPicture>(&text).unwrap(), audited, "{text}");
        }
    }
}
