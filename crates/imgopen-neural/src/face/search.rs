//! Where faces are looked for in a picture of any size, and which of those that were found are faces.
//!
//! The net takes small tiles, in which it finds faces of about a tenth to a half of their sides. So it is given the whole picture,
//! and then ever smaller parts of it; and those that are few also turned by quarters, because it finds faces that are tilted by up
//! to some 50 degrees. In so many tiles it takes a few textures for faces. Therefore each find is looked at again from near, upright
//! and at three sizes, where faces are found again and textures are not.

use std::f32::consts::{FRAC_PI_2, FRAC_PI_3};

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::Net;

use super::align::Alignment;
use super::candidate::{self, Candidate};
use super::detector::{self, SIDE};
use super::found::FoundFace;

/// The distance between tiles at most, in pixels: they overlap by a quarter.
const STEP: u32 = SIDE * 3 / 4;

/// The most tiles of a copy.
const MOST_TILES: usize = 16;

/// The most tiles of a copy that is also searched turned by quarters.
const MOST_TURNED: usize = 4;

/// The largest factor by which a picture of more than a tile is enlarged.
const ENLARGED: f64 = 2.0;

/// The least side of a copy, in pixels, in which there may be a face.
const LEAST_SIDE: u32 = 8;

/// The least score of a first find.
const LEAST_FIRST: f32 = 0.4;

/// The most first finds that are looked at again, the best ones.
const MOST_AGAIN: usize = 64;

/// The least score of a find that is looked at again once.
const LEAST_AGAIN: f32 = 0.25;

/// The least score that counts when a find is looked at again several times.
const LEAST_COUNTED: f32 = 0.05;

/// Which shares of a tile a face that is looked at again fills.
const SHARES: [f32; 3] = [0.15, 0.2, 0.25];

/// How far from the middle of the tile it is found again, as a share of its side.
const OFF: f32 = 0.4;

/// The least score of a face.
const LEAST: f32 = 0.55;

/// The least score of a face that is tilted by more than [`TILTED`]. Textures are found tilted more often than faces are.
const LEAST_TILTED: f32 = 0.77;

/// Beyond which angle a face counts as tilted.
const TILTED: f32 = FRAC_PI_3;

/// Above which difference of angles two first finds at the same place are both looked at.
const OTHERWISE: f32 = FRAC_PI_3;

/// The share of the work that finding is; the rest is looking again.
const FINDING: f64 = 0.7;

/// A copy of the picture that is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    width: u32,
    height: u32,
}

/// A tile of a copy, which may be turned.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tile {
    level: Level,
    /// By how many quarters the copy is turned clockwise.
    quarters: u8,
    /// Where the tile is in the turned copy.
    left: i64,
    top: i64,
}

/// Finds the faces of a picture, from left to right. `progress` is given the share of the work that is done.
///
/// # Errors
///
/// [`EngineError::Cancelled`], that of `progress`, and [`EngineError::Failed`] if the net fails.
pub(super) fn find(
    image: &RgbImage,
    monitor: &Monitor,
    progress: &dyn Fn(f64) -> Result<(), EngineError>,
) -> Result<Vec<FoundFace>, EngineError> {
    let levels = levels(image.width(), image.height());
    let Some(finest) = levels.last() else { return Ok(Vec::new()) };
    let net = detector::net()?;
    monitor.check_cancelled()?;
    let base = resized(image, *finest)?;
    let all: usize = levels.iter().map(|level| level.tiles().len()).sum();
    let (mut found, mut done) = (Vec::new(), 0.0);
    for level in &levels {
        monitor.check_cancelled()?;
        // The smaller one of both has all that the copy shows.
        let from = if base.width() < image.width() { &base } else { image };
        let copy = resized(from, *level)?;
        for tile in level.tiles() {
            monitor.check_cancelled()?;
            found.extend(tile.search(net, &copy, (image.width(), image.height()))?);
            done += 1.0;
            progress(FINDING * done / all as f64)?;
        }
    }
    let groups = candidate::grouped(found);
    let count = groups.len().min(MOST_AGAIN) as f64;
    let mut faces = Vec::new();
    for (group, number) in groups.iter().take(MOST_AGAIN).zip(1_u32..) {
        faces.extend(again(net, image, group, monitor)?);
        progress(FINDING + (1.0 - FINDING) * f64::from(number) / count)?;
    }
    Ok(best(faces))
}

/// Returns the copies to search, the coarsest first: the whole picture in a tile, and then parts of it, each time twice as many
/// along its longer side.
fn levels(width: u32, height: u32) -> Vec<Level> {
    let longer = f64::from(width.max(height));
    let level = |count: u32| {
        let side = f64::from(SIDE + (count - 1) * STEP);
        let scaled = |all: u32| ((f64::from(all) * side / longer).round() as u32).max(1);
        (side / longer, Level { width: scaled(width), height: scaled(height) })
    };
    let finer = [2, 4, 8, 16].map(level).into_iter();
    let finer = finer.take_while(|(factor, level)| *factor <= ENLARGED && level.upright() <= MOST_TILES);
    let levels = [level(1)].into_iter().chain(finer).map(|(_, level)| level);
    levels.filter(|level| level.width.min(level.height) >= LEAST_SIDE).collect()
}

