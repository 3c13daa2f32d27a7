//! Outlines around letters.

use imgopen_engine::{EngineError, Monitor};

/// Dilates a mask by a disc: every pixel becomes the largest within the disc around it.
pub(super) fn widen(mask: &[u8], width: usize, radius: usize, monitor: &Monitor) -> Result<Vec<u8>, EngineError> {
    let mut wide = vec![0; mask.len()];
    let height = mask.len() / width;
    let mut buffers = (vec![0; width + 2 * radius], vec![0; width + 2 * radius]);
    for (y, row) in mask.chunks_exact(width).enumerate().filter(|(_, row)| row.iter().any(|value| *value > 0)) {
        monitor.check_cancelled()?;
        let mut last = usize::MAX;
        for down in 0..=radius {
            let half = half_width(radius, down);
            if half != last {
                buffers.0.fill(0);
                buffers.0[radius..][..width].copy_from_slice(row);
                widen_row(half, &mut buffers);
                last = half;
            }
            for y in [y.checked_sub(down), Some(y + down)].into_iter().flatten().filter(|y| *y < height) {
                let wide = &mut wide[y * width..][..width];
                for (wide, value) in wide.iter_mut().zip(&buffers.0[radius - half..]) {
                    *wide = (*wide).max(*value);
                }
            }
        }
    }
    Ok(wide)
}

/// Returns half the width of a disc in whole pixels, `row` rows from its centre.
fn half_width(radius: usize, down: usize) -> usize {
    let (radius, down) = (radius as f32 + 0.4, down as f32);
    (radius * radius - down * down).max(0.0).sqrt() as usize
}

/// Replaces every pixel of the first buffer by the largest of itself and the `2 * half` after it.
fn widen_row(half: usize, (from, to): &mut (Vec<u8>, Vec<u8>)) {
    // Each pixel of `from` is the largest of the `window` pixels that begin at it.
    let (mut window, whole) = (1, 2 * half + 1);
    while window < whole {
        let step = window.min(whole - window);
        let kept = from.len() - step;
        for ((to, here), there) in to.iter_mut().zip(&*from).zip(&from[step..]) {
            *to = (*here).max(*there);
        }
        to[kept..].copy_from_slice(&from[kept..]);
        std::mem::swap(from, to);
        window += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widen(mask: &[u8], width: usize, radius: usize) -> Vec<u8> {
        super::widen(mask, width, radius, &Monitor::new().0).unwrap()
    }

    #[test]
    fn a_dot_becomes_a_disc() {
        let mut mask = vec![0; 11 * 11];
        mask[5 * 11 + 5] = 200;
        for radius in 0..=5 {
            let wide = widen(&mask, 11, radius);
            for (index, value) in wide.iter().enumerate() {
                let (x, y) = (index as f32 % 11.0 - 5.0, (index / 11) as f32 - 5.0);
                let inside = x.hypot(y) <= radius as f32 + 0.4;
                assert_eq!(*value, if inside { 200 } else { 0 }, "{radius}: {x},{y}");
            }
        }
    }

    #[test]
    fn the_largest_counts() {
        let mask = [0, 0, 9, 5, 0, 0, 7, 0, 0];
        assert_eq!(widen(&mask, 9, 1), [0, 9, 9, 9, 5, 7, 7, 7, 0]);
        assert_eq!(widen(&mask, 9, 2), [9, 9, 9, 9, 9, 7, 7, 7, 7]);
    }
}
