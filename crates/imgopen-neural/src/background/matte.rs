//! Refines a mask along the edges of a picture, by the guided filter of He, Sun and Tang (2013) with a coloured guide, computed
//! on a copy (He and Sun, 2015).
//!
//! Around each pixel, opacity is taken to depend linearly on colour, and the factors are fitted to the mask. They change slowly,
//! so that those of a copy are right for the picture itself: where subject and background have different colours, its own pixels
//! then decide how opaque they are. Where the mask is even, opacity is exactly that of the mask.

use imgopen_engine::{EngineError, Monitor};
use imgopen_picture::parallel;

use crate::plane::Plane;

/// The variance of colours, in squares of their range, below which edges do not count: those of noise.
const NOISE: f64 = 1e-4;

/// How opacity depends on colour, pixel by pixel of the copy: factors for red, green and blue, and what is added.
#[derive(Debug)]
pub(crate) struct Matte {
    pub factors: [Plane; 3],
    pub offset: Plane,
}

/// Fits the dependence to a mask and a copy of the same size, over squares with sides of twice the radius and one.
///
/// # Errors
///
/// [`EngineError::Cancelled`].
pub(crate) fn refine(
    mask: &Plane,
    colours: &[Plane; 3],
    radius: usize,
    monitor: &Monitor,
) -> Result<Matte, EngineError> {
    let mean = |plane: &Plane| plane.mean(radius, monitor);
    let together = |(one, other): (&Plane, &Plane)| mean(&one.with(other, |one, other| one * other));
    let [red, green, blue] = colours;
    let [level, means @ ..] = parallel::try_array([mask, red, green, blue], mean)?;
    let with_mask = parallel::try_array([(red, mask), (green, mask), (blue, mask)], together)?;
    let pairs = [(red, red), (red, green), (red, blue), (green, green), (green, blue), (blue, blue)];
    let pairs = parallel::try_array(pairs, together)?;
    let empty = || Plane { width: mask.width, height: mask.height, values: Vec::with_capacity(mask.values.len()) };
    let (mut factors, mut offset) = ([empty(), empty(), empty()], empty());
    for index in 0..mask.values.len() {
        if index % mask.width == 0 {
            monitor.check_cancelled()?;
        }
        let at = |plane: &Plane| f64::from(plane.values[index]);
        let [r, g, b] = [at(&means[0]), at(&means[1]), at(&means[2])];
        let [rr, rg, rb, gg, gb, bb] = std::array::from_fn(|pair| at(&pairs[pair]));
        let level = at(&level);
        let covariance = [at(&with_mask[0]) - r * level, at(&with_mask[1]) - g * level, at(&with_mask[2]) - b * level];
        let spread = [rr - r * r + NOISE, rg - r * g, rb - r * b, gg - g * g + NOISE, gb - g * b, bb - b * b + NOISE];
        let [fr, fg, fb] = solved(spread, covariance);
        for (plane, factor) in factors.iter_mut().zip([fr, fg, fb]) {
            plane.values.push(factor as f32);
        }
        offset.values.push((level - fr * r - fg * g - fb * b) as f32);
    }
    let [red, green, blue] = &factors;
    let [offset, factors @ ..] = parallel::try_array([&offset, red, green, blue], mean)?;
    Ok(Matte { factors, offset })
}

/// Solves three linear equations, whose matrix is symmetric: 11, 12, 13, 22, 23, 33.
fn solved([a, b, c, d, e, f]: [f64; 6], [x, y, z]: [f64; 3]) -> [f64; 3] {
    let (first, second, third) = (d * f - e * e, c * e - b * f, b * e - c * d);
    let (fourth, fifth, sixth) = (a * f - c * c, b * c - a * e, a * d - b * b);
    let determinant = a * first + b * second + c * third;
    [
        (first * x + second * y + third * z) / determinant,
        (second * x + fourth * y + fifth * z) / determinant,
        (third * x + fifth * y + sixth * z) / determinant,
    ]
}

impl Matte {
    /// Returns the opacity of the pixels of the copy, from 0 to 1.
    pub fn on(&self, colours: &[Plane; 3]) -> Plane {
        let [fr, fg, fb] = &self.factors;
        let [r, g, b] = colours;
        let value = |index: usize| {
            let factors = [fr.values[index], fg.values[index], fb.values[index]];
            opacity(factors, self.offset.values[index], [r.values[index], g.values[index], b.values[index]])
        };
        let values = (0..self.offset.values.len()).map(value).collect();
        Plane { values, ..self.offset }
    }
}

/// Returns the opacity of a pixel, from 0 to 1.
pub(crate) fn opacity(factors: [f32; 3], offset: f32, colour: [f32; 3]) -> f32 {
    let [fr, fg, fb] = factors;
    let [r, g, b] = colour;
    (fr * r + fg * g + fb * b + offset).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(value: impl Fn(usize, usize) -> f32) -> Plane {
        let (width, height) = (64, 48);
        Plane { width, height, values: (0..width * height).map(|at| value(at % width, at / width)).collect() }
    }

    #[test]
    fn equations_are_solved() {
        // By hand: 4x + y - 2z = 37/15, x + 5y + z = 17/3, -2x + y + 6z = 7.
        let [x, y, z] = solved([4.0, 1.0, -2.0, 5.0, 1.0, 6.0], [37.0 / 15.0, 17.0 / 3.0, 7.0]);
        assert!((x - 1.2).abs() < 1e-12 && (y - 0.6).abs() < 1e-12 && (z - 22.0 / 15.0).abs() < 1e-12, "{x} {y} {z}");
    }

    #[test]
    fn an_even_mask_stays_exactly_as_it_is() {
        let noise = [3, 5, 7].map(|step| plane(|x, y| ((x * step + y * 11) % 13) as f32 / 13.0));
        for level in [0.0, 1.0] {
            let matte = refine(&plane(|_, _| level), &noise, 3, &Monitor::new().0).unwrap();
            assert!(matte.on(&noise).values.iter().all(|opacity| *opacity == level));
        }
    }

    /// The mask fades over eight pixels; the edge of the picture is sharp.
    #[test]
    fn opacity_follows_the_edge_of_the_picture() {
        let is_subject = |x: usize| x < 30;
        let colours = [0.9, 0.2, 0.4].map(|level| plane(|x, _| if is_subject(x) { level } else { 1.0 - level }));
        let mask = plane(|x, _| (1.0 - (x as f32 - 26.0) / 8.0).clamp(0.0, 1.0));
        let opacity = refine(&mask, &colours, 6, &Monitor::new().0).unwrap().on(&colours);
        let worst = |plane: &Plane| {
            let off = |(index, value): (usize, &f32)| (value - f32::from(u8::from(is_subject(index % 64)))).abs();
            plane.values.iter().enumerate().map(off).fold(0.0, f32::max)
        };
        assert!(worst(&mask) >= 0.5);
        assert!(worst(&opacity) < 0.3, "{}", worst(&opacity));
    }
}
