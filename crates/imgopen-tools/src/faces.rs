//! Detects faces, upright and tilted, with the SeetaFace detector.
//!
//! - **Range.** Frontal and half-turned faces, upright and at any tilt in the plane of the picture; most profiles are missed.
//!   An upright face needs at least 40x40 pixels in a copy of at most 700 000, a tilted one 40x40 in a copy of at most
//!   160 000: about a twentieth and a tenth of a square picture's side.
//! - **Boxes** are squares around brows, mouth and cheeks, clipped to the picture, upright even if the face is not.
//! - **Scores** are `1 - exp(-sum / 6)`, where `sum` adds up the confidences, from 0 to 1, of all windows that agree on the
//!   face. The more windows agree, and the more confident they are, the closer the score is to 1. Upright faces below 0.39
//!   and tilted ones below 0.56 are left out.
//!
//! Transparent parts count as their hidden colours.

mod candidate;
mod cascade;
mod lab;
mod model;
mod resize;
mod rotate;
mod surf;

use std::iter;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::BoxFuture;
use image::{DynamicImage, GrayImage};
use imgopen_engine::{Engine, EngineError, Grade, Input, Job, JobRequest, Monitor, Offer, Output, PictureLimits};
use imgopen_picture::{self as picture, parallel};
use imgopen_types::{DetectFacesRequest, Face, FaceBox, operations};

use self::candidate::Candidate;
use self::model::Model;
use self::resize::resized;
use self::rotate::Rotated;
use crate::{blocking, memory};

/// The most pixels of the copy that is searched for upright faces.
const UPRIGHT_PIXELS: f64 = 700_000.0;
/// The most pixels of the copies that are searched for tilted faces.
const TILTED_PIXELS: f64 = 160_000.0;
/// The largest factor by which a small picture is enlarged.
const ENLARGED: f64 = 2.0;
/// The tilts that are searched, in degrees.
const TILTS: [f32; 7] = [-45.0, 45.0, -90.0, 90.0, -135.0, 135.0, 180.0];
/// The least sum of confidences for an upright face.
const LEAST: f32 = 3.0;
/// The least sum of confidences for a tilted face.
const LEAST_TILTED: f32 = 5.0;
/// The sum of confidences at which the score is 1 - 1/e.
const SURE: f32 = 6.0;
/// The overlap above which two faces are the same.
const SAME: f32 = 0.3;

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
        vec![Offer::new(&operations::DETECT_FACES, Grade::Classical)]
    }

    /// The request is open, because its published table is cut; what else it may hold is not done here.
    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        match request.typed::<DetectFacesRequest>()?.extra.keys().next() {
            Some(name) => Err(EngineError::rejected(name, "not known to the face detector; leave it out")),
            None => Ok(()),
        }
    }

    fn memory(&self, job: &Job) -> u64 {
        memory::of(job, 1.0)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        blocking::run(job, monitor, |job, monitor| {
            job.request::<DetectFacesRequest>()?;
            let faces = find(job.input("imageUrl")?, job.limits(), monitor)?;
            Ok(Output { faces, ..Output::default() })
        })
    }
}

/// A face in pixels of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Found {
    left: f32,
    top: f32,
    side: f32,
    /// The sum of confidences.
    sum: f32,
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
/// use imgopen_picture as picture;
/// use imgopen_tools::faces;
///
/// let black = picture::encode(&DynamicImage::new_rgb8(300, 200), Format::Png, &Default::default())?;
/// let input = Input { field: "imageUrl".into(), url: "https://example.com/black.png".into(), bytes: black };
/// assert_eq!(faces::find(&input, &PictureLimits::default(), &Monitor::new().0)?, []);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn find(input: &Input, limits: &PictureLimits, monitor: &Monitor) -> Result<Vec<Face>, EngineError> {
    let image = picture::decode_input(input, limits, monitor)?.image;
    monitor.stage(0.1)?;
    let faces = detect(image, monitor)?;
    monitor.stage(1.0)?;
    Ok(faces)
}

/// Finds the faces of a picture in memory, from left to right.
///
/// # Errors
///
/// [`EngineError::Cancelled`].
pub fn detect(image: DynamicImage, monitor: &Monitor) -> Result<Vec<Face>, EngineError> {
    let (width, height) = (image.width(), image.height());
    let gray = match image {
        DynamicImage::ImageLuma8(gray) => gray,
        image => image.to_luma8(),
    };
    monitor.check_cancelled()?;
    let found = search(model()?, &gray, monitor)?;
    let mut faces: Vec<Face> = found.into_iter().filter_map(|found| found.face(width, height)).collect();
    faces.sort_by_key(|face| (face.box_.x, face.box_.y));
    for (face, index) in faces.iter_mut().zip(1..) {
        face.index = index;
    }
    Ok(faces)
}

