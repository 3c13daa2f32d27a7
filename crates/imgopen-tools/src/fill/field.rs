//! The nearest-neighbour field: for each patch that touches the hole, the source patch most similar to it. Found by
//! PatchMatch (Barnes et al. 2009): a neighbour's match, shifted, is propagated, and random search at shrinking radius
//! improves it.

use fastrand::Rng;
use imgopen_engine::{EngineError, Monitor};
use imgopen_picture::parallel;
use pulp::{Arch, NullaryFnOnce};

use super::canvas::{Area, Canvas, bounds};
use super::patch::{SIDE, distance};

/// The bands searched in parallel. Fixed, because the result depends on it.
const BANDS: usize = 8;
/// The fewest rows in a band.
const BAND_ROWS: usize = 8;

/// Where a patch is taken from, and its cost: how it differs from its target. No side of a canvas is longer than 65535
/// pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub x: u16,
    pub y: u16,
    pub cost: u32,
}

impl Cell {
    /// Stands for a patch that does not touch the hole.
    pub(super) const NONE: Self = Self { x: u16::MAX, y: u16::MAX, cost: 0 };

    /// A patch whose cost is not yet computed.
    fn at(x: u16, y: u16) -> Self {
        Self { x, y, cost: 0 }
    }

    pub(super) fn is_none(&self) -> bool {
        self.x == u16::MAX
    }
}

/// The positions of the patches that touch the hole: `step` pixels apart, the last ones as far right and down as
/// possible.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    left: usize,
    top: usize,
    last_x: usize,
    last_y: usize,
    step: usize,
    pub columns: usize,
    pub rows: usize,
}

impl Grid {
    /// Creates the grid over the hole of a canvas at least a patch wide and high. Every pixel of the hole is covered.
    pub(super) fn over(canvas: &Canvas, step: usize) -> Option<Self> {
        let hole = bounds(&canvas.hole, canvas.width)?;
        let (left, last_x) = span(hole.left, hole.right, canvas.width)?;
        let (top, last_y) = span(hole.top, hole.bottom, canvas.height)?;
        let count = |from: usize, to: usize| (to - from).div_ceil(step) + 1;
        Some(Self { left, top, last_x, last_y, step, columns: count(left, last_x), rows: count(top, last_y) })
    }

    #[inline(always)]
    pub(super) fn x(&self, column: usize) -> usize {
        (self.left + column * self.step).min(self.last_x)
    }

    #[inline(always)]
    pub(super) fn y(&self, row: usize) -> usize {
        (self.top + row * self.step).min(self.last_y)
    }

    /// Returns the area in which patches begin.
    pub(super) fn area(&self) -> Area {
        Area { left: self.left, top: self.top, right: self.last_x + 1, bottom: self.last_y + 1 }
    }

    /// Returns the index of the cell nearest to a position.
    fn nearest(&self, x: usize, y: usize) -> usize {
        let index = |at: usize, first: usize, count: usize| {
            ((at.saturating_sub(first) + self.step / 2) / self.step).min(count - 1)
        };
        index(y, self.top, self.rows) * self.columns + index(x, self.left, self.columns)
    }
}

/// Returns the first and the last position of a patch that touches the hole, on one axis.
fn span(first: usize, end: usize, size: usize) -> Option<(usize, usize)> {
    let last = size.checked_sub(SIDE)?;
    Some((first.saturating_sub(SIDE - 1).min(last), (end - 1).min(last)))
}

/// The preferred source positions on each axis.
#[derive(Debug)]
pub(super) struct Homes {
    x: Vec<u16>,
    y: Vec<u16>,
}

impl Homes {
    /// Prefers the position itself within an area, and its mirror image beyond the edges.
    pub(super) fn mirrored(canvas: &Canvas, inside: Area) -> Self {
        Self {
            x: (0..canvas.width).map(|x| mirrored(x, inside.left, inside.right)).collect(),
            y: (0..canvas.height).map(|y| mirrored(y, inside.top, inside.bottom)).collect(),
        }
    }
}

/// Returns a position mirrored at the ends of a span, repeatedly if needed.
fn mirrored(at: usize, from: usize, to: usize) -> u16 {
    let last = to.saturating_sub(SIDE).max(from) as i64;
    let (at, from) = (at as i64, from as i64);
    let length = last - from;
    let turn = (at - from).rem_euclid((2 * length).max(1));
    (from + turn.min(2 * length - turn).max(0)) as u16
}

