//! Completes a canvas, coarse to fine: at each scale, alternately finds patches that match the current content of the hole,
//! and rebuilds the content from their votes (Wexler et al. 2007).

use std::f32::consts::{LN_2, LOG2_E};
use std::iter::successors;

use imgopen_engine::{EngineError, Monitor};

use super::canvas::{Area, Canvas, bounds, places};
use super::field::{Cell, Field, Grid, Homes, Rules, Walk};
use super::patch::SIDE;
use super::start::{self, Rough};
use super::votes::{Ballot, Samples, Votes, strips};

/// No coarser scale is added once every pixel of the hole is at most this far from a known one.
const COARSEST_DEPTH: u16 = 12;
/// The most patches at one scale; above it they are spaced farther apart.
const MOST_PATCHES: usize = 160_000;
/// The widest spacing of patches. At half their side, each pixel is still covered by four.
const MOST_STEP: usize = 4;
/// The iterations at the finest scale, and at coarser ones; the last value applies to all further ones.
const TURNS: [usize; 4] = [2, 3, 5, 8];
/// The iterations at the coarsest scale, where nothing is known yet, and the searches in each.
const FIRST: (usize, usize) = (8, 8);
/// The most patches that all searches at the coarsest scale visit together; above it there are fewer searches.
const MOST_VISITS: usize = 4_000_000;
/// The radius of random search at the finest scale, in pixels. Matches farther away were found at coarser scales.
const FINEST_RADIUS: u32 = 32;
/// The factor by which a patch's weight falls with each pixel of depth in the hole.
const DECAY: f32 = 1.2;
/// The depth in pixels beyond which the weight stays the same.
const DEEPEST: u16 = 200;
/// The most by which a patch may be lightened or darkened to fit, of 255. It keeps gradients, such as a sky, continuous
/// where patches from two sides meet.
const MOST_SHIFT: i32 = 30;

/// Parameters of the completion.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub seed: u64,
    /// The cost of taking a patch from a distance of the picture's width plus height, as a mean difference of samples.
    pub locality: u32,
    /// The fewest source patches that a coarser scale must have. The higher, the fewer large structures are copied, which
    /// are objects rather than textures.
    pub fewest: usize,
    /// What the initial guess adds to smooth colours.
    pub rough: Rough,
    /// Whether patches beyond the known area preferably come from their mirrored position.
    pub mirrored: bool,
}

impl Style {
    /// Returns the parameters for a hole within a picture.
    pub(super) fn removing() -> Self {
        Self { seed: 0, locality: 16, fewest: 64, rough: Rough { detail: 1.0, noise: 0.0 }, mirrored: false }
    }

    /// Returns the parameters for painting beyond the edges.
    pub(super) fn outpainting(seed: u64) -> Self {
        Self { seed, locality: 30, fewest: 1400, rough: Rough { detail: 0.5, noise: 1.0 }, mirrored: true }
    }
}

/// The patches that fill the hole, and their weights.
#[derive(Debug)]
pub(super) struct Completion {
    pub field: Field,
    pub ballots: Vec<Ballot>,
}

/// Completes a canvas. Returns `None` if it has no patch outside the hole. Reports progress from `begin` to `done`.
pub(super) fn complete(
    canvas: Canvas,
    style: Style,
    monitor: &Monitor,
    (begin, done): (f64, f64),
) -> Result<Option<Completion>, EngineError> {
    // A canvas has at most 8 million pixels, so that no pass over one takes long.
    let mut canvases = pyramid(canvas, style.fewest, monitor)?;
    let mut last: Option<(Canvas, Field)> = None;
    while let Some(canvas) = canvases.pop() {
        let index = canvases.len();
        monitor.check_cancelled()?;
        let Some(mut level) = Level::new(canvas, style, index) else { return Ok(None) };
        let mut field = match &last {
            None => level.begin(monitor)?,
            Some((half, field)) => level.go_on(half, field, monitor)?,
        };
        level.improve(&mut field, last.is_none(), monitor)?;
        // The finest scale takes about half the time.
        monitor.stage(begin + (done - begin) * 0.5_f64.powi(index as i32))?;
        if index == 0 {
            let ballots = level.ballots(&field, true);
            return Ok(Some(Completion { field, ballots }));
        }
        level.repaint(&field, true, monitor)?;
        last = Some((level.canvas, field));
    }
    Ok(None)
}

/// Returns the canvas at ever coarser scales.
fn pyramid(canvas: Canvas, fewest: usize, monitor: &Monitor) -> Result<Vec<Canvas>, EngineError> {
    let mut canvases = vec![canvas];
    while let Some(last) = canvases.last() {
        monitor.check_cancelled()?;
        if last.depths().into_iter().all(|deep| deep <= COARSEST_DEPTH) {
            break;
        }
        monitor.check_cancelled()?;
        let half = last.halved();
        monitor.check_cancelled()?;
        if half.sources().into_iter().filter(|source| *source).count() < fewest {
            break;
        }
        canvases.push(half);
    }
    Ok(canvases)
}

