//! Bicubic resampling as a convolution, because not every runtime has it: rten takes linear interpolation in its place.
//!
//! With a scale of `over / under`, each `under` pixels become `over` pixels, always by the same weights. So a convolution that
//! steps by `under` pixels makes `over` values for each side of such a block, as channels, and these are then moved to where
//! they belong.

use super::ratio::Ratio;

/// The sharpness of the curve, that of ncnn, OpenCV and PyTorch.
const SHARPNESS: f64 = -0.75;

/// A kernel for each pixel of a block along one side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kernels {
    /// How many pixels before and after the picture the kernels reach.
    pub before: usize,
    pub after: usize,
    /// The weights, all of the same length.
    pub rows: Vec<Vec<f64>>,
}

impl Kernels {
    /// Returns the kernels of a scale; `None` if they do not reach beyond the block.
    pub fn of(scale: Ratio) -> Option<Self> {
        let (over, under) = (i64::from(scale.over), i64::from(scale.under));
        let starts: Vec<(i64, [f64; 4])> = (0..over)
            .map(|index| {
                // Centres of pixels lie at halves: (index + 1/2) * under / over - 1/2.
                let (above, below) = ((2 * index + 1) * under - over, 2 * over);
                let start = above.div_euclid(below);
                (start - 1, weights(above.rem_euclid(below) as f64 / below as f64))
            })
            .collect();
        let first = starts.iter().map(|(start, _)| *start).min()?;
        let last = starts.iter().map(|(start, _)| *start + 3).max()?;
        let length = usize::try_from(last - first + 1).ok()?;
        let row = |(start, weights): &(i64, [f64; 4])| {
            let at = usize::try_from(start - first).ok()?;
            let mut row = vec![0.0; length];
            row[at..at + 4].copy_from_slice(weights);
            Some(row)
        };
        Some(Self {
            before: usize::try_from(-first).ok()?,
            after: usize::try_from(last + 1 - under).ok()?,
            rows: starts.iter().map(row).collect::<Option<_>>()?,
        })
    }
}

/// Returns the weights of the four pixels around a place, which lies at a share of the way from the second to the third.
fn weights(share: f64) -> [f64; 4] {
    let near = |distance: f64| ((SHARPNESS + 2.0) * distance - (SHARPNESS + 3.0)) * distance * distance + 1.0;
    let far = |distance: f64| {
        ((SHARPNESS * distance - 5.0 * SHARPNESS) * distance + 8.0 * SHARPNESS) * distance - 4.0 * SHARPNESS
    };
    let (first, second, third) = (far(share + 1.0), near(share), near(1.0 - share));
    [first, second, third, 1.0 - first - second - third]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_takes_four_pixels_around_the_middle() {
        let kernels = Kernels::of(Ratio { over: 1, under: 2 }).unwrap();
        // The curve at 1.5 and 0.5: -0.75 (3.375 - 11.25 + 12 - 4) and 1.25 * 0.125 - 2.25 * 0.25 + 1.
        assert_eq!(kernels, Kernels { before: 1, after: 1, rows: vec![vec![-0.09375, 0.59375, 0.59375, -0.09375]] });
    }

    #[test]
    fn three_quarters_have_three_kernels_that_each_sum_to_one() {
        let kernels = Kernels::of(Ratio { over: 3, under: 4 }).unwrap();
        // Places 1/6, 3/2 and 17/6, so pixels from -1 to 4.
        assert_eq!((kernels.before, kernels.after, kernels.rows.len()), (1, 1, 3));
        for (row, first) in kernels.rows.iter().zip([0, 1, 2]) {
            assert_eq!(row.len(), 6);
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(
                row.iter().enumerate().all(|(index, weight)| (first..first + 4).contains(&index) || *weight == 0.0)
            );
        }
    }
}
