//! Finds faces, and what nets for faces need: their points, and transforms that align them.
//!
//! - **Range.** The detector is MediaPipe's BlazeFace for the full range. Faces may be tilted at will in the plane of the picture,
//!   and turned until the far eye is hidden. Upright ones need about a fiftieth of the side of a square picture, tilted ones a
//!   twenty-fifth; in a small picture some 10 pixels.
//! - **Boxes** are squares around brows, mouth and cheeks, whose sides are those of the picture even if the face is tilted.
//! - **Scores** are means of the net's own, from 0 to 1, where a face is looked at upright at three sizes.

mod align;
mod candidate;
mod detector;
mod found;
mod mesh;
mod search;

use image::RgbImage;
use imgopen_engine::{EngineError, Monitor};

pub(crate) use self::align::{ARCFACE_112, Alignment, FFHQ_512};
pub(crate) use self::found::FoundFace;
pub(crate) use self::mesh::{Mesh, mesh, mesh_weights};

/// The bytes that [`detect`] takes at most beside the picture: the net, and smaller copies, for which resampling takes some 20 MB
/// with a picture of 64 million pixels.
pub(crate) const DETECTION: u64 = detector::MEMORY + 48 * 1024 * 1024;

/// Says which net [`detect`] runs, for people.
pub(crate) fn detector() -> String {
    detector::described()
}

/// Finds faces, from left to right. Works without any pack: the detector is part of the program.
///
/// Cancellation is seen before each run of the net, which takes some hundredths of a second.
///
/// # Errors
///
/// [`EngineError::Cancelled`]; [`EngineError::Failed`] if the net fails.
pub(crate) fn detect(image: &RgbImage, monitor: &Monitor) -> Result<Vec<FoundFace>, EngineError> {
    detect_with(image, monitor, &|_| Ok(()))
}

/// As [`detect`]; `progress` is given the share of the work that is done.
pub(crate) fn detect_with(
    image: &RgbImage,
    monitor: &Monitor,
    progress: &dyn Fn(f64) -> Result<(), EngineError>,
) -> Result<Vec<FoundFace>, EngineError> {
    search::find(image, monitor, progress)
}
