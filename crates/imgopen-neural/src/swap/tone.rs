//! Gives a face the colours of the one that it is put onto.
//!
//! First the mean and the spread of its skin become those of the other skin, then its light does: the mean of the skin around each
//! pixel. What is still different where the face fades in is continued inwards, ever less, so that it has no edge. What gets lighter
//! than the other skin is held back: light that comes from elsewhere there adds up with what is light already. Hair, brows, eyes and
//! lips do not count in any of it, because they would spread over the skin.

use imgopen_engine::{EngineError, Monitor};

use super::mask::blurred;
use super::membrane::Membrane;
use crate::plane::{Plane, places};

/// The longest side of the grid on which differences are continued.
const GRID: usize = 96;

/// By how much the spread of the skin may change.
const GAINS: (f32, f32) = (0.8, 1.25);

/// By how much light and edge may change a colour, in L*, a* and b*. More is no difference of light, but something in front of the
/// face.
const MOST: [f32; 3] = [25.0, 15.0, 15.0];

/// The opacities between which the face fades in.
const EDGE: (f32, f32) = (0.05, 0.7);

/// The opacity from which a pixel counts as skin.
const SKIN: f32 = 0.3;

/// The least number of pixels of skin.
const LEAST: usize = 20;

/// The radius over which differences along the edge are averaged, as a share of the face, and how much larger it is where there is
/// little to average.
const AVERAGED: f32 = 0.042;
const WIDER: usize = 4;
const LITTLE: f32 = 0.02;
const NEXT_TO_NOTHING: f32 = 1e-4;

/// The radius over which light is averaged, as a share of the face, and the share of skin within it below which its light counts
/// less.
const LIGHT: f32 = 0.12;
const SPARSE: f32 = 0.05;

/// How far differences along the edge are continued inwards, as a share of the face: over that length, they fall to about a third.
const REACH: f32 = 0.1;

/// The share of the other skin that is darker than what counts as its lightest, and by how much a face gets lighter at most.
const LIGHTEST: f32 = 0.98;
const LIGHTER: f32 = 6.0;

/// A face on the copy of its target, and the target: L*, a* and b*.
pub(super) struct Faces<'a> {
    pub new: &'a [Plane; 3],
    pub old: &'a [Plane; 3],
    /// How much the new face shows.
    pub opacity: &'a Plane,
    /// Where brows, eyes and lips are.
    pub features: &'a Plane,
    /// How many pixels of the copy the face has.
    pub size: f32,
}

/// What is done to colours.
#[derive(Debug)]
pub(super) struct Tone {
    from: [f32; 3],
    gains: [f32; 3],
    to: [f32; 3],
    /// The L* from which a colour is held back.
    lightest: f32,
    /// What is added to L*, a* and b*, on a grid over the area.
    pub added: [Plane; 3],
}

impl Tone {
    /// Finds what the colours of the new face need.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`].
    pub fn between(faces: &Faces<'_>, monitor: &Monitor) -> Result<Self, EngineError> {
        let skin = faces.skin();
        let [new, old] = [faces.new, faces.old].map(|planes| [0, 1, 2].map(|axis: usize| spread(&planes[axis], &skin)));
        let gain = |axis: usize| ((old[axis].1 + 1e-3) / (new[axis].1 + 1e-3)).clamp(GAINS.0, GAINS.1);
        let (from, to, gains) = (new.map(|(mean, _)| mean), old.map(|(mean, _)| mean), [0, 1, 2].map(gain));
        let edge = faces.edge();
        let grid = Grid::of(faces.opacity);
        let reach = REACH * faces.size * grid.width as f32 / faces.opacity.width.max(1) as f32;
        let membrane = Membrane::over(&grid.plane(faces.opacity), reach);
        let mut added = [const { Plane { width: 0, height: 0, values: Vec::new() } }; 3];
        for (axis, added) in added.iter_mut().enumerate() {
            let bounded = |value: f32| value.clamp(-MOST[axis], MOST[axis]);
            let toned = |value: f32| (value - from[axis]) * gains[axis] + to[axis];
            let left = faces.old[axis].with(&faces.new[axis], |old, new| old - toned(new));
            let mut light = light(&left, &skin, faces.size, monitor)?;
            light.values.iter_mut().for_each(|value| *value = bounded(*value));
            let left = left.with(&light, |left, light| left - light);
            let left = averaged(&left, &edge, faces.size, monitor)?;
            let mut left = grid.plane(&left);
            left.values.iter_mut().for_each(|value| *value = bounded(*value));
            membrane.span(&mut left, monitor)?;
            *added = left.with(&grid.plane(&light), |left, light| bounded(left + light));
        }
        let lightest = lightest(&faces.old[0], &skin);
        Ok(Self { from, gains, to, lightest, added })
    }

