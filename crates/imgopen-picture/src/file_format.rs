//! The formats of picture files that are read.

use std::fmt;

use imgopen_engine::Format;

/// The bytes with which PNG files begin.
pub(crate) const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The formats of picture files that are read. [`Format`] has those that are written, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileFormat {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    WebP,
    /// Graphics Interchange Format, with a palette, and often animated.
    Gif,
    /// The bitmap files of Windows.
    Bmp,
    /// Tagged Image File Format, of scanners and photographers.
    Tiff,
}

impl FileFormat {
    /// All formats.
    pub const ALL: [Self; 6] = [Self::Png, Self::Jpeg, Self::WebP, Self::Gif, Self::Bmp, Self::Tiff];

    /// Returns the same format, if it is written.
    pub const fn as_format(self) -> Option<Format> {
        match self {
            Self::Png => Some(Format::Png),
            Self::Jpeg => Some(Format::Jpeg),
            Self::WebP => Some(Format::WebP),
            Self::Gif | Self::Bmp | Self::Tiff => None,
        }
    }

    /// Returns the format in which pictures are written that are made of a file: its own, or PNG, which keeps all of its pixels.
    ///
    /// ```
    /// use imgopen_picture::{FileFormat, Format};
    ///
    /// assert_eq!(FileFormat::Jpeg.written(), Format::Jpeg);
    /// assert_eq!(FileFormat::Tiff.written(), Format::Png);
    /// ```
    pub const fn written(self) -> Format {
        match self.as_format() {
            Some(format) => format,
            None => Format::Png,
        }
    }

    /// Returns the media type, such as `image/tiff`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
            Self::Png | Self::Jpeg | Self::WebP => self.written().media_type(),
        }
    }

    /// Returns the usual file extension, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Tiff => "tif",
            Self::Png | Self::Jpeg | Self::WebP => self.written().extension(),
        }
    }

    /// Returns the name to show to people, such as `TIFF`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Png | Self::Jpeg | Self::WebP => self.written().name(),
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Format> for FileFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Png => Self::Png,
            Format::Jpeg => Self::Jpeg,
            Format::WebP => Self::WebP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_are_written_are_read_under_the_same_name() {
        for format in Format::ALL {
            let read = FileFormat::from(format);
            assert_eq!((read.as_format(), read.written()), (Some(format), format));
            assert_eq!((read.name(), read.extension()), (format.name(), format.extension()));
            assert_eq!(read.media_type(), format.media_type());
        }
        assert_eq!(FileFormat::ALL.iter().filter(|format| format.as_format().is_none()).count(), 3);
    }
}
