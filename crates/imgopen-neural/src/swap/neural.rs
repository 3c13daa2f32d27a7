//! Puts one face onto another by nets: one that turns a face into numbers that distinguish people, and one that paints an aligned
//! face of 128x128 pixels with the looks of those numbers, as inswapper does.

use image::{DynamicImage, RgbImage};
use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::onnx::last_initializer;
use imgopen_nets::{Planes, Port, Session, Tensor};

use super::mask::{blurred, filled};
use super::paste::{Area, Patch, Row};
use crate::face::{ARCFACE_112, Alignment, FoundFace, Mesh};
use crate::nets::{Nets, Weights};
use crate::pixels::Channels;
use crate::plane::Plane;

/// The sides of the aligned faces that the nets take.
const SIDE: u32 = 128;
const RECOGNISED: u32 = 112;

/// By how much the points of an aligned face are further right if it has 128 pixels a side.
const SHIFT: f32 = 8.0;

/// How many numbers a face has.
const NUMBERS: usize = 512;

/// The most bytes of the matrix that they are multiplied by, with room for its name.
const MATRIX: u64 = 4 * (NUMBERS * NUMBERS) as u64 + 4096;

/// The bytes that a run of each net takes at most, if its file does not determine that. About half of that was measured with
/// ONNX Runtime.
pub(super) const SWAPPING: u64 = 512 * 1024 * 1024;
pub(super) const RECOGNISING: u64 = 256 * 1024 * 1024;

/// How far from the edges of an aligned face its opacity is a half, and over about how many pixels it fades; both are about as
/// insightface has them, and leave nothing at the edges.
const INSET: f32 = 8.0;
const FADING: usize = 2;

/// The points by which a face is aligned, and where they are on an aligned one of 112x112 pixels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Points {
    found: Vec<[f32; 2]>,
    aligned: Vec<[f32; 2]>,
}

/// A net that recognises people.
pub(super) struct Recogniser {
    nets: Nets,
    weights: Weights,
    session: Session,
}

/// A net that paints faces.
pub(super) struct Painter {
    nets: Nets,
    weights: Weights,
    session: Session,
    /// By which the numbers of a face are multiplied, row by row.
    matrix: Vec<f32>,
}

/// A painted face that is ready to be put onto its target.
#[derive(Debug)]
pub(super) struct Painted {
    pub area: Area,
    alignment: Alignment,
    colours: [Plane; 3],
    opacity: Plane,
}

impl Points {
    /// Takes the points of a mesh, or without one those of the detector, which has the middle of the mouth only.
    pub fn of(face: &FoundFace, mesh: Option<&Mesh>) -> Self {
        let [left, right, nose, first, last] = ARCFACE_112;
        match mesh {
            Some(mesh) => Self { found: mesh.five().to_vec(), aligned: ARCFACE_112.to_vec() },
            None => {
                let mouth = [0, 1].map(|axis: usize| (first[axis] + last[axis]) / 2.0);
                Self { found: face.points[..4].to_vec(), aligned: vec![left, right, nose, mouth] }
            }
        }
    }

    fn alignment(&self, shift: f32) -> Result<Alignment, EngineError> {
        let aligned: Vec<_> = self.aligned.iter().map(|[x, y]| [x + shift, *y]).collect();
        let unfit = || EngineError::Failed("the points of a face coincide, so it cannot be aligned".to_owned());
        Alignment::fit(&self.found, &aligned).ok_or_else(unfit)
    }
}

impl Recogniser {
    /// Loads the net. Blocks.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unavailable`] if its file cannot be used.
    pub fn open(nets: &Nets, weights: &Weights) -> Result<Self, EngineError> {
        Ok(Self { nets: nets.clone(), weights: weights.clone(), session: nets.open(weights)? })
    }

    /// Returns the numbers of a face, as a vector of the length 1.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unavailable`] if the net fails, or is not for this; it does not count from then on.
    pub fn numbers(&self, image: &RgbImage, points: &Points) -> Result<Vec<f32>, EngineError> {
        let face = points.alignment(0.0)?.warp(image, RECOGNISED, RECOGNISED);
        let face = planes(&face, |level| (level - 127.5) / 127.5)?.into_tensor();
        self.nets.judged(&self.weights, self.run(&face))
    }

    fn run(&self, face: &Tensor) -> Result<Vec<f32>, EngineError> {
        let file = self.session.file();
        let unfit = || unfit(file.name(), "recognise faces");
        let (input, output) = file.inputs().first().zip(file.outputs().first()).ok_or_else(unfit)?;
        let [numbers] = self.session.run(&[(input.name.as_str(), face)], [output.name.as_str()])?;
        let numbers = numbers.as_f32().filter(|numbers| numbers.len() == NUMBERS);
        normalised(numbers.ok_or_else(unfit)?, file.name())
    }
}

