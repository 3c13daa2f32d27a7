//! The triangles between the points of a face's mesh, and the outlines of its parts.

use std::sync::LazyLock;

/// How many points a mesh has.
#[cfg(test)]
pub(super) const POINTS: usize = 468;

/// The points of the face's outline, from the middle of the forehead clockwise on the picture of a face from the front.
pub(super) const OVAL: [usize; 36] = [
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
];

/// The points of the outline above the brows, each with the point of a brow that is below it.
pub(super) const FOREHEAD: [(usize, usize); 11] = [
    (10, 9),
    (338, 336),
    (297, 296),
    (332, 334),
    (284, 293),
    (251, 300),
    (21, 70),
    (54, 63),
    (103, 105),
    (67, 66),
    (109, 107),
];

/// The lids of the right eye of the person, and of the left one.
pub(super) const EYES: [[usize; 16]; 2] = [
    [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246],
    [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466],
];

pub(super) const BROWS: [[usize; 10]; 2] =
    [[46, 53, 52, 65, 55, 107, 66, 105, 63, 70], [276, 283, 282, 295, 285, 336, 296, 334, 293, 300]];

/// The outer edge of the lips.
pub(super) const LIPS: [usize; 20] =
    [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185];

/// The inner edge of the lips.
pub(super) const MOUTH: [usize; 20] =
    [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191];

static TRIANGLES: LazyLock<Vec<[usize; 3]>> = LazyLock::new(|| read(include_str!("triangles.txt")));

/// Returns the triangles, by the numbers of their points. They cover the face but for the inside of the mouth.
pub(super) fn triangles() -> &'static [[usize; 3]] {
    &TRIANGLES
}

fn read(text: &str) -> Vec<[usize; 3]> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let triangle = |text: &str| {
        let mut numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
        Some([numbers.next()?, numbers.next()?, numbers.next()?])
    };
    lines.flat_map(|line| line.split(',').filter_map(triangle)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    /// A disc with a hole has as many triangles as twice its inner points, and its edges, less the hole.
    #[test]
    fn the_triangles_cover_a_face_with_an_open_mouth() {
        let triangles = triangles();
        assert_eq!(triangles.len(), 880);
        let points: HashSet<usize> = triangles.iter().flatten().copied().collect();
        assert_eq!((points.len(), points.into_iter().max()), (POINTS, Some(POINTS - 1)));
        let mut edges: HashMap<[usize; 2], usize> = HashMap::new();
        for [a, b, c] in triangles {
            for (from, to) in [(a, b), (b, c), (c, a)] {
                *edges.entry([*from.min(to), *from.max(to)]).or_default() += 1;
            }
        }
        assert!(edges.values().all(|count| *count <= 2));
        // Neighbours run along an edge in opposite directions.
        let directed: Vec<(usize, usize)> =
            triangles.iter().flat_map(|[a, b, c]| [(*a, *b), (*b, *c), (*c, *a)]).collect();
        assert_eq!(directed.iter().collect::<HashSet<_>>().len(), directed.len());
        let border: HashSet<usize> =
            edges.iter().filter(|(_, count)| **count == 1).flat_map(|(edge, _)| *edge).collect();
        assert_eq!(border, OVAL.into_iter().chain(MOUTH).collect());
    }

    #[test]
    fn outlines_follow_edges_of_the_triangles() {
        let is_edge = |from: usize, to: usize| {
            triangles().iter().any(|triangle| triangle.contains(&from) && triangle.contains(&to))
        };
        for outline in [&OVAL[..], &EYES[0], &EYES[1], &BROWS[0], &BROWS[1], &LIPS, &MOUTH] {
            let next = outline.iter().cycle().skip(1);
            assert!(outline.iter().zip(next).all(|(from, to)| is_edge(*from, *to)), "{outline:?}");
        }
        assert!(FOREHEAD.iter().all(|(top, _)| OVAL.contains(top)));
    }
}
