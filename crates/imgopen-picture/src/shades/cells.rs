//! A picture in a few cells, by which pictures are compared whatever their file format, quality and size.

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};

use super::rows::{Opacity, each_row};

/// The most cells along a side.
const CELLS: usize = 32;
/// The least number of cells that are compared, and how far their shades in a picture lie apart at least.
const FEWEST: usize = 4;
const CONTRAST: f64 = 4.0;
/// A mask is the picture if it is nearer to it than this part of how near two shades come.
const NEAR: f64 = 0.6;
/// How far the channels of a cell differ at least, or how much lighter it is at least, if it is painted over.
const PAINT: f64 = 60.0;
/// How far a cell is lighter, or darker, than all around it if it is a hill or a valley.
const STEEP: f64 = 6.0;
/// The ways in which programs make gray of colours.
const GRAYS: [[f64; 3]; 3] = [[0.299, 0.587, 0.114], [0.2126, 0.7152, 0.0722], [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]];

/// What is known of the pixels in a cell.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// Sums of the channels of the opaque pixels.
    sums: [u64; 3],
    opaque: u64,
    all: u64,
    /// Pixels between black and white.
    tones: u64,
}

impl Cell {
    fn mean(&self) -> [f64; 3] {
        self.sums.map(|sum| sum as f64 / self.opaque.max(1) as f64)
    }

    fn gray(&self, weights: [f64; 3]) -> f64 {
        self.mean().iter().zip(weights).map(|(channel, weight)| channel * weight).sum()
    }

    fn lightest(&self) -> f64 {
        self.mean().into_iter().fold(0.0, f64::max)
    }

    fn darkest(&self) -> f64 {
        self.mean().into_iter().fold(f64::INFINITY, f64::min)
    }

    /// Whether this cell of a mask may be that of a picture with paint over it: in a colour that the picture does not have, or
    /// much lighter.
    fn is_painted(&self, picture: &Self) -> bool {
        let [of_mask, of_picture] = [self, picture].map(|cell| cell.lightest() - cell.darkest());
        (of_mask > PAINT && of_picture <= PAINT) || self.darkest() - picture.darkest() > PAINT
    }

    fn is_mostly_opaque(&self) -> bool {
        self.all > 0 && self.opaque * 2 >= self.all
    }
}

/// The cells of a picture, row by row.
#[derive(Debug)]
pub(super) struct Cells {
    size: (usize, usize),
    columns: usize,
    rows: usize,
    cells: Vec<Cell>,
}

impl Cells {
    /// Creates cells for a picture of this size, without its pixels.
    pub(super) fn new(image: &DynamicImage) -> Self {
        let size = (image.width() as usize, image.height() as usize);
        let (columns, rows) = (size.0.min(CELLS), size.1.min(CELLS));
        Self { size, columns, rows, cells: vec![Cell::default(); columns * rows] }
    }

    pub(super) fn of(image: &DynamicImage, monitor: &Monitor) -> Result<Self, EngineError> {
        let opacity = Opacity::of(image, monitor)?;
        let mut cells = Self::new(image);
        let mut y = 0;
        each_row(image, monitor, |row| {
            for (x, pixel) in row.iter().enumerate() {
                cells.add((x, y), *pixel, opacity.is_opaque(pixel[3]), false);
            }
            y += 1;
        })?;
        Ok(cells)
    }

    /// Adds a pixel.
    pub(super) fn add(&mut self, (x, y): (usize, usize), [r, g, b, _]: [u8; 4], is_opaque: bool, is_tone: bool) {
        let at = y * self.rows / self.size.1 * self.columns + x * self.columns / self.size.0;
        let cell = &mut self.cells[at];
        cell.all += 1;
        if is_opaque {
            cell.opaque += 1;
            cell.tones += u64::from(is_tone);
            cell.sums.iter_mut().zip([r, g, b]).for_each(|(sum, channel)| *sum += u64::from(channel));
        }
    }

    /// Returns cells of twice the sides.
    fn doubled(&self) -> Self {
        let (columns, rows) = (self.columns.div_ceil(2), self.rows.div_ceil(2));
        let mut cells = vec![Cell::default(); columns * rows];
        for (at, from) in self.cells.iter().enumerate() {
            let into = &mut cells[at / self.columns / 2 * columns + at % self.columns / 2];
            into.sums.iter_mut().zip(from.sums).for_each(|(sum, more)| *sum += more);
            into.opaque += from.opaque;
            into.all += from.all;
            into.tones += from.tones;
        }
        Self { size: self.size, columns, rows, cells }
    }

