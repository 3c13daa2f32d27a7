//! Where the pupils of a face are, by the iris net of the pack `faces`.

use image::RgbImage;
use image::imageops;
use imgopen_engine::EngineError;
use imgopen_nets::{Session, Tensor};

use crate::face::{Alignment, Mesh};

/// The side of the picture of an eye that the net takes.
const SIDE: u32 = 64;

/// How many times as wide as the eye it is.
const SCALE: f32 = 2.3;

/// The numbers for the iris that the net returns: five points of three coordinates, the centre first.
const IRIS: usize = 15;

/// An eye of the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eye {
    Left,
    Right,
}

impl Eye {
    /// Returns the points of the mesh at its corners, from left to right on the picture.
    fn corners(self) -> [usize; 2] {
        match self {
            Eye::Left => [362, 263],
            Eye::Right => [33, 133],
        }
    }
}

/// Returns the centre of the iris in pixels of the picture; `None` if the corners of the eye lie on each other. The run of the
/// net cannot be stopped.
///
/// # Errors
///
/// [`EngineError::Failed`] if the net fails, or is not for this.
pub(super) fn find(
    session: &Session,
    image: &RgbImage,
    mesh: &Mesh,
    eye: Eye,
) -> Result<Option<[f32; 2]>, EngineError> {
    let unfit = || EngineError::Failed(format!("the net in \"{}\" does not find pupils", session.file().name()));
    let corners = eye.corners().map(|index| mesh.points.get(index).map(|[x, y, _]| [*x, *y]));
    let [Some(left), Some(right)] = corners else { return Ok(None) };
    let (middle, half) = (SIDE as f32 / 2.0, SIDE as f32 / 2.0 / SCALE);
    let places = [[middle - half, middle], [middle + half, middle]];
    let Some(alignment) = Alignment::fit(&[left, right], &places) else { return Ok(None) };
    let mut crop = alignment.warp(image, SIDE, SIDE);
    // The net knows the eye on the left of the picture.
    if eye == Eye::Left {
        imageops::flip_horizontal_in_place(&mut crop);
    }
    let samples: Vec<f32> = crop.as_raw().iter().map(|sample| f32::from(*sample) / 255.0).collect();
    let side = SIDE as usize;
    let picture = Tensor::new([1, side, side, 3], samples).map_err(|error| EngineError::Failed(error.to_string()))?;
    let input = session.file().inputs().first().ok_or_else(unfit)?;
    let [first, second] = session.file().outputs() else { return Err(unfit()) };
    let made = session.run(&[(input.name.as_str(), &picture)], [first.name.as_str(), second.name.as_str()])?;
    let iris = made.iter().filter_map(Tensor::as_f32).find(|values| values.len() == IRIS).ok_or_else(unfit)?;
    let (Some(x), Some(y)) = (iris.first().copied(), iris.get(1).copied()) else { return Err(unfit()) };
    let x = if eye == Eye::Left { SIDE as f32 - x } else { x };
    Ok(Some(alignment.inverse().apply([x, y])))
}
