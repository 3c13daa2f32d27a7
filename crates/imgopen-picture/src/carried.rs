//! What picture files carry beside pixels and colour profile, and how it gets into files that are made of them.
//!
//! It is read as it is. When it is written, what is no longer true is corrected: pixels are upright then, have another size,
//! and the thumbnail shows something else. Where the picture was taken is dropped, unless the limits say otherwise.

mod bmp_file;
pub(crate) mod comment;
mod contents;
mod density;
mod gif_file;
mod iptc;
mod jpeg;
mod limits;
mod place;
mod png;
pub(crate) mod text;
pub(crate) mod tiff;
mod tiff_file;
mod webp;
mod xmp;

use image::metadata::Orientation;
use imgopen_engine::Format;

use self::contents::FIELDS;
use self::density::Density;
use self::limits::MOST;
use self::tiff::{ASCII, Directory, ORIENTATION, SHORT, Tiff};
use crate::file_format::FileFormat;

pub use self::contents::Carried;
pub(crate) use self::contents::{Made, comfyui_text, description_of};
pub(crate) use self::jpeg::insert as insert_segments;
pub(crate) use self::webp::{Parts as WebPParts, assemble as assemble_webp, is_lossy, with_exif as with_webp_exif};

impl Carried {
    /// Reads what a file of that format carries.
    pub(crate) fn read(bytes: &[u8], format: FileFormat, keeps_location: bool) -> Self {
        let mut carried = match format {
            FileFormat::Png => png::read(bytes),
            FileFormat::Jpeg => jpeg::read(bytes),
            FileFormat::WebP => webp::read(bytes),
            FileFormat::Gif => gif_file::read(bytes),
            FileFormat::Bmp => bmp_file::read(bytes),
            FileFormat::Tiff => tiff_file::read(bytes),
        };
        carried.keeps_location = keeps_location;
        let exif = exif_of(bytes, format);
        let stated = match format {
            // The first directory may be that of a preview.
            FileFormat::Tiff => tiff_file::orientation(bytes),
            _ => exif.as_ref().and_then(Tiff::orientation),
        };
        carried.orientation = stated.or_else(|| xmp::orientation(carried.xmp.as_deref()?));
        carried.density = carried.density.or_else(|| Density::from_exif(exif.as_ref()?));
        carried.exif = exif.map(Tiff::into_data).filter(|data| data.len() <= MOST);
        carried
    }

    /// Returns how the pixels are to be turned or mirrored.
    pub(crate) fn orientation(&self) -> Orientation {
        let number = self.orientation.and_then(|number| u8::try_from(number).ok());
        number.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
    }

    /// Returns the chunks of a PNG file of that size, all of which are before its pixels.
    pub(crate) fn png_chunks(&self, size: (u32, u32), made: Made<'_>, has_profile: bool) -> Vec<([u8; 4], Vec<u8>)> {
        png::chunks(self, size, made, has_profile)
    }

    /// Returns the segments of a JPEG file of that size, but for the first one and the profile.
    pub(crate) fn jpeg_segments(&self, size: (u32, u32), made: Made<'_>) -> Vec<u8> {
        jpeg::segments(self, size, made)
    }

    /// Returns the unit and the numbers of the density in a JPEG file.
    pub(crate) fn jpeg_density(&self) -> Option<(u8, u16, u16)> {
        self.density?.jfif()
    }

    /// Returns the EXIF data and the XMP of a WebP file of that size.
    pub(crate) fn webp_parts(&self, size: (u32, u32), made: Made<'_>) -> (Option<Vec<u8>>, Option<String>) {
        (self.exif(Format::WebP, size, made, usize::MAX), self.xmp(Format::WebP, size).0)
    }
}

/// Returns the EXIF data of a file, without decoding it.
pub(crate) fn exif(bytes: &[u8]) -> Option<Tiff> {
    let (header, _) = crate::header::read(bytes).ok()?;
    exif_of(bytes, header.format)
}

/// Returns the EXIF data of a file of that format. Whatever depends on it goes by this: what is applied to the pixels, and what is
/// corrected because it was applied.
fn exif_of(bytes: &[u8], format: FileFormat) -> Option<Tiff> {
    match format {
        FileFormat::Png => png::exif(bytes).and_then(Tiff::read).or_else(|| Tiff::read(&png::raw_exif(bytes)?)),
        FileFormat::Jpeg => Tiff::read(jpeg::exif(bytes)?),
        FileFormat::WebP => Tiff::read(webp::exif(bytes)?),
        FileFormat::Tiff => Tiff::read(&tiff_file::exif(bytes)?),
        FileFormat::Gif | FileFormat::Bmp => None,
    }
}

/// Returns the EXIF data of a file with another description. If that has more than `most` bytes, only what the pixels depend on
/// stays beside it.
pub(crate) fn described(bytes: &[u8], text: &str, most: usize) -> Vec<u8> {
    let with_text = |mut tiff: Tiff| {
        tiff.set(Directory::Main, FIELDS[0].1, ASCII, format!("{text}\0").as_bytes());
        tiff.into_data()
    };
    let tiff = exif(bytes).unwrap_or_else(Tiff::new);
    let orientation = tiff.orientation().and_then(|number| u16::try_from(number).ok());
    let data = with_text(tiff);
    if data.len() <= most {
        return data;
    }
    let mut bare = Tiff::new();
    if let Some(orientation) = orientation {
        let value = bare.short(orientation);
        bare.set(Directory::Main, ORIENTATION, SHORT, &value);
    }
    with_text(bare)
}
