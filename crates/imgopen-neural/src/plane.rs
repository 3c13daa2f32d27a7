//! Planes of numbers, one for each pixel: channels of colour, opacity, and what is computed from them.

use imgopen_engine::{EngineError, Monitor};

/// Keeps averages finite where there is nothing to average.
const LITTLE: f32 = 1e-5;

/// The radius in pixels over which values replace those that transparency hides.
const HIDDEN: usize = 8;

/// A plane, row by row from the top.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plane {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f32>,
}

/// Where a pixel of a longer side lies on a shorter one: the pixel before it, and the share of the way to the next.
pub(crate) type Place = (usize, f32);

impl Plane {
    pub fn row(&self, y: usize) -> &[f32] {
        &self.values[y * self.width..(y + 1) * self.width]
    }

    /// Combines two planes of the same size pixel by pixel.
    pub fn with(&self, other: &Plane, combine: impl Fn(f32, f32) -> f32) -> Plane {
        let values = self.values.iter().zip(&other.values).map(|(one, other)| combine(*one, *other)).collect();
        Plane { values, ..*self }
    }

    /// Returns the mean of the pixels around each one: those of a square with sides of twice the radius and one, as far as it
    /// lies within the plane.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`].
    pub fn mean(&self, radius: usize, monitor: &Monitor) -> Result<Plane, EngineError> {
        let (width, height) = (self.width, self.height);
        let mut across = Plane { width, height, values: Vec::with_capacity(self.values.len()) };
        let (shares, mut sums) = (shares(width, radius), Vec::with_capacity(width + 1));
        for y in 0..height {
            monitor.check_cancelled()?;
            means(self.row(y), radius, &shares, &mut sums, &mut across.values);
        }
        let mut sums = vec![0.0_f64; width];
        let add = |sums: &mut [f64], y: usize, sign: f64| {
            sums.iter_mut().zip(across.row(y)).for_each(|(sum, value)| *sum += sign * f64::from(*value));
        };
        (0..radius.min(height)).for_each(|y| add(&mut sums, y, 1.0));
        let mut values = Vec::with_capacity(self.values.len());
        for (y, share) in self::shares(height, radius).into_iter().enumerate() {
            monitor.check_cancelled()?;
            if y + radius < height {
                add(&mut sums, y + radius, 1.0);
            }
            if y > radius {
                add(&mut sums, y - radius - 1, -1.0);
            }
            values.extend(sums.iter().map(|sum| (sum * share) as f32));
        }
        Ok(Plane { width, height, values })
    }

    /// Returns the average of the pixels around each one, as of [`mean`](Self::mean), weighted; about 0 where none has a weight.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`].
    pub fn average(&self, weight: &Plane, radius: usize, monitor: &Monitor) -> Result<Plane, EngineError> {
        let sum = self.with(weight, |value, weight| value * weight).mean(radius, monitor)?;
        Ok(sum.with(&weight.mean(radius, monitor)?, |sum, weight| sum / (weight + LITTLE)))
    }

    /// Returns the plane with values that transparency hides replaced by those nearby.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`].
    pub fn seen(&self, opacity: &Plane, monitor: &Monitor) -> Result<Plane, EngineError> {
        let mut around = self.average(opacity, HIDDEN, monitor)?;
        for ((around, own), opacity) in around.values.iter_mut().zip(&self.values).zip(&opacity.values) {
            *around += opacity * (own - *around);
        }
        Ok(around)
    }

    /// Writes a row of the plane as it is when enlarged by linear interpolation. `mixed` is working memory.
    pub fn enlarge_row(&self, (first, share): Place, columns: &[Place], mixed: &mut Vec<f32>, row: &mut Vec<f32>) {
        let (upper, lower) = (self.row(first), self.row((first + 1).min(self.height - 1)));
        mixed.clear();
        mixed.extend(upper.iter().zip(lower).map(|(upper, lower)| upper + share * (lower - upper)));
        let last = self.width - 1;
        let between = |(first, share): &Place| {
            let (before, after) = (mixed[*first], mixed[(first + 1).min(last)]);
            before + share * (after - before)
        };
        row.clear();
        row.extend(columns.iter().map(between));
    }
}

