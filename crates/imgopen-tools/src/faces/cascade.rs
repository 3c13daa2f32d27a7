//! Finds upright faces in a gray picture with the SeetaFace detector.
//!
//! A pyramid of ever smaller pictures is searched with windows of 40x40 pixels. Boosted cascades on LAB features reject nearly
//! all of them; small networks on SURF features score the rest and move them onto the face.

use image::GrayImage;
use imgopen_engine::{EngineError, Monitor};

use super::candidate::Candidate;
use super::lab::Lab;
use super::model::{Branch, Model, WINDOW};
use super::resize::resized;
use super::surf::Scorer;

/// The scale factor between levels of the pyramid.
const SHRINK: f32 = 0.8;
/// The distance between windows, in pixels.
const STEP: usize = 4;
/// The side of the smallest face in pixels.
pub(super) const LEAST_SIDE: u32 = WINDOW as u32;
/// The overlap above which candidates are merged between networks.
const SAME: f32 = 0.8;
/// The overlap above which candidates are merged in the end.
const SAME_FACE: f32 = 0.3;
/// The standard deviation of brightness up to which a window is blank.
const DEVIATION: f64 = 10.0;

/// Finds faces of at least 40x40 pixels, until the job is cancelled.
pub(super) fn find(model: &Model, image: &GrayImage, monitor: &Monitor) -> Result<Vec<Candidate>, EngineError> {
    let mut found: Vec<Vec<Candidate>> = vec![Vec::new(); model.first.len()];
    let mut scale = 1.0_f32;
    loop {
        let size = |side: u32| (side as f32 * scale) as u32;
        let (width, height) = (size(image.width()), size(image.height()));
        if width.min(height) < LEAST_SIDE {
            break;
        }
        monitor.check_cancelled()?;
        scan(model, &resized(image, width, height)?, scale, &mut found, monitor)?;
        scale *= SHRINK;
    }
    for found in &mut found {
        *found = merged(std::mem::take(found), SAME, monitor)?;
    }
    let mut scorer = Scorer::new(model);
    for (index, level) in model.levels.iter().enumerate() {
        let last = index + 1 == model.levels.len();
        let scored = level.iter().map(|branch| scored(&mut scorer, branch, &found, (image, monitor), last));
        found = scored.collect::<Result<_, _>>()?;
    }
    Ok(found.into_iter().next().unwrap_or_default())
}

/// Adds the windows of one level that pass the boosted cascades.
fn scan(
    model: &Model,
    image: &GrayImage,
    scale: f32,
    found: &mut [Vec<Candidate>],
    monitor: &Monitor,
) -> Result<(), EngineError> {
    let lab = Lab::new(image);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let cascades: Vec<_> = model.first.iter().map(|boosted| lab.cascade(boosted)).collect();
    let place = |at: usize| (at as f32 / scale + 0.5) as i32;
    for y in (0..=height - WINDOW).step_by(STEP) {
        monitor.check_cancelled()?;
        for x in (0..=width - WINDOW).step_by(STEP) {
            let mut blank = None;
            for (cascade, found) in cascades.iter().zip(&mut *found) {
                let Some(score) = cascade.votes(x, y) else { continue };
                if !*blank.get_or_insert_with(|| is_blank(image, x, y)) {
                    found.push(Candidate { x: place(x), y: place(y), side: place(WINDOW), score });
                }
            }
        }
    }
    Ok(())
}

fn is_blank(image: &GrayImage, x: usize, y: usize) -> bool {
    let rows = image.as_raw().chunks_exact(image.width() as usize).skip(y).take(WINDOW);
    let (mut sum, mut squares) = (0_u32, 0_u32);
    for value in rows.flat_map(|row| &row[x..x + WINDOW]) {
        sum += u32::from(*value);
        squares += u32::from(*value) * u32::from(*value);
    }
    let count = (WINDOW * WINDOW) as f64;
    let mean = f64::from(sum) / count;
    f64::from(squares) / count - mean * mean <= DEVIATION * DEVIATION
}

/// Returns the candidates of a branch that pass all its networks, moved onto their faces.
fn scored(
    scorer: &mut Scorer<'_>,
    branch: &Branch,
    before: &[Vec<Candidate>],
    (image, monitor): (&GrayImage, &Monitor),
    last: bool,
) -> Result<Vec<Candidate>, EngineError> {
    let mut candidates: Vec<Candidate> = branch.sources.iter().flat_map(|source| before[*source].clone()).collect();
    for (index, network) in branch.stages.iter().enumerate() {
        let mut passed = Vec::new();
        for candidate in candidates {
            monitor.check_cancelled()?;
            passed.extend(scorer.score(network, image, candidate));
        }
        candidates = passed;
        if index + 1 < branch.stages.len() {
            candidates = merged(candidates, SAME, monitor)?;
        } else if last {
            candidates = merged(candidates, SAME_FACE, monitor)?;
        }
    }
    Ok(candidates)
}

/// Merges candidates that overlap by more than `same` into the best of them, with the sum of the scores.
fn merged(mut candidates: Vec<Candidate>, same: f32, monitor: &Monitor) -> Result<Vec<Candidate>, EngineError> {
    candidates.sort_by(|one, other| other.score.total_cmp(&one.score));
    let mut merged: Vec<Candidate> = Vec::new();
    let mut taken = vec![false; candidates.len()];
    for (index, best) in candidates.iter().enumerate() {
        monitor.check_cancelled()?;
        if taken[index] {
            continue;
        }
        let mut score = best.score;
        for (other, taken) in candidates.iter().zip(&mut taken).skip(index + 1).filter(|(_, taken)| !**taken) {
            if overlap(best, other) > same {
                *taken = true;
                score += other.score;
            }
        }
        merged.push(Candidate { score, ..*best });
    }
    Ok(merged)
}

/// Returns the intersection of two squares over their union.
fn overlap(one: &Candidate, other: &Candidate) -> f32 {
    let along = |a: i32, b: i32| ((a + one.side).min(b + other.side) - a.max(b)).max(0) as f32;
    let both = along(one.x, other.x) * along(one.y, other.y);
    let area = |candidate: &Candidate| candidate.side as f32 * candidate.side as f32;
    both / (area(one) + area(other) - both)
}