/// The source patches, and their cost apart from the difference of samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub canvas: &'a Canvas,
    /// Whether the patch that begins at each pixel may be a source.
    pub sources: &'a [bool],
    /// The sums of the samples of each patch, by the pixel at which it begins.
    pub sums: &'a [[i16; 4]],
    /// The most by which a patch may be lightened or darkened, as a sum over its pixels.
    pub most_shift: i32,
    /// The preferred source position for each column and row.
    pub homes: &'a Homes,
    /// The cost of a pixel of distance from the preferred position, in 1/256 of a squared difference.
    pub distance_cost: u32,
}

impl Rules<'_> {
    #[inline(always)]
    fn is_source(&self, x: i32, y: i32) -> bool {
        let (width, height) = (self.canvas.width as i32, self.canvas.height as i32);
        (0..width).contains(&x) && (0..height).contains(&y) && self.sources[(y * width + x) as usize]
    }

    /// Returns the cost of taking a patch from a position, or some value of at least `limit` if the cost exceeds it.
    #[inline(always)]
    fn cost(&self, (x, y): (usize, usize), (from_x, from_y): (usize, usize), limit: u32) -> u32 {
        let (home_x, home_y) = (usize::from(self.homes.x[x]), usize::from(self.homes.y[y]));
        let far = self.farness(home_x.abs_diff(from_x) + home_y.abs_diff(from_y));
        if far >= limit {
            return far;
        }
        let width = self.canvas.width;
        let (here, there) = (y * width + x, from_y * width + from_x);
        let gain = self.gain(here, there);
        let distance = distance(&self.canvas.pixels, width, here, there, (limit - far).saturating_add(gain));
        far + distance.saturating_sub(gain)
    }

    /// Returns what to add to each colour of a source patch to match the lightness of its target: a bounded sum over its
    /// pixels.
    #[inline(always)]
    pub(super) fn shift(&self, here: usize, there: usize) -> [i32; 3] {
        std::array::from_fn(|colour| {
            let difference = i32::from(self.sums[here][colour]) - i32::from(self.sums[there][colour]);
            difference.clamp(-self.most_shift, self.most_shift)
        })
    }

    /// Returns by how much the shift reduces the sum of squared differences.
    #[inline(always)]
    fn gain(&self, here: usize, there: usize) -> u32 {
        let shift = self.shift(here, there);
        let mut gain = 0;
        for (colour, shift) in shift.into_iter().enumerate() {
            let difference = i32::from(self.sums[here][colour]) - i32::from(self.sums[there][colour]);
            gain += (shift * (2 * difference - shift)) >> 6;
        }
        gain.cast_unsigned()
    }

    #[inline(always)]
    pub(super) fn farness(&self, pixels: usize) -> u32 {
        ((pixels as u64 * u64::from(self.distance_cost)) >> 8) as u32
    }

    /// Returns all source positions, row by row.
    fn all_sources(&self) -> Vec<u32> {
        (0..).zip(self.sources).filter(|(_, source)| **source).map(|(at, _)| at).collect()
    }
}

/// One search over all patches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    /// Whether it runs upward and to the left.
    pub backward: bool,
    /// Whether the picture has changed since costs were computed.
    pub changed: bool,
    /// The radius of random search, in pixels.
    pub radius: u32,
    pub seed: u64,
}

/// The source of every patch that touches the hole.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub grid: Grid,
    pub cells: Vec<Cell>,
}

impl Field {
    /// Creates the field over a canvas from the sources that `from` returns for positions. An invalid source is replaced by
    /// a random one; there must be at least one valid source.
    pub(super) fn new(
        grid: Grid,
        rules: &Rules<'_>,
        seed: u64,
        monitor: &Monitor,
        from: impl Fn(usize, usize) -> Option<(i32, i32)>,
    ) -> Result<Self, EngineError> {
        let mut rng = Rng::with_seed(seed);
        let width = rules.canvas.width;
        let all = rules.all_sources();
        let mut cells = Vec::with_capacity(grid.rows * grid.columns);
        for y in (0..grid.rows).map(|row| grid.y(row)) {
            monitor.check_cancelled()?;
            for x in (0..grid.columns).map(|column| grid.x(column)) {
                let given = || from(x, y).filter(|(x, y)| rules.is_source(*x, *y));
                cells.push(match rules.sources[y * width + x] {
                    true => Cell::NONE,
                    false => given().map_or_else(|| any(&all, width, &mut rng), |(x, y)| Cell::at(x as u16, y as u16)),
                });
            }
        }
        Ok(Self { grid, cells })
    }

