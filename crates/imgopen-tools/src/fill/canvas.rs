//! A picture with a hole, at one of the scales of the pyramid.

use imgopen_engine::{EngineError, Monitor};

use super::patch::SIDE;

/// Pixels in four channels of 8 bits: red, green and blue weighted by opacity, and the opacity.
#[derive(Debug, Clone)]
pub(super) struct Canvas {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<[u8; 4]>,
    /// Which pixels are to be filled.
    pub hole: Vec<bool>,
}

/// The rows and columns from `left` and `top` up to, but not including, `right` and `bottom`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// The first column.
    pub left: usize,
    /// The first row.
    pub top: usize,
    /// The column after the last.
    pub right: usize,
    /// The row after the last.
    pub bottom: usize,
}

impl Area {
    /// Returns the number of columns.
    pub fn width(&self) -> usize {
        self.right - self.left
    }

    /// Returns the number of rows.
    pub fn height(&self) -> usize {
        self.bottom - self.top
    }

    /// Returns the area extended by so many pixels on each side, clipped to a picture of that size.
    pub fn grown(self, by: usize, (width, height): (usize, usize)) -> Self {
        Self {
            left: self.left.saturating_sub(by),
            top: self.top.saturating_sub(by),
            right: (self.right + by).min(width),
            bottom: (self.bottom + by).min(height),
        }
    }
}

/// Returns the pixels of the area, row by row.
pub(super) fn places(area: Area) -> impl Iterator<Item = (usize, usize)> {
    (area.top..area.bottom).flat_map(move |y| (area.left..area.right).map(move |x| (x, y)))
}

/// Returns the smallest area that contains every set pixel.
pub(super) fn bounds(set: &[bool], width: usize) -> Option<Area> {
    let rows = || set.chunks_exact(width);
    let top = rows().position(|row| row.contains(&true))?;
    let bottom = rows().len() - rows().rev().position(|row| row.contains(&true))?;
    let (mut left, mut right) = (width, 0);
    for row in rows().take(bottom).skip(top) {
        if let Some(first) = row[..left].iter().position(|set| *set) {
            left = first;
        }
        if let Some(last) = row[right..].iter().rposition(|set| *set) {
            right += last + 1;
        }
    }
    Some(Area { left, top, right, bottom })
}

/// Stands for no pixel.
pub(super) const NOWHERE: u32 = u32::MAX;

/// Returns for each pixel of an area the nearest one in it outside the hole, approximately: it is propagated from
/// neighbour to neighbour. Pixels are counted row by row from the area's first.
pub(super) fn nearest(hole: &[bool], width: usize, area: Area, monitor: &Monitor) -> Result<Vec<u32>, EngineError> {
    let (columns, rows) = (area.width(), area.height());
    let mut nearest = Vec::with_capacity(rows * columns);
    for row in hole.chunks_exact(width).take(area.bottom).skip(area.top) {
        monitor.check_cancelled()?;
        for hole in &row[area.left..area.right] {
            let here = nearest.len() as u32;
            nearest.push(if *hole { NOWHERE } else { here });
        }
    }
    let distance = |from: u32, (x, y): (usize, usize)| match from {
        NOWHERE => u64::MAX,
        from => {
            let (from_x, from_y) = (from as usize % columns, from as usize / columns);
            (x.abs_diff(from_x) as u64).pow(2) + (y.abs_diff(from_y) as u64).pow(2)
        }
    };
    let mut closer = |(x, y): (usize, usize), beside: Option<usize>| {
        let at = y * columns + x;
        if let Some(from) = beside.map(|beside| nearest[beside])
            && from != nearest[at]
            && distance(from, (x, y)) < distance(nearest[at], (x, y))
        {
            nearest[at] = from;
        }
    };
    for y in 0..rows {
        monitor.check_cancelled()?;
        for x in 0..columns {
            closer((x, y), x.checked_sub(1).map(|left| y * columns + left));
            closer((x, y), y.checked_sub(1).map(|above| above * columns + x));
        }
    }
    for y in (0..rows).rev() {
        monitor.check_cancelled()?;
        for x in (0..columns).rev() {
            closer((x, y), (x + 1 < columns).then(|| y * columns + x + 1));
            closer((x, y), (y + 1 < rows).then(|| (y + 1) * columns + x));
        }
    }
    Ok(nearest)
}

impl Canvas {
    /// Returns the canvas at half the size. A pixel is part of the hole if any of its source pixels is, so that no pixel
    /// outside keeps a trace of what is removed.
    pub(super) fn halved(&self) -> Self {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let mut half = Self { width, height, pixels: Vec::with_capacity(width * height), hole: Vec::new() };
        half.hole.reserve_exact(width * height);
        for y in 0..height {
            for x in 0..width {
                let (pixel, hole) = self.mean_at(2 * x, 2 * y);
                half.pixels.push(pixel);
                half.hole.push(hole);
            }
        }
        half
    }

