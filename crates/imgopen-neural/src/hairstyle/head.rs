//! Places in relation to a face: in units of the distance from its eyes to its mouth, beside the middle of the eyes and above it.

use crate::face::FoundFace;

/// How far hair is looked for on both sides and above, and below.
const SEEN: [f32; 2] = [4.5, 5.75];

/// A face's place, size and tilt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Head {
    eyes: [f32; 2],
    /// The direction from the mouth to the eyes, of length 1.
    up: [f32; 2],
    /// The distance between them in pixels.
    pub unit: f32,
}

/// A part of a picture: the first column and row, width and height. It has pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

impl Head {
    /// Returns the head that a face belongs to; `None` if its points are not apart.
    pub fn of(face: &FoundFace) -> Option<Self> {
        let [right, left, _, mouth, ..] = face.points;
        let eyes = [(right[0] + left[0]) / 2.0, (right[1] + left[1]) / 2.0];
        let unit = (eyes[0] - mouth[0]).hypot(eyes[1] - mouth[1]);
        let across = (left[0] - right[0]).hypot(left[1] - right[1]);
        // Of a face that is turned, the line between the eyes is shorter than it should be, but still level.
        let level = [(left[1] - right[1]) / across, (right[0] - left[0]) / across];
        let up = [(eyes[0] - mouth[0]) / unit + level[0], (eyes[1] - mouth[1]) / unit + level[1]];
        let length = up[0].hypot(up[1]);
        let is_usable = unit > 1.0 && across > 0.0 && length > 0.1 && unit.is_finite() && length.is_finite();
        is_usable.then(|| Self { eyes, up: up.map(|part| part / length), unit })
    }

    /// Returns how far a pixel lies to the side, and how far above.
    pub fn place(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let (x, y) = ((x - self.eyes[0]) / self.unit, (y - self.eyes[1]) / self.unit);
        let [right, down] = self.up;
        [y * right - x * down, x * right + y * down]
    }

    /// Returns the part of a picture of that size in which hair is looked for.
    pub fn part(&self, (width, height): (u32, u32)) -> Option<Part> {
        let [near, far] = SEEN.map(|reach| reach * self.unit);
        // Downwards is where the chin is.
        let reach = |up: f32| near + (far - near) * (-up).max(0.0);
        let [right, down] = self.up;
        let start = |at: f32, up: f32| (at - reach(-up)).floor().max(0.0) as u32;
        let end = |at: f32, up: f32, length: u32| ((at + reach(up)).ceil().max(0.0) as u32).min(length);
        let (left, top) = (start(self.eyes[0], right), start(self.eyes[1], down));
        let (right, bottom) = (end(self.eyes[0], right, width), end(self.eyes[1], down, height));
        (left < right && top < bottom).then(|| Part { left, top, width: right - left, height: bottom - top })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(points: [[f32; 2]; 6]) -> FoundFace {
        FoundFace { left: 0.0, top: 0.0, width: 10.0, height: 10.0, score: 0.9, points }
    }

    #[test]
    fn places_turn_with_the_face() {
        let upright = face([[40.0, 50.0], [60.0, 50.0], [50.0, 60.0], [50.0, 70.0], [0.0; 2], [0.0; 2]]);
        let head = Head::of(&upright).unwrap();
        assert_eq!((head.unit, head.place([50.0, 50.0]), head.place([50.0, 70.0])), (20.0, [0.0, 0.0], [0.0, -1.0]));
        assert_eq!(head.place([70.0, 10.0]), [1.0, 2.0]);
        // A quarter turn clockwise: the chin is on the left.
        let turned = face([[50.0, 40.0], [50.0, 60.0], [40.0, 50.0], [30.0, 50.0], [0.0; 2], [0.0; 2]]);
        let head = Head::of(&turned).unwrap();
        assert_eq!((head.place([30.0, 50.0]), head.place([90.0, 70.0])), ([0.0, -1.0], [1.0, 2.0]));
    }

    #[test]
    fn more_is_seen_where_the_chin_is() {
        let upright = face([[490.0, 500.0], [510.0, 500.0], [500.0, 510.0], [500.0, 520.0], [0.0; 2], [0.0; 2]]);
        let part = Head::of(&upright).unwrap().part((1000, 1000)).unwrap();
        assert_eq!(part, Part { left: 410, top: 410, width: 180, height: 205 });
        assert_eq!(Head::of(&upright).unwrap().part((100, 100)), None);
    }

    #[test]
    fn points_that_coincide_are_no_head() {
        assert_eq!(Head::of(&face([[5.0; 2]; 6])), None);
        assert_eq!(Head::of(&face([[f32::NAN; 2]; 6])), None);
    }
}