/// Returns how similar two faces are by their numbers: 1 for the same picture, about 0 for different people.
pub(super) fn similarity(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

impl Painter {
    /// Loads the net, and its matrix out of its file. Blocks.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unavailable`] if its file cannot be used.
    pub fn open(nets: &Nets, weights: &Weights) -> Result<Self, EngineError> {
        let session = nets.open(weights)?;
        let matrix = last_initializer(weights.path(), MATRIX);
        let matrix = matrix.map_err(|error| nets.refuse(weights, &error.to_string()))?;
        match matrix.as_f32() {
            Some(numbers) if matrix.shape() == [NUMBERS, NUMBERS] => {
                Ok(Self { nets: nets.clone(), weights: weights.clone(), session, matrix: numbers.to_vec() })
            }
            _ => {
                Err(nets.refuse(weights, "its last weights are not the matrix that numbers of faces are multiplied by"))
            }
        }
    }

    /// Returns what the net takes for the numbers of a face.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unavailable`] if that has no direction, because the matrix is not one of such a net; it does not count from then on.
    pub fn latent(&self, numbers: &[f32]) -> Result<Vec<f32>, EngineError> {
        let mut sums = vec![0.0; NUMBERS];
        for (number, row) in numbers.iter().zip(self.matrix.chunks_exact(NUMBERS)) {
            sums.iter_mut().zip(row).for_each(|(sum, factor)| *sum += number * factor);
        }
        self.nets.judged(&self.weights, normalised(&sums, self.session.file().name()))
    }

    /// Paints a face of a picture with the looks of another one. `None` if none of the aligned face lies within the picture.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`], and [`EngineError::Unavailable`] if the net fails, or is not for this; it does not count from
    /// then on.
    pub fn paint(
        &self,
        image: &RgbImage,
        points: &Points,
        latent: Vec<f32>,
        monitor: &Monitor,
    ) -> Result<Option<Painted>, EngineError> {
        let alignment = points.alignment(SHIFT)?;
        let (back, side) = (alignment.inverse(), SIDE as f32);
        let corners = [[0.0, 0.0], [side, 0.0], [side, side], [0.0, side]].map(|corner| back.apply(corner));
        let Some(area) = Area::around(corners.into_iter(), 0.0, image.width(), image.height()) else { return Ok(None) };
        let face = planes(&alignment.warp(image, SIDE, SIDE), |level| level / 255.0)?.into_tensor();
        let latent = Tensor::new([1, NUMBERS], latent).map_err(|error| EngineError::Failed(error.to_string()))?;
        monitor.check_cancelled()?;
        let made = self.nets.judged(&self.weights, self.run(&face, &latent))?;
        let side = SIDE as usize;
        let mut values = made.into_values().into_iter();
        let mut plane = || Plane { width: side, height: side, values: values.by_ref().take(side * side).collect() };
        let colours = [plane(), plane(), plane()];
        Ok(Some(Painted { area, alignment, colours, opacity: opacity(monitor)? }))
    }

    fn run(&self, face: &Tensor, latent: &Tensor) -> Result<Planes, EngineError> {
        let file = self.session.file();
        let unfit = || unfit(file.name(), "swap faces");
        let port = |rank: usize| file.inputs().iter().find(|port| dimensions(port) == Some(rank)).ok_or_else(unfit);
        let inputs = [(port(4)?.name.as_str(), face), (port(2)?.name.as_str(), latent)];
        let output = file.outputs().first().ok_or_else(unfit)?;
        let [made] = self.session.run(&inputs, [output.name.as_str()])?;
        let made = Planes::from_tensor(made).map_err(EngineError::Failed)?;
        match (made.channels(), made.width(), made.height()) == (3, SIDE as usize, SIDE as usize) {
            true => Ok(made),
            false => Err(unfit()),
        }
    }
}

impl Patch for Painted {
    fn row(&self, y: u32, row: &mut Row) {
        let y = (self.area.top + y) as f32 + 0.5;
        for (x, (opacity, colour)) in row.opacity.iter_mut().zip(&mut row.colours).enumerate() {
            let place = self.alignment.apply([self.area.left as f32 + x as f32 + 0.5, y]);
            *opacity = between(&self.opacity, place);
            if *opacity > 0.0 {
                *colour = [0, 1, 2].map(|channel: usize| between(&self.colours[channel], place));
            }
        }
    }
}

/// Returns how much of an aligned face shows: all but its edges.
fn opacity(monitor: &Monitor) -> Result<Plane, EngineError> {
    let (first, last) = (INSET, SIDE as f32 - INSET);
    let square = [[first, first], [last, first], [last, last], [first, last]];
    blurred(&filled(SIDE as usize, SIDE as usize, &square), FADING, monitor)
}

/// Returns the value of a plane at a place, by linear interpolation; 0 outside.
fn between(plane: &Plane, [x, y]: [f32; 2]) -> f32 {
    let within = |at: f32, side: usize| at >= 0.0 && at < side as f32;
    if !within(x, plane.width) || !within(y, plane.height) {
        return 0.0;
    }
    let place = |at: f32, side: usize| {
        let last = side.saturating_sub(1);
        let at = (at - 0.5).clamp(0.0, last as f32);
        let first = at as usize;
        (first, (first + 1).min(last), at - first as f32)
    };
    let (left, right, across) = place(x, plane.width);
    let (top, bottom, down) = place(y, plane.height);
    let along = |y: usize| {
        let row = plane.row(y);
        row[left] + across * (row[right] - row[left])
    };
    let upper = along(top);
    upper + down * (along(bottom) - upper)
}

/// Returns the planes of a picture, with levels from 0 to 255 as `scaled` makes of them.
fn planes(image: &RgbImage, scaled: impl Fn(f32) -> f32) -> Result<Planes, EngineError> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let Channels { colours, .. } = Channels::of(&DynamicImage::from(image.clone()))?;
    let values = colours.into_iter().flat_map(|plane| plane.values).map(|level| scaled(level * 255.0)).collect();
    Planes::new(3, width, height, values).map_err(|error| EngineError::Failed(error.to_string()))
}

