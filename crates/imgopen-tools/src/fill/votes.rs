//! Makes pixels from patches: each patch votes for the pixels that it covers.

use imgopen_picture::parallel;
use pulp::{Arch, NullaryFnOnce};

use super::canvas::Area;
use super::field::{Field, Grid};
use super::patch::SIDE;

/// The number of rows that one thread makes at a time.
const BAND_ROWS: usize = 32;
/// About how many pixels are made at a time.
const STRIP_PIXELS: usize = 1 << 20;

/// A sample of a picture: 8 or 16 bits.
pub(super) trait Sample: Copy + Default + Send + Sync {
    /// One 255th of its range.
    const UNIT: f32;

    fn wide(self) -> f32;
    fn narrow(value: f32) -> Self;
    /// The eight highest bits.
    fn byte(self) -> u8;
}

impl Sample for u8 {
    const UNIT: f32 = 1.0;

    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from(self)
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        (value + 0.5) as u8
    }

    fn byte(self) -> u8 {
        self
    }
}

impl Sample for u16 {
    const UNIT: f32 = 257.0;

    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from(self)
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        (value + 0.5) as u16
    }

    fn byte(self) -> u8 {
        (self >> 8) as u8
    }
}

/// Samples of a picture in rows, `CHANNELS` for each pixel.
#[derive(Debug)]
pub(super) struct Samples<'a, S, const CHANNELS: usize> {
    pub samples: &'a mut [S],
    pub width: usize,
    pub height: usize,
}

impl<S: Sample, const CHANNELS: usize> Samples<'_, S, CHANNELS> {
    pub(super) fn pixel(&self, x: usize, y: usize) -> [S; CHANNELS] {
        let at = (y * self.width + x) * CHANNELS;
        std::array::from_fn(|channel| self.samples[at + channel])
    }

    pub(super) fn set(&mut self, x: usize, y: usize, pixel: [S; CHANNELS]) {
        self.samples[(y * self.width + x) * CHANNELS..][..CHANNELS].copy_from_slice(&pixel);
    }
}

/// What a patch votes for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ballot {
    /// The weight of its vote; zero for a cell without a source.
    pub weight: f32,
    /// What is added to its red, green and blue, of 255.
    pub shift: [f32; 3],
}

/// Returns the area in strips from top to bottom, small enough to hold the votes for all their pixels.
pub(super) fn strips(area: Area) -> impl Iterator<Item = Area> {
    let rows = (STRIP_PIXELS / area.width().max(1)).max(2 * BAND_ROWS);
    (area.top..area.bottom).step_by(rows).map(move |top| Area { top, bottom: (top + rows).min(area.bottom), ..area })
}

/// A count of votes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Votes<'a> {
    pub field: &'a Field,
    pub ballots: &'a [Ballot],
    /// The width and height of a pixel of the field's canvas in pixels of the samples.
    pub scale: usize,
    /// Where the field's canvas begins in the samples.
    pub origin: (usize, usize),
    /// Whether the last channel is the opacity, and the others are not yet weighted by it.
    pub by_opacity: bool,
}

impl Votes<'_> {
    /// Returns the means of the votes for the pixels of an area, row by row; `None` where there are none. Patches come from
    /// outside the hole only, so what is filled meanwhile changes nothing.
    pub(super) fn means<S: Sample, const CHANNELS: usize>(
        &self,
        picture: &Samples<'_, S, CHANNELS>,
        area: Area,
    ) -> Vec<Option<[S; CHANNELS]>> {
        let mut bands: Vec<Band<S, CHANNELS>> = (area.top..area.bottom)
            .step_by(BAND_ROWS)
            .map(|top| Band::new(Area { top, bottom: (top + BAND_ROWS).min(area.bottom), ..area }))
            .collect();
        let window = window(SIDE * self.scale);
        parallel::each(bands.iter_mut().collect(), |band| {
            Arch::new().dispatch(Count { band, votes: self, picture, window: &window });
        });
        let pixels = bands.into_iter().flat_map(|band| band.counted.into_iter().zip(band.pixels));
        pixels.map(|(counted, pixel)| counted.then_some(pixel)).collect()
    }
}

/// Returns the weights of the pixels of a patch along one axis, highest in the middle.
fn window(side: usize) -> Vec<f32> {
    let middle = (side as f32 - 1.0) / 2.0;
    (0..side).map(|at| 1.0 - (at as f32 - middle).abs() / (side as f32 / 2.0 + 0.5)).collect()
}

/// Returns what is added to each channel of a sample.
#[inline(always)]
fn shift_of<S: Sample, const CHANNELS: usize>(shift: [f32; 3]) -> [f32; CHANNELS] {
    let shift = shift.map(|shift| shift * S::UNIT);
    std::array::from_fn(|channel| match (CHANNELS, channel) {
        (1 | 2, 0) => (shift[0] + shift[1] + shift[2]) / 3.0,
        (3 | 4, 0..3) => shift[channel],
        _ => 0.0,
    })
}

