//! Estimates what colours subject and background have where a pixel shows both, by blurring (Forte, "Approximate Fast Foreground
//! Colour Estimation", 2021).
//!
//! The colours of both are averaged over wide surroundings, weighted by how much of each pixel belongs to them, and corrected so
//! that both together give the pixel's own colour. The same is done again over narrow surroundings.

use imgopen_engine::{EngineError, Monitor};
use imgopen_picture::parallel;

use crate::pixels::Channels;
use crate::plane::Plane;

/// The radius of the wide surroundings and of the narrow ones, in pixels of the copy.
const WIDE: usize = 45;
const NARROW: usize = 3;

/// The colours around each pixel of the copy.
#[derive(Debug)]
pub(crate) struct Estimate {
    pub front: [Plane; 3],
    pub back: [Plane; 3],
}

/// Estimates the colours of a copy whose pixels belong to the subject to that share. What is transparent in the picture itself
/// does not count.
///
/// # Errors
///
/// [`EngineError::Cancelled`].
pub(crate) fn estimate(picture: &Channels, share: &Plane, monitor: &Monitor) -> Result<Estimate, EngineError> {
    let front = share.with(&picture.opacity, |share, own| share * own);
    let back = share.with(&picture.opacity, |share, own| (1.0 - share) * own);
    let colour = |channel: usize| -> Result<[Plane; 2], EngineError> {
        let own = &picture.colours[channel];
        let (far_front, far_back) = (own.average(&front, WIDE, monitor)?, own.average(&back, WIDE, monitor)?);
        let mut corrected = far_front;
        let rest = own.values.iter().zip(&share.values).zip(&far_back.values);
        for (front, ((own, share), back)) in corrected.values.iter_mut().zip(rest) {
            *front = foreground(*own, *share, *front, *back);
        }
        Ok([corrected.average(&front, NARROW, monitor)?, far_back.average(&back, NARROW, monitor)?])
    };
    let [[red, red_back], [green, green_back], [blue, blue_back]] = parallel::try_array([0, 1, 2], colour)?;
    Ok(Estimate { front: [red, green, blue], back: [red_back, green_back, blue_back] })
}

/// Returns what the subject's colour in a pixel is likely to be, from that of the pixel, the subject's share of it, and the
/// colours of subject and background around it. Exactly that of the pixel if it belongs to the subject entirely.
pub(crate) fn foreground(own: f32, share: f32, front: f32, back: f32) -> f32 {
    match share >= 1.0 {
        true => own,
        false => (front + share * (own - share * front - (1.0 - share) * back)).clamp(0.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(value: impl Fn(usize) -> f32) -> Plane {
        let (width, height) = (100, 40);
        Plane { width, height, values: (0..width * height).map(|at| value(at % width)).collect() }
    }

    /// The share of a subject on the left, which fades over 20 pixels.
    fn share(x: usize) -> f32 {
        (1.0 - (x as f32 - 40.0) / 20.0).clamp(0.0, 1.0)
    }

    /// A red subject before a blue background, mixed by known shares.
    #[test]
    fn the_colours_of_a_known_mixture_are_found() {
        let (front, back) = ([0.9, 0.2, 0.1], [0.1, 0.3, 0.8]);
        let mixed = |channel: usize| plane(|x| share(x) * front[channel] + (1.0 - share(x)) * back[channel]);
        let picture = Channels { colours: [mixed(0), mixed(1), mixed(2)], opacity: plane(|_| 1.0) };
        let shares = plane(share);
        let estimate = estimate(&picture, &shares, &Monitor::new().0).unwrap();
        let mut worst = (0.0_f32, 0.0_f32);
        for x in (0..100).filter(|x| share(*x) >= 0.2) {
            for channel in 0..3 {
                let own = picture.colours[channel].row(20)[x];
                let [near, far] = [&estimate.front, &estimate.back].map(|planes| planes[channel].row(20)[x]);
                let found = foreground(own, share(x), near, far);
                worst.0 = worst.0.max((found - front[channel]).abs());
                worst.1 = worst.1.max((own - front[channel]).abs());
            }
        }
        // Those of the pixels themselves are far off.
        assert!(worst.1 > 0.5, "{worst:?}");
        assert!(worst.0 < 0.15, "{worst:?}");
    }

    #[test]
    fn pixels_of_the_subject_keep_their_colours_exactly() {
        assert_eq!(foreground(0.123_456, 1.0, 0.7, 0.2), 0.123_456);
    }

    /// Transparent pixels may have any colour.
    #[test]
    fn hidden_colours_do_not_count() {
        let opacity = plane(|x| f32::from(u8::from(x < 50)));
        let gray = plane(|x| if x < 50 { 0.25 } else { 1.0 });
        let picture = Channels { colours: [gray.clone(), gray.clone(), gray], opacity };
        let estimate = estimate(&picture, &plane(|_| 1.0), &Monitor::new().0).unwrap();
        let row = estimate.front[0].row(3);
        assert!(row[..50].iter().all(|level| (level - 0.25).abs() < 0.001), "{row:?}");
    }
}
