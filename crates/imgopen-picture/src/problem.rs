//! What can be wrong with a picture file.

use imgopen_engine::Format;

/// The longest side in pixels, which is what JPEG can hold. It bounds what one row takes.
pub(crate) const MAX_SIDE: u32 = 65_535;

/// What is wrong with a picture. It reads as the rest of a sentence that begins with the picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is nothing in the file.
    #[error("is an empty file")]
    Empty,
    /// The file is larger than allowed.
    #[error("has {bytes} bytes; at most {limit} are allowed")]
    TooManyBytes {
        /// The size of the file in bytes.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The content is of a kind that is known, but not read.
    #[error("is {0}; give a PNG, JPEG or WebP file")]
    WrongKind(&'static str),
    /// The content is nothing known.
    #[error("is no picture of a known format; give a PNG, JPEG or WebP file")]
    NoPicture,
    /// The header says that there are no pixels.
    #[error("is {width}x{height} pixels, so that there is nothing to see")]
    NoPixels {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// The header says that there are more pixels than allowed.
    #[error("is {width}x{height} pixels; at most {limit} pixels in all are allowed")]
    TooManyPixels {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// The limit on width times height.
        limit: u64,
    },
    /// The header says that a side is longer than allowed.
    #[error("is {width}x{height} pixels; at most {MAX_SIDE} on a side are allowed")]
    TooLong {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// It has more frames than allowed.
    #[error("has {frames} frames; at most {limit} allowed, give a still picture")]
    TooManyFrames {
        /// The number of frames.
        frames: u32,
        /// The limit.
        limit: u32,
    },
    /// Its colours cannot be told.
    #[error("is a JPEG in four channels (CMYK); convert it to RGB")]
    FourChannels,
    /// The file ends before the picture does.
    #[error("is a {0} file that ends too early; it was probably cut off on its way")]
    Truncated(Format),
    /// The file breaks the rules of its format.
    #[error("is a damaged {0} file: {1}")]
    Damaged(Format, String),
}

impl Problem {
    pub(crate) fn damaged(format: Format, error: image::ImageError) -> Self {
        match &error {
            image::ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
                Problem::Truncated(format)
            }
            _ => Problem::Damaged(format, error.to_string()),
        }
    }
}
