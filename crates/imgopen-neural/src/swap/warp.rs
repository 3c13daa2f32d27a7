//! Maps the pixels of a face onto another one, triangle by triangle.

use super::triangles::triangles;

/// How far beyond its edges a triangle still counts, so that rounding leaves no gaps between two.
const SLACK: f32 = 1e-3;

/// Twice the area in pixels below which a triangle maps nothing.
const LEAST: f32 = 1e-4;

/// A mapping from a picture with a face to one with another face, affine within each triangle of the mesh.
#[derive(Debug)]
pub(super) struct Warp {
    pieces: Vec<Piece>,
}

/// The mapping within a triangle.
#[derive(Debug)]
struct Piece {
    corners: [[f32; 2]; 3],
    top: f32,
    bottom: f32,
    /// How x and y of the other picture follow from x, y and 1.
    matrix: [[f32; 3]; 2],
    depth: f32,
}

impl Warp {
    /// Maps points of one mesh to those of another, within the triangles that are kept by their corners on both.
    pub fn between(from: &[[f32; 3]], to: &[[f32; 3]], keep: impl Fn([[f32; 3]; 3], [[f32; 3]; 3]) -> bool) -> Self {
        let piece = |triangle: &[usize; 3]| {
            let (from, to) = (corners(from, triangle)?, corners(to, triangle)?);
            if keep(from, to) { Piece::new(from, to) } else { None }
        };
        let mut pieces: Vec<Piece> = triangles().iter().filter_map(piece).collect();
        // The nearest comes last, and hides what is behind it.
        pieces.sort_by(|one, other| other.depth.total_cmp(&one.depth));
        Self { pieces }
    }

    /// Writes where the pixels of a row lie in the other picture: those at `left` plus multiples of `step`. Pixels outside of all
    /// triangles are `None`.
    pub fn row(&self, y: f32, left: f32, step: f32, places: &mut [Option<[f32; 2]>]) {
        places.fill(None);
        for piece in self.pieces.iter().filter(|piece| piece.top <= y && y <= piece.bottom) {
            let Some((first, last)) = piece.span(y) else { continue };
            let index = |x: f32| (x - left) / step;
            let begin = (index(first) - SLACK).ceil().max(0.0) as usize;
            // The conversion makes 0 of what is negative.
            let end = ((index(last) + SLACK).floor() + 1.0).max(0.0) as usize;
            let count = end.min(places.len()).saturating_sub(begin);
            for (offset, place) in places.iter_mut().skip(begin).take(count).enumerate() {
                let x = left + (begin + offset) as f32 * step;
                *place = Some(piece.matrix.map(|[across, down, shift]| across * x + down * y + shift));
            }
        }
    }
}

impl Piece {
    fn new(from: [[f32; 3]; 3], to: [[f32; 3]; 3]) -> Option<Self> {
        let corners = from.map(|[x, y, _]| [x, y]);
        let [[x, y], one, other] = corners;
        let (one, other) = ([one[0] - x, one[1] - y], [other[0] - x, other[1] - y]);
        let area = one[0] * other[1] - one[1] * other[0];
        if !area.is_finite() || area.abs() < LEAST {
            return None;
        }
        let row = |axis: usize| {
            let start = to[0][axis];
            let (one_to, other_to) = (to[1][axis] - start, to[2][axis] - start);
            let across = (one_to * other[1] - other_to * one[1]) / area;
            let down = (other_to * one[0] - one_to * other[0]) / area;
            [across, down, start - across * x - down * y]
        };
        let rows = corners.map(|[_, y]| y);
        let top = rows.iter().copied().fold(f32::INFINITY, f32::min);
        let bottom = rows.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let depth = from.iter().map(|[_, _, z]| z).sum();
        Some(Self { corners, top, bottom, matrix: [row(0), row(1)], depth })
    }

    /// Returns between which places a row crosses the triangle.
    fn span(&self, y: f32) -> Option<(f32, f32)> {
        let [a, b, c] = self.corners;
        let mut span: Option<(f32, f32)> = None;
        let mut add = |x: f32| {
            let (first, last) = span.unwrap_or((x, x));
            span = Some((first.min(x), last.max(x)));
        };
        for (from, to) in [(a, b), (b, c), (c, a)] {
            let (upper, lower) = if from[1] <= to[1] { (from, to) } else { (to, from) };
            if y < upper[1] || lower[1] < y {
                continue;
            }
            if upper[1] == lower[1] {
                add(upper[0]);
                add(lower[0]);
            } else {
                add(upper[0] + (y - upper[1]) / (lower[1] - upper[1]) * (lower[0] - upper[0]));
            }
        }
        span
    }
}

/// Returns the points of a triangle.
fn corners(points: &[[f32; 3]], triangle: &[usize; 3]) -> Option<[[f32; 3]; 3]> {
    let [a, b, c] = *triangle;
    Some([*points.get(a)?, *points.get(b)?, *points.get(c)?])
}

/// Returns how far a triangle faces the viewer: 1 from the front, 0 from the side, less from behind. `sign` is
/// the orientation of those that are seen.
pub(super) fn facing([a, b, c]: [[f32; 3]; 3], sign: f32) -> f32 {
    let difference = |to: [f32; 3]| [to[0] - a[0], to[1] - a[1], to[2] - a[2]];
    let (one, other) = (difference(b), difference(c));
    let normal = [
        one[1] * other[2] - one[2] * other[1],
        one[2] * other[0] - one[0] * other[2],
        one[0] * other[1] - one[1] * other[0],
    ];
    let length = normal.iter().map(|part| part * part).sum::<f32>().sqrt();
    if length > f32::MIN_POSITIVE { sign * normal[2] / length } else { 0.0 }
}

