//! Where a net sees a face: a frame, the way from pixels of the picture to those of the frame, and the oval in it that is repaired.
//!
//! Whole numbers are the centres of pixels.

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::Planes;

use crate::face::{Alignment, FFHQ_512, FoundFace};
use crate::pixels::{self, Channels};
use crate::plane::Plane;

/// The sides of the frame of an aligned face.
const ALIGNED: usize = 512;

/// The oval of an aligned face: its centre and its radii.
const ALIGNED_OVAL: Oval = Oval { centre: [256.0, 268.0], radii: [185.0, 225.0] };

/// The most pixels of an upright frame along each side, which a run over it takes up to a minute for on two cores. Larger faces are
/// given to the net smaller.
const MOST: f32 = 256.0;

/// The radius of the circle that is repaired, as a share of the longer side of a face's box.
const RADIUS: f32 = 0.8;

/// By which share of that side the circle lies higher than the box, which ends at the brows.
const RAISED: f32 = 0.06;

/// By which share of that side the net sees beyond the circle.
const BORDER: f32 = 0.1;

/// The share of the radius up to which a repair shows entirely.
const WHOLE: f32 = 0.75;

/// The shortest side of a face's box, in pixels, that is repaired.
const LEAST: f32 = 8.0;

/// A frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    /// From the picture to the frame.
    pub map: Map,
    oval: Oval,
    /// The pixels of the picture that may be repaired.
    pub bounds: Bounds,
}

/// An affine map: the factors of x and y, and what is added, for each result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Map(pub [[f32; 3]; 2]);

/// A part of a picture. It has pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Oval {
    centre: [f32; 2],
    radii: [f32; 2],
}

impl Frame {
    /// Returns the frame of a face that is aligned by its eyes, its nose and its mouth, in a picture of that size; `None` if these
    /// are not apart, or all of the face lies outside.
    pub fn aligned(face: &FoundFace, size: (u32, u32)) -> Option<Self> {
        // Those of faces count from the corners of pixels.
        let [right_eye, left_eye, nose, mouth, ..] = face.points.map(|[x, y]| [x - 0.5, y - 0.5]);
        let [first, second, tip, one, other] = FFHQ_512;
        let between = [(one[0] + other[0]) / 2.0, (one[1] + other[1]) / 2.0];
        let alignment = Alignment::fit(&[right_eye, left_eye, nose, mouth], &[first, second, tip, between])?;
        let map = Map::of(&alignment);
        let (back, oval) = (map.inverse()?, ALIGNED_OVAL);
        let [x, y] = back.apply(oval.centre);
        let radius = oval.radii[0].max(oval.radii[1]) * back.scale();
        let bounds = Bounds::around([x - radius, y - radius], [x + radius, y + radius], size)?;
        Some(Self { width: ALIGNED, height: ALIGNED, map, oval, bounds })
    }

    /// Returns the frame of a face as it is, with a margin, for a net that knows pictures in general, made smaller by a factor up to
    /// 1; `None` if it is tiny, or all of it lies outside the picture.
    pub fn upright(face: &FoundFace, size: (u32, u32), factor: f32) -> Option<Self> {
        let side = face.width.max(face.height);
        if side.is_nan() || side < LEAST {
            return None;
        }
        let (x, y) = (face.left + face.width / 2.0, face.top + face.height / 2.0 - RAISED * side);
        let (radius, seen) = (RADIUS * side, (RADIUS + BORDER) * side);
        let bounds = Bounds::around([x - radius, y - radius], [x + radius, y + radius], size)?;
        let part = Bounds::around([x - seen, y - seen], [x + seen, y + seen], size)?;
        let (wide, high) = (part.width as f32, part.height as f32);
        let factor = factor * (MOST / wide.max(high)).min(1.0);
        let [width, height] = [wide, high].map(|side| (side * factor).round().max(1.0));
        let (across, down) = (width / wide, height / high);
        let shift = |factor: f32, start: u32| (0.5 - start as f32) * factor - 0.5;
        let map = Map([[across, 0.0, shift(across, part.left)], [0.0, down, shift(down, part.top)]]);
        let oval = Oval { centre: map.apply([x, y]), radii: [radius * across, radius * down] };
        Some(Self { width: width as usize, height: height as usize, map, oval, bounds })
    }

