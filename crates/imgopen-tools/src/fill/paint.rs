//! Converts between decoded pictures and canvases: all depths, gray, transparency.

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};

use super::canvas::{Area, Canvas, NOWHERE, nearest, places};
use super::complete::{Completion, Style, complete};
use super::seams;
use super::votes::{Sample, Samples, Votes, strips};

/// The most pixels of a canvas; larger pictures are scaled down first.
const MOST_PIXELS: usize = 8_000_000;

/// How many pixels are spread before cancellation is checked again.
const PART: usize = 1 << 20;

/// Evaluates an expression for each type of decoded picture: `$buffer` are its samples, `$channels` per pixel.
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
    /// Which pixels of the whole picture to hide, row by row.
    pub hole: &'a [bool],
    /// The area in which they are to be filled.
    pub inner: Area,
    /// The larger area from which patches are taken.
    pub outer: Area,
    pub style: Style,
}

/// Fills a hole in a picture. Reports progress from `span.0` to `span.1`.
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

/// Returns the factor, on each axis, by which an area is scaled down for the canvas.
fn scale(area: Area) -> usize {
    let mut scale = 1;
    while (area.width() / scale) * (area.height() / scale) > MOST_PIXELS {
        scale *= 2;
    }
    scale
}

/// Returns the canvas of an area, `scale` times smaller. A pixel is part of the hole if any of its source pixels is.
fn reduced<S: Sample, const CHANNELS: usize>(
    picture: &Samples<'_, S, CHANNELS>,
    hole: &[bool],
    (area, scale): (Area, usize),
    monitor: &Monitor,
) -> Result<Canvas, EngineError> {
    let (width, height) = (area.width().div_ceil(scale), area.height().div_ceil(scale));
    let mut canvas = Canvas { width, height, pixels: Vec::new(), hole: Vec::new() };
    canvas.pixels.reserve_exact(width * height);
    canvas.hole.reserve_exact(width * height);
    for top in (area.top..area.bottom).step_by(scale) {
        monitor.check_cancelled()?;
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
    Ok(canvas)
}

impl<S: Sample, const CHANNELS: usize> Samples<'_, S, CHANNELS> {
    fn fill(&mut self, task: Task<'_>, monitor: &Monitor, span: (f64, f64)) -> Result<(), EngineError> {
        let Task { hole, inner, outer, style } = task;
        let width = self.width;
        let scale = scale(outer);
        let completion = complete(reduced(self, hole, (outer, scale), monitor)?, style, monitor, span)?;
        let Some(Completion { field, ballots }) = &completion else {
            return self.spread(hole, outer, places(inner).filter(|(x, y)| hole[y * width + x]), monitor);
        };
        let (origin, by_opacity) = ((outer.left, outer.top), CHANNELS.is_multiple_of(2));
        let missing = self.put(&Votes { field, ballots, scale, origin, by_opacity }, hole, inner, monitor)?;
        if missing.is_empty() {
            return Ok(());
        }
        self.spread(hole, outer, missing.into_iter(), monitor)
    }

    /// Writes the result of the votes into the hole, strip by strip, without a seam. Returns the pixels without votes.
    fn put(
        &mut self,
        votes: &Votes<'_>,
        hole: &[bool],
        inner: Area,
        monitor: &Monitor,
    ) -> Result<Vec<(usize, usize)>, EngineError> {
        let (width, height) = (self.width, self.height);
        let bordered = inner.grown(1, (width, height));
        let mut missing = Vec::new();
        for strip in strips(inner) {
            monitor.check_cancelled()?;
            let top = strip.top.saturating_sub(seams::REACH).max(bordered.top);
            let seen = Area { top, bottom: (strip.bottom + seams::REACH).min(bordered.bottom), ..bordered };
            let mut means = votes.means(self, seen);
            monitor.check_cancelled()?;
            seams::close(self, hole, strip, (seen, &mut means));
            for (x, y) in places(strip).filter(|(x, y)| hole[y * width + x]) {
                match means[(y - seen.top) * seen.width() + x - seen.left] {
                    Some(pixel) => self.set(x, y, pixel),
                    None => missing.push((x, y)),
                }
            }
        }
        Ok(missing)
    }

    /// Returns red, green and blue weighted by opacity, and the opacity, in 8 bits.
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

    /// Gives pixels of an area the colour of the nearest one outside the hole.
    fn spread(
        &mut self,
        hole: &[bool],
        area: Area,
        pixels: impl Iterator<Item = (usize, usize)>,
        monitor: &Monitor,
    ) -> Result<(), EngineError> {
        let nearest = nearest(hole, self.width, area, monitor)?;
        for (number, (x, y)) in pixels.enumerate() {
            if number.is_multiple_of(PART) {
                monitor.check_cancelled()?;
            }
            let from = nearest[(y - area.top) * area.width() + x - area.left];
            if from != NOWHERE {
                let (from_x, from_y) = (from as usize % area.width(), from as usize / area.width());
                self.set(x, y, self.pixel(area.left + from_x, area.top + from_y));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::super::field::{Cell, Field, Grid};
    use super::super::votes::Ballot;
    use super::*;

    const WIDTH: usize = 600;
    const HEIGHT: usize = 4000;
    const HOLE: Area = Area { left: 100, top: 900, right: 590, bottom: 3900 };

    /// Noise with a hole that takes more than one strip, and patches from anywhere beside it.
    fn noise() -> (Vec<u8>, Vec<bool>, Field) {
        let mut rng = Rng::with_seed(3);
        let samples = (0..WIDTH * HEIGHT * 3).map(|_| rng.u8(..)).collect();
        let mut hole = vec![false; WIDTH * HEIGHT];
        places(HOLE).for_each(|(x, y)| hole[y * WIDTH + x] = true);
        let canvas = Canvas { width: WIDTH, height: HEIGHT, pixels: Vec::new(), hole };
        let grid = Grid::over(&canvas, 4).unwrap();
        let cells = (0..grid.rows * grid.columns).map(|_| Cell { x: rng.u16(..92), y: rng.u16(..3992), cost: 0 });
        let field = Field { grid, cells: cells.collect() };
        (samples, canvas.hole, field)
    }

    fn put(samples: &mut [u8], hole: &[bool], field: &Field, monitor: &Monitor) -> Result<usize, EngineError> {
        let ballots = vec![Ballot { weight: 1.0, shift: [0.0; 3] }; field.cells.len()];
        let votes = Votes { field, ballots: &ballots, scale: 1, origin: (0, 0), by_opacity: false };
        let mut picture = Samples::<u8, 3> { samples, width: WIDTH, height: HEIGHT };
        Ok(picture.put(&votes, hole, HOLE, monitor)?.len())
    }

    #[test]
    fn strips_are_not_to_be_seen() {
        assert!(strips(HOLE).count() > 1);
        let (mut samples, hole, field) = noise();
        let ballots = vec![Ballot { weight: 1.0, shift: [0.0; 3] }; field.cells.len()];
        let votes = Votes { field: &field, ballots: &ballots, scale: 1, origin: (0, 0), by_opacity: false };
        // All at once.
        let mut whole = samples.clone();
        let mut picture = Samples::<u8, 3> { samples: &mut whole, width: WIDTH, height: HEIGHT };
        let seen = HOLE.grown(1, (WIDTH, HEIGHT));
        let mut means = votes.means(&picture, seen);
        let uncorrected = means.clone();
        seams::close(&picture, &hole, HOLE, (seen, &mut means));
        assert_ne!(means, uncorrected);
        for ((x, y), mean) in places(seen).zip(means).filter(|((x, y), _)| hole[y * WIDTH + x]) {
            picture.set(x, y, mean.unwrap());
        }
        assert_eq!(put(&mut samples, &hole, &field, &Monitor::new().0), Ok(0));
        assert!(samples == whole);
    }

    #[test]
    fn cancellation_stops_after_the_search_too() {
        let (mut samples, hole, field) = noise();
        let (before, (monitor, watch)) = (samples.clone(), Monitor::new());
        watch.cancel.cancel();
        assert_eq!(put(&mut samples, &hole, &field, &monitor), Err(EngineError::Cancelled));
        let mut picture = Samples::<u8, 3> { samples: &mut samples, width: WIDTH, height: HEIGHT };
        assert_eq!(picture.spread(&hole, HOLE, places(HOLE), &monitor), Err(EngineError::Cancelled));
        assert!(samples == before);
    }
}
