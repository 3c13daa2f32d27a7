//! Squares that may contain a face.

/// A square that may contain a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// The upper left corner, in pixels.
    pub(super) x: i32,
    pub(super) y: i32,
    /// The side, in pixels.
    pub(super) side: i32,
    /// The confidence: the sum of the scores of the windows that were merged into it.
    pub(super) score: f32,
}