    /// Returns what is in the frame, as colours from 0 to 1. Beyond the edges of the picture, they are those of the edges.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`], and [`EngineError::Failed`] for pixel types that decoded pictures do not have.
    pub fn cut(&self, image: &DynamicImage, monitor: &Monitor) -> Result<Planes, EngineError> {
        let failed = |what: &str| EngineError::Failed(what.to_owned());
        let back = self.map.inverse().ok_or_else(|| failed("a face has no extent"))?;
        let size = (image.width(), image.height());
        let part = self.seen(&back, size).ok_or_else(|| failed("a face lies outside the picture"))?;
        let cut = image.crop_imm(part.left, part.top, part.width, part.height);
        monitor.check_cancelled()?;
        // A copy that is no larger than it is seen, so that no detail flickers.
        let factor = self.map.scale().min(1.0);
        let [width, height] = [part.width, part.height].map(|side| ((side as f32 * factor).round() as u32).max(1));
        let copy = if factor < 1.0 { pixels::resized(&cut, width, height)? } else { cut };
        let (across, down) = (copy.width() as f32 / part.width as f32, copy.height() as f32 / part.height as f32);
        let colours = Channels::of(&copy)?.colours;
        let mut planes: [Vec<f32>; 3] = Default::default();
        for y in 0..self.height {
            monitor.check_cancelled()?;
            for x in 0..self.width {
                let [left, top] = back.apply([x as f32, y as f32]);
                let place =
                    [(left - part.left as f32 + 0.5) * across - 0.5, (top - part.top as f32 + 0.5) * down - 0.5];
                planes.iter_mut().zip(&colours).for_each(|(plane, colour)| plane.push(between(colour, place)));
            }
        }
        Planes::new(3, self.width, self.height, planes.concat()).map_err(|error| failed(&error.to_string()))
    }

    /// Returns how much of a repair shows at a place of the frame, from 0 to 1.
    pub fn shown(&self, [x, y]: [f32; 2]) -> f32 {
        let Oval { centre, radii } = self.oval;
        let distance = ((x - centre[0]) / radii[0]).hypot((y - centre[1]) / radii[1]);
        let share = ((1.0 - distance) / (1.0 - WHOLE)).clamp(0.0, 1.0);
        share * share * (3.0 - 2.0 * share)
    }

    /// Returns the part of the picture that the frame sees.
    fn seen(&self, back: &Map, size: (u32, u32)) -> Option<Bounds> {
        let (right, bottom) = (self.width as f32 - 0.5, self.height as f32 - 0.5);
        let corners = [[-0.5, -0.5], [right, -0.5], [-0.5, bottom], [right, bottom]].map(|corner| back.apply(corner));
        let least = |axis: usize| corners.iter().map(|corner| corner[axis]).fold(f32::INFINITY, f32::min);
        let most = |axis: usize| corners.iter().map(|corner| corner[axis]).fold(f32::NEG_INFINITY, f32::max);
        // Rounding must not add a row or a column.
        let nudge = 0.01;
        Bounds::around(
            [least(0) + 0.5 + nudge, least(1) + 0.5 + nudge],
            [most(0) - 0.5 - nudge, most(1) - 0.5 - nudge],
            size,
        )
    }
}

impl Map {
    fn of(alignment: &Alignment) -> Self {
        let [origin, along, down] = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]].map(|point| alignment.apply(point));
        let row = |axis: usize| [along[axis] - origin[axis], down[axis] - origin[axis], origin[axis]];
        Self([row(0), row(1)])
    }

    /// Returns where a point lies.
    pub fn apply(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        self.0.map(|[a, b, c]| a * x + b * y + c)
    }

    /// Returns the map back; `None` if points fall together.
    pub fn inverse(&self) -> Option<Self> {
        let [[a, b, c], [d, e, f]] = self.0;
        let area = a * e - b * d;
        let is_usable = area.is_finite() && area.abs() > 1e-8;
        is_usable.then(|| {
            let (a, b, d, e) = (e / area, -b / area, -d / area, a / area);
            Self([[a, b, -(a * c + b * f)], [d, e, -(d * c + e * f)]])
        })
    }

    /// Returns by which factor lengths change, on average.
    pub fn scale(&self) -> f32 {
        let [[a, b, _], [d, e, _]] = self.0;
        (a * e - b * d).abs().sqrt()
    }
}

impl Bounds {
    /// Returns the pixels between two corners, as far as they lie in a picture of that size; `None` if there is none.
    fn around(from: [f32; 2], to: [f32; 2], (width, height): (u32, u32)) -> Option<Self> {
        // Casts of numbers beyond the range, and of what is not a number, give its ends and 0.
        let start = |from: f32| from.floor().max(0.0) as u32;
        let end = |to: f32, length: u32| ((to.ceil() + 1.0).max(0.0) as u32).min(length);
        let (left, top) = (start(from[0]), start(from[1]));
        let (right, bottom) = (end(to[0], width), end(to[1], height));
        (left < right && top < bottom).then(|| Self { left, top, width: right - left, height: bottom - top })
    }
}