    /// Returns the colour that a colour becomes, where `added` is what is added there.
    pub fn apply(&self, colour: [f32; 3], added: [f32; 3]) -> [f32; 3] {
        let toned = |axis: usize| (colour[axis] - self.from[axis]) * self.gains[axis] + self.to[axis] + added[axis];
        let over = (toned(0) - self.lightest).max(0.0);
        [toned(0).min(self.lightest) + over / (1.0 + over / LIGHTER), toned(1), toned(2)]
    }
}

impl Faces<'_> {
    /// Marks what is skin; if there is hardly any, the whole face.
    fn skin(&self) -> Plane {
        let skin = self.opacity.with(self.features, |opacity, feature| f32::from(opacity > SKIN && feature < 0.5));
        match skin.values.iter().filter(|value| **value > 0.0).count() >= LEAST {
            true => skin,
            false => self.opacity.with(self.opacity, |opacity, _| f32::from(opacity > SKIN)),
        }
    }

    fn edge(&self) -> Plane {
        let is_edge = |opacity: f32, feature: f32| EDGE.0 < opacity && opacity < EDGE.1 && feature < 0.5;
        self.opacity.with(self.features, |opacity, feature| f32::from(is_edge(opacity, feature)))
    }
}

/// Returns the mean of what is marked, and its standard deviation.
fn spread(plane: &Plane, marked: &Plane) -> (f32, f32) {
    let (mut count, mut sum, mut squares) = (0.0_f64, 0.0, 0.0);
    for (value, weight) in plane.values.iter().zip(&marked.values) {
        let (value, weight) = (f64::from(*value), f64::from(*weight));
        count += weight;
        sum += weight * value;
        squares += weight * value * value;
    }
    let count = count.max(1.0);
    let mean = sum / count;
    (mean as f32, (squares / count - mean * mean).max(0.0).sqrt() as f32)
}

/// Returns the value that is larger than most of those that are marked; that of white if there are none.
fn lightest(plane: &Plane, marked: &Plane) -> f32 {
    let pairs = plane.values.iter().zip(&marked.values);
    let mut values: Vec<f32> = pairs.filter(|(_, weight)| **weight > 0.5).map(|(value, _)| *value).collect();
    values.sort_by(f32::total_cmp);
    let place = (LIGHTEST * values.len().saturating_sub(1) as f32).round() as usize;
    values.get(place).copied().unwrap_or(100.0)
}

/// Averages what is marked over a wide range around each pixel; what has little of it there becomes less.
fn light(plane: &Plane, marked: &Plane, size: f32, monitor: &Monitor) -> Result<Plane, EngineError> {
    let radius = ((LIGHT * size).round() as usize).max(1);
    let sum = blurred(&plane.with(marked, |value, weight| value * weight), radius, monitor)?;
    let weights = blurred(marked, radius, monitor)?;
    Ok(sum.with(&weights, |sum, weight| sum / (weight + NEXT_TO_NOTHING) * (weight / SPARSE).min(1.0)))
}

/// Averages what is marked around each pixel; over a wider range where there is little.
fn averaged(plane: &Plane, marked: &Plane, size: f32, monitor: &Monitor) -> Result<Plane, EngineError> {
    let radius = ((AVERAGED * size).round() as usize).max(1);
    let values = plane.with(marked, |value, weight| value * weight);
    let wide = blurred(&values, WIDER * radius, monitor)?;
    let wide = wide.with(&blurred(marked, WIDER * radius, monitor)?, |sum, weight| sum / (weight + NEXT_TO_NOTHING));
    let sum = blurred(&values, radius, monitor)?.with(&wide, |sum, wide| sum + LITTLE * wide);
    Ok(sum.with(&blurred(marked, radius, monitor)?, |sum, weight| sum / (weight + LITTLE)))
}

/// A coarser raster of a plane.
struct Grid {
    width: usize,
    height: usize,
}

impl Grid {
    fn of(plane: &Plane) -> Self {
        let longest = plane.width.max(plane.height).max(1);
        let side = |side: usize| if longest <= GRID { side } else { (side * GRID).div_ceil(longest) };
        Self { width: side(plane.width), height: side(plane.height) }
    }

