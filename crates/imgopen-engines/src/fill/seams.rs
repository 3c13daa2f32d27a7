//! Closes the seam around what was filled. Patches that reach beyond the hole also vote for the known pixels next to it;
//! where their votes are off, the filled pixels nearby are off too, and are corrected by as much.

use super::canvas::Area;
use super::votes::{Sample, Samples, Votes};

/// How far into the hole the correction reaches, in pixels. It fades on the way.
const REACH: usize = 6;

/// How far off the votes are for known pixels next to a hole.
pub(super) struct Seams<const CHANNELS: usize> {
    area: Area,
    /// For each pixel of the area, row by row.
    errors: Vec<Option<[f32; CHANNELS]>>,
}

impl<const CHANNELS: usize> Seams<CHANNELS> {
    /// Compares the votes with the known pixels around a hole, which is not filled yet.
    pub(super) fn find<S: Sample>(
        picture: &Samples<'_, S, CHANNELS>,
        votes: &Votes<'_>,
        hole: &[bool],
        inner: Area,
    ) -> Self {
        let area = inner.grown(1, (picture.width, picture.height));
        let is_hole = |x: usize, y: usize| y < picture.height && x < picture.width && hole[y * picture.width + x];
        let beside = |x: usize, y: usize| {
            let around = (y.saturating_sub(1)..=y + 1).flat_map(|y| (x.saturating_sub(1)..=x + 1).map(move |x| (x, y)));
            !is_hole(x, y) && around.into_iter().any(|(x, y)| is_hole(x, y))
        };
        let means = votes.means(picture, area);
        let errors = means.into_iter().enumerate().map(|(at, mean)| {
            let (x, y) = (area.left + at % area.width(), area.top + at / area.width());
            let (mean, known) = (mean.filter(|_| beside(x, y))?, picture.pixel(x, y));
            // What shows through has no colour to compare.
            let is_solid = |pixel: &[S; CHANNELS]| CHANNELS % 2 == 1 || pixel[CHANNELS - 1].byte() == u8::MAX;
            (is_solid(&mean) && is_solid(&known)).then_some(())?;
            Some(std::array::from_fn(|channel| known[channel].wide() - mean[channel].wide()))
        });
        Self { errors: errors.collect(), area }
    }

    /// Corrects the filled pixels near the border.
    pub(super) fn close<S: Sample>(&self, picture: &mut Samples<'_, S, CHANNELS>, hole: &[bool], inner: Area) {
        for y in inner.top..inner.bottom {
            for x in inner.left..inner.right {
                if hole[y * picture.width + x]
                    && let Some(error) = self.error(x, y)
                {
                    let pixel = picture.pixel(x, y);
                    let most = 255.0 * S::UNIT;
                    let closed = |channel: usize| S::narrow((pixel[channel].wide() + error[channel]).clamp(0.0, most));
                    picture.set(x, y, std::array::from_fn(closed));
                }
            }
        }
    }

    /// What is missing in a filled pixel: the mean of the errors nearby, of which the nearest count most.
    fn error(&self, x: usize, y: usize) -> Option<[f32; CHANNELS]> {
        let (mut sums, mut total, mut nearest) = ([0.0; CHANNELS], 0.0, f32::INFINITY);
        let Area { left, top, right, bottom } = self.area;
        for near_y in y.saturating_sub(REACH).max(top)..(y + REACH + 1).min(bottom) {
            let row = &self.errors[(near_y - top) * (right - left)..][..right - left];
            for near_x in x.saturating_sub(REACH).max(left)..(x + REACH + 1).min(right) {
                let Some(error) = row[near_x - left] else { continue };
                let square = (near_x.abs_diff(x).pow(2) + near_y.abs_diff(y).pow(2)) as f32;
                let weight = 1.0 / (square * square);
                sums.iter_mut().zip(error).for_each(|(sum, error)| *sum += weight * error);
                total += weight;
                nearest = nearest.min(square);
            }
        }
        let fade = 1.0 - (nearest.sqrt() - 1.0) / REACH as f32;
        (total > 0.0 && fade > 0.0).then(|| sums.map(|sum| fade * sum / total))
    }
}
