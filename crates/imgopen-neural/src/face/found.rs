//! A face that the detector found.

use super::candidate::roll;

/// A face that the detector found, in pixels of the picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FoundFace {
    /// The left edge of the box, which may reach beyond the picture.
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
    /// From 0 to 1.
    pub score: f32,
    /// The right and the left eye of the person, the tip of the nose, the middle of the mouth, the right and the left ear.
    pub points: [[f32; 2]; 6],
}

impl FoundFace {
    /// Returns by how many radians the line between the eyes is turned clockwise.
    pub fn roll(&self) -> f32 {
        roll(&self.points)
    }

    /// Returns whether the tip of the nose does not lie between the eyes, as in a face that is turned to the side by some 45
    /// degrees or more.
    pub fn is_in_profile(&self) -> bool {
        let [right, left, nose, ..] = self.points;
        let (across, down) = (left[0] - right[0], left[1] - right[1]);
        let along = (nose[0] - right[0]) * across + (nose[1] - right[1]) * down;
        !(0.0..=across * across + down * down).contains(&along)
    }
}
