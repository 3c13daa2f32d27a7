//! The pictures that a back end is sent, and how its result is put back.

use bytes::Bytes;
use image::imageops::{FilterType, resize};
use image::{DynamicImage, GrayImage, Luma, Rgba, RgbaImage};
use imgopen_engine::{EngineError, Format, Monitor, Picture, PictureLimits};
use imgopen_picture::{Attached, decode, encode_output, flatten};

use super::opacity::opacity;
use super::region::Region;
use super::spread::spread;

/// What a back end is sent, and what its result is put back with.
pub(super) struct Parts {
    pub region: Region,
    /// The picture to start from, as a PNG file: the region, with the hole filled from around it.
    pub start: Bytes,
    /// The mask, as a PNG file: white where the new part will show at all.
    pub mask: Bytes,
    /// How much of the new part shows at each pixel of the region.
    opacity: Vec<u8>,
}

impl Parts {
    /// Cuts the region of a hole out of a picture.
    pub fn cut(image: &DynamicImage, hole: &[bool], region: Region, monitor: &Monitor) -> Result<Self, EngineError> {
        let opacity = opacity(hole, image.width(), &region, monitor)?;
        let start = spread(&known(image, hole, &region, monitor)?);
        monitor.check_cancelled()?;
        let mask = mask(&opacity, &region);
        let (start, mask) = (png(&start.into(), monitor)?, png(&mask.into(), monitor)?);
        Ok(Self { region, start, mask, opacity })
    }

    /// Puts what a back end made into the picture. What lies farther from the hole than the region's reach stays as it
    /// is. In pictures with transparency, the new part is opaque.
    pub fn paste(&self, made: &Picture, into: &mut DynamicImage, monitor: &Monitor) -> Result<(), EngineError> {
        use DynamicImage::*;
        let made = self.read(made)?;
        monitor.check_cancelled()?;
        let made = resize(&made.into_rgb8(), self.region.width, self.region.height, FilterType::Lanczos3);
        monitor.check_cancelled()?;
        let (made, width) = (DynamicImage::from(made), into.width());
        let rows = Rows { parts: self, width, monitor };
        match into {
            ImageLuma8(image) => rows.blend(image, &made.to_luma8(), 1),
            ImageLumaA8(image) => rows.blend(image, &made.to_luma_alpha8(), 2),
            ImageRgb8(image) => rows.blend(image, &made.to_rgb8(), 3),
            ImageRgba8(image) => rows.blend(image, &made.to_rgba8(), 4),
            ImageLuma16(image) => rows.blend(image, &made.to_luma16(), 1),
            ImageLumaA16(image) => rows.blend(image, &made.to_luma_alpha16(), 2),
            ImageRgb16(image) => rows.blend(image, &made.to_rgb16(), 3),
            ImageRgba16(image) => rows.blend(image, &made.to_rgba16(), 4),
            other => Err(EngineError::Failed(format!("pixels of the kind {:?} cannot be filled", other.color()))),
        }
    }

    /// Decodes what a back end made, and checks its size.
    fn read(&self, made: &Picture) -> Result<DynamicImage, EngineError> {
        let (width, height) = self.region.work;
        let limits =
            PictureLimits { bytes: made.bytes.len() as u64, pixels: self.pixels(), frames: 1, location: false };
        let failed = |problem| EngineError::Failed(format!("what the back end made {problem}"));
        let image = decode(&made.bytes, &limits).map_err(|problem| failed(problem.to_string()))?.image;
        match (image.width(), image.height()) == (width, height) {
            true => Ok(image),
            false => {
                Err(failed(format!("is {}x{} pixels in place of {width}x{height}", image.width(), image.height())))
            }
        }
    }

    /// The number of pixels that the back end makes.
    pub fn pixels(&self) -> u64 {
        u64::from(self.region.work.0) * u64::from(self.region.work.1)
    }
}

/// Puts rows of a region into a picture.
struct Rows<'a> {
    parts: &'a Parts,
    width: u32,
    monitor: &'a Monitor,
}

impl Rows<'_> {
    fn blend<S>(&self, into: &mut [S], made: &[S], channels: usize) -> Result<(), EngineError>
    where
        S: Copy + Into<u32> + TryFrom<u32>,
    {
        let Parts { region, opacity, .. } = self.parts;
        let columns = region.width as usize;
        let rows = opacity.chunks_exact(columns).zip(made.chunks_exact(columns * channels));
        for (place, (shown, made)) in region.rows(self.width).zip(rows) {
            self.monitor.check_cancelled()?;
            let into = into[place.start * channels..place.end * channels].chunks_exact_mut(channels);
            for ((pixel, made), shown) in
                into.zip(made.chunks_exact(channels)).zip(shown).filter(|(_, shown)| **shown > 0)
            {
                let share = u32::from(*shown);
                for (sample, new) in pixel.iter_mut().zip(made) {
                    let mixed = ((*sample).into() * (255 - share) + (*new).into() * share + 127) / 255;
                    *sample = S::try_from(mixed).unwrap_or(*new);
                }
            }
        }
        Ok(())
    }
}

/// Returns the region at the size that is worked at: colours weighted by how far each pixel lies outside the hole.
fn known(image: &DynamicImage, hole: &[bool], region: &Region, monitor: &Monitor) -> Result<RgbaImage, EngineError> {
    let part = image.crop_imm(region.left, region.top, region.width, region.height);
    let part = flatten(part).into_rgb8();
    monitor.check_cancelled()?;
    let mut known = RgbaImage::new(region.width, region.height);
    let places = region.rows(image.width()).flatten();
    for ((pixel, colour), place) in known.pixels_mut().zip(part.pixels()).zip(places) {
        if !hole[place] {
            let [red, green, blue] = colour.0;
            *pixel = Rgba([red, green, blue, 255]);
        }
    }
    monitor.check_cancelled()?;
    Ok(resize(&known, region.work.0, region.work.1, FilterType::Triangle))
}

/// Returns the mask at the size that is worked at: white wherever anything of the new part will show.
fn mask(opacity: &[u8], region: &Region) -> GrayImage {
    let shown = opacity.iter().map(|shown| if *shown > 0 { 255 } else { 0 }).collect();
    let shown = GrayImage::from_raw(region.width, region.height, shown).unwrap_or_default();
    let mut mask = resize(&shown, region.work.0, region.work.1, FilterType::Triangle);
    mask.pixels_mut().filter(|pixel| pixel.0 != [0]).for_each(|pixel| *pixel = Luma([255]));
    mask
}

fn png(image: &DynamicImage, monitor: &Monitor) -> Result<Bytes, EngineError> {
    encode_output(image, Format::Png, &Attached::default(), monitor).map_err(|error| match error {
        imgopen_picture::EncodeError::Cancelled => EngineError::Cancelled,
        error => EngineError::Failed(format!("a picture cannot be sent: {error}")),
    })
}
