//! Pictures as engines exchange them: encoded files with their format and size. Reading and writing them takes the crate
//! `imgopen-picture`.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

/// A finished picture: an encoded file.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub bytes: Bytes,
    /// The format of the file.
    pub format: Format,
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// The seed that it was made with, for operations that have one.
    pub seed: Option<i64>,
}

/// The formats of picture files that are written. Some more are read; see `imgopen-picture`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Portable Network Graphics, lossless.
    Png,
    /// JPEG, lossy and without transparency.
    Jpeg,
    /// WebP, lossless or lossy.
    WebP,
}

/// A text that does not name a format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a format that can be written; give one of png, jpeg, jpg, webp")]
pub struct UnknownFormat(pub String);

/// Limits on a picture, checked before its pixels are decoded, and on what is kept of it.
///
/// They bound memory: 64 million pixels take up to 512 MB, at 16 bits for each of four channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureLimits {
    /// The largest file in bytes. Default 32 MiB.
    pub bytes: u64,
    /// The most pixels, width times height, of an input or a result. Default 64 000 000.
    pub pixels: u64,
    /// The most frames of an animation, or pages of a TIFF file. Default 1, which rejects others; if more are allowed, the first
    /// one is used.
    pub frames: u32,
    /// Whether results that keep what their sources carry keep where they were taken (GPS). Default false.
    pub location: bool,
}

impl Default for PictureLimits {
    fn default() -> Self {
        Self { bytes: 32 * 1024 * 1024, pixels: 64_000_000, frames: 1, location: false }
    }
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 3] = [Format::Png, Format::Jpeg, Format::WebP];

    /// Returns the media type, such as `image/png`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Format::Png => "image/png",
            Format::Jpeg => "image/jpeg",
            Format::WebP => "image/webp",
        }
    }

    /// Returns the usual file extension, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Format::Png => "png",
            Format::Jpeg => "jpg",
            Format::WebP => "webp",
        }
    }

    /// Returns the name to show to people, such as `WebP`.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Png => "PNG",
            Format::Jpeg => "JPEG",
            Format::WebP => "WebP",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Parses the values of the API's `output_image_format`, in any case.
impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text.to_ascii_lowercase().as_str() {
            "png" => Ok(Format::Png),
            "jpg" | "jpeg" => Ok(Format::Jpeg),
            "webp" => Ok(Format::WebP),
            _ => Err(UnknownFormat(text.to_owned())),
        }
    }
}

/// Omits the bytes, which do not belong in a log.
impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, format, width, height, seed } = self;
        write!(f, "Picture({format}, {width}x{height}, {} bytes, seed {seed:?})", bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_parse_from_names_and_extensions() {
        for format in Format::ALL {
            assert_eq!(format.extension().parse(), Ok(format));
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert!("gif".parse::<Format>().unwrap_err().to_string().contains("png, jpeg, jpg, webp"));
    }
}