    /// Returns the field over a canvas twice as large.
    pub(super) fn doubled(
        &self,
        grid: Grid,
        rules: &Rules<'_>,
        seed: u64,
        monitor: &Monitor,
    ) -> Result<Self, EngineError> {
        let half = SIDE / 2;
        Self::new(grid, rules, seed, monitor, |x, y| {
            // The patch with the same centre.
            let at = self.grid.nearest(((x + half) / 2).saturating_sub(half), ((y + half) / 2).saturating_sub(half));
            let cell = self.cells[at];
            let (from_x, from_y) = (self.grid.x(at % self.grid.columns), self.grid.y(at / self.grid.columns));
            let moved = |at: usize, source: u16, from: usize| at as i32 + 2 * (i32::from(source) - from as i32);
            (!cell.is_none()).then(|| (moved(x, cell.x, from_x), moved(y, cell.y, from_y)))
        })
    }

    /// Searches for better patches everywhere.
    pub(super) fn search(&mut self, rules: &Rules<'_>, walk: Walk, monitor: &Monitor) -> Result<(), EngineError> {
        let Grid { columns, rows, .. } = self.grid;
        let band_rows = rows.div_ceil(BANDS).max(BAND_ROWS);
        let before = self.cells.clone();
        let row_before =
            |row: Option<usize>| row.filter(|row| *row < rows).map(|row| &before[row * columns..][..columns]);
        let bands = self.cells.chunks_mut(columns * band_rows).enumerate().map(|(index, cells)| {
            let first = index * band_rows;
            let edge = if walk.backward { Some(first + cells.len() / columns) } else { first.checked_sub(1) };
            Band { rules: *rules, walk, grid: self.grid, first, edge: row_before(edge), cells }
        });
        parallel::each(bands.collect(), |band| band.search(monitor));
        monitor.check_cancelled()
    }
}

/// Returns a random source position.
fn any(places: &[u32], width: usize, rng: &mut Rng) -> Cell {
    match places {
        [] => Cell::NONE,
        places => {
            let at = places[rng.usize(..places.len())] as usize;
            Cell::at((at % width) as u16, (at / width) as u16)
        }
    }
}

/// The rows of a field that one thread searches.
struct Band<'a> {
    rules: Rules<'a>,
    walk: Walk,
    grid: Grid,
    /// The index of its first row.
    first: usize,
    /// The preceding row in search order, as it was before the search.
    edge: Option<&'a [Cell]>,
    cells: &'a mut [Cell],
}

/// The search in one row, compiled for the machine's vector instructions; a closure is too large to be inlined for that.
struct SearchRow<'a, 'b> {
    band: &'a mut Band<'b>,
    row: usize,
    previous: &'a [Cell],
}

impl NullaryFnOnce for SearchRow<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.band.search_row(self.row, self.previous);
    }
}

impl Band<'_> {
    fn search(mut self, monitor: &Monitor) {
        let columns = self.grid.columns;
        let rows = self.cells.len() / columns;
        let mut previous = self.edge.map_or_else(|| vec![Cell::NONE; columns], <[Cell]>::to_vec);
        for turn in 0..rows {
            let row = if self.walk.backward { rows - 1 - turn } else { turn };
            if monitor.is_cancelled() {
                return;
            }
            Arch::new().dispatch(SearchRow { band: &mut self, row, previous: &previous });
            previous.copy_from_slice(&self.cells[row * columns..][..columns]);
        }
    }

    #[inline(always)]
    fn search_row(&mut self, row: usize, previous: &[Cell]) {
        let Walk { backward, seed, .. } = self.walk;
        let (grid, rules) = (self.grid, self.rules);
        let columns = grid.columns;
        let number = self.first + row;
        let y = grid.y(number);
        // A row that does not exist has no cells with a source.
        let previous_y = if backward { grid.y(number + 1) } else { grid.y(number.saturating_sub(1)) };
        let mut rng = Rng::with_seed(seed ^ (number as u64) << 32);
        let cells = &mut self.cells[row * columns..][..columns];
        let mut beside = Cell::NONE;
        let mut beside_x = 0;
        for turn in 0..columns {
            let column = if backward { columns - 1 - turn } else { turn };
            let x = grid.x(column);
            let mut cell = cells[column];
            if !cell.is_none() {
                if self.walk.changed {
                    cell.cost = rules.cost((x, y), (cell.x.into(), cell.y.into()), u32::MAX);
                }
                try_moved(&rules, &mut cell, (x, y), beside, (beside_x, y));
                try_moved(&rules, &mut cell, (x, y), previous[column], (x, previous_y));
                try_around(&rules, &mut cell, (x, y), self.walk.radius, &mut rng);
                cells[column] = cell;
            }
            (beside, beside_x) = (cell, x);
        }
    }
}

