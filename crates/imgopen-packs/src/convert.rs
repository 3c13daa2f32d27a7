//! How the members of an archive become a file of a pack.

use std::ops::RangeInclusive;

use imgopen_nets::convert::{efficientnet, ncnn, tflite};
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
    /// A network of TensorFlow Lite, which becomes one in ONNX.
    Tflite,
    /// A network of ncnn, its description (`.param`) and its weights (`.bin`), which becomes one in ONNX.
    Ncnn,
    /// The weights of EfficientNet-Lite0 for PyTorch (`.pth`), which become a network in ONNX. They are a pickle, which is read
    /// without running any of it.
    EfficientNet,
}

impl Convert {
    /// How many members it takes.
    pub(crate) fn takes(self) -> RangeInclusive<usize> {
        match self {
            Self::None | Self::Tflite | Self::EfficientNet => 1..=1,
            Self::Join => 1..=10_000,
            Self::Ncnn => 2..=2,
        }
    }

    /// Returns the contents of the file, in pieces that follow each other.
    ///
    /// # Errors
    ///
    /// Says why the members cannot be converted.
    pub(crate) fn apply(self, members: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
        let converted = match (self, members.as_slice()) {
            (Self::Tflite, [network]) => tflite::to_onnx(network).map_err(|error| error.to_string())?,
            (Self::EfficientNet, [weights]) => efficientnet::to_onnx(weights).map_err(|error| error.to_string())?,
            (Self::Ncnn, [description, weights]) => {
                let not_text = |error| format!("its description is not UTF-8: {error}");
                let description = std::str::from_utf8(description).map_err(not_text)?;
                ncnn::to_onnx(description, weights).map_err(|error| error.to_string())?
            }
            _ => return Ok(members),
        };
        Ok(vec![converted])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That whole networks are converted right is tested where it is done.
    #[test]
    fn what_is_not_a_network_is_refused() {
        let texts = |texts: &[&[u8]]| texts.iter().map(|text| text.to_vec()).collect::<Vec<_>>();
        for (convert, members) in [
            (Convert::Tflite, texts(&[b"not a network"])),
            (Convert::EfficientNet, texts(&[b"not weights"])),
            (Convert::EfficientNet, texts(&[b"PK\x03\x04"])),
            (Convert::Ncnn, texts(&[b"not a network", b""])),
            (Convert::Ncnn, texts(&[b"\xff", b""])),
        ] {
            let problem = convert.apply(members).unwrap_err();
            assert!(!problem.is_empty(), "{convert:?}");
        }
        assert_eq!(Convert::Join.apply(texts(&[b"a", b"b"])), Ok(texts(&[b"a", b"b"])));
    }
}