/// Returns the grid of patches, spaced so that their number is bounded.
fn grid(canvas: &Canvas, sources: &[bool]) -> Option<Grid> {
    let finest = Grid::over(canvas, 1)?;
    let area = finest.area();
    let rows = sources.chunks_exact(canvas.width).take(area.bottom).skip(area.top);
    let patches = rows.flat_map(|row| &row[area.left..area.right]).filter(|source| !**source).count();
    let mut step = 1;
    while step < MOST_STEP && patches / (step * step) > MOST_PATCHES {
        step *= 2;
    }
    Grid::over(canvas, step)
}

/// One scale.
struct Level {
    canvas: Canvas,
    sources: Vec<bool>,
    homes: Homes,
    /// The sums of the samples of all patches.
    sums: Vec<[i16; 4]>,
    grid: Grid,
    style: Style,
    /// 0 for the finest.
    index: usize,
}

impl Level {
    /// Returns `None` if there is no source patch.
    fn new(canvas: Canvas, style: Style, index: usize) -> Option<Self> {
        let sources = canvas.sources();
        let grid = grid(&canvas, &sources).filter(|_| sources.contains(&true))?;
        let whole = Area { left: 0, top: 0, right: canvas.width, bottom: canvas.height };
        let known = style.mirrored.then(|| canvas.hole.iter().map(|hole| !hole).collect::<Vec<_>>());
        let inside = known.and_then(|known| bounds(&known, canvas.width)).unwrap_or(whole);
        let (homes, sums) = (Homes::mirrored(&canvas, inside), vec![[0; 4]; sources.len()]);
        Some(Self { canvas, sources, homes, sums, grid, style, index })
    }

    fn rules(&self) -> Rules<'_> {
        let whole = u64::from(self.style.locality.pow(2)) * (SIDE * SIDE * 3) as u64 * 256;
        Rules {
            canvas: &self.canvas,
            sources: &self.sources,
            sums: &self.sums,
            most_shift: MOST_SHIFT * (SIDE * SIDE) as i32,
            homes: &self.homes,
            distance_cost: (whole / (self.canvas.width + self.canvas.height) as u64) as u32,
        }
    }

    /// Returns a seed that differs for each scale and purpose.
    fn seed(&self, purpose: usize) -> u64 {
        (self.style.seed << 16) ^ ((self.index as u64) << 8) ^ purpose as u64
    }

    /// Makes the initial guess, with patches from random places.
    fn begin(&mut self, monitor: &Monitor) -> Result<Field, EngineError> {
        let seed = self.seed(255);
        start::fill(&mut self.canvas, self.style.rough, seed, monitor)?;
        self.sum_all();
        Field::new(self.grid, &self.rules(), self.seed(254), monitor, |_, _| None)
    }

    /// Continues from the result at half the size.
    fn go_on(&mut self, half: &Canvas, field: &Field, monitor: &Monitor) -> Result<Field, EngineError> {
        self.canvas.fill_from(half);
        monitor.check_cancelled()?;
        self.sum_all();
        let field = field.doubled(self.grid, &self.rules(), self.seed(254), monitor)?;
        self.repaint(&field, false, monitor)?;
        Ok(field)
    }

    fn sum_all(&mut self) {
        let Canvas { width, height, .. } = self.canvas;
        self.canvas.sum_patches(Area { left: 0, top: 0, right: width, bottom: height }, &mut self.sums);
    }

    /// Alternates between finding better patches and rebuilding the hole; the last patches are left for the caller.
    fn improve(&mut self, field: &mut Field, first: bool, monitor: &Monitor) -> Result<(), EngineError> {
        let (turns, walks) =
            if first { first_turns(field.cells.len()) } else { (TURNS[self.index.min(TURNS.len() - 1)], 2) };
        let longest = self.canvas.width.max(self.canvas.height) as u32;
        let radius = if self.index == 0 && !first { longest.min(FINEST_RADIUS) } else { longest };
        for turn in 0..turns {
            for number in 0..walks {
                let seed = self.seed(16 * turn + number);
                let walk = Walk { backward: number % 2 == 1, changed: number == 0, radius, seed };
                field.search(&self.rules(), walk, monitor)?;
            }
            if turn + 1 < turns {
                self.repaint(field, true, monitor)?;
            }
        }
        Ok(())
    }

    /// Rebuilds the hole from the votes of the patches.
    fn repaint(&mut self, field: &Field, costs_known: bool, monitor: &Monitor) -> Result<(), EngineError> {
        let ballots = self.ballots(field, costs_known);
        let votes = Votes { field, ballots: &ballots, scale: 1, origin: (0, 0), by_opacity: false };
        let Canvas { width, height, pixels, hole } = &mut self.canvas;
        let (width, height) = (*width, *height);
        let Some(area) = bounds(hole, width) else { return Ok(()) };
        let mut picture = Samples::<u8, 4> { samples: pixels.as_flattened_mut(), width, height };
        for strip in strips(area) {
            monitor.check_cancelled()?;
            for ((x, y), mean) in places(strip).zip(votes.means(&picture, strip)) {
                if let Some(pixel) = mean.filter(|_| hole[y * width + x]) {
                    picture.set(x, y, pixel);
                }
            }
        }
        self.canvas.sum_patches(field.grid.area(), &mut self.sums);
        Ok(())
    }

    /// Returns the weight of each patch's vote: higher the better it fits, and the nearer it is to the known area.
    fn ballots(&self, field: &Field, costs_known: bool) -> Vec<Ballot> {
        let (rules, depths, width) = (self.rules(), self.canvas.depths(), self.canvas.width);
        let near: Vec<f32> = successors(Some(1.0), |near| Some(near / DECAY)).take(usize::from(DEEPEST) + 1).collect();
        let usual = if costs_known { 2.0 * quantile(field) } else { f32::INFINITY };
        let ballot = |at: usize, cell: &Cell| {
            if cell.is_none() {
                return Ballot::default();
            }
            let here = field.grid.y(at / field.grid.columns) * width + field.grid.x(at % field.grid.columns);
            let depth = depths[here + (width + 1) * SIDE / 2].min(DEEPEST);
            // Never zero, so that each pixel has a vote.
            let fit = exp_of_negative(cell.cost as f32 / usual).max(1e-12);
            let shift = rules.shift(here, usize::from(cell.y) * width + usize::from(cell.x));
            Ballot {
                weight: near[usize::from(depth)] * fit,
                shift: shift.map(|shift| shift as f32 / (SIDE * SIDE) as f32),
            }
        };
        field.cells.iter().enumerate().map(|(at, cell)| ballot(at, cell)).collect()
    }
}

