//! Runs a net that fills holes.

use imgopen_engine::EngineError;
use imgopen_nets::{ModelFile, Port, Session, Tensor};

use crate::nets::{Weights, sizes};
use crate::plane::Plane;

/// The longest side of what a net is given that takes pictures of any size, which bounds the time and the memory of a run.
pub(super) const FREE_SIDE: usize = 512;

/// Sides of what such a net is given are multiples of this, because it halves them three times.
const MULTIPLE: usize = 8;

/// The samples of a picture from 0 to 1 have a sum at most so many times as large as those that were given; those of one from 0
/// to 255 a larger one. It lies between both on a scale of ratios.
const RATIO: f64 = 16.0;

/// Returns the width and the height of what a net takes; `None` for any.
pub(super) fn sides(file: &ModelFile) -> Option<(usize, usize)> {
    match sizes(file.inputs()) {
        Some((Some(height), Some(width))) => Some((width, height)),
        _ => None,
    }
}

/// Returns how many bytes a run takes with its weights.
pub(super) fn memory(weights: &Weights, least: u64) -> u64 {
    let (width, height) = sides(&weights.file).unwrap_or((FREE_SIDE, FREE_SIDE));
    let shapes: Vec<_> =
        weights.file.inputs().iter().map(|port| [1, channels(port).unwrap_or(3), height, width]).collect();
    let names = weights.file.inputs().iter().map(|port| port.name.as_str());
    let inputs: Vec<(&str, &[usize])> = names.zip(shapes.iter().map(|shape| &shape[..])).collect();
    weights.memory(&inputs, least)
}

/// Fills the hole of a picture in three planes. The mask is 1 in the hole, and 0 elsewhere. The run cannot be stopped.
///
/// # Errors
///
/// [`EngineError::Failed`] if the net fails, or is not for this.
pub(super) fn run(
    session: &Session,
    sides: Option<(usize, usize)>,
    picture: [&Plane; 3],
    mask: &Plane,
) -> Result<[Plane; 3], EngineError> {
    let unfit = || EngineError::Failed(format!("the net in \"{}\" does not fill holes", session.file().name()));
    let port = |count: usize| session.file().inputs().iter().find(|port| channels(port) == Some(count));
    let (image, hole) = port(3).zip(port(1)).ok_or_else(unfit)?;
    let output = session.file().outputs().first().ok_or_else(unfit)?;
    let (width, height) = (mask.width, mask.height);
    let around = |side: usize| side.next_multiple_of(MULTIPLE);
    let (wide, high) = sides.unwrap_or((around(width), around(height)));
    let given = picture.map(|plane| plane.with(mask, |level, hole| level * (1.0 - hole)));
    let values = given.iter().flat_map(|plane| mirrored(plane, wide, high)).collect();
    let picture = tensor([1, 3, high, wide], values)?;
    let holes = tensor([1, 1, high, wide], mirrored(mask, wide, high))?;
    let inputs = [(image.name.as_str(), &picture), (hole.name.as_str(), &holes)];
    let [made] = session.run(&inputs, [output.name.as_str()])?;
    let levels = made.as_f32().filter(|levels| levels.len() == 3 * wide * high).ok_or_else(unfit)?;
    let plane = |channel: usize| {
        let rows = levels.chunks_exact(wide).skip(channel * high).take(height);
        Plane { width, height, values: rows.flat_map(|row| row.iter().take(width).copied()).collect() }
    };
    let mut planes = [plane(0), plane(1), plane(2)];
    if is_large(&given, &planes, mask) {
        planes.iter_mut().flat_map(|plane| &mut plane.values).for_each(|level| *level /= 255.0);
    }
    Ok(planes)
}

/// Returns whether what a net has made reaches to 255, rather than to 1, by what it was given outside the hole.
fn is_large(given: &[Plane; 3], made: &[Plane; 3], mask: &Plane) -> bool {
    let sum = |planes: &[Plane; 3]| -> f64 {
        let known = |plane: &Plane| -> f64 {
            let levels = plane.values.iter().zip(&mask.values).filter(|(_, hole)| **hole == 0.0);
            levels.map(|(level, _)| f64::from(*level)).sum()
        };
        planes.iter().map(known).sum()
    };
    let before = sum(given);
    // Where all is black, both are; taken for the larger range, it stays so.
    before <= 0.0 || sum(made) > RATIO * before
}

fn channels(port: &Port) -> Option<usize> {
    use imgopen_nets::Dimension::Fixed;
    match port.shape.as_deref()? {
        [_, Fixed(channels), _, _] => Some(*channels),
        _ => None,
    }
}

fn tensor(shape: [usize; 4], values: Vec<f32>) -> Result<Tensor, EngineError> {
    Tensor::new(shape, values).map_err(|error| EngineError::Failed(error.to_string()))
}

/// Returns the values of a plane that is extended to the right and downwards by its own reflection.
fn mirrored(plane: &Plane, width: usize, height: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(width * height);
    for y in 0..height {
        let row = plane.row(reflected(y, plane.height));
        values.extend((0..width).map(|x| row[reflected(x, plane.width)]));
    }
    values
}

/// Returns the place within a side that a place beyond it shows, as in two mirrors.
fn reflected(at: usize, side: usize) -> usize {
    let within = at % (2 * side);
    within.min(2 * side - 1 - within)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(values: &[f32]) -> Plane {
        Plane { width: values.len(), height: 1, values: values.to_vec() }
    }

    #[test]
    fn planes_are_extended_by_reflections() {
        assert_eq!(mirrored(&plane(&[1.0, 2.0, 3.0]), 8, 1), [1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 1.0, 2.0]);
        let column = Plane { width: 1, height: 2, values: vec![5.0, 6.0] };
        assert_eq!(mirrored(&column, 1, 5), [5.0, 6.0, 6.0, 5.0, 5.0]);
    }

    #[test]
    fn the_range_is_that_of_what_is_known() {
        let three = |values: &[f32]| [plane(values), plane(values), plane(values)];
        let mask = plane(&[0.0, 1.0, 0.0]);
        let given = three(&[0.2, 0.0, 0.01]);
        assert!(!is_large(&given, &three(&[0.2, 1.0, 0.02]), &mask));
        assert!(is_large(&given, &three(&[51.0, 0.0, 2.0]), &mask));
        // What is in the hole does not count, nor does a picture that is nearly black mislead.
        assert!(!is_large(&given, &three(&[0.2, 200.0, 0.01]), &mask));
        let dark = three(&[0.004, 0.0, 0.0]);
        assert!(
            is_large(&dark, &three(&[1.02, 1.0, 0.0]), &mask) && !is_large(&dark, &three(&[0.004, 1.0, 0.0]), &mask)
        );
        assert!(is_large(&three(&[0.0; 3]), &three(&[0.3, 0.3, 0.3]), &mask));
    }
}
