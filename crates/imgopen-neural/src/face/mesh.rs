//! The 468 points of a face, by MediaPipe's net of the pack `faces`.

use image::RgbImage;
use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::{Session, Tensor};

use super::align::Alignment;
use super::found::FoundFace;
use crate::nets::{FACES, Held, Nets, Weights};

/// The file of the pack.
const FILE: &str = "face_landmark.onnx";

/// The sides of the picture that the net takes, in pixels.
const SIDE: u32 = 192;

/// How many times larger than the box of the face that picture is.
const AROUND: f32 = 1.5;

const POINTS: usize = 468;

/// The corners of the eyes, first those of the eye on the left of the picture, from left to right.
const EYES: [[usize; 2]; 2] = [[33, 133], [362, 263]];

/// Points of the upper lid, each with one of the lower lid, for each eye as in [`EYES`].
const LIDS: [[[usize; 2]; 2]; 2] = [[[159, 145], [158, 153]], [[386, 374], [385, 380]]];

const NOSE: usize = 4;

/// The corners of the mouth, from left to right.
const MOUTH: [usize; 2] = [61, 291];

/// The sides of the face beside the ears, from left to right.
const SIDES: [usize; 2] = [234, 454];

/// The share of an eye's width below which its lids are closed; open ones are a quarter or more apart.
const CLOSED: f32 = 0.17;

/// The points of a face in MediaPipe's order: x and y in pixels of the picture, z in the same scale, smaller where it is nearer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mesh {
    /// 468 of them.
    pub points: Vec<[f32; 3]>,
    /// Whether there is a face at all, from 0 to 1.
    pub score: f32,
}

/// Picks the weights of the net. `None` if the pack is not installed.
pub(crate) fn mesh_weights(nets: &Nets) -> Option<Result<Weights, String>> {
    match nets.held(FACES) {
        Held::Missing => None,
        Held::Broken(problem) => Some(Err(problem)),
        Held::Whole(all) => {
            let found = all.iter().find(|weights| weights.file.name() == FILE).cloned();
            Some(found.ok_or_else(|| format!("the pack `{FACES}` does not have `{FILE}`; pull the built-in one")))
        }
    }
}

/// Finds the points of a face. The run of the net cannot be stopped; it takes some hundredths of a second.
///
/// # Errors
///
/// [`EngineError::Cancelled`]; [`EngineError::Failed`] if the net fails, or is not for this.
pub(crate) fn mesh(
    session: &Session,
    image: &RgbImage,
    face: &FoundFace,
    monitor: &Monitor,
) -> Result<Mesh, EngineError> {
    monitor.check_cancelled()?;
    let alignment = alignment(face);
    let crop = alignment.warp(image, SIDE, SIDE);
    let numbers: Vec<f32> = crop.as_raw().iter().map(|sample| f32::from(*sample) / 255.0).collect();
    let side = SIDE as usize;
    let tensor = Tensor::new([1, side, side, 3], numbers).map_err(|error| EngineError::Failed(error.to_string()))?;
    monitor.check_cancelled()?;
    let [points, score] = session.run(&[("input_1", &tensor)], ["conv2d_20", "conv2d_30"])?;
    let unfit = || EngineError::Failed(format!("the net in \"{}\" does not find points", session.file().name()));
    let score = score.as_f32().and_then(<[f32]>::first).ok_or_else(unfit)?;
    let points = points.as_f32().filter(|numbers| numbers.len() == 3 * POINTS).ok_or_else(unfit)?;
    Ok(Mesh { points: placed(points, &alignment), score: 1.0 / (1.0 + (-score).exp()) })
}

/// Returns the transform to what the net takes: the face upright in the middle.
fn alignment(face: &FoundFace) -> Alignment {
    let centre = [face.left + face.width / 2.0, face.top + face.height / 2.0];
    let side = (face.width.max(face.height) * AROUND).max(1.0);
    Alignment::around(centre, [SIDE as f32 / 2.0; 2], SIDE as f32 / side, -face.roll())
}

