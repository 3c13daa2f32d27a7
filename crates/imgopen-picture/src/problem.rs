//! What can be wrong with a picture file.

use crate::file_format::FileFormat;

/// The longest side in pixels, which is JPEG's. It bounds the memory of a row.
pub(crate) const MAX_SIDE: u32 = 65_535;

/// What is wrong with a picture. It reads as the rest of a sentence that begins with the picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file is empty.
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
    /// The file is of a known kind that is not supported, such as "an AVIF file".
    #[error("is {0}; give a PNG, JPEG, WebP, GIF, BMP or TIFF file")]
    WrongKind(&'static str),
    /// The file is of no known kind.
    #[error("is not a picture in a known format; give a PNG, JPEG, WebP, GIF, BMP or TIFF file")]
    NoPicture,
    /// A side is zero pixels long.
    #[error("is {width}x{height} pixels, so that there is nothing to see")]
    NoPixels {
        /// The width in pixels.
        width: u32,
        /// The height in pixels.
        height: u32,
    },
    /// It has more pixels than allowed.
    #[error("is {width}x{height} pixels; at most {limit} pixels in all are allowed")]
    TooManyPixels {
        /// The width in pixels.
        width: u32,
        /// The height in pixels.
        height: u32,
        /// The limit on width times height.
        limit: u64,
    },
    /// A side is longer than allowed.
    #[error("is {width}x{height} pixels; at most {MAX_SIDE} on a side are allowed")]
    TooLong {
        /// The width in pixels.
        width: u32,
        /// The height in pixels.
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
    /// It has more pages than allowed frames.
    #[error("has {pages} pages; at most {limit} allowed, give a file of one page")]
    TooManyPages {
        /// The number of pages.
        pages: u32,
        /// The limit.
        limit: u32,
    },
    /// The file is a valid JPEG file of a kind that is not supported, such as "with arithmetic coding".
    #[error(
        "is a JPEG file {0}, which is not supported; save it again as baseline or progressive JPEG of 8 bits, or as PNG"
    )]
    UnsupportedJpeg(String),
    /// The file is of another format, and of a kind that is not supported, such as "of 64 bits for each pixel".
    #[error("is a {0} file {1}, which is not supported; save it again as PNG or JPEG")]
    Unsupported(FileFormat, String),
    /// The file ends before the picture does.
    #[error("is a {0} file that ends too early; it was probably truncated on the way, so get it again from its source")]
    Truncated(FileFormat),
    /// The file violates its format.
    #[error("is a damaged {0} file: {1}; get it again from its source, or save it again")]
    Damaged(FileFormat, String),
}