/// Returns where tiles begin along a side.
fn starts(side: u32) -> Vec<i64> {
    let Some(rest) = side.checked_sub(SIDE).filter(|rest| *rest > 0) else {
        // The picture is in the middle of the tile.
        return vec![-i64::from((SIDE - side.min(SIDE)) / 2)];
    };
    let steps = rest.div_ceil(STEP);
    (0..=steps).map(|index| i64::from(index * rest / steps)).collect()
}

impl Level {
    /// Returns how many tiles cover the copy.
    fn upright(self) -> usize {
        starts(self.width).len() * starts(self.height).len()
    }

    /// Returns all tiles, those of turned copies included.
    fn tiles(self) -> Vec<Tile> {
        let turns = if self.upright() <= MOST_TURNED { 0..4 } else { 0..1 };
        let of = |quarters: u8| {
            let [across, down] = self.turned(quarters).map(starts);
            let places = down.into_iter().flat_map(move |top| across.clone().into_iter().map(move |left| (left, top)));
            places.map(move |(left, top)| Tile { level: self, quarters, left, top })
        };
        turns.flat_map(of).collect()
    }

    /// Returns width and height of the turned copy.
    fn turned(self, quarters: u8) -> [u32; 2] {
        if quarters.is_multiple_of(2) { [self.width, self.height] } else { [self.height, self.width] }
    }
}

impl Tile {
    /// Returns the transform from the copy to the tile.
    fn alignment(self) -> Alignment {
        let half = |side: u32| side as f32 / 2.0;
        let [across, down] = self.level.turned(self.quarters).map(half);
        let to = [across - self.left as f32, down - self.top as f32];
        let from = [half(self.level.width), half(self.level.height)];
        Alignment::around(from, to, 1.0, f32::from(self.quarters) * FRAC_PI_2)
    }

    /// Returns what may be faces, in pixels of the picture.
    fn search(self, net: &Net, copy: &RgbImage, (width, height): (u32, u32)) -> Result<Vec<Candidate>, EngineError> {
        let alignment = self.alignment();
        let found = detector::find(net, &alignment.warp(copy, SIDE, SIDE), LEAST_FIRST)?;
        let back = alignment.inverse();
        // Both are nearly the same: sides of copies are rounded.
        let (across, down) = (width as f32 / self.level.width as f32, height as f32 / self.level.height as f32);
        let place = |[x, y]: [f32; 2]| [x * across, y * down];
        let whole = |candidate: Candidate| {
            let found = candidate.moved(&back);
            let size = found.size.map(|side| side * (across + down) / 2.0);
            Candidate { centre: place(found.centre), size, points: found.points.map(place), score: found.score }
        };
        Ok(found.into_iter().map(whole).collect())
    }
}

/// Looks again at what may be a face: at its best find, and if that is none, at the best one that is tilted in another way.
fn again(
    net: &Net,
    image: &RgbImage,
    group: &[Candidate],
    monitor: &Monitor,
) -> Result<Option<Candidate>, EngineError> {
    let Some(first) = group.first() else { return Ok(None) };
    let other = group.iter().find(|other| candidate::apart(other.roll(), first.roll()) > OTHERWISE);
    for candidate in [Some(first), other].into_iter().flatten() {
        let face = confirmed(net, image, candidate, monitor)?.filter(is_face);
        if face.is_some() {
            return Ok(face);
        }
    }
    Ok(None)
}

/// Returns a find as it is seen from near, with the mean of its scores.
fn confirmed(
    net: &Net,
    image: &RgbImage,
    candidate: &Candidate,
    monitor: &Monitor,
) -> Result<Option<Candidate>, EngineError> {
    let [.., share] = SHARES;
    monitor.check_cancelled()?;
    let Some(near) = closer(net, image, candidate, share, LEAST_AGAIN)? else { return Ok(None) };
    let mut seen = Vec::new();
    for share in SHARES {
        monitor.check_cancelled()?;
        seen.extend(closer(net, image, &near, share, LEAST_COUNTED)?);
    }
    let score = seen.iter().map(|seen| seen.score).sum::<f32>() / SHARES.len() as f32;
    Ok(candidate::mean(&seen).map(|mean| Candidate { score, ..mean }))
}

/// Looks at a find upright, in the middle of a tile of which it fills a share.
fn closer(
    net: &Net,
    image: &RgbImage,
    candidate: &Candidate,
    share: f32,
    least: f32,
) -> Result<Option<Candidate>, EngineError> {
    let (middle, side) = ([SIDE as f32 / 2.0; 2], SIDE as f32 * share);
    let alignment = Alignment::around(candidate.centre, middle, side / candidate.side(), -candidate.roll());
    let mut found = detector::find(net, &alignment.warp(image, SIDE, SIDE), least)?;
    found.retain(|found| (found.centre[0] - middle[0]).hypot(found.centre[1] - middle[1]) <= OFF * side);
    Ok(candidate::mean(&found).map(|found| found.moved(&alignment.inverse())))
}

