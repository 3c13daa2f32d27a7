//! Where a face is put onto another: outlines that are filled, and that fade at their edges.

use imgopen_engine::{EngineError, Monitor};

use crate::plane::Plane;

/// Into how many rows a row of pixels is divided where an outline crosses it.
const PARTS: usize = 4;

/// How much of what is around a pixel has to belong to an area where it begins to fade in, and where it is opaque. Half of it
/// belongs to the area on a straight edge, so that nothing shows outside.
const FADES: [f32; 2] = [0.55, 0.98];

/// Fills an outline: 1 within, 0 outside, and the covered share along its edge.
pub(super) fn filled(width: usize, height: usize, outline: &[[f32; 2]]) -> Plane {
    let mut plane = Plane { width, height, values: vec![0.0; width * height] };
    let mut crossings = Vec::new();
    for (y, row) in plane.values.chunks_exact_mut(width.max(1)).enumerate() {
        for part in 0..PARTS {
            let at = y as f32 + (part as f32 + 0.5) / PARTS as f32;
            let next = outline.iter().cycle().skip(1);
            crossings.clear();
            crossings.extend(outline.iter().zip(next).filter_map(|(from, to)| crossing(*from, *to, at)));
            crossings.sort_by(f32::total_cmp);
            for [left, right] in crossings.as_chunks::<2>().0 {
                cover(row, *left, *right);
            }
        }
    }
    plane
}

fn crossing(from: [f32; 2], to: [f32; 2], y: f32) -> Option<f32> {
    let is_crossed = (from[1] <= y) != (to[1] <= y);
    is_crossed.then(|| from[0] + (y - from[1]) / (to[1] - from[1]) * (to[0] - from[0]))
}

/// Adds a part of a row that an outline covers.
fn cover(row: &mut [f32], left: f32, right: f32) {
    let first = left.floor().max(0.0) as usize;
    let end = right.ceil().max(0.0) as usize;
    for (x, value) in row.iter_mut().enumerate().take(end).skip(first) {
        let covered = right.min(x as f32 + 1.0) - left.max(x as f32);
        *value += covered.max(0.0) / PARTS as f32;
    }
}

/// Blurs a plane, about as a Gaussian with a deviation of `radius` pixels does.
///
/// # Errors
///
/// [`EngineError::Cancelled`].
pub(super) fn blurred(plane: &Plane, radius: usize, monitor: &Monitor) -> Result<Plane, EngineError> {
    plane.mean(radius, monitor)?.mean(radius, monitor)?.mean(radius, monitor)
}

/// Lets an area fade in from its edge inwards.
///
/// # Errors
///
/// [`EngineError::Cancelled`].
pub(super) fn faded(area: &Plane, radius: usize, monitor: &Monitor) -> Result<Plane, EngineError> {
    let mut faded = blurred(area, radius, monitor)?;
    for value in &mut faded.values {
        let share = ((*value - FADES[0]) / (FADES[1] - FADES[0])).clamp(0.0, 1.0);
        *value = share * share * (3.0 - 2.0 * share);
    }
    Ok(faded)
}

/// Returns an outline that is larger or smaller about its middle by a factor.
pub(super) fn grown(outline: &[[f32; 2]], factor: f32) -> Vec<[f32; 2]> {
    let count = outline.len().max(1) as f32;
    let middle = [0, 1].map(|axis: usize| outline.iter().map(|point| point[axis]).sum::<f32>() / count);
    let grow = |point: &[f32; 2]| [0, 1].map(|axis: usize| middle[axis] + factor * (point[axis] - middle[axis]));
    outline.iter().map(grow).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand.
    #[test]
    fn an_outline_covers_pixels_by_their_share() {
        let plane = filled(4, 3, &[[0.5, 1.0], [3.0, 1.0], [3.0, 2.5], [0.5, 2.5]]);
        assert_eq!(plane.row(0), [0.0; 4]);
        assert_eq!(plane.row(1), [0.5, 1.0, 1.0, 0.0]);
        assert_eq!(plane.row(2), [0.25, 0.5, 0.5, 0.0]);
        let beyond = filled(2, 2, &[[-5.0, -5.0], [9.0, -5.0], [9.0, 9.0], [-5.0, 9.0]]);
        assert_eq!(beyond.values, [1.0; 4]);
        assert_eq!(filled(2, 2, &[]).values, [0.0; 4]);
    }

    #[test]
    fn an_area_fades_inwards_only() {
        let (side, radius) = (60, 3);
        let area = filled(side, side, &[[10.0, 10.0], [50.0, 10.0], [50.0, 50.0], [10.0, 50.0]]);
        let faded = faded(&area, radius, &Monitor::new().0).unwrap();
        for (index, value) in faded.values.iter().enumerate() {
            let (x, y) = (index % side, index / side);
            let within = |at: usize| (10..50).contains(&at);
            let deep = |at: usize| (10 + 3 * radius..50 - 3 * radius).contains(&at);
            if !within(x) || !within(y) {
                assert_eq!(*value, 0.0, "{x},{y}");
            } else if deep(x) && deep(y) {
                assert_eq!(*value, 1.0, "{x},{y}");
            }
        }
        let row = faded.row(30);
        assert!(row[..30].is_sorted() && row[13] > 0.0 && row[13] < 1.0, "{row:?}");
    }

    #[test]
    fn an_outline_grows_about_its_middle() {
        assert_eq!(grown(&[[0.0, 0.0], [4.0, 2.0]], 2.0), [[-2.0, -1.0], [6.0, 3.0]]);
        assert_eq!(grown(&[], 2.0), Vec::<[f32; 2]>::new());
    }
}
