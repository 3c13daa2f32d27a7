//! Brightness of colours.

/// Returns the brightness of a pixel, with the weights and the rounding of OpenCV.
#[inline(always)]
pub(crate) fn brightness(pixel: [u8; 3]) -> u8 {
    const WEIGHTS: [u32; 3] = [9798, 19235, 3735];
    const BITS: u32 = 15;
    let [r, g, b] = pixel.map(u32::from);
    let sum = r * WEIGHTS[0] + g * WEIGHTS[1] + b * WEIGHTS[2];
    ((sum + (1 << (BITS - 1))) >> BITS) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gray_keeps_its_value() {
        assert!((0..=255).all(|gray| brightness([gray; 3]) == gray));
        assert_eq!([[255, 0, 0], [0, 255, 0], [0, 0, 255]].map(brightness), [76, 150, 29]);
    }
}