/// Returns points of the net in the picture.
fn placed(numbers: &[f32], alignment: &Alignment) -> Vec<[f32; 3]> {
    let back = alignment.inverse();
    let factor = back.factor() as f32;
    let (points, _) = numbers.as_chunks::<3>();
    let place = |[x, y, z]: &[f32; 3]| {
        let [x, y] = back.apply([*x, *y]);
        [x, y, z * factor]
    };
    points.iter().map(place).collect()
}

impl Mesh {
    /// Returns the five points by which nets align faces: the eye on the left of the picture, that on its right, the tip of the
    /// nose, and the corners of the mouth on the left and on the right.
    pub fn five(&self) -> [[f32; 2]; 5] {
        let [left, right] = EYES.map(|[one, other]| {
            let (one, other) = (self.flat(one), self.flat(other));
            [(one[0] + other[0]) / 2.0, (one[1] + other[1]) / 2.0]
        });
        let [mouth_left, mouth_right] = MOUTH.map(|index| self.flat(index));
        [left, right, self.flat(NOSE), mouth_left, mouth_right]
    }

    /// Returns by how many radians the face is turned: 0 if it is frontal, positive to the right of the picture.
    pub fn yaw(&self) -> f32 {
        let [left, right] = SIDES.map(|index| self.point(index));
        slope(left, right)
    }

    /// Returns whether the eye on the left of the picture, and that on its right, are closed. The net sees lids poorly:
    /// lowered ones count as open.
    pub fn eyes_closed(&self) -> [bool; 2] {
        let apart = |[one, other]: [usize; 2]| {
            let (one, other) = (self.flat(one), self.flat(other));
            (one[0] - other[0]).hypot(one[1] - other[1])
        };
        let is_closed = |eye: usize| {
            let open = LIDS[eye].iter().map(|lids| apart(*lids)).sum::<f32>() / LIDS[eye].len() as f32;
            open < CLOSED * apart(EYES[eye])
        };
        [is_closed(0), is_closed(1)]
    }

    /// Returns a point; the origin if there are fewer.
    fn point(&self, index: usize) -> [f32; 3] {
        self.points.get(index).copied().unwrap_or_default()
    }

    fn flat(&self, index: usize) -> [f32; 2] {
        let [x, y, _] = self.point(index);
        [x, y]
    }
}

/// Returns the angle at which a line leads away, in radians.
fn slope(from: [f32; 3], to: [f32; 3]) -> f32 {
    let [x, y, z] = [0, 1, 2].map(|axis: usize| to[axis] - from[axis]);
    z.atan2(x.hypot(y))
}

#[cfg(test)]
mod tests {
    use std::f32::consts::FRAC_PI_4;
    use std::num::NonZeroUsize;
    use std::path::Path;

    use imgopen_nets::SessionSettings;

    use super::*;
    use crate::face::search;

    /// 512x512 pixels.
    const ASTRONAUT: &[u8] = include_bytes!("../../../imgopen-cli/assets/astronaut.jpg");

    fn nets(models: &Path) -> Nets {
        Nets::in_models(models, NonZeroUsize::MIN, SessionSettings::default())
    }

    #[test]
    fn without_the_pack_there_are_no_weights() {
        let models = tempfile::tempdir().unwrap();
        assert!(mesh_weights(&nets(models.path())).is_none());
    }