/// Returns the iterations at the coarsest scale, and the searches in each.
fn first_turns(patches: usize) -> (usize, usize) {
    let (turns, walks) = FIRST;
    let visits = MOST_VISITS / patches.max(1);
    if visits >= turns * walks { (turns, walks) } else { ((visits / 2).clamp(2, turns), 2) }
}

/// Returns the cost that three quarters of the patches do not exceed, at least a half.
fn quantile(field: &Field) -> f32 {
    let mut costs: Vec<u32> = field.cells.iter().filter(|cell| !cell.is_none()).map(|cell| cell.cost).collect();
    let place = costs.len() * 3 / 4;
    if costs.is_empty() {
        return 0.5;
    }
    let (_, cost, _) = costs.select_nth_unstable(place);
    (*cost as f32).max(0.5)
}

/// Returns the exponential of `-x` for `x >= 0`, by multiplication and addition only, which all machines round alike.
fn exp_of_negative(x: f32) -> f32 {
    /// The Taylor series of 2 to the power of `-x`, which is exact to 3 parts in a million up to 1.
    const SERIES: [f32; 8] =
        [1.0, -LN_2, 0.240_226_5, -0.055_504_11, 0.009_618_129, -0.001_333_355_8, 0.000_154_035_3, -0.000_015_252_734];
    let x = x * LOG2_E;
    if x >= 126.0 {
        return 0.0;
    }
    let whole = x as u32;
    let power = f32::from_bits((127 - whole) << 23);
    power * SERIES.iter().rev().fold(0.0, |sum, factor| sum * (x - whole as f32) + factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_function_is_close_and_rounded_alike_everywhere() {
        for x in (0..3000_u16).map(|x| f32::from(x) / 100.0) {
            let (ours, theirs) = (exp_of_negative(x), f64::from(-x).exp());
            assert!((f64::from(ours) / theirs - 1.0).abs() < 1e-5, "{x}: {ours} {theirs}");
        }
        assert_eq!([0.0, 7.0 / f32::INFINITY, 1e9, f32::INFINITY].map(exp_of_negative), [1.0, 1.0, 0.0, 0.0]);
        let bits = [0.1, 0.5, 1.0, 2.5, 20.0].map(|x| exp_of_negative(x).to_bits());
        assert_eq!(bits, [1_063_756_653, 1_058_751_894, 1_052_531_378, 1_034_427_438, 822_977_580]);
    }
}
