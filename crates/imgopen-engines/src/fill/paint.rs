//! Between pictures as they are decoded and the canvas that is worked on: all depths, gray, transparency.

use image::{DynamicImage, ImageBuffer, Pixel, imageops};

use super::canvas::{Area, Canvas, nearest};
use super::complete::{Completion, Style, complete};
use super::seams::Seams;
use super::votes::{Sample, Samples, Votes};
use crate::{EngineError, Monitor};

/// A canvas of more pixels is not worked on; the picture is made smaller first.
const MOST_PIXELS: usize = 8_000_000;

/// Does something with a picture of any kind that decoded pictures have: `$buffer` are its samples, `$channels` of them
/// for each pixel.
macro_rules! of_kind {
    ($image:expr, $buffer:ident, $channels:ident => $work:expr) => {
        of_kind!($image, $buffer, $channels => $work, ImageLuma8 1, ImageLumaA8 2, ImageRgb8 3, ImageRgba8 4,
            ImageLuma16 1, ImageLumaA16 2, ImageRgb16 3, ImageRgba16 4)
    };
    ($image:expr, $buffer:ident, $channels:ident => $work:expr, $($kind:ident $count:literal),*) => {
        match $image {
            $(DynamicImage::$kind($buffer) => {
                const $channels: usize = $count;
                $work
            })*
            other => Err(EngineError::Failed(format!("pixels of the kind {:?} cannot be filled", other.color()))),
        }
    };
}

/// What to fill.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task<'a> {
    /// All pixels that show what is not to be seen, row by row.
    pub hole: &'a [bool],
    /// The area in which they are filled.
    pub inner: Area,
    /// The larger area from which patches are taken.
    pub outer: Area,
    pub style: Style,
}

/// Fills a hole in a picture. `monitor` is told the progress from `span.0` to `span.1`.
pub(super) fn fill(
    image: &mut DynamicImage,
    task: Task<'_>,
    monitor: &Monitor,
    span: (f64, f64),
) -> Result<(), EngineError> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    of_kind!(image, buffer, CHANNELS => {
        Samples::<_, CHANNELS> { samples: buffer, width, height }.fill(task, monitor, span)
    })
}

fn places(area: Area) -> impl Iterator<Item = (usize, usize)> {
    (area.top..area.bottom).flat_map(move |y| (area.left..area.right).map(move |x| (x, y)))
}

/// The picture in the middle of a larger one, which is otherwise black.
pub(super) fn centred(image: &DynamicImage, width: u32, height: u32) -> Result<DynamicImage, EngineError> {
    of_kind!(image, buffer, _CHANNELS => Ok(middle(buffer, width, height).into()))
}

fn middle<P: Pixel>(
    source: &ImageBuffer<P, Vec<P::Subpixel>>,
    width: u32,
    height: u32,
) -> ImageBuffer<P, Vec<P::Subpixel>> {
    let mut larger = ImageBuffer::new(width, height);
    let (left, top) = ((width - source.width()) / 2, (height - source.height()) / 2);
    imageops::replace(&mut larger, source, left.into(), top.into());
    larger
}

/// How many pixels become one, on each axis, for an area to be worked on.
fn scale(area: Area) -> usize {
    let mut scale = 1;
    while (area.width() / scale) * (area.height() / scale) > MOST_PIXELS {
        scale *= 2;
    }
    scale
}

/// The canvas of an area, `scale` times smaller. A pixel is part of the hole if one of those that it is made of is.
fn reduced<S: Sample, const CHANNELS: usize>(
    picture: &Samples<'_, S, CHANNELS>,
    hole: &[bool],
    area: Area,
    scale: usize,
) -> Canvas {
    let (width, height) = (area.width().div_ceil(scale), area.height().div_ceil(scale));
    let mut canvas = Canvas { width, height, pixels: Vec::new(), hole: Vec::new() };
    canvas.pixels.reserve_exact(width * height);
    canvas.hole.reserve_exact(width * height);
    for top in (area.top..area.bottom).step_by(scale) {
        for left in (area.left..area.right).step_by(scale) {
            let (mut sums, mut count, mut is_hole) = ([0_u32; 4], 0, false);
            for y in top..(top + scale).min(area.bottom) {
                for x in left..(left + scale).min(area.right) {
                    if hole[y * picture.width + x] {
                        is_hole = true;
                    } else {
                        count += 1;
                        let pixel = picture.premultiplied(x, y);
                        sums.iter_mut().zip(pixel).for_each(|(sum, sample)| *sum += u32::from(sample));
                    }
                }
            }
            canvas.pixels.push(sums.map(|sum| ((sum + count / 2) / count.max(1)) as u8));
            canvas.hole.push(is_hole);
        }
    }
    canvas
}

impl<S: Sample, const CHANNELS: usize> Samples<'_, S, CHANNELS> {
    fn fill(&mut self, task: Task<'_>, monitor: &Monitor, span: (f64, f64)) -> Result<(), EngineError> {
        let Task { hole, inner, outer, style } = task;
        let width = self.width;
        let scale = scale(outer);
        let completion = complete(reduced(self, hole, outer, scale), style, monitor, span)?;
        let missing = match &completion {
            None => places(inner).filter(|(x, y)| hole[y * width + x]).collect(),
            Some(Completion { field, ballots }) => {
                let (origin, by_opacity) = ((outer.left, outer.top), CHANNELS.is_multiple_of(2));
                let votes = Votes { field, ballots, scale, origin, by_opacity };
                let seams = Seams::find(self, &votes, hole, inner);
                let missing = votes.count(self, inner, |x, y| hole[y * width + x]);
                seams.close(self, hole);
                missing
            }
        };
        self.spread(hole, outer, &missing);
        Ok(())
    }

    /// Red, green and blue weighted by opacity, and the opacity, in 8 bits.
    fn premultiplied(&self, x: usize, y: usize) -> [u8; 4] {
        let pixel = self.pixel(x, y).map(Sample::byte);
        let weighted = |sample: u8, opacity: u8| ((u16::from(sample) * u16::from(opacity) + 127) / 255) as u8;
        match pixel[..] {
            [gray] => [gray, gray, gray, 255],
            [gray, opacity] => {
                let gray = weighted(gray, opacity);
                [gray, gray, gray, opacity]
            }
            [red, green, blue] => [red, green, blue, 255],
            [red, green, blue, opacity] => {
                [weighted(red, opacity), weighted(green, opacity), weighted(blue, opacity), opacity]
            }
            _ => [0; 4],
        }
    }

    /// Gives pixels the colour of the nearest that is no hole.
    fn spread(&mut self, hole: &[bool], area: Area, pixels: &[(usize, usize)]) {
        if pixels.is_empty() {
            return;
        }
        let nearest = nearest(hole, self.width, area);
        for (x, y) in pixels {
            let (from_x, from_y) = nearest[(y - area.top) * area.width() + x - area.left];
            if (from_x as usize) < self.width {
                self.set(*x, *y, self.pixel(from_x as usize, from_y as usize));
            }
        }
    }
}