/// Returns the level of a plane between its pixels.
pub(super) fn between(plane: &Plane, [x, y]: [f32; 2]) -> f32 {
    let at = |place: f32, length: usize| {
        let place = place.clamp(0.0, length.saturating_sub(1) as f32);
        let first = place as usize;
        (first, (first + 1).min(length.saturating_sub(1)), place - first as f32)
    };
    let ((left, right, across), (top, bottom, down)) = (at(x, plane.width), at(y, plane.height));
    let along = |row: &[f32]| row[left] + across * (row[right] - row[left]);
    let (upper, lower) = (along(plane.row(top)), along(plane.row(bottom)));
    upper + down * (lower - upper)
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Rgb};

    use super::*;

    fn face(left: f32, top: f32, side: f32) -> FoundFace {
        let at = |x: f32, y: f32| [left + x * side, top + y * side];
        let points = [at(0.3, 0.35), at(0.7, 0.35), at(0.5, 0.6), at(0.5, 0.8), at(0.0, 0.4), at(1.0, 0.4)];
        FoundFace { left, top, width: side, height: side, score: 0.9, points }
    }

    fn noise(width: u32, height: u32) -> DynamicImage {
        let sample = |x: u32, y: u32, step: u32| ((x * step) ^ (y * 31)).wrapping_mul(2_654_435_761).wrapping_shr(24);
        ImageBuffer::from_fn(width, height, |x, y| Rgb([7, 11, 13].map(|step| sample(x, y, step) as u8))).into()
    }

    #[test]
    fn a_small_face_is_seen_as_it_is() {
        let image = noise(300, 260);
        let frame = Frame::upright(&face(100.0, 80.0, 60.0), (300, 260), 1.0).unwrap();
        assert_eq!(frame.map.0[0][0], 1.0);
        let [left, top] = frame.map.inverse().unwrap().apply([0.0, 0.0]);
        let planes = frame.cut(&image, &Monitor::new().0).unwrap();
        let pixels = image.to_rgb8();
        for (x, y) in [(0, 0), (17, 40), (frame.width - 1, frame.height - 1)] {
            let expected =
                pixels.get_pixel(left as u32 + x as u32, top as u32 + y as u32).0.map(|level| f32::from(level) / 255.0);
            for (channel, expected) in expected.into_iter().enumerate() {
                let found = planes.values()[(channel * frame.height + y) * frame.width + x];
                assert!((found - expected).abs() < 1e-4, "{x},{y}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_large_face_is_seen_smaller() {
        let frame = Frame::upright(&face(300.0, 300.0, 500.0), (1200, 1000), 1.0).unwrap();
        assert_eq!((frame.width.max(frame.height), frame.map.scale() < 0.3), (256, true));
        let planes = frame.cut(&DynamicImage::new_luma16(1200, 1000), &Monitor::new().0).unwrap();
        assert_eq!((planes.channels(), planes.width(), planes.height()), (3, frame.width, frame.height));
    }

    #[test]
    fn a_repair_fades_within_the_bounds() {
        for frame in [
            Frame::upright(&face(100.0, 80.0, 60.0), (300, 260), 1.0),
            Frame::aligned(&face(100.0, 80.0, 60.0), (300, 260)),
        ] {
            let frame = frame.unwrap();
            assert_eq!(frame.shown(frame.map.apply([130.0, 110.0])), 1.0);
            let Bounds { left, top, width, height } = frame.bounds;
            for (x, y) in [(left, top), (left + width - 1, top), (left, top + height - 1), (left + width / 2, top)] {
                assert!(frame.shown(frame.map.apply([x as f32, y as f32])) < 0.01, "{x},{y}");
            }
            // Nowhere beyond them.
            for (x, y) in (0..300).flat_map(|x| (0..260).map(move |y| (x, y))) {
                let is_inside = (left..left + width).contains(&x) && (top..top + height).contains(&y);
                assert!(is_inside || frame.shown(frame.map.apply([x as f32, y as f32])) == 0.0, "{x},{y}");
            }
        }
    }

    #[test]
    fn an_aligned_face_has_its_eyes_in_their_places() {
        let frame = Frame::aligned(&face(100.0, 80.0, 60.0), (300, 260)).unwrap();
        let [[x, y], [other, _]] = [[118.0, 101.0], [142.0, 101.0]].map(|eye| frame.map.apply(eye));
        assert!(
            (x - 193.0).abs() < 25.0 && (other - 319.0).abs() < 25.0 && (y - 240.0).abs() < 25.0,
            "{x} {other} {y}"
        );
    }

    #[test]
    fn faces_at_the_edge_and_beyond_it_do_no_harm() {
        let image = noise(80, 70);
        for place in [(-30.0, -20.0), (60.0, 50.0), (79.0, 0.0)] {
            for frame in [
                Frame::upright(&face(place.0, place.1, 40.0), (80, 70), 1.0),
                Frame::aligned(&face(place.0, place.1, 40.0), (80, 70)),
            ] {
                frame.unwrap().cut(&image, &Monitor::new().0).unwrap();
            }
        }
        assert_eq!(Frame::upright(&face(500.0, 500.0, 40.0), (80, 70), 1.0), None);
        assert_eq!(Frame::upright(&face(10.0, 10.0, 3.0), (80, 70), 1.0), None);
        assert_eq!(Frame::upright(&face(10.0, 10.0, f32::NAN), (80, 70), 1.0), None);
    }

    #[test]
    fn a_map_and_its_inverse_cancel_out() {
        let map = Map([[0.3, -0.7, 5.0], [0.7, 0.3, -90.0]]);
        let [x, y] = map.inverse().unwrap().apply(map.apply([123.0, -45.0]));
        assert!((x - 123.0).abs() < 1e-3 && (y + 45.0).abs() < 1e-3, "{x} {y}");
        assert!((map.scale() - 0.58_f32.sqrt()).abs() < 1e-6);
        assert_eq!(Map([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]]).inverse(), None);
    }
}
