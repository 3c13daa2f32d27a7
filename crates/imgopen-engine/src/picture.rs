//! Pictures as engines exchange them: encoded files with their format and size. Reading and writing them takes the crate
//! `imgopen-picture`.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

/// A finished picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub bytes: Bytes,
    /// Its format.
    pub format: Format,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
    /// The seed of its noise, for operations that have one.
    pub seed: Option<i64>,
}

/// The formats of picture files that are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Portable Network Graphics, without loss.
    Png,
    /// JPEG, with loss and without transparency.
    Jpeg,
    /// WebP; read in both kinds, written without loss.
    WebP,
}

/// A name that is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no format that can be written; give one of png, jpeg, jpg, webp")]
pub struct UnknownFormat(pub String);

/// The limits on a picture, checked before its pixels are decoded.
///
/// They bound memory: a picture of 64 million pixels takes up to 512 MB while it is held, at 16 bits for each of four
/// channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureLimits {
    /// The largest file, in bytes. Default 32 MiB.
    pub bytes: u64,
    /// The most pixels, width times height, of a picture that comes in or goes out. Default 64 000 000.
    pub pixels: u64,
    /// The most frames. Default 1, so that animated pictures are refused; where more are allowed, the first is used.
    pub frames: u32,
}

impl Default for PictureLimits {
    fn default() -> Self {
        Self { bytes: 32 * 1024 * 1024, pixels: 64_000_000, frames: 1 }
    }
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 3] = [Format::Png, Format::Jpeg, Format::WebP];

    /// The media type, such as `image/png`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Format::Png => "image/png",
            Format::Jpeg => "image/jpeg",
            Format::WebP => "image/webp",
        }
    }

    /// The usual ending of a file's name, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Format::Png => "png",
            Format::Jpeg => "jpg",
            Format::WebP => "webp",
        }
    }

    /// The name for people.
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

/// Reads the values of the API's `output_image_format`, in any case.
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

/// Without the bytes, which nobody wants in a log.
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
    fn formats_are_read_from_names_and_endings() {
        for format in Format::ALL {
            assert_eq!(format.extension().parse(), Ok(format));
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert!("gif".parse::<Format>().unwrap_err().to_string().contains("png, jpeg, jpg, webp"));
    }
}
