//! Continues values smoothly into an area from what is around it: the correction that Poisson blending adds to a picture that is
//! put onto another one. The values within the area have no peaks of their own: each is the mean of its four neighbours, or less
//! than that if they are to fade with the distance.

use imgopen_engine::{EngineError, Monitor};

use crate::plane::Plane;

/// The share of the first residual at which a solution is exact enough.
const EXACT: f64 = 1e-5;

/// The most steps; conjugate gradients take about as many as the area has pixels across.
const MOST_STEPS: usize = 1000;

/// The pixels of an area, and for each of them its neighbours.
#[derive(Debug)]
pub(super) struct Membrane {
    /// Where the pixels of the area are in planes.
    places: Vec<usize>,
    /// The numbers of neighbours that belong to the area.
    within: Vec<[Option<usize>; 4]>,
    /// Where the neighbours outside of the area are in planes. One beyond the edge of the plane does not count.
    outside: Vec<[Option<usize>; 4]>,
    /// What is added to the number of neighbours by which their sum is divided.
    pull: f64,
}

impl Membrane {
    /// Takes the pixels that are marked by more than a half. Over each `reach` pixels from a straight edge, values fall to 1/e;
    /// with an infinite one, they do not fade.
    pub fn over(area: &Plane, reach: f32) -> Self {
        let pull = f64::from(reach.max(1.0)).powi(-2);
        let (width, height) = (area.width, area.height);
        let is_within = |place: usize| area.values.get(place).is_some_and(|value| *value > 0.5);
        let places: Vec<usize> = (0..width * height).filter(|place| is_within(*place)).collect();
        let mut numbers = vec![None; width * height];
        places.iter().enumerate().for_each(|(number, place)| numbers[*place] = Some(number));
        let neighbours = |place: usize| {
            let (x, y) = (place % width, place / width);
            [
                (x > 0).then(|| place - 1),
                (x + 1 < width).then(|| place + 1),
                (y > 0).then(|| place - width),
                (y + 1 < height).then(|| place + width),
            ]
        };
        let within = places.iter().map(|place| neighbours(*place).map(|other| numbers[other?])).collect();
        let outside =
            places.iter().map(|place| neighbours(*place).map(|other| other.filter(|other| !is_within(*other))));
        let outside = outside.collect();
        Self { places, within, outside, pull }
    }

    /// Replaces the values within the area.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`].
    pub fn span(&self, plane: &mut Plane, monitor: &Monitor) -> Result<(), EngineError> {
        let around = |others: &[Option<usize>; 4]| {
            others.iter().flatten().map(|other| f64::from(plane.values[*other])).sum::<f64>()
        };
        let right: Vec<f64> = self.outside.iter().map(around).collect();
        let solution = self.solve(right, monitor)?;
        for (place, value) in self.places.iter().zip(solution) {
            plane.values[*place] = value as f32;
        }
        Ok(())
    }

    /// Solves the equations of the area by conjugate gradients.
    fn solve(&self, right: Vec<f64>, monitor: &Monitor) -> Result<Vec<f64>, EngineError> {
        let mut solution = vec![0.0; right.len()];
        let mut residual = right;
        let mut direction = residual.clone();
        let mut size = dot(&residual, &residual);
        let enough = size * EXACT * EXACT;
        for _ in 0..MOST_STEPS {
            monitor.check_cancelled()?;
            if size <= enough || size == 0.0 {
                break;
            }
            let image = self.applied(&direction);
            let steepness = dot(&direction, &image);
            // An area without anything around it has no equation.
            if steepness <= 0.0 {
                break;
            }
            let step = size / steepness;
            add(&mut solution, step, &direction);
            add(&mut residual, -step, &image);
            let next = dot(&residual, &residual);
            let share = next / size;
            direction.iter_mut().zip(&residual).for_each(|(value, residual)| *value = residual + share * *value);
            size = next;
        }
        Ok(solution)
    }

