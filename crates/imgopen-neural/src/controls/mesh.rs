//! Faces in the lines and colours of the web UI's annotator `mediapipe_face`.

use image::RgbImage;
use imgopen_engine::{EngineError, Monitor, Preprocessing};
use imgopen_nets::Session;

use super::lines::{line, square};
use super::pupils::{self, Eye};
use crate::face::{self, Mesh};

/// The bytes that a run of each net takes beside its weights at most, if its file does not determine them.
pub(super) const WORKING: u64 = 64 * 1024 * 1024;

/// The least side of a face that is drawn, in pixels.
const LEAST_SIDE: f32 = 64.0;

/// The least score of a mesh, below which there is no face.
const LEAST_MESH: f32 = 0.5;

/// A feature of a face: its colour, and the points that its lines connect, line by line.
struct Feature {
    colour: [u8; 3],
    lines: &'static [&'static [usize]],
}

/// In the order in which they are drawn. Left and right are those of the person.
const FEATURES: [Feature; 6] = [
    // The outline of the face.
    Feature {
        colour: [10, 200, 10],
        lines: &[&[
            10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176,
            149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10,
        ]],
    },
    // The left eye.
    Feature {
        colour: [10, 200, 180],
        lines: &[&[263, 249, 390, 373, 374, 380, 381, 382, 362], &[263, 466, 388, 387, 386, 385, 384, 398, 362]],
    },
    // The left eyebrow.
    Feature { colour: [10, 220, 180], lines: &[&[276, 283, 282, 295, 285], &[300, 293, 334, 296, 336]] },
    // The right eye.
    Feature {
        colour: [180, 200, 10],
        lines: &[&[33, 7, 163, 144, 145, 153, 154, 155, 133], &[33, 246, 161, 160, 159, 158, 157, 173, 133]],
    },
    // The right eyebrow.
    Feature { colour: [180, 220, 10], lines: &[&[46, 53, 52, 65, 55], &[70, 63, 105, 66, 107]] },
    // The lips: the lower and the upper edge on the outside, and on the inside.
    Feature {
        colour: [10, 180, 10],
        lines: &[
            &[61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291],
            &[61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291],
            &[78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308],
            &[78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308],
        ],
    },
];

/// The colours of the pupils.
const PUPILS: [(Eye, [u8; 3]); 2] = [(Eye::Right, [250, 200, 10]), (Eye::Left, [10, 200, 250])];

/// Which faces are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Faces {
    /// At most this many, the surest first.
    most: usize,
    /// The least score of the detector.
    least: f32,
}

impl Faces {
    /// Reads the parameters of the web UI, with its ranges and defaults.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the one that is out of range.
    pub fn asked(asked: Option<Preprocessing>) -> Result<Self, EngineError> {
        let most = number("threshold_a", asked.and_then(|asked| asked.threshold_a), (1.0, 10.0), 1.0)?;
        let least = number("threshold_b", asked.and_then(|asked| asked.threshold_b), (0.01, 1.0), 0.5)?;
        Ok(Self { most: most as usize, least: least as f32 })
    }

    /// Draws the faces of a picture on black.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] if there is none that is large enough; [`EngineError::Failed`] if a net fails;
    /// [`EngineError::Cancelled`].
    pub fn drawn(
        &self,
        mesh_net: &Session,
        iris_net: &Session,
        image: &RgbImage,
        monitor: &Monitor,
    ) -> Result<RgbImage, EngineError> {
        let mut faces = face::detect(image, monitor)?;
        monitor.stage(0.5)?;
        faces.retain(|face| face.score >= self.least);
        faces.sort_by(|one, other| other.score.total_cmp(&one.score));
        let mut drawn = RgbImage::new(image.width(), image.height());
        let mut count = 0;
        for face in faces.iter().take(self.most) {
            monitor.check_cancelled()?;
            let mesh = face::mesh(mesh_net, image, face, monitor)?;
            if mesh.score < LEAST_MESH || side(&mesh) < LEAST_SIDE {
                continue;
            }
            draw(&mut drawn, &mesh);
            for (eye, colour) in PUPILS {
                monitor.check_cancelled()?;
                let pupil = pupils::find(iris_net, image, &mesh, eye)?;
                if let Some(place) = pupil.and_then(|pupil| place(&drawn, pupil)) {
                    square(&mut drawn, place, colour);
                }
            }
            count += 1;
        }
        match count {
            0 => {
                let problem = format!("no face of at least {LEAST_SIDE} pixels was found; give a picture with one");
                Err(EngineError::rejected("sourceImage", problem))
            }
            _ => Ok(drawn),
        }
    }
}

