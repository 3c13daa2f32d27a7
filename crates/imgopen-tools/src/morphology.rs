//! Dilation of pictures and masks.

use imgopen_engine::{EngineError, Monitor};

/// Returns the largest sample in the square around each pixel, `reach` to each side.
pub(crate) fn dilate<T: Copy + Default + Ord>(
    samples: &[T],
    width: usize,
    reach: usize,
    monitor: &Monitor,
) -> Result<Vec<T>, EngineError> {
    let mut across = vec![T::default(); samples.len()];
    for (row, out) in samples.chunks_exact(width).zip(across.chunks_exact_mut(width)) {
        monitor.check_cancelled()?;
        for away in 0..=reach.min(width - 1) {
            raise(&mut out[away..], row);
            raise(out, &row[away..]);
        }
    }
    let height = samples.len() / width;
    let mut wide = vec![T::default(); samples.len()];
    for (y, out) in wide.chunks_exact_mut(width).enumerate() {
        monitor.check_cancelled()?;
        for row in y.saturating_sub(reach)..(y + reach + 1).min(height) {
            raise(out, &across[row * width..][..width]);
        }
    }
    Ok(wide)
}

fn raise<T: Copy + Ord>(samples: &mut [T], others: &[T]) {
    samples.iter_mut().zip(others).for_each(|(sample, other)| *sample = (*sample).max(*other));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pixel_becomes_the_largest_around_it() {
        fn dilate<T: Copy + Default + Ord>(samples: &[T], width: usize, reach: usize) -> Vec<T> {
            super::dilate(samples, width, reach, &Monitor::new().0).unwrap()
        }
        for (width, height, reach) in [(7, 5, 1), (9, 7, 2), (3, 3, 5)] {
            let (x, y) = (width / 2, height / 3);
            let mut samples = vec![0; width * height];
            samples[y * width + x] = 9;
            for (at, found) in dilate(&samples, width, reach).into_iter().enumerate() {
                let near = (at % width).abs_diff(x) <= reach && (at / width).abs_diff(y) <= reach;
                assert_eq!(found, if near { 9 } else { 0 }, "{width}x{height}, {reach}: {at}");
            }
        }
        assert_eq!(dilate(&[1, 2, 3], 1, 12), [3, 3, 3]);
        assert_eq!(dilate(&[1, 2, 3], 3, 1), [2, 3, 3]);
        assert_eq!(dilate(&[false, false, true, false, false], 5, 1), [false, true, true, true, false]);
    }
}