    /// Returns for each pixel how far it is from what its neighbours make of it, times what divides their sum; those outside count
    /// as 0.
    fn applied(&self, values: &[f64]) -> Vec<f64> {
        let neighbours = self.within.iter().zip(&self.outside);
        let each = neighbours.zip(values).map(|((within, outside), value)| {
            let count = within.iter().flatten().count() + outside.iter().flatten().count();
            (count as f64 + self.pull) * value - within.iter().flatten().map(|other| values[*other]).sum::<f64>()
        });
        each.collect()
    }
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

fn add(values: &mut [f64], factor: f64, others: &[f64]) {
    values.iter_mut().zip(others).for_each(|(value, other)| *value += factor * other);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spanned(area: &Plane, values: Vec<f32>) -> Vec<f32> {
        let mut plane = Plane { values, ..*area };
        Membrane::over(area, f32::INFINITY).span(&mut plane, &Monitor::new().0).unwrap();
        plane.values
    }

    /// As `numpy.linalg.solve` finds it for the dense matrix.
    #[test]
    fn the_values_are_those_of_the_dense_equations() {
        let marked = [6, 7, 8, 11, 12, 13, 16, 18];
        let values = (0..25).map(|place| if marked.contains(&place) { 1.0 } else { 0.0 }).collect();
        let area = Plane { width: 5, height: 5, values };
        let around: Vec<f32> = (0..25).map(|place| ((place * 7) % 11) as f32).collect();
        let found = spanned(&area, around.clone());
        let expected = [5.0754, 5.7432, 7.8790, 5.5584, 7.0186, 7.7727, 6.1396, 6.1932];
        for (place, expected) in marked.into_iter().zip(expected) {
            assert!((found[place] - expected).abs() < 1e-3, "{place}: {} {expected}", found[place]);
        }
        let is_kept = |place: &usize| found[*place] == around[*place];
        assert!((0..25).filter(|place| !marked.contains(place)).all(|place| is_kept(&place)));
    }

    #[test]
    fn a_slope_is_continued() {
        let (width, height) = (40, 30);
        let slope = |place: usize| (place % width) as f32 * 0.5 - (place / width) as f32;
        let inner = |place: usize| (3..37).contains(&(place % width)) && (2..29).contains(&(place / width));
        let values = (0..width * height).map(|place| if inner(place) { 1.0 } else { 0.0 }).collect();
        let area = Plane { width, height, values };
        let around = (0..width * height).map(|place| if inner(place) { 99.0 } else { slope(place) }).collect();
        for (place, found) in spanned(&area, around).into_iter().enumerate() {
            assert!((found - slope(place)).abs() < 0.01, "{place}: {found} {}", slope(place));
        }
    }

    /// By hand: between two edges that are far apart, each step from one multiplies by the smaller root of `r + 1 / r = 2 + 1 / 25`.
    #[test]
    fn values_fade_with_the_distance() {
        let (width, height, reach) = (201, 3, 5.0_f32);
        let inner = |place: usize| (1..200).contains(&(place % width));
        let values = (0..width * height).map(|place| if inner(place) { 1.0 } else { 0.0 }).collect();
        let area = Plane { width, height, values };
        let values = (0..width * height).map(|place| if inner(place) { 0.0 } else { 10.0 }).collect();
        let mut plane = Plane { width, height, values };
        Membrane::over(&area, reach).span(&mut plane, &Monitor::new().0).unwrap();
        for (x, expected) in [(1, 8.19), (5, 3.6849), (10, 1.3579), (20, 0.1844), (100, 0.0)] {
            assert!((plane.row(1)[x] - expected).abs() < 1e-3, "{x}: {} {expected}", plane.row(1)[x]);
        }
    }

    #[test]
    fn an_area_without_anything_around_it_is_0() {
        let area = Plane { width: 3, height: 2, values: vec![1.0; 6] };
        assert_eq!(spanned(&area, vec![5.0; 6]), [0.0; 6]);
        let empty = Plane { width: 2, height: 1, values: vec![0.0; 2] };
        assert_eq!(spanned(&empty, vec![5.0, 6.0]), [5.0, 6.0]);
    }

    #[test]
    fn a_cancelled_job_ends_within_the_steps() {
        let (monitor, _watch, checks) = Monitor::counted(5);
        let area = Plane { width: 30, height: 30, values: (0..900).map(|place| f32::from(place % 30 != 0)).collect() };
        let mut plane = Plane { width: 30, height: 30, values: (0..900).map(|place| (place % 7) as f32).collect() };
        assert_eq!(Membrane::over(&area, f32::INFINITY).span(&mut plane, &monitor), Err(EngineError::Cancelled));
        assert_eq!(checks.count(), 5);
    }
}