/// Tries the source of the neighbour at `beside`, shifted by the distance of `place` from it.
#[inline(always)]
fn try_moved(rules: &Rules<'_>, cell: &mut Cell, place: (usize, usize), neighbour: Cell, beside: (usize, usize)) {
    if neighbour.is_none() {
        return;
    }
    let x = i32::from(neighbour.x) + place.0 as i32 - beside.0 as i32;
    let y = i32::from(neighbour.y) + place.1 as i32 - beside.1 as i32;
    try_at(rules, cell, place, x, y);
}

/// Tries positions around the known one, at shrinking radius.
#[inline(always)]
fn try_around(rules: &Rules<'_>, cell: &mut Cell, place: (usize, usize), radius: u32, rng: &mut Rng) {
    let mut radius = radius;
    while radius > 0 {
        let draw = rng.u64(..);
        let offset = |bits: u64| (((bits & 0xffff_ffff) * u64::from(2 * radius + 1)) >> 32) as i32 - radius as i32;
        let (x, y) = (i32::from(cell.x) + offset(draw), i32::from(cell.y) + offset(draw >> 32));
        try_at(rules, cell, place, x, y);
        radius /= 2;
    }
}

#[inline(always)]
fn try_at(rules: &Rules<'_>, cell: &mut Cell, place: (usize, usize), x: i32, y: i32) {
    if (x, y) == (cell.x.into(), cell.y.into()) || !rules.is_source(x, y) {
        return;
    }
    let cost = rules.cost(place, (x as usize, y as usize), cell.cost);
    if cost < cell.cost {
        *cell = Cell { x: x as u16, y: y as u16, cost };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hole with an island of that side, and the field over all of it.
    fn field(size: usize, island: usize, monitor: &Monitor) -> Result<(Canvas, Field), EngineError> {
        let inside = |at: usize| (300..300 + island).contains(&at);
        let hole = (0..size * size).map(|at| !(inside(at % size) && inside(at / size))).collect();
        let canvas = Canvas { width: size, height: size, pixels: vec![[7, 8, 9, 255]; size * size], hole };
        let homes = Homes::mirrored(&canvas, Area { left: 0, top: 0, right: size, bottom: size });
        let (sources, sums) = (canvas.sources(), vec![[0; 4]; size * size]);
        let rules =
            Rules { canvas: &canvas, sources: &sources, sums: &sums, most_shift: 0, homes: &homes, distance_cost: 0 };
        let field = Field::new(Grid::over(&canvas, 1).unwrap(), &rules, 5, monitor, |_, _| None)?;
        Ok((canvas, field))
    }

    /// Each of two million patches finds one of 25 positions without looking at all the others.
    #[test]
    fn places_are_found_where_there_are_few() {
        let (canvas, field) = field(1500, 12, &Monitor::new().0).unwrap();
        let sources = canvas.sources();
        let mut taken = std::collections::HashSet::new();
        for cell in field.cells.iter().filter(|cell| !cell.is_none()) {
            assert!(sources[usize::from(cell.y) * 1500 + usize::from(cell.x)]);
            taken.insert((cell.x, cell.y));
        }
        assert_eq!(taken.len(), 25);
        assert_eq!(field.cells.iter().filter(|cell| cell.is_none()).count(), 25);
    }

    #[test]
    fn cancellation_stops_before_the_search() {
        let (monitor, watch) = Monitor::new();
        watch.cancel.cancel();
        assert!(matches!(field(400, 12, &monitor), Err(EngineError::Cancelled)));
    }
}