fn is_face(candidate: &Candidate) -> bool {
    let least = if candidate.roll().abs() > TILTED { LEAST_TILTED } else { LEAST };
    candidate.score >= least
}

/// Keeps the best of those that are the same face, from left to right.
fn best(mut faces: Vec<Candidate>) -> Vec<FoundFace> {
    faces.sort_by(|one, other| other.score.total_cmp(&one.score));
    let mut best: Vec<Candidate> = Vec::new();
    for face in faces {
        if best.iter().all(|better| !better.is_same(&face)) {
            best.push(face);
        }
    }
    let mut faces: Vec<FoundFace> = best.into_iter().map(FoundFace::from).collect();
    faces.sort_by(|one, other| one.left.total_cmp(&other.left).then(one.top.total_cmp(&other.top)));
    faces
}

impl From<Candidate> for FoundFace {
    fn from(candidate: Candidate) -> Self {
        let Candidate { centre: [x, y], size: [width, height], points, score } = candidate;
        Self { left: x - width / 2.0, top: y - height / 2.0, width, height, score, points }
    }
}

fn resized(image: &RgbImage, Level { width, height }: Level) -> Result<RgbImage, EngineError> {
    let mut copy = RgbImage::new(width, height);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize(image, &mut copy, &options)
        .map_err(|error| EngineError::Failed(format!("the picture cannot be resampled: {error}")))?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_a_side_and_overlap() {
        assert_eq!(starts(100), [-46]);
        assert_eq!(starts(192), [0]);
        assert_eq!(starts(193), [0, 1]);
        assert_eq!(starts(336), [0, 144]);
        assert_eq!(starts(500), [0, 102, 205, 308]);
        for side in (193..3000).step_by(37) {
            let starts = starts(side);
            assert!(starts.windows(2).all(|two| two[1] > two[0] && two[1] - two[0] <= i64::from(STEP)), "{side}");
            assert_eq!(starts.last(), Some(&i64::from(side - SIDE)));
        }
    }

    #[test]
    fn copies_get_finer_until_there_are_too_many_tiles() {
        let sizes = |width, height| -> Vec<_> {
            levels(width, height).into_iter().map(|level| (level.width, level.height, level.tiles().len())).collect()
        };
        assert_eq!(sizes(1000, 1000), [(192, 192, 4), (336, 336, 16), (624, 624, 16)]);
        assert_eq!(sizes(1500, 1000), [(192, 128, 4), (336, 224, 16), (624, 416, 12)]);
        // Small ones are not enlarged more than twice, except to fill a tile.
        assert_eq!(sizes(20, 24), [(160, 192, 4)]);
        assert_eq!(sizes(200, 150), [(192, 144, 4), (336, 252, 16)]);
        // A strip has more tiles along it.
        assert_eq!(sizes(3000, 100), [(336, 11, 8), (624, 21, 16), (1200, 40, 8), (2352, 78, 16)]);
        for (width, height) in [(1, 1), (1, 4000), (65_535, 1), (8000, 8000), (30, 40_000)] {
            assert!(levels(width, height).iter().map(|level| level.tiles().len()).sum::<usize>() <= 48);
        }
        assert_eq!((sizes(1, 4000), sizes(65_535, 1)), (vec![], vec![]));
    }

    #[test]
    fn a_tile_of_a_turned_copy_leads_back() {
        let level = Level { width: 250, height: 100 };
        let tile = Tile { level, quarters: 1, left: -46, top: 58 };
        // The first pixel of the copy comes to the upper right of the turned one, which is 100 pixels wide.
        let [x, y] = tile.alignment().apply([0.5, 0.5]);
        assert!((x - 145.5).abs() < 1e-3 && (y + 57.5).abs() < 1e-3, "{x},{y}");
        let [x, y] = tile.alignment().inverse().apply([145.5, -57.5]);
        assert!((x - 0.5).abs() < 1e-3 && (y - 0.5).abs() < 1e-3, "{x},{y}");
        assert_eq!(level.tiles().len(), 8);
    }

    fn candidate(x: f32, score: f32) -> Candidate {
        let points = [[x - 5.0, 40.0], [x + 5.0, 40.0], [x, 45.0], [x, 50.0], [x - 9.0, 42.0], [x + 9.0, 42.0]];
        Candidate { centre: [x, 45.0], size: [20.0, 24.0], points, score }
    }

    #[test]
    fn the_best_ones_are_kept_from_left_to_right() {
        let faces = best(vec![candidate(90.0, 0.7), candidate(30.0, 0.6), candidate(94.0, 0.9)]);
        let places: Vec<_> = faces.iter().map(|face| (face.left, face.top, face.score)).collect();
        assert_eq!(places, [(20.0, 33.0, 0.6), (84.0, 33.0, 0.9)]);
    }

    #[test]
    fn a_tilted_face_needs_a_higher_score() {
        let upright = candidate(30.0, 0.6);
        let quarter = upright.moved(&Alignment::around([30.0, 45.0], [30.0, 45.0], 1.0, FRAC_PI_2));
        assert!(is_face(&upright) && !is_face(&quarter) && is_face(&Candidate { score: 0.8, ..quarter }));
    }
}