fn model() -> Result<&'static Model, EngineError> {
    static MODEL: OnceLock<Result<Model, String>> = OnceLock::new();
    MODEL.get_or_init(Model::embedded).as_ref().map_err(|problem| EngineError::Failed(problem.clone()))
}

/// Searches all tilts, and keeps the best of overlapping faces.
fn search(model: &Model, gray: &GrayImage, monitor: &Monitor) -> Result<Vec<Found>, EngineError> {
    let upright = Rotated::upright(scaled(gray, UPRIGHT_PIXELS)?);
    let smaller = scaled(gray, TILTED_PIXELS)?;
    // The longest search goes first. A strip too narrow for a face would be rotated into a large, mostly empty square.
    let is_narrow = smaller.width().min(smaller.height()) < cascade::LEAST_SIDE;
    let tilts = if is_narrow { &[][..] } else { &TILTS };
    let searches: Vec<_> = iter::once(None).chain(tilts.iter().map(Some)).collect();
    let (all, done) = (searches.len() as f64, AtomicU32::new(0));
    let found = parallel::map(searches, |tilt| {
        let found = match tilt {
            None => search_rotated(model, gray, &upright, LEAST, monitor),
            Some(tilt) => search_rotated(model, gray, &Rotated::new(&smaller, *tilt), LEAST_TILTED, monitor),
        };
        let done = f64::from(done.fetch_add(1, Ordering::Relaxed) + 1);
        monitor.stage(0.1 + 0.9 * done / all).and(found)
    });
    let found: Vec<Vec<Found>> = found.into_iter().collect::<Result<_, _>>()?;
    let mut found = found.concat();
    found.sort_by(|one, other| other.sum.total_cmp(&one.sum));
    let mut best: Vec<Found> = Vec::new();
    for face in found {
        if best.iter().all(|better| !better.is_same(&face)) {
            best.push(face);
        }
    }
    Ok(best)
}

fn search_rotated(
    model: &Model,
    gray: &GrayImage,
    rotated: &Rotated,
    least: f32,
    monitor: &Monitor,
) -> Result<Vec<Found>, EngineError> {
    let scale = gray.width() as f32 / rotated.before.0 as f32;
    let found = cascade::find(model, &rotated.image, monitor)?;
    let found = found.into_iter().filter(|candidate| candidate.score >= least && candidate.side > 0);
    let face = |candidate: Candidate| {
        let half = candidate.side as f32 / 2.0;
        let (x, y) = rotated.back(candidate.x as f32 + half, candidate.y as f32 + half);
        Found { left: (x - half) * scale, top: (y - half) * scale, side: 2.0 * half * scale, sum: candidate.score }
    };
    Ok(found.map(face).collect())
}

/// Scales the picture to at most `pixels`; small ones are enlarged a little.
fn scaled(gray: &GrayImage, pixels: f64) -> Result<GrayImage, EngineError> {
    let all = f64::from(gray.width()) * f64::from(gray.height());
    let scale = (pixels / all).sqrt().min(ENLARGED);
    let scale = if (1.0..ENLARGED).contains(&scale) { 1.0 } else { scale };
    let [width, height] = [gray.width(), gray.height()].map(|side| ((f64::from(side) * scale).round() as u32).max(1));
    resized(gray, width, height)
}

impl Found {
    /// Returns whether both are likely the same face: they overlap, or one mostly covers the other.
    fn is_same(&self, other: &Found) -> bool {
        let along = |a: f32, b: f32| ((a + self.side).min(b + other.side) - a.max(b)).max(0.0);
        let both = along(self.left, other.left) * along(self.top, other.top);
        let area = |found: &Found| found.side * found.side;
        both > SAME * (area(self) + area(other) - both) || both > 0.5 * area(self).min(area(other))
    }

    /// Returns the face clipped to the picture, if any of it is inside.
    fn face(&self, width: u32, height: u32) -> Option<Face> {
        let along = |from: f32, side: u32| {
            let cut = |at: f32| at.round().clamp(0.0, side as f32) as i64;
            (cut(from), cut(from + self.side) - cut(from))
        };
        let ((x, width), (y, height)) = (along(self.left, width), along(self.top, height));
        let score = 1.0 - (-f64::from(self.sum) / f64::from(SURE)).exp();
        let score = (score * 1000.0).round() / 1000.0;
        let box_ = FaceBox { x, y, width, height };
        (width > 0 && height > 0).then_some(Face { index: 0, box_, score: Some(score), landmarks: None })
    }
}