/// Returns the orientation of the triangles that are seen: that of most of the area.
pub(super) fn orientation(points: &[[f32; 3]]) -> f32 {
    let area = |triangle: &[usize; 3]| {
        let [a, b, c] = corners(points, triangle)?;
        Some((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
    };
    triangles().iter().filter_map(area).sum::<f32>().signum()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::triangles::{OVAL, POINTS};
    use super::*;

    /// A flat mesh whose triangles do not overlap: rings of the outline, one within the other, are not needed for that; each
    /// point is at the mean of its neighbours.
    pub(in crate::swap) fn flat(width: f32, height: f32) -> Vec<[f32; 3]> {
        let mut points = vec![[0.0_f32; 3]; POINTS];
        let on_oval = |index: usize| OVAL.iter().position(|point| *point == index);
        for (place, index) in OVAL.into_iter().enumerate() {
            // From the top, clockwise.
            let angle = (place as f32 / OVAL.len() as f32).mul_add(std::f32::consts::TAU, -std::f32::consts::FRAC_PI_2);
            points[index] = [angle.cos() * width / 2.0, angle.sin() * height / 2.0, 0.0];
        }
        for _ in 0..600 {
            let mut sums = vec![([0.0_f32; 2], 0.0_f32); POINTS];
            for triangle in triangles() {
                for index in triangle {
                    for other in triangle.iter().filter(|other| *other != index) {
                        sums[*index].0[0] += points[*other][0];
                        sums[*index].0[1] += points[*other][1];
                        sums[*index].1 += 1.0;
                    }
                }
            }
            for (index, ([x, y], count)) in sums.into_iter().enumerate() {
                if on_oval(index).is_none() {
                    points[index] = [x / count, y / count, 0.0];
                }
            }
        }
        points
    }

    pub(in crate::swap) fn moved(points: &[[f32; 3]], scale: f32, by: [f32; 2]) -> Vec<[f32; 3]> {
        points.iter().map(|[x, y, z]| [x * scale + by[0], y * scale + by[1], z * scale]).collect()
    }

    #[test]
    fn the_same_mesh_maps_each_pixel_to_itself() {
        let mesh = moved(&flat(80.0, 100.0), 1.0, [50.0, 60.0]);
        let warp = Warp::between(&mesh, &mesh, |_, _| true);
        let mut places = vec![None; 100];
        let mut found = 0;
        for y in 0..120 {
            warp.row(y as f32, 0.0, 1.0, &mut places);
            for (x, place) in places.iter().enumerate() {
                let Some([to_x, to_y]) = place else { continue };
                assert!((to_x - x as f32).abs() < 0.01 && (to_y - y as f32).abs() < 0.01, "{x},{y}: {place:?}");
                found += 1;
            }
        }
        // The area of the ellipse, less the inside of the mouth.
        let area = std::f32::consts::PI * 40.0 * 50.0;
        assert!((0.7 * area..1.01 * area).contains(&(found as f32)), "{found} of {area}");
    }

    /// By hand: twice as large, and shifted.
    #[test]
    fn a_mesh_that_is_scaled_and_shifted_maps_likewise() {
        let mesh = moved(&flat(80.0, 100.0), 1.0, [50.0, 60.0]);
        let warp = Warp::between(&mesh, &moved(&mesh, 2.0, [7.0, -3.0]), |_, _| true);
        let mut places = vec![None; 40];
        warp.row(30.5, 20.0, 1.5, &mut places);
        let seen: Vec<_> = places.iter().enumerate().filter_map(|(index, place)| Some((index, (*place)?))).collect();
        assert!(seen.len() > 10, "{seen:?}");
        for (index, [x, y]) in seen {
            let from = 20.0 + 1.5 * index as f32;
            assert!((x - (2.0 * from + 7.0)).abs() < 0.02 && (y - 58.0).abs() < 0.02, "{from}: {x} {y}");
        }
    }

    #[test]
    fn a_triangle_is_mapped_by_its_corners() {
        let piece = Piece::new(
            [[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [0.0, 10.0, 0.0]],
            [[5.0, 5.0, 0.0], [5.0, 25.0, 0.0], [35.0, 5.0, 0.0]],
        )
        .unwrap();
        assert_eq!(piece.matrix, [[0.0, 3.0, 5.0], [2.0, 0.0, 5.0]]);
        assert_eq!((piece.span(0.0), piece.span(4.0), piece.span(11.0)), (Some((0.0, 10.0)), Some((0.0, 6.0)), None));
        let line = [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [2.0, 2.0, 0.0]];
        assert!(Piece::new(line, line).is_none());
    }

    #[test]
    fn triangles_face_the_viewer_or_not() {
        let front = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        assert_eq!((facing(front, 1.0), facing(front, -1.0)), (1.0, -1.0));
        let tilted = [[0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]];
        assert!((facing(tilted, 1.0) - std::f32::consts::FRAC_1_SQRT_2).abs() < 1e-6);
        let mesh = flat(80.0, 100.0);
        let mirrored: Vec<_> = mesh.iter().map(|[x, y, z]| [-x, *y, *z]).collect();
        assert_eq!(orientation(&mesh), -orientation(&mirrored));
    }
}