fn dimensions(port: &Port) -> Option<usize> {
    port.shape.as_ref().map(Vec::len)
}

fn normalised(numbers: &[f32], file: &str) -> Result<Vec<f32>, EngineError> {
    let length = similarity(numbers, numbers).sqrt();
    match length.is_finite() && length > f32::MIN_POSITIVE {
        true => Ok(numbers.iter().map(|number| number / length).collect()),
        false => Err(EngineError::Failed(format!("the net in \"{file}\" makes no numbers of the face"))),
    }
}

fn unfit(file: &str, what: &str) -> EngineError {
    EngineError::Failed(format!("the net in \"{file}\" does not {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face() -> FoundFace {
        let points = [[40.0, 50.0], [75.0, 50.0], [57.0, 70.0], [57.0, 92.0], [20.0, 60.0], [95.0, 60.0]];
        FoundFace { left: 20.0, top: 20.0, width: 80.0, height: 90.0, score: 0.9, points }
    }

    #[test]
    fn a_face_is_aligned_by_the_points_of_the_detector_if_there_is_no_mesh() {
        let points = Points::of(&face(), None);
        let aligned = points.alignment(0.0).unwrap();
        let [x, y] = aligned.apply([57.5, 50.0]);
        // Between the eyes.
        assert!((x - 55.9).abs() < 2.0 && (y - 51.6).abs() < 2.0, "{x} {y}");
        let [further, same] = points.alignment(SHIFT).unwrap().apply([57.5, 50.0]);
        assert!((further - x - SHIFT).abs() < 0.01 && (same - y).abs() < 0.01);
        let same = Points { found: vec![[3.0, 3.0]; 4], ..points };
        assert!(same.alignment(0.0).is_err());
    }

    #[test]
    fn an_aligned_face_fades_at_its_edges() {
        let opacity = opacity(&Monitor::new().0).unwrap();
        let side = SIDE as usize;
        assert_eq!((opacity.row(0), opacity.row(64)[64]), (&vec![0.0; side][..], 1.0));
        assert!(opacity.row(64).iter().take(20).is_sorted() && opacity.row(64)[8] > 0.5);
        assert_eq!((opacity.row(64)[0], opacity.row(64)[side - 1]), (0.0, 0.0));
    }

    #[test]
    fn values_are_read_between_pixels() {
        let plane = Plane { width: 2, height: 2, values: vec![0.0, 1.0, 2.0, 3.0] };
        assert_eq!(between(&plane, [1.0, 1.0]), 1.5);
        assert_eq!(between(&plane, [0.2, 0.5]), 0.0);
        assert_eq!(
            (between(&plane, [1.9, 1.9]), between(&plane, [2.0, 1.0]), between(&plane, [-0.1, 1.0])),
            (3.0, 0.0, 0.0)
        );
    }

    #[test]
    fn numbers_are_compared_as_directions() {
        let one = normalised(&[3.0, 4.0], "x").unwrap();
        assert_eq!(one, [0.6, 0.8]);
        assert!((similarity(&one, &one) - 1.0).abs() < 1e-6);
        assert!(normalised(&[0.0, 0.0], "x").is_err() && normalised(&[f32::NAN], "x").is_err());
    }
}
