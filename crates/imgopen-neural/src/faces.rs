//! Detects faces, upright and tilted, with MediaPipe's BlazeFace. It is part of the program, so no pack is needed.
//!
//! - **Range.** Faces from the front to nearly the side, at any tilt in the plane of the picture. In a square picture an upright
//!   one needs about a fiftieth of the side, a tilted one a twenty-fifth; in a small picture some 10 pixels.
//! - **Boxes** are squares around brows, mouth and cheeks, clipped to the picture, upright even if the face is not.
//! - **Scores** are the means of the net's own, from 0 to 1, where a face is looked at upright at three sizes. Upright faces below
//!   0.55 and tilted ones below 0.77 are left out: textures are taken for tilted faces more often.
//! - **Landmarks** are six points: the right and the left eye of the person, the tip of the nose, the middle of the mouth, the
//!   right and the left ear. Those of a face that the edge cuts may lie beyond it.
//!
//! Transparent parts count as their hidden colours. A note of each result names the net and its SHA-256.

use futures_util::future::BoxFuture;
use image::{DynamicImage, RgbImage};
use imgopen_engine::{Engine, EngineError, Grade, Input, Job, JobRequest, Monitor, Offer, Output, PictureLimits};
use imgopen_picture as picture;
use imgopen_tools::{blocking, memory};
use imgopen_types::{DetectFacesRequest, Face, FaceBox, Point, operations};

use crate::face::{self, DETECTION, FoundFace};

/// The engine `faces`, which finds faces. It offers `detect_faces`.
#[derive(Debug, Clone, Default)]
pub struct Faces {}

impl Faces {
    /// Creates the engine.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for Faces {
    fn name(&self) -> &str {
        "faces"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::new(&operations::DETECT_FACES, Grade::Neural)]
    }

    /// The request is open, because its published table is cut; what else it may hold is not done here.
    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        match request.typed::<DetectFacesRequest>()?.extra.keys().next() {
            Some(name) => Err(EngineError::rejected(name, "not known to the face detector; leave it out")),
            None => Ok(()),
        }
    }

    fn memory(&self, job: &Job) -> u64 {
        memory::of(job, 1.0).saturating_add(DETECTION)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        blocking::run(job, monitor, |job, monitor| {
            job.request::<DetectFacesRequest>()?;
            let faces = find(job.input("imageUrl")?, job.limits(), monitor)?;
            let notes = vec![format!("faces were found by the net {}", face::detector())];
            Ok(Output { faces, notes, ..Output::default() })
        })
    }
}

/// Finds the faces of a picture file, from left to right.
///
/// # Errors
///
/// [`EngineError::Rejected`] if the picture cannot be read; [`EngineError::Cancelled`].
///
/// ```
/// use image::DynamicImage;
/// use imgopen_engine::{Format, Input, Monitor, PictureLimits};
/// use imgopen_neural::faces;
/// use imgopen_picture as picture;
///
/// let black = picture::encode(&DynamicImage::new_rgb8(300, 200), Format::Png, &Default::default())?;
/// let input = Input { field: "imageUrl".into(), url: "https://example.com/black.png".into(), bytes: black };
/// assert_eq!(faces::find(&input, &PictureLimits::default(), &Monitor::new().0)?, []);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn find(input: &Input, limits: &PictureLimits, monitor: &Monitor) -> Result<Vec<Face>, EngineError> {
    let image = picture::decode_input(input, limits, monitor)?.image;
    monitor.stage(0.1)?;
    let faces = found(image, monitor, &|share| monitor.stage(0.1 + 0.9 * share))?;
    monitor.stage(1.0)?;
    Ok(faces)
}

/// Finds the faces of a picture in memory, from left to right.
///
/// # Errors
///
/// [`EngineError::Cancelled`].
pub fn detect(image: DynamicImage, monitor: &Monitor) -> Result<Vec<Face>, EngineError> {
    found(image, monitor, &|_| Ok(()))
}

fn found(
    image: DynamicImage,
    monitor: &Monitor,
    progress: &dyn Fn(f64) -> Result<(), EngineError>,
) -> Result<Vec<Face>, EngineError> {
    let image = image.into_rgb8();
    monitor.check_cancelled()?;
    let found = face::detect_with(&image, monitor, progress)?;
    let mut faces: Vec<Face> = found.iter().filter_map(|found| described(found, &image)).collect();
    faces.sort_by_key(|face| (face.box_.x, face.box_.y));
    for (face, index) in faces.iter_mut().zip(1..) {
        face.index = index;
    }
    Ok(faces)
}

/// Returns a face with its box clipped to the picture, if any of it is inside.
fn described(found: &FoundFace, image: &RgbImage) -> Option<Face> {
    let along = |from: f32, length: f32, side: u32| {
        let cut = |at: f32| at.round().clamp(0.0, side as f32) as i64;
        (cut(from), cut(from + length) - cut(from))
    };
    let (x, width) = along(found.left, found.width, image.width());
    let (y, height) = along(found.top, found.height, image.height());
    let rounded = |number: f32, steps: f64| (f64::from(number) * steps).round() / steps;
    let point = |[x, y]: [f32; 2]| Point { x: rounded(x, 10.0), y: rounded(y, 10.0) };
    let face = Face {
        index: 0,
        box_: FaceBox { x, y, width, height },
        score: Some(rounded(found.score, 1000.0)),
        landmarks: Some(found.points.map(point).to_vec()),
    };
    (width > 0 && height > 0).then_some(face)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_clipped_and_points_are_not() {
        let points = [[-2.04, 5.0], [10.0, 5.0], [4.0, 9.0], [4.0, 12.0], [-8.0, 6.0], [14.0, 6.0]];
        let face = FoundFace { left: -6.4, top: 2.4, width: 20.0, height: 20.0, score: 0.876_54, points };
        let described = described(&face, &RgbImage::new(100, 18)).unwrap();
        assert_eq!(described.box_, FaceBox { x: 0, y: 2, width: 14, height: 16 });
        assert_eq!(described.score, Some(0.877));
        assert_eq!(described.landmarks.as_ref().map(Vec::len), Some(6));
        assert_eq!(described.landmarks.unwrap()[0], Point { x: -2.0, y: 5.0 });
    }

    #[test]
    fn a_face_beyond_the_edge_is_none() {
        let points = [[0.0; 2]; 6];
        let face = FoundFace { left: -30.0, top: 2.0, width: 20.0, height: 20.0, score: 0.9, points };
        assert_eq!(described(&face, &RgbImage::new(100, 18)), None);
    }
}
