//! Measures whether a face is so blurred that half as many pixels along each side show as much of it.

use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::Planes;

use super::frame::between;
use super::paste::averaged;
use crate::plane::Plane;

/// The share of a face's contrast that halving it may lose. A sharp photograph loses 0.13, one with a blur of 1.5 pixels 0.035, and
/// with one of 3 pixels 0.017; noise and the blocks of JPEG add to it. With 1.5 pixels, halving takes 0.4 dB of PSNR off the repair;
/// with 3 pixels, it adds 1.5 dB.
const LOST: f32 = 0.03;

/// The variance of levels from 0 to 1 below which there is nothing to see.
const FLAT: f64 = 1e-6;

/// Returns whether a frame shows as much when it is halved.
///
/// # Errors
///
/// [`EngineError::Cancelled`].
pub(super) fn is_blurred(frame: &Planes, monitor: &Monitor) -> Result<bool, EngineError> {
    let gray = gray(frame);
    let half = averaged(gray.clone(), 2);
    // Its middle shows the face.
    let (left, top) = (gray.width / 6, gray.height / 6);
    let (mut count, mut sum, mut squares, mut lost) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for y in top..gray.height - top {
        monitor.check_cancelled()?;
        for (x, level) in gray.row(y).iter().enumerate().skip(left).take(gray.width - 2 * left) {
            let place = [(x as f32 + 0.5) / 2.0 - 0.5, (y as f32 + 0.5) / 2.0 - 0.5];
            let level = f64::from(*level);
            count += 1.0;
            sum += level;
            squares += level * level;
            lost += (level - f64::from(between(&half, place))).powi(2);
        }
    }
    let variance = squares / count - (sum / count).powi(2);
    Ok(variance > FLAT && lost / count < f64::from(LOST).powi(2) * variance)
}

fn gray(frame: &Planes) -> Plane {
    let count = frame.width() * frame.height();
    let (red, rest) = frame.values().split_at(count);
    let (green, blue) = rest.split_at(count);
    let pixels = red.iter().zip(green).zip(blue);
    let values = pixels.map(|((red, green), blue)| 0.299 * red + 0.587 * green + 0.114 * blue).collect();
    Plane { width: frame.width(), height: frame.height(), values }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waves with that many pixels from one to the next.
    fn waves(length: f32) -> Planes {
        let level = |index: usize| {
            let (x, y) = ((index % 90) as f32, (index / 90 % 80) as f32);
            0.5 + 0.2 * (std::f32::consts::TAU * x / length).sin() + 0.2 * (std::f32::consts::TAU * y / length).cos()
        };
        Planes::new(3, 90, 80, (0..3 * 90 * 80).map(level).collect()).unwrap()
    }

    #[test]
    fn only_what_has_no_fine_detail_is_blurred() {
        let is_blurred = |planes: &Planes| is_blurred(planes, &Monitor::new().0).unwrap();
        assert_eq!([4.0, 8.0, 40.0].map(|length| is_blurred(&waves(length))), [false, false, true]);
        // Nothing is lost where nothing is.
        assert!(!is_blurred(&Planes::new(3, 12, 12, vec![0.5; 3 * 144]).unwrap()));
    }
}