/// The rows that one thread makes.
struct Band<S, const CHANNELS: usize> {
    area: Area,
    pixels: Vec<[S; CHANNELS]>,
    counted: Vec<bool>,
}

impl<S: Sample, const CHANNELS: usize> Band<S, CHANNELS> {
    fn new(area: Area) -> Self {
        Self { area, pixels: Vec::new(), counted: Vec::new() }
    }

    #[inline(always)]
    fn count(&mut self, votes: &Votes<'_>, picture: &Samples<'_, S, CHANNELS>, window: &[f32]) {
        let size = self.area.width() * self.area.height();
        let mut sums = vec![0.0; size * CHANNELS];
        let mut totals = vec![0.0; size];
        let Grid { columns, rows, .. } = votes.field.grid;
        for row in 0..rows {
            let y = votes.origin.1 + votes.field.grid.y(row) * votes.scale;
            if y >= self.area.bottom || y + SIDE * votes.scale <= self.area.top {
                continue;
            }
            for column in 0..columns {
                let index = row * columns + column;
                if votes.ballots[index].weight > 0.0 {
                    let x = votes.origin.0 + votes.field.grid.x(column) * votes.scale;
                    self.add(votes, picture, window, (index, x, y), (&mut sums, &mut totals));
                }
            }
        }
        self.counted = totals.iter().map(|total| *total > 0.0).collect();
        let means = sums.chunks_exact(CHANNELS).zip(&totals).map(|(sums, total)| {
            let opacity = if votes.by_opacity { sums[CHANNELS - 1] / total / (255.0 * S::UNIT) } else { 1.0 };
            std::array::from_fn(|channel| {
                let seen = if channel + 1 < CHANNELS { opacity } else { 1.0 };
                // For transparent pixels this is NaN and becomes 0.
                S::narrow(sums[channel] / total / seen)
            })
        });
        self.pixels = means.collect();
    }

    /// Adds the vote of one patch, clipped to the band.
    #[inline(always)]
    fn add(
        &self,
        votes: &Votes<'_>,
        picture: &Samples<'_, S, CHANNELS>,
        window: &[f32],
        (index, x, y): (usize, usize, usize),
        (sums, totals): (&mut [f32], &mut [f32]),
    ) {
        let side = SIDE * votes.scale;
        let (cell, ballot) = (votes.field.cells[index], votes.ballots[index]);
        let shift = shift_of::<S, CHANNELS>(ballot.shift);
        let (from_x, from_y) =
            (votes.origin.0 + usize::from(cell.x) * votes.scale, votes.origin.1 + usize::from(cell.y) * votes.scale);
        let Area { left, top, right, bottom } = self.area;
        let (start, end) = (left.max(x) - x, (right.min(x + side) - x).min(picture.width - from_x));
        let width = right - left;
        for row in top.max(y) - y..(bottom.min(y + side) - y).min(picture.height - from_y) {
            if start >= end {
                return;
            }
            let count = end - start;
            let to = (y + row - top) * width + x + start - left;
            let from = (from_y + row) * picture.width + from_x + start;
            let samples = &picture.samples[from * CHANNELS..][..count * CHANNELS];
            let run = Run { samples, shift, weight: ballot.weight * window[row], shares: &window[start..end] };
            run.add(votes.by_opacity, &mut sums[to * CHANNELS..][..count * CHANNELS], &mut totals[to..][..count]);
        }
    }
}

/// The count in one band, compiled for the machine's vector instructions; a closure is too large to be inlined for that.
struct Count<'a, S, const CHANNELS: usize> {
    band: &'a mut Band<S, CHANNELS>,
    votes: &'a Votes<'a>,
    picture: &'a Samples<'a, S, CHANNELS>,
    window: &'a [f32],
}

impl<S: Sample, const CHANNELS: usize> NullaryFnOnce for Count<'_, S, CHANNELS> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.band.count(self.votes, self.picture, self.window);
    }
}

/// One row of a patch's vote.
struct Run<'a, S, const CHANNELS: usize> {
    samples: &'a [S],
    shift: [f32; CHANNELS],
    weight: f32,
    /// The weight of each pixel.
    shares: &'a [f32],
}

impl<S: Sample, const CHANNELS: usize> Run<'_, S, CHANNELS> {
    #[inline(always)]
    fn add(&self, by_opacity: bool, sums: &mut [f32], totals: &mut [f32]) {
        let pixels = sums.chunks_exact_mut(CHANNELS).zip(self.samples.chunks_exact(CHANNELS));
        for (((sums, samples), share), total) in pixels.zip(self.shares).zip(totals) {
            let weight = self.weight * share;
            let opacity = if by_opacity { samples[CHANNELS - 1].wide() / (255.0 * S::UNIT) } else { 1.0 };
            for channel in 0..CHANNELS {
                let seen = if channel + 1 < CHANNELS { opacity } else { 1.0 };
                sums[channel] += weight * (samples[channel].wide() * seen + self.shift[channel]);
            }
            *total += weight;
        }
    }
}