    fn plane(&self, plane: &Plane) -> Plane {
        let Self { width, height } = *self;
        let columns = places(plane.width, width);
        let (mut mixed, mut row, mut values) = (Vec::new(), Vec::new(), Vec::with_capacity(width * height));
        for place in places(plane.height, height) {
            plane.enlarge_row(place, &columns, &mut mixed, &mut row);
            values.extend_from_slice(&row);
        }
        Plane { width, height, values }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mask::{faded, filled};
    use super::*;

    const SIDE: usize = 120;

    fn plane(value: impl Fn(usize, usize) -> f32) -> Plane {
        let values = (0..SIDE * SIDE).map(|place| value(place % SIDE, place / SIDE)).collect();
        Plane { width: SIDE, height: SIDE, values }
    }

    fn tone(new: impl Fn(usize, usize) -> f32, old: impl Fn(usize, usize) -> f32) -> (Tone, Plane) {
        let monitor = Monitor::new().0;
        let area = filled(SIDE, SIDE, &[[20.0, 20.0], [100.0, 20.0], [100.0, 100.0], [20.0, 100.0]]);
        let opacity = faded(&area, 4, &monitor).unwrap();
        let features = plane(|_, _| 0.0);
        let three = |plane: Plane| [plane.clone(), plane.clone(), plane];
        let (new, old) = (three(plane(new)), three(plane(old)));
        let faces = Faces { new: &new, old: &old, opacity: &opacity, features: &features, size: 80.0 };
        (Tone::between(&faces, &monitor).unwrap(), opacity)
    }

    fn pattern(x: usize, y: usize) -> f32 {
        ((x * 7 + y * 13) % 20) as f32
    }

    #[test]
    fn the_same_face_keeps_its_colours() {
        let (tone, _) = tone(|x, y| 40.0 + pattern(x, y), |x, y| 40.0 + pattern(x, y));
        for value in [30.0, 50.0] {
            for added in &tone.added[0].values {
                assert!((tone.apply([value; 3], [*added; 3])[0] - value).abs() < 0.05, "{value} {added}");
            }
        }
    }

    /// By hand: half as bright, and with half of the contrast, of which the bound leaves eight tenths.
    #[test]
    fn mean_and_spread_become_those_of_the_other_skin() {
        let (tone, _) = tone(|x, y| 60.0 + 2.0 * pattern(x, y), |x, y| 30.0 + pattern(x, y));
        assert!((tone.gains[0] - 0.8).abs() < 1e-3 && (tone.from[0] - 79.0).abs() < 0.3, "{tone:?}");
        assert!((tone.apply(tone.from, [0.0; 3])[0] - 39.5).abs() < 0.3);
    }

    #[test]
    fn light_from_a_side_is_continued_over_the_face() {
        let slope = |x: usize| (x as f32 - 60.0) / 10.0;
        let (tone, _) = tone(|x, y| 50.0 + pattern(x, y), |x, y| 50.0 + pattern(x, y) + slope(x));
        let added = &tone.added[0];
        let at = |x: usize| added.row(added.height / 2)[x * added.width / SIDE];
        for x in [30, 45, 60, 75, 90] {
            assert!((at(x) - slope(x)).abs() < 1.2, "{x}: {} {}", at(x), slope(x));
        }
    }

    /// As NumPy and a direct solver of SciPy compute them. Spread from the edge alone, it would be 2.7 in the middle: too light.
    #[test]
    fn a_face_that_is_dark_at_its_sides_gets_no_lighter_in_its_middle() {
        let dark = |x: usize| (x as f32 - 60.0).abs() / 2.0;
        let (tone, _) = tone(|x, y| 80.0 + pattern(x, y) / 4.0 - dark(x), |x, y| 70.0 + pattern(x, y) / 4.0);
        assert!((tone.from[0] - 73.07).abs() < 0.2 && (tone.to[0] - 72.37).abs() < 0.2, "{tone:?}");
        let added = &tone.added[0];
        for (x, expected) in [(30, 4.13), (45, -1.14), (60, -3.98), (75, -1.04), (90, 4.32)] {
            let found = added.row(added.height / 2)[x * added.width / SIDE];
            assert!((found - expected).abs() < 0.3, "{x}: {found} {expected}");
        }
    }

    /// By hand: the lightest skin has 59.
    #[test]
    fn what_gets_lighter_than_the_other_skin_is_held_back() {
        let (tone, _) = tone(|x, y| 40.0 + pattern(x, y), |x, y| 40.0 + pattern(x, y));
        for (value, expected) in [(58.0, 58.0), (59.0, 59.0), (62.0, 61.0), (79.0, 63.615), (999.0, 64.962)] {
            let [lightness, a, b] = tone.apply([value; 3], [0.0; 3]);
            assert!((lightness - expected).abs() < 0.05, "{value}: {lightness}");
            assert!((a - value).abs() < 0.2 && (b - value).abs() < 0.2, "{value}: {a} {b}");
        }
    }

    #[test]
    fn something_in_front_of_a_face_does_not_colour_it() {
        let (tone, _) = tone(|_, _| 50.0, |x, _| if x < 30 { 5.0 } else { 50.0 });
        assert!(tone.added.iter().zip(MOST).all(|(plane, most)| plane.values.iter().all(|value| value.abs() <= most)));
    }
}