/// Returns where the pixels of a side of `to` pixels lie on one of `from` pixels.
pub(crate) fn places(from: usize, to: usize) -> Vec<Place> {
    let ratio = from as f64 / to as f64;
    let place = |at: usize| {
        let place = ((at as f64 + 0.5) * ratio - 0.5).clamp(0.0, from.saturating_sub(1) as f64);
        let first = place.floor();
        (first as usize, (place - first) as f32)
    };
    (0..to).map(place).collect()
}

/// Appends the means around each number of a row. `shares` are those of its numbers, and `sums` is working memory.
fn means(row: &[f32], radius: usize, shares: &[f64], sums: &mut Vec<f64>, results: &mut Vec<f32>) {
    // Those of the first numbers of the row. They are exact, or nearly so: they have twice as many digits as what is added up.
    sums.clear();
    sums.push(0.0);
    let mut sum = 0.0;
    sums.extend(row.iter().map(|value| {
        sum += f64::from(*value);
        sum
    }));
    let last = row.len();
    let mean = |(x, share): (usize, &f64)| {
        let (first, end) = (x.saturating_sub(radius), (x + radius + 1).min(last));
        ((sums[end] - sums[first]) * share) as f32
    };
    results.extend(shares.iter().enumerate().map(mean));
}

/// Returns the share that each of the numbers has in the mean around a place of a side: all that are within the radius.
fn shares(side: usize, radius: usize) -> Vec<f64> {
    (0..side).map(|at| 1.0 / ((at + radius + 1).min(side) - at.saturating_sub(radius)) as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(width: usize, height: usize) -> Plane {
        let value = |index: usize| ((index * 7919 + 13) % 101) as f32 / 100.0;
        Plane { width, height, values: (0..width * height).map(value).collect() }
    }

    #[test]
    fn means_are_those_of_the_pixels_around() {
        for (width, height, radius) in [(7, 5, 1), (7, 5, 2), (4, 9, 20), (1, 1, 3), (6, 3, 0)] {
            let plane = plane(width, height);
            let mean = plane.mean(radius, &Monitor::new().0).unwrap();
            for (index, found) in mean.values.iter().enumerate() {
                let (x, y) = (index % width, index / width);
                let is_near = |a: usize, b: usize| a.abs_diff(b) <= radius;
                let near = (0..width * height).filter(|other| is_near(other % width, x) && is_near(other / width, y));
                let near: Vec<f64> = near.map(|other| f64::from(plane.values[other])).collect();
                let expected = near.iter().sum::<f64>() / near.len() as f64;
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{width}x{height}, {radius}, {x},{y}");
            }
        }
    }

    #[test]
    fn the_means_of_equal_pixels_are_exactly_those() {
        let even = Plane { width: 50, height: 40, values: vec![0.3; 2000] };
        assert_eq!(even.mean(6, &Monitor::new().0).unwrap(), even);
    }

    #[test]
    fn rows_are_enlarged_between_the_centres_of_pixels() {
        let plane = Plane { width: 2, height: 2, values: vec![0.0, 1.0, 2.0, 3.0] };
        let enlarge = |to: usize, y: usize| {
            let (mut mixed, mut row) = (Vec::new(), Vec::new());
            plane.enlarge_row(places(2, to)[y], &places(2, to), &mut mixed, &mut row);
            row
        };
        assert_eq!((enlarge(2, 0), enlarge(2, 1)), (vec![0.0, 1.0], vec![2.0, 3.0]));
        assert_eq!(enlarge(4, 0), [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(enlarge(4, 1), [0.5, 0.75, 1.25, 1.5]);
    }

    #[test]
    fn a_cancelled_job_ends_within_a_mean() {
        let (monitor, _watch, checks) = Monitor::counted(7);
        assert_eq!(plane(3, 5).mean(1, &monitor), Err(EngineError::Cancelled));
        assert_eq!(checks.count(), 7);
    }

    #[test]
    fn hidden_values_become_those_nearby() {
        let plane = |values: Vec<f32>| Plane { width: 4, height: 1, values };
        let seen = plane(vec![0.5, 0.25, 1.0, 0.0]).seen(&plane(vec![1.0, 1.0, 0.0, 0.0]), &Monitor::new().0);
        let values = seen.unwrap().values;
        assert_eq!(values[..2], [0.5, 0.25]);
        // The mean of those that are seen.
        assert!(values[2..].iter().all(|level| (level - 0.375).abs() < 1e-4), "{values:?}");
    }
}