    fn mean_at(&self, x: usize, y: usize) -> ([u8; 4], bool) {
        let (mut sums, mut count, mut hole) = ([0_u16; 4], 0, false);
        for y in [y, (y + 1).min(self.height - 1)] {
            for x in [x, (x + 1).min(self.width - 1)] {
                let at = y * self.width + x;
                if self.hole[at] {
                    hole = true;
                    continue;
                }
                count += 1;
                for (sum, sample) in sums.iter_mut().zip(self.pixels[at]) {
                    *sum += u16::from(sample);
                }
            }
        }
        (sums.map(|sum| ((sum + count / 2) / count.max(1)) as u8), hole)
    }

    /// Fills the hole from the same canvas at half the size, interpolated.
    pub(super) fn fill_from(&mut self, half: &Self) {
        let taps = |at: usize, size: usize| {
            let near = at / 2;
            let far = if at.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(size - 1) };
            [(near, 3), (far, 1)]
        };
        for at in (0..self.hole.len()).filter(|at| self.hole[*at]) {
            let mut sums = [8_u16; 4];
            for (y, high) in taps(at / self.width, half.height) {
                for (x, wide) in taps(at % self.width, half.width) {
                    let pixel = half.pixels[y * half.width + x];
                    sums = std::array::from_fn(|c| sums[c] + high * wide * u16::from(pixel[c]));
                }
            }
            self.pixels[at] = sums.map(|sum| (sum / 16) as u8);
        }
    }

    /// Returns for each pixel whether the patch whose first pixel it is lies inside the picture and outside the hole.
    pub(super) fn sources(&self) -> Vec<bool> {
        let (width, height) = (self.width, self.height);
        let mut sources = vec![false; width * height];
        // How many rows upward from here have no hole over a patch's width.
        let mut clear = vec![0_u8; width];
        for y in (0..height).rev() {
            let mut run = 0;
            for x in (0..width).rev() {
                let at = y * width + x;
                run = if self.hole[at] { 0 } else { (run + 1).min(SIDE) };
                clear[x] = if run == SIDE { (clear[x] + 1).min(SIDE as u8) } else { 0 };
                sources[at] = usize::from(clear[x]) == SIDE;
            }
        }
        sources
    }

    /// Returns the sums of the samples of the patches that begin in an area, in a table for the whole canvas. Patches that
    /// reach beyond the edge have none.
    pub(super) fn sum_patches(&self, area: Area, sums: &mut [[i16; 4]]) {
        let (width, columns) = (self.width, area.width());
        let row_end = (area.bottom + SIDE - 1).min(self.height);
        let mut rows: Vec<[i16; 4]> = Vec::with_capacity((row_end - area.top) * columns);
        for y in area.top..row_end {
            let row = &self.pixels[y * width..][..width];
            let first = row[area.left..(area.left + SIDE).min(width)].iter();
            let mut sum = first.fold([0_i16; 4], |sum, pixel| std::array::from_fn(|c| sum[c] + i16::from(pixel[c])));
            for x in area.left..area.right {
                rows.push(sum);
                let (gone, come) = (row[x], row.get(x + SIDE).copied().unwrap_or_default());
                sum = std::array::from_fn(|c| sum[c] - i16::from(gone[c]) + i16::from(come[c]));
            }
        }
        let mut sum = vec![[0_i16; 4]; columns];
        for (number, row) in rows.chunks_exact(columns).enumerate() {
            for (x, sum) in sum.iter_mut().enumerate() {
                let gone = number.checked_sub(SIDE).map(|gone| rows[gone * columns + x]).unwrap_or_default();
                *sum = std::array::from_fn(|c| sum[c] - gone[c] + row[x][c]);
            }
            if let Some(first) = (number + 1).checked_sub(SIDE) {
                sums[(area.top + first) * width + area.left..][..columns].copy_from_slice(&sum);
            }
        }
    }

    /// Returns the distance of each pixel of the hole from a known one, in horizontal and vertical steps.
    pub(super) fn depths(&self) -> Vec<u16> {
        let (width, height) = (self.width, self.height);
        let mut depths: Vec<u16> = self.hole.iter().map(|hole| if *hole { u16::MAX } else { 0 }).collect();
        for y in 0..height {
            for x in 0..width {
                let at = y * width + x;
                let left = if x > 0 { depths[at - 1] } else { u16::MAX };
                let above = if y > 0 { depths[at - width] } else { u16::MAX };
                depths[at] = depths[at].min(left.min(above).saturating_add(1));
            }
        }
        for y in (0..height).rev() {
            for x in (0..width).rev() {
                let at = y * width + x;
                let right = if x + 1 < width { depths[at + 1] } else { u16::MAX };
                let below = if y + 1 < height { depths[at + width] } else { u16::MAX };
                depths[at] = depths[at].min(right.min(below).saturating_add(1));
            }
        }
        depths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(width: usize, height: usize, hole: Area) -> Canvas {
        let places = (0..width * height).map(|at| (at % width, at / width));
        let inside = |(x, y)| (hole.left..hole.right).contains(&x) && (hole.top..hole.bottom).contains(&y);
        let pixels = places.clone().map(|(x, y)| [x as u8, y as u8, 7, 255]).collect();
        Canvas { width, height, pixels, hole: places.map(inside).collect() }
    }

    #[test]
    fn bounds_are_tight() {
        let hole = Area { left: 3, top: 5, right: 9, bottom: 6 };
        assert_eq!(bounds(&canvas(12, 8, hole).hole, 12), Some(hole));
        assert_eq!(bounds(&[false; 12], 4), None);
        assert_eq!(hole.grown(4, (12, 8)), Area { left: 0, top: 1, right: 12, bottom: 8 });
    }

    #[test]
    fn the_nearest_are_counted_within_the_area() {
        // The first two columns of the area and a dot at its other end are known.
        let mut hole = vec![true; 20 * 10];
        for (x, y) in (0..10).flat_map(|y| [(0, y), (5, y), (6, y)]).chain([(14, 3)]) {
            hole[y * 20 + x] = false;
        }
        let area = Area { left: 5, top: 2, right: 15, bottom: 6 };
        let (monitor, watch) = Monitor::new();
        let found = nearest(&hole, 20, area, &monitor).unwrap();
        assert_eq!(found[..10], [0, 1, 1, 1, 1, 1, 19, 19, 19, 19]);
        assert_eq!(found[30..], [30, 31, 31, 31, 31, 31, 19, 19, 19, 19]);
        let none = nearest(&[true; 200], 20, area, &monitor).unwrap();
        assert!(none.iter().all(|from| *from == NOWHERE));
        watch.cancel.cancel();
        assert_eq!(nearest(&hole, 20, area, &monitor), Err(EngineError::Cancelled));
    }

    #[test]
    fn half_the_size_takes_nothing_from_the_hole() {
        let half = canvas(7, 5, Area { left: 3, top: 2, right: 4, bottom: 3 }).halved();
        assert_eq!((half.width, half.height), (4, 3));
        assert_eq!(bounds(&half.hole, 4), Some(Area { left: 1, top: 1, right: 2, bottom: 2 }));
        // Only known pixels count: (2, 2), (2, 3), (3, 3).
        assert_eq!(half.pixels[5], [2, 3, 7, 255]);
    }

    #[test]
    fn sources_keep_clear_of_the_hole_and_the_edges() {
        let canvas = canvas(30, 20, Area { left: 12, top: 9, right: 13, bottom: 10 });
        let sources = canvas.sources();
        for y in 0..20 {
            for x in 0..30 {
                let inside = x + SIDE <= 30 && y + SIDE <= 20;
                let clear = !(x <= 12 && 12 < x + SIDE && y <= 9 && 9 < y + SIDE);
                assert_eq!(sources[y * 30 + x], inside && clear, "{x},{y}");
            }
        }
    }

    #[test]
    fn sums_are_those_of_the_patches() {
        let canvas = canvas(21, 17, Area { left: 3, top: 2, right: 4, bottom: 3 });
        for area in [Area { left: 0, top: 0, right: 21, bottom: 17 }, Area { left: 5, top: 4, right: 13, bottom: 7 }] {
            let mut sums = vec![[-1; 4]; 21 * 17];
            canvas.sum_patches(area, &mut sums);
            for y in area.top..area.bottom.min(17 - SIDE + 1) {
                for x in area.left..area.right.min(21 - SIDE + 1) {
                    let ends = |from: usize| (8 * from + 28) as i16 * 8;
                    assert_eq!(sums[y * 21 + x], [ends(x), ends(y), 7 * 64, 255 * 64], "{x},{y}");
                }
            }
        }
    }

    #[test]
    fn depths_count_steps_to_what_is_known() {
        let depths = canvas(9, 9, Area { left: 0, top: 2, right: 5, bottom: 7 }).depths();
        assert_eq!(depths[4 * 9..5 * 9], [3, 3, 3, 2, 1, 0, 0, 0, 0]);
    }
}
