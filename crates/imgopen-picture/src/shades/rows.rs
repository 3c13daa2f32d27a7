//! The pixels of a mask of any kind, row by row, in 8 bits.

use image::{DynamicImage, GenericImageView, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};
use imgopen_engine::{EngineError, Monitor};

/// How far opacities lie apart at least if some pixels are meant to be transparent and others are not. Lossy files stray less.
const APART: u8 = 32;
/// Values below this in a file of 16 bits are those of at most 12 bits, such as 0 and 1, 0 and 255, 0 and 4095.
const DEEP: u16 = 1 << 12;

/// The opacities that pixels have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opacity {
    pub(super) lowest: u8,
    pub(super) highest: u8,
}

impl Opacity {
    pub(super) fn of(image: &DynamicImage, monitor: &Monitor) -> Result<Self, EngineError> {
        if !image.color().has_alpha() {
            return Ok(Self { lowest: 255, highest: 255 });
        }
        let mut found = Self { lowest: 255, highest: 0 };
        each_row(image, monitor, |row| {
            for [.., alpha] in row {
                found = Self { lowest: found.lowest.min(*alpha), highest: found.highest.max(*alpha) };
            }
        })?;
        Ok(found)
    }

    /// Whether some pixels are clearly more opaque than others.
    fn is_varied(self) -> bool {
        self.highest - self.lowest >= APART || (self.lowest == 0 && self.highest > 0)
    }

    /// Whether a pixel is one of the more opaque ones.
    pub(super) fn is_opaque(self, alpha: u8) -> bool {
        let middle = (u16::from(self.lowest) + u16::from(self.highest)) / 2;
        self.highest > 0 && (!self.is_varied() || u16::from(alpha) > middle)
    }
}

/// Returns a mask of 16 bits in 8 bits, if its values are those of fewer bits, such as 0 and 1.
pub(super) fn small_values(mask: &DynamicImage) -> Option<DynamicImage> {
    let (values, channels) = match mask {
        DynamicImage::ImageLuma16(image) => (image.as_raw(), 1),
        DynamicImage::ImageLumaA16(image) => (image.as_raw(), 2),
        DynamicImage::ImageRgb16(image) => (image.as_raw(), 3),
        DynamicImage::ImageRgba16(image) => (image.as_raw(), 4),
        _ => return None,
    };
    let colours = channels - usize::from(mask.color().has_alpha());
    let (mut lightest, mut densest) = (0, 0);
    for pixel in values.chunks_exact(channels) {
        lightest = pixel[..colours].iter().copied().fold(lightest, u16::max);
        densest = pixel[colours..].iter().copied().fold(densest, u16::max);
    }
    if lightest >= DEEP {
        return None;
    }
    let (of_colours, of_alpha) = (shift(lightest), shift(densest));
    let mut small = Vec::with_capacity(values.len());
    for pixel in values.chunks_exact(channels) {
        small.extend(pixel[..colours].iter().map(|value| (value >> of_colours) as u8));
        small.extend(pixel[colours..].iter().map(|value| (value >> of_alpha) as u8));
    }
    let (width, height) = (mask.width(), mask.height());
    match channels {
        1 => GrayImage::from_raw(width, height, small).map(DynamicImage::from),
        2 => GrayAlphaImage::from_raw(width, height, small).map(DynamicImage::from),
        3 => RgbImage::from_raw(width, height, small).map(DynamicImage::from),
        _ => RgbaImage::from_raw(width, height, small).map(DynamicImage::from),
    }
}

/// Returns by how many bits to shift values to get 8 bits of them.
fn shift(highest: u16) -> u32 {
    match highest < DEEP {
        true => (u16::BITS - highest.leading_zeros()).saturating_sub(u8::BITS),
        false => u8::BITS,
    }
}

/// Calls a function with each row of pixels in 8 bits: red, green, blue, opacity.
pub(super) fn each_row(
    mask: &DynamicImage,
    monitor: &Monitor,
    mut take: impl FnMut(&[[u8; 4]]),
) -> Result<(), EngineError> {
    let mut row = Vec::with_capacity(mask.width() as usize);
    for y in 0..mask.height() {
        monitor.check_cancelled()?;
        row.clear();
        let part = |channels: usize| {
            let length = mask.width() as usize * channels;
            y as usize * length..(y as usize + 1) * length
        };
        match mask {
            DynamicImage::ImageLuma8(gray) => row.extend(gray.as_raw()[part(1)].iter().map(|v| [*v, *v, *v, 255])),
            DynamicImage::ImageRgb8(image) => {
                row.extend(image.as_raw()[part(3)].as_chunks::<3>().0.iter().map(|[r, g, b]| [*r, *g, *b, 255]));
            }
            DynamicImage::ImageRgba8(image) => row.extend(image.as_raw()[part(4)].as_chunks::<4>().0),
            other => row.extend((0..other.width()).map(|x| other.get_pixel(x, y).0)),
        }
        take(&row);
    }
    Ok(())
}
