//! Hides the seam around the filled area. Patches that reach beyond the hole also vote for the known pixels next to it;
//! where those votes are wrong, the filled pixels nearby are wrong too, and are corrected by the same amount.

use imgopen_picture::parallel;

use super::canvas::{Area, places};
use super::votes::{Sample, Samples};

/// How far into the hole the correction reaches, in pixels. It fades with distance.
pub(super) const REACH: usize = 6;
/// The number of rows that one thread corrects at a time.
const BAND_ROWS: usize = 8;

/// The error of the votes for a known pixel next to the hole.
struct Fault<const CHANNELS: usize> {
    x: usize,
    y: usize,
    error: [f32; CHANNELS],
}

/// The weighted errors of the known pixels near a filled one.
#[derive(Clone, Copy)]
struct Correction<const CHANNELS: usize> {
    sums: [f32; CHANNELS],
    total: f32,
    /// The square of the distance of the nearest.
    nearest: f32,
}

/// Corrects what is written into the hole near its border, in a strip of a picture. `means` are the means of the votes in
/// `seen`, an area that contains the known pixels up to [`REACH`] from the strip.
pub(super) fn close<S: Sample, const CHANNELS: usize>(
    picture: &Samples<'_, S, CHANNELS>,
    hole: &[bool],
    strip: Area,
    (seen, means): (Area, &mut [Option<[S; CHANNELS]>]),
) {
    let faults = faults(picture, hole, seen, means);
    if faults.is_empty() {
        return;
    }
    let columns = seen.width();
    let rows = &mut means[(strip.top - seen.top) * columns..][..strip.height() * columns];
    let bands = rows.chunks_mut(BAND_ROWS * columns).enumerate().map(|(number, means)| {
        let top = strip.top + number * BAND_ROWS;
        (Area { top, bottom: top + means.len() / columns, ..seen }, means)
    });
    parallel::each(bands.collect(), |(area, means)| {
        let first = faults.partition_point(|fault| fault.y + REACH < area.top);
        let end = faults.partition_point(|fault| fault.y < area.bottom + REACH);
        let corrections = corrections(&faults[first..end], hole, picture.width, area);
        for (mean, correction) in means.iter_mut().zip(corrections) {
            *mean = mean.map(|mean| correction.of(mean));
        }
    });
}

impl<const CHANNELS: usize> Correction<CHANNELS> {
    const NONE: Self = Self { sums: [0.0; CHANNELS], total: 0.0, nearest: f32::INFINITY };

    fn add(&mut self, error: &[f32; CHANNELS], square: f32) {
        let weight = 1.0 / (square * square);
        self.sums.iter_mut().zip(error).for_each(|(sum, error)| *sum += weight * error);
        self.total += weight;
        self.nearest = self.nearest.min(square);
    }

    /// Returns the pixel, corrected by the mean of the errors around it, the nearest weighted most.
    fn of<S: Sample>(&self, pixel: [S; CHANNELS]) -> [S; CHANNELS] {
        let fade = 1.0 - (self.nearest.sqrt() - 1.0) / REACH as f32;
        if fade <= 0.0 {
            return pixel;
        }
        let most = 255.0 * S::UNIT;
        let closed = |channel: usize| pixel[channel].wide() + fade * self.sums[channel] / self.total;
        std::array::from_fn(|channel| S::narrow(closed(channel).clamp(0.0, most)))
    }
}

/// Returns the corrections of the pixels of an area, row by row, computed for the hole only.
fn corrections<const CHANNELS: usize>(
    faults: &[Fault<CHANNELS>],
    hole: &[bool],
    width: usize,
    area: Area,
) -> Vec<Correction<CHANNELS>> {
    let mut corrections = vec![Correction::NONE; area.width() * area.height()];
    for Fault { x, y, error } in faults {
        let (left, right) = (x.saturating_sub(REACH).max(area.left), (x + REACH + 1).min(area.right));
        for near_y in y.saturating_sub(REACH).max(area.top)..(y + REACH + 1).min(area.bottom) {
            let corrections = &mut corrections[(near_y - area.top) * area.width()..][..area.width()];
            for near_x in (left..right).filter(|x| hole[near_y * width + x]) {
                let square = near_x.abs_diff(*x).pow(2) + near_y.abs_diff(*y).pow(2);
                corrections[near_x - area.left].add(error, square as f32);
            }
        }
    }
    corrections
}

/// Compares the means of the votes with the known pixels next to a hole, row by row.
fn faults<S: Sample, const CHANNELS: usize>(
    picture: &Samples<'_, S, CHANNELS>,
    hole: &[bool],
    area: Area,
    means: &[Option<[S; CHANNELS]>],
) -> Vec<Fault<CHANNELS>> {
    let (width, height) = (picture.width, picture.height);
    let is_hole = |x: usize, y: usize| x < width && y < height && hole[y * width + x];
    let touches = |x: usize, y: usize| {
        let rows = y.saturating_sub(1)..=y + 1;
        rows.into_iter().any(|y| (x.saturating_sub(1)..=x + 1).any(|x| is_hole(x, y)))
    };
    let compared = places(area).zip(means).filter(|((x, y), _)| !is_hole(*x, *y) && touches(*x, *y));
    let fault = |((x, y), mean): ((usize, usize), &Option<[S; CHANNELS]>)| {
        let error = error(picture.pixel(x, y), (*mean)?)?;
        Some(Fault { x, y, error })
    };
    compared.filter_map(fault).collect()
}

/// Returns what a mean of votes lacks; zero for transparent pixels, which have no colour to compare.
fn error<S: Sample, const CHANNELS: usize>(known: [S; CHANNELS], mean: [S; CHANNELS]) -> Option<[f32; CHANNELS]> {
    let is_solid = |pixel: &[S; CHANNELS]| CHANNELS % 2 == 1 || pixel[CHANNELS - 1].byte() == u8::MAX;
    let difference = |channel: usize| known[channel].wide() - mean[channel].wide();
    (is_solid(&known) && is_solid(&mean)).then(|| std::array::from_fn(difference))
}
