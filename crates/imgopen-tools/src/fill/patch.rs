//! The difference of two patches.

/// The side of a patch in pixels. A row takes 32 bytes, which is one vector register of AVX2.
pub(super) const SIDE: usize = 8;
/// The number of parallel sums.
const LANES: usize = SIDE * 4 / 2;

/// Returns the sum of squared differences of two patches, given by the positions of their first pixels in a picture of that
/// width. Stops early once the sum has reached `limit`.
#[inline(always)]
pub(super) fn distance(pixels: &[[u8; 4]], width: usize, one: usize, other: usize, limit: u32) -> u32 {
    let mut sums = [0; LANES];
    for half in 0..2 {
        for row in half * SIDE / 2..(half + 1) * SIDE / 2 {
            let at = row * width;
            add_squares(&mut sums, &pixels[one + at..][..SIDE], &pixels[other + at..][..SIDE]);
        }
        if half == 0 && sums.iter().sum::<i32>().cast_unsigned() >= limit {
            break;
        }
    }
    sums.iter().sum::<i32>().cast_unsigned()
}

/// Two samples go into each sum, as in the vector instruction.
#[inline(always)]
fn add_squares(sums: &mut [i32; LANES], one: &[[u8; 4]], other: &[[u8; 4]]) {
    let (one, other) = (one.as_flattened(), other.as_flattened());
    for (lane, sum) in sums.iter_mut().enumerate() {
        let difference = |at: usize| i32::from(i16::from(one[at]) - i16::from(other[at]));
        let (first, second) = (difference(2 * lane), difference(2 * lane + 1));
        *sum += first * first + second * second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_sums_of_squares() {
        let mut pixels = vec![[10, 20, 30, 255]; 40 * 8];
        pixels[40 * 7 + 27] = [13, 16, 30, 250];
        assert_eq!(distance(&pixels, 40, 0, 20, u32::MAX), 9 + 16 + 25);
        assert_eq!(distance(&pixels, 40, 0, 19, u32::MAX), 0);
        let opposite = [vec![[0; 4]; 64], vec![[255; 4]; 64]].concat();
        assert_eq!(distance(&opposite, 8, 0, 64, u32::MAX), 64 * 4 * 255 * 255);
    }
}
