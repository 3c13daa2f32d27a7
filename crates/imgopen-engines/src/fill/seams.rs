//! Closes the seam around what was filled. Patches that reach beyond the hole also vote for the known pixels next to it;
//! where their votes are off, the filled pixels nearby are off too, and are corrected by as much.

use std::collections::HashMap;

use super::canvas::Area;
use super::votes::{Sample, Samples, Votes};

/// How far into the hole the correction reaches, in pixels. It fades on the way.
const REACH: usize = 6;
/// The rows whose votes are held at a time.
const ROWS: usize = 64;

/// How far off the votes are for the known pixels next to a hole, each with its place.
pub(super) struct Seams<const CHANNELS: usize>(Vec<(usize, usize, [f32; CHANNELS])>);

/// What the known pixels nearby say of a filled one.
struct Correction<const CHANNELS: usize> {
    sums: [f32; CHANNELS],
    total: f32,
    /// The square of the distance of the nearest.
    nearest: f32,
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
        let mut errors = Vec::new();
        for top in (area.top..area.bottom).step_by(ROWS) {
            let strip = Area { top, bottom: (top + ROWS).min(area.bottom), ..area };
            let places = beside(hole, (picture.width, picture.height), strip);
            if places.is_empty() {
                continue;
            }
            let means = votes.means(picture, strip);
            for (x, y) in places {
                let mean = means[(y - strip.top) * strip.width() + x - strip.left];
                errors.extend(mean.and_then(|mean| error(picture.pixel(x, y), mean)).map(|error| (x, y, error)));
            }
        }
        Self(errors)
    }

    /// Corrects the filled pixels near the border.
    pub(super) fn close<S: Sample>(&self, picture: &mut Samples<'_, S, CHANNELS>, hole: &[bool]) {
        for ((x, y), correction) in self.corrections(hole, (picture.width, picture.height)) {
            let Correction { sums, total, nearest } = correction;
            let fade = 1.0 - (nearest.sqrt() - 1.0) / REACH as f32;
            if fade > 0.0 {
                let (pixel, most) = (picture.pixel(x, y), 255.0 * S::UNIT);
                let closed = |channel: usize| pixel[channel].wide() + fade * sums[channel] / total;
                picture.set(x, y, std::array::from_fn(|channel| S::narrow(closed(channel).clamp(0.0, most))));
            }
        }
    }

    /// The mean of the errors around each filled pixel near the border, of which the nearest count most.
    fn corrections(
        &self,
        hole: &[bool],
        (width, height): (usize, usize),
    ) -> HashMap<(usize, usize), Correction<CHANNELS>> {
        let mut corrections = HashMap::new();
        for (x, y, error) in &self.0 {
            for near_y in y.saturating_sub(REACH)..(y + REACH + 1).min(height) {
                for near_x in x.saturating_sub(REACH)..(x + REACH + 1).min(width) {
                    if !hole[near_y * width + near_x] {
                        continue;
                    }
                    let square = (near_x.abs_diff(*x).pow(2) + near_y.abs_diff(*y).pow(2)) as f32;
                    let weight = 1.0 / (square * square);
                    let none = Correction { sums: [0.0; CHANNELS], total: 0.0, nearest: f32::INFINITY };
                    let correction = corrections.entry((near_x, near_y)).or_insert(none);
                    correction.sums.iter_mut().zip(error).for_each(|(sum, error)| *sum += weight * error);
                    correction.total += weight;
                    correction.nearest = correction.nearest.min(square);
                }
            }
        }
        corrections
    }
}

/// The known pixels of an area that touch a hole, row by row.
fn beside(hole: &[bool], (width, height): (usize, usize), area: Area) -> Vec<(usize, usize)> {
    let is_hole = |x: usize, y: usize| x < width && y < height && hole[y * width + x];
    let touches = |x: usize, y: usize| {
        let rows = y.saturating_sub(1)..=y + 1;
        rows.into_iter().any(|y| (x.saturating_sub(1)..=x + 1).any(|x| is_hole(x, y)))
    };
    let places = (area.top..area.bottom).flat_map(|y| (area.left..area.right).map(move |x| (x, y)));
    places.filter(|(x, y)| !is_hole(*x, *y) && touches(*x, *y)).collect()
}

/// How much is missing in a mean of votes; nothing where something shows through, for it has no colour to compare.
fn error<S: Sample, const CHANNELS: usize>(known: [S; CHANNELS], mean: [S; CHANNELS]) -> Option<[f32; CHANNELS]> {
    let is_solid = |pixel: &[S; CHANNELS]| CHANNELS % 2 == 1 || pixel[CHANNELS - 1].byte() == u8::MAX;
    let difference = |channel: usize| known[channel].wide() - mean[channel].wide();
    (is_solid(&known) && is_solid(&mean)).then(|| std::array::from_fn(difference))
}
