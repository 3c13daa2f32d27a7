//! What may be a face, and which of them are the same.

use std::f32::consts::PI;

use super::align::Alignment;

/// The share of the larger one's side below which the distance of two centres makes them the same face.
const NEAR: f32 = 0.4;

/// The intersection over the union above which two boxes show the same face.
const SAME: f32 = 0.3;

/// What may be a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) centre: [f32; 2],
    /// Width and height of a box whose sides are those of the picture in which it was found.
    pub(super) size: [f32; 2],
    pub(super) points: [[f32; 2]; 6],
    /// From 0 to 1.
    pub(super) score: f32,
}

impl Candidate {
    /// Returns the mean of width and height.
    pub(super) fn side(&self) -> f32 {
        (self.size[0] + self.size[1]) / 2.0
    }

    /// Returns by how many radians it is turned clockwise.
    pub(super) fn roll(&self) -> f32 {
        roll(&self.points)
    }

    /// Returns it in another picture. The sides of its box stay parallel to those of the face.
    pub(super) fn moved(&self, by: &Alignment) -> Self {
        let factor = by.factor() as f32;
        Self {
            centre: by.apply(self.centre),
            size: self.size.map(|side| side * factor),
            points: self.points.map(|point| by.apply(point)),
            score: self.score,
        }
    }

    /// Returns whether the other is likely the same face, found elsewhere or by another cell.
    pub(super) fn is_near(&self, other: &Self) -> bool {
        let [x, y] = [0, 1].map(|axis: usize| self.centre[axis] - other.centre[axis]);
        x.hypot(y) < NEAR * self.side().max(other.side())
    }

    /// Returns whether both boxes show the same face: they overlap, or one mostly covers the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let along = |axis: usize| {
            let ends = |of: &Self| (of.centre[axis] - of.size[axis] / 2.0, of.centre[axis] + of.size[axis] / 2.0);
            let ((start, end), (other_start, other_end)) = (ends(self), ends(other));
            (end.min(other_end) - start.max(other_start)).max(0.0)
        };
        let both = along(0) * along(1);
        let area = |of: &Self| of.size[0] * of.size[1];
        both > SAME * (area(self) + area(other) - both) || both > 0.5 * area(self).min(area(other))
    }
}

/// Returns by how many radians the line from the first point, the right eye, to the second one is turned clockwise.
pub(super) fn roll(points: &[[f32; 2]; 6]) -> f32 {
    let [[x, y], [to_x, to_y], ..] = *points;
    (to_y - y).atan2(to_x - x)
}

/// Returns how far two angles are apart, in radians.
pub(super) fn apart(one: f32, other: f32) -> f32 {
    let off = (one - other).rem_euclid(2.0 * PI);
    off.min(2.0 * PI - off)
}

/// Puts those that are likely the same face together. Each group has the best one first, and so has the list of them.
pub(super) fn grouped(mut candidates: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    candidates.sort_by(|one, other| other.score.total_cmp(&one.score));
    let mut groups: Vec<Vec<Candidate>> = Vec::new();
    for candidate in candidates {
        match groups.iter_mut().find(|group| group.first().is_some_and(|best| best.is_near(&candidate))) {
            Some(group) => group.push(candidate),
            None => groups.push(vec![candidate]),
        }
    }
    groups
}

/// Returns the mean of those whose boxes overlap that of the best one, weighted by their scores; it has the best score.
pub(super) fn mean(candidates: &[Candidate]) -> Option<Candidate> {
    let best = candidates.iter().max_by(|one, other| one.score.total_cmp(&other.score))?;
    let mut mean = Candidate { centre: [0.0; 2], size: [0.0; 2], points: [[0.0; 2]; 6], score: best.score };
    let same: Vec<&Candidate> = candidates.iter().filter(|other| best.is_same(other)).collect();
    let sum: f32 = same.iter().map(|candidate| candidate.score).sum();
    for candidate in same {
        let share = candidate.score / sum;
        let add =
            |to: &mut [f32; 2], from: [f32; 2]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from * share);
        add(&mut mean.centre, candidate.centre);
        add(&mut mean.size, candidate.size);
        mean.points.iter_mut().zip(candidate.points).for_each(|(to, from)| add(to, from));
    }
    Some(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(x: f32, y: f32, side: f32, score: f32) -> Candidate {
        let points = [[x - 1.0, y], [x + 1.0, y], [x, y], [x, y + 1.0], [x - 2.0, y], [x + 2.0, y]];
        Candidate { centre: [x, y], size: [side; 2], points, score }
    }

    #[test]
    fn groups_have_the_best_one_first() {
        let all = vec![
            candidate(10.0, 10.0, 10.0, 0.5),
            candidate(50.0, 10.0, 10.0, 0.7),
            candidate(12.0, 12.0, 12.0, 0.9),
            candidate(14.0, 18.0, 4.0, 0.4),
        ];
        let groups = grouped(all);
        let scores: Vec<Vec<f32>> = groups.iter().map(|group| group.iter().map(|one| one.score).collect()).collect();
        assert_eq!(scores, [vec![0.9, 0.5], vec![0.7], vec![0.4]]);
        assert!(grouped(Vec::new()).is_empty());
    }

    /// By hand: (10 x 0.75 + 14 x 0.25) is 11.
    #[test]
    fn a_mean_is_weighted_by_scores() {
        let all =
            [candidate(14.0, 10.0, 14.0, 0.25), candidate(10.0, 10.0, 10.0, 0.75), candidate(60.0, 10.0, 10.0, 0.7)];
        let mean = mean(&all).unwrap();
        assert_eq!((mean.centre, mean.size, mean.score), ([11.0, 10.0], [11.0, 11.0], 0.75));
        assert_eq!(mean.points[1], [12.0, 10.0]);
        assert_eq!(super::mean(&[]), None);
    }

    #[test]
    fn boxes_are_the_same_if_they_overlap_or_cover() {
        let large = candidate(50.0, 50.0, 40.0, 0.9);
        assert!(large.is_same(&candidate(60.0, 50.0, 40.0, 0.5)));
        assert!(large.is_same(&candidate(45.0, 60.0, 10.0, 0.5)));
        assert!(!large.is_same(&candidate(75.0, 50.0, 40.0, 0.5)));
        assert!(!large.is_same(&candidate(200.0, 50.0, 40.0, 0.5)));
    }

    #[test]
    fn angles_are_apart_by_half_a_turn_at_most() {
        assert!((apart(3.0, -3.0) - (2.0 * PI - 6.0)).abs() < 1e-5);
        assert!((apart(0.5, 0.2) - 0.3).abs() < 1e-6 && (apart(-0.2, 0.5) - 0.7).abs() < 1e-6);
    }

    #[test]
    fn a_candidate_is_moved_with_its_points() {
        let quarter = Alignment::around([0.0, 0.0], [100.0, 0.0], 2.0, PI / 2.0);
        let moved = candidate(10.0, 20.0, 8.0, 0.5).moved(&quarter);
        let near = |one: [f32; 2], other: [f32; 2]| (one[0] - other[0]).hypot(one[1] - other[1]) < 1e-3;
        assert!(near(moved.centre, [60.0, 20.0]) && near(moved.size, [16.0, 16.0]), "{moved:?}");
        assert!(near(moved.points[1], [60.0, 22.0]) && (moved.roll() - PI / 2.0).abs() < 1e-4, "{moved:?}");
    }
}
