//! The pictures of the demo, as files, and the names that its requests have for them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use imgopen_engine::{Format, PictureLimits};
use imgopen_picture::{self as picture, Attached};
use imgopen_tools::lanczos;
use serde_json::Value;

use crate::failure::Failure;
use crate::request::paths::to_text;

/// A photograph in the public domain; `assets/README.md` names its origin.
const PHOTO: &[u8] = include_bytes!("../../../assets/astronaut.jpg");
/// A mask of the round mission patch on her suit.
const MASK: &[u8] = include_bytes!("../../../assets/astronaut-mask.png");

/// The longest side in pixels of the copy of a photograph that super resolution gets.
const SMALL: u32 = 128;

/// The pictures, by their names in requests.
pub struct Pictures(Vec<(&'static str, PathBuf)>);

impl Pictures {
    /// Writes the bundled pictures, `portrait` and `mask`, to a directory.
    pub fn bundled(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let files = [("portrait", "astronaut.jpg", PHOTO), ("mask", "astronaut-mask.png", MASK)];
        let write = |(name, file, contents): (&'static str, &str, &[u8])| -> anyhow::Result<(&'static str, PathBuf)> {
            let path = directory.join(file);
            std::fs::write(&path, contents)?;
            Ok((name, path))
        };
        Ok(Self(files.into_iter().map(write).collect::<anyhow::Result<Vec<_>>>()?))
    }

    /// Adds a photograph of the user's, or else the portrait, as `photo`, and a copy of it as `small`.
    ///
    /// # Errors
    ///
    /// If it is not a picture that can be read.
    pub fn with_photo(mut self, photo: Option<&Path>, directory: &Path) -> anyhow::Result<Self> {
        let own = photo.map(std::path::absolute).transpose()?;
        let path = own.unwrap_or_else(|| directory.join("astronaut.jpg"));
        let bytes = std::fs::read(&path).with_context(|| format!("--photo: cannot read {}", path.display()))?;
        let unusable = |problem| Failure::usage(format!("--photo: {}: {problem}", path.display()));
        let image = picture::decode(&bytes, &PictureLimits::default()).map_err(unusable)?.image;
        let longest = f64::from(image.width().max(image.height()));
        let share = (f64::from(SMALL) / longest).min(1.0);
        let [width, height] = [image.width(), image.height()].map(|side| ((f64::from(side) * share) as u32).max(1));
        let small = directory.join("small.png");
        let copy = lanczos::resize(image, width, height)?;
        std::fs::write(&small, picture::encode(&copy, Format::Png, &Attached::default())?)?;
        self.0.extend([("photo", path), ("small", small)]);
        Ok(self)
    }

    /// Replaces the names of pictures in a request by their paths.
    pub fn put_paths(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some((_, path)) = self.0.iter().find(|(name, _)| *name == text.as_str()) {
                    *text = to_text(path.as_os_str());
                }
            }
            Value::Object(members) => members.values_mut().for_each(|value| self.put_paths(value)),
            _ => {}
        }
    }
}