    /// `IMGOPEN_TEST_MODELS` names a models directory with the pack; without it, nothing is tested. The points are those of
    /// LiteRT 2.3 with the same crop.
    #[test]
    fn the_net_of_the_pack_finds_the_points_of_a_face() {
        let Some(models) = std::env::var_os("IMGOPEN_TEST_MODELS") else {
            eprintln!("IMGOPEN_TEST_MODELS is not set: nothing is tested");
            return;
        };
        let nets = nets(Path::new(&models));
        let Some(weights) = mesh_weights(&nets) else { return };
        let session = nets.open(&weights.unwrap()).unwrap();
        let image = image::load_from_memory(ASTRONAUT).unwrap().into_rgb8();
        let monitor = Monitor::new().0;
        let faces = search::find(&image, &monitor, &|_| Ok(())).unwrap();
        assert_eq!(faces.len(), 1);
        let mesh = mesh(&session, &image, &faces[0], &monitor).unwrap();
        let expected = [[203.3, 101.3], [246.5, 103.3], [222.7, 124.9], [199.5, 138.9], [247.3, 141.4]];
        for (one, other) in mesh.five().iter().zip(expected) {
            assert!((one[0] - other[0]).hypot(one[1] - other[1]) < 3.0, "{one:?} {other:?}");
        }
        assert!(mesh.score > 0.9 && mesh.yaw().abs() < 0.2 && mesh.eyes_closed() == [false, false], "{mesh:?}");
    }

    fn mesh_of(points: &[(usize, [f32; 3])]) -> Mesh {
        let mut all = vec![[0.0; 3]; POINTS];
        for (index, point) in points {
            all[*index] = *point;
        }
        Mesh { points: all, score: 1.0 }
    }

    #[test]
    fn five_points_are_those_of_eyes_nose_and_mouth() {
        let mesh = mesh_of(&[
            (33, [10.0, 20.0, 1.0]),
            (133, [20.0, 22.0, 1.0]),
            (362, [40.0, 22.0, 1.0]),
            (263, [50.0, 20.0, 1.0]),
            (NOSE, [30.0, 40.0, -9.0]),
            (61, [20.0, 55.0, 0.0]),
            (291, [42.0, 56.0, 0.0]),
        ]);
        assert_eq!(mesh.five(), [[15.0, 21.0], [45.0, 21.0], [30.0, 40.0], [20.0, 55.0], [42.0, 56.0]]);
    }

    #[test]
    fn the_angle_is_that_of_depth_over_distance() {
        let mesh = mesh_of(&[(234, [10.0, 50.0, -3.0]), (454, [50.0, 50.0, 37.0])]);
        assert!((mesh.yaw() - FRAC_PI_4).abs() < 1e-6);
    }

    #[test]
    fn lids_that_meet_are_closed() {
        let lids = |open: f32| {
            let lids =
                LIDS[1].iter().flat_map(|[up, down]| [(*up, [45.0, 20.0, 0.0]), (*down, [45.0, 20.0 + open, 0.0])]);
            let mut points: Vec<_> = lids.collect();
            points.extend([(362, [40.0, 20.0, 0.0]), (263, [60.0, 20.0, 0.0])]);
            points.extend([(33, [0.0, 20.0, 0.0]), (133, [20.0, 20.0, 0.0])]);
            points.extend([
                (159, [9.0, 16.0, 0.0]),
                (145, [9.0, 22.0, 0.0]),
                (158, [12.0, 16.0, 0.0]),
                (153, [12.0, 22.0, 0.0]),
            ]);
            mesh_of(&points).eyes_closed()
        };
        assert_eq!((lids(2.0), lids(5.0)), ([false, true], [false, false]));
    }

    /// The net's picture is 1.5 times the box: here 60 pixels, in which 192 of the net are.
    #[test]
    fn points_are_placed_in_the_picture() {
        let points = [[40.0, 50.0], [40.0, 70.0], [50.0, 60.0], [35.0, 60.0], [50.0, 45.0], [50.0, 80.0]];
        let face = FoundFace { left: 30.0, top: 40.0, width: 40.0, height: 40.0, score: 1.0, points };
        let alignment = alignment(&face);
        let placed = placed(&[96.0, 96.0, 32.0, 192.0, 96.0, 0.0], &alignment);
        let near =
            |one: [f32; 3], other: [f32; 3]| one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-3);
        // The right of a face that is turned clockwise by a quarter is below.
        assert!(near(placed[0], [50.0, 60.0, 10.0]) && near(placed[1], [50.0, 90.0, 0.0]), "{placed:?}");
    }
}