    /// Whether what is opaque in this mask is the picture: nearer to it than a mask, which has about two shades, can be. What
    /// writing it again and scaling it change is less. Paint over a part of it does not count.
    pub(super) fn is_picture(&self, picture: &Self) -> bool {
        self.is_near(picture) || self.doubled().is_near(&picture.doubled())
    }

    fn is_near(&self, picture: &Self) -> bool {
        if (self.columns, self.rows) != (picture.columns, picture.rows) {
            return false;
        }
        let pairs = self.cells.iter().zip(&picture.cells);
        let pairs = pairs.filter(|(mask, of)| mask.is_mostly_opaque() && of.is_mostly_opaque());
        let pairs: Vec<_> = pairs.filter(|(mask, of)| !mask.is_painted(of)).collect();
        GRAYS.into_iter().any(|weights| {
            let shades: Vec<_> = pairs.iter().map(|(mask, of)| (mask.gray(weights), of.gray(weights))).collect();
            is_near(&shades)
        })
    }

    /// Counts the cells between black and white that are lighter, or darker, than all around them. A photograph has many,
    /// however dim or blurred. A mask, which goes from black to white and back, has nearly none.
    pub(super) fn hills(&self) -> usize {
        let at = |x: usize, y: usize| &self.cells[y * self.columns + x];
        let inner = |length: usize| 1..length.saturating_sub(1).max(1);
        let places = inner(self.rows).flat_map(|y| inner(self.columns).map(move |x| (x, y)));
        let is_hill = |(x, y): (usize, usize)| {
            let middle = at(x, y);
            let around = (y - 1..=y + 1).flat_map(|other| (x - 1..=x + 1).map(move |across| (across, other)));
            let around: Vec<_> = around.filter(|place| *place != (x, y)).map(|(x, y)| at(x, y)).collect();
            let is_whole = middle.opaque == middle.all && around.iter().all(|cell| cell.opaque == cell.all);
            let steps: Vec<_> = around.iter().map(|cell| middle.lightest() - cell.lightest()).collect();
            let is_steep = steps.iter().all(|step| *step >= STEEP) || steps.iter().all(|step| *step <= -STEEP);
            is_whole && is_steep && middle.tones * 4 >= middle.all * 3
        };
        places.filter(|place| is_hill(*place)).count()
    }
}

/// Whether the first of each two shades, that of a mask, is near to the second, that of a picture.
fn is_near(shades: &[(f64, f64)]) -> bool {
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (of_mask, of_picture): (Vec<_>, Vec<_>) = shades.iter().copied().unzip();
    if shades.len() < FEWEST || most(&of_picture) - least(&of_picture) < CONTRAST {
        return false;
    }
    let middle = f64::midpoint(least(&of_mask), most(&of_mask));
    let (light, dark): (Vec<_>, Vec<_>) = shades.iter().copied().partition(|(mask, _)| *mask > middle);
    let distance: f64 = shades.iter().map(|(mask, picture)| (mask - picture).abs()).sum();
    distance <= NEAR * (spread(&light) + spread(&dark))
}

/// Returns how far the second of each two shades are from one shade in all, at best.
fn spread(shades: &[(f64, f64)]) -> f64 {
    let mut shades: Vec<_> = shades.iter().map(|(_, shade)| *shade).collect();
    shades.sort_by(f64::total_cmp);
    let Some(median) = shades.get(shades.len() / 2).copied() else { return 0.0 };
    shades.iter().map(|shade| (shade - median).abs()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: the best two shades are 10 and 101, from which the shades of the picture are 2 + 3 away.
    #[test]
    fn a_mask_is_compared_with_the_best_two_shades() {
        let shades = |mask: [f64; 6]| mask.into_iter().zip([10.0, 8.0, 10.0, 101.0, 104.0, 101.0]).collect::<Vec<_>>();
        assert!(is_near(&shades([10.0, 8.0, 10.0, 101.0, 104.0, 101.0])));
        assert!(is_near(&shades([10.0, 8.0, 10.0, 101.0, 102.0, 101.0])));
        assert!(!is_near(&shades([10.0, 10.0, 10.0, 101.0, 101.0, 101.0])));
        assert!(!is_near(&shades([0.0, 0.0, 0.0, 255.0, 255.0, 255.0])));
        assert!(!is_near(&[(5.0, 5.0); 9]), "nothing to compare");
    }
}