fn number(field: &str, given: Option<f64>, (least, most): (f64, f64), default: f64) -> Result<f64, EngineError> {
    let value = given.unwrap_or(default);
    match (least..=most).contains(&value) {
        true => Ok(value),
        false => {
            let problem = format!("{value} given; give a number from {least} to {most}, or leave it out for {default}");
            Err(EngineError::rejected(field, problem))
        }
    }
}

/// Returns the shorter side of a face, in pixels.
fn side(mesh: &Mesh) -> f32 {
    let extent = |axis: usize| {
        let values = mesh.points.iter().map(|point| point[axis]);
        let (least, most) =
            values.fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)));
        most - least
    };
    extent(0).min(extent(1))
}

fn draw(image: &mut RgbImage, mesh: &Mesh) {
    for Feature { colour, lines } in &FEATURES {
        for points in *lines {
            for pair in points.windows(2) {
                let [from, to] = [pair.first(), pair.last()].map(|index| {
                    let [x, y, _] = *mesh.points.get(*index?)?;
                    place(image, [x, y])
                });
                if let (Some(from), Some(to)) = (from, to) {
                    line(image, from, to, *colour);
                }
            }
        }
    }
}

/// Returns the pixel of a point; `None` if it is outside of the picture.
fn place(image: &RgbImage, [x, y]: [f32; 2]) -> Option<[i32; 2]> {
    let within = |at: f32, side: u32| (at >= 0.0 && at <= side as f32).then(|| (at as u32).min(side - 1).cast_signed());
    Some([within(x, image.width())?, within(y, image.height())?])
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// Points in a square of 100 pixels, so that lines lie within it.
    fn mesh() -> Mesh {
        let point = |index: usize| [(index * 37 % 100) as f32, (index * 61 % 100) as f32, 0.0];
        Mesh { points: (0..468).map(point).collect(), score: 1.0 }
    }

    #[test]
    fn features_have_the_colours_of_the_annotator() {
        let mut image = RgbImage::new(100, 100);
        draw(&mut image, &mesh());
        for Feature { colour, .. } in &FEATURES {
            assert!(image.pixels().any(|pixel| pixel.0 == *colour), "{colour:?}");
        }
        let known = |pixel: &Rgb<u8>| pixel.0 == [0; 3] || FEATURES.iter().any(|feature| feature.colour == pixel.0);
        assert!(image.pixels().all(known));
        assert_eq!(side(&mesh()), 99.0);
    }

    /// The annotator has 124 lines.
    #[test]
    fn every_line_of_the_annotator_is_drawn() {
        let lines = FEATURES.iter().flat_map(|feature| feature.lines).map(|points| points.len() - 1);
        assert_eq!(lines.sum::<usize>(), 36 + 16 + 8 + 16 + 8 + 40);
    }

    #[test]
    fn points_outside_are_left_out() {
        let image = RgbImage::new(10, 10);
        assert_eq!(place(&image, [9.9, 10.0]), Some([9, 9]));
        assert_eq!([place(&image, [-0.1, 5.0]), place(&image, [5.0, 10.1]), place(&image, [f32::NAN, 0.0])], [None; 3]);
    }

    #[test]
    fn parameters_are_those_of_the_web_ui() {
        let asked = |threshold_a, threshold_b| {
            let resolution = imgopen_engine::Resolution::Shorter(512);
            Faces::asked(Some(Preprocessing { resolution, threshold_a, threshold_b }))
        };
        assert_eq!(Faces::asked(None).unwrap(), Faces { most: 1, least: 0.5 });
        assert_eq!(asked(Some(3.0), Some(0.25)).unwrap(), Faces { most: 3, least: 0.25 });
        assert!(asked(Some(11.0), None).unwrap_err().to_string().starts_with("`threshold_a`: 11 given"));
        assert!(asked(None, Some(0.0)).unwrap_err().to_string().starts_with("`threshold_b`: 0 given"));
    }
}
