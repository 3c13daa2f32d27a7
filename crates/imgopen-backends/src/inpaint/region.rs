//! Which part of a picture is worked on, and at which size.

use crate::generation::MAX_SIDE;
use crate::settings::UNIT;

/// The least margin around a hole, in pixels.
const MARGIN: u32 = 64;
/// How far the new part reaches into the rest, in pixels of the size that is worked at, fading out on the way.
const REACH: u32 = 8;

/// The part of a picture that is worked on: a hole with what surrounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    /// The first column.
    pub left: u32,
    /// The first row.
    pub top: u32,
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// The size at which the model makes it.
    pub work: (u32, u32),
    /// How far the new part reaches beyond the hole, in pixels of the picture.
    pub reach: u32,
}

impl Region {
    /// Returns the region around a hole in a picture of that size, for a model that was made with squares of `side`
    /// pixels. `None` if there is no hole.
    pub fn around(hole: &[bool], (width, height): (u32, u32), side: u32) -> Option<Self> {
        let columns = width as usize;
        let rows = || hole.chunks_exact(columns).enumerate().filter(|(_, row)| row.contains(&true));
        let (top, bottom) = (rows().next()?.0, rows().next_back()?.0 + 1);
        let left = rows().filter_map(|(_, row)| row.iter().position(|set| *set)).min()?;
        let right = rows().filter_map(|(_, row)| row.iter().rposition(|set| *set)).max()? + 1;
        let [left, right, top, bottom] = [left, right, top, bottom].map(|place| place as u32);
        let margin = ((right - left).max(bottom - top) / 2).max(MARGIN);
        let (left, width) = widened(left, right, margin, side, width);
        let (top, height) = widened(top, bottom, margin, side, height);
        let work = work_size((width, height), side);
        let shrinks = [(width, work.0), (height, work.1)].map(|(side, work)| (side * REACH).div_ceil(work));
        let reach = shrinks.into_iter().fold(REACH, u32::max);
        Some(Self { left, top, width, height, work, reach })
    }

    /// Returns whether the new part is made with fewer pixels than it has in the picture.
    pub fn is_enlarged(&self) -> bool {
        self.work.0 < self.width || self.work.1 < self.height
    }

    /// Returns the position of each row of the region in a picture of that width: where it begins, and where it ends.
    pub fn rows(&self, width: u32) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let Self { left, top, height, .. } = *self;
        let columns = self.width as usize;
        (top..top + height).map(move |row| {
            let begin = row as usize * width as usize + left as usize;
            begin..begin + columns
        })
    }
}

/// Extends a stretch of a side by a margin, and to a least length, as far as the side goes. Returns its begin and
/// length.
fn widened(begin: u32, end: u32, margin: u32, least: u32, side: u32) -> (u32, u32) {
    let (begin, end) = (begin.saturating_sub(margin), (end + margin).min(side));
    let length = (end - begin).max(least.min(side));
    let missing = length - (end - begin);
    (begin.saturating_sub(missing / 2).min(side - length), length)
}

/// Returns a size with about as many pixels as a square of `side`, and about the proportions of a region.
pub(super) fn work_size((width, height): (u32, u32), side: u32) -> (u32, u32) {
    let scale = f64::from(side) / (f64::from(width) * f64::from(height)).sqrt();
    let units = |length: u32| ((f64::from(length) * scale / f64::from(UNIT)).round() as u32).max(1);
    ((units(width) * UNIT).min(MAX_SIDE), (units(height) * UNIT).min(MAX_SIDE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around((left, top, width, height): (u32, u32, u32, u32), size: (u32, u32), side: u32) -> Region {
        let inside = |x, y| (left..left + width).contains(&x) && (top..top + height).contains(&y);
        let hole: Vec<_> = (0..size.1).flat_map(|y| (0..size.0).map(move |x| inside(x, y))).collect();
        Region::around(&hole, size, side).unwrap()
    }

    #[test]
    fn a_small_hole_is_made_at_the_size_of_the_picture() {
        let region = around((300, 10, 40, 30), (2000, 900), 512);
        assert_eq!((region.left, region.top, region.width, region.height), (64, 0, 512, 512));
        assert_eq!((region.work, region.reach, region.is_enlarged()), ((512, 512), 8, false));
        // At the edge, the region moves inwards.
        assert_eq!(around((1990, 890, 10, 10), (2000, 900), 512).left, 2000 - 512);
    }

    #[test]
    fn a_large_hole_is_made_smaller() {
        let region = around((100, 100, 1200, 600), (1600, 1200), 512);
        assert_eq!((region.left, region.top, region.width, region.height), (0, 0, 1600, 1200));
        // As many pixels as a square of 512, in units of 64.
        assert_eq!((region.work, region.reach, region.is_enlarged()), ((576, 448), 23, true));
    }

    #[test]
    fn a_small_picture_is_made_larger() {
        let region = around((0, 0, 5, 5), (40, 20), 512);
        assert_eq!((region.left, region.top, region.width, region.height), (0, 0, 40, 20));
        assert_eq!((region.work, region.reach, region.is_enlarged()), ((704, 384), 8, false));
    }

    #[test]
    fn sides_stay_within_what_back_ends_make() {
        assert_eq!(work_size((60_000, 10), 1024), (4096, 64));
        assert_eq!(Region::around(&[false; 6], (3, 2), 512), None);
    }

    #[test]
    fn rows_are_those_of_the_region() {
        let region = Region { left: 2, top: 1, width: 3, height: 2, work: (64, 64), reach: 8 };
        assert_eq!(region.rows(10).collect::<Vec<_>>(), [12..15, 22..25]);
    }
}
