//! Lines on a picture.

use image::{Rgb, RgbImage};

/// Draws a line two pixels wide with round ends, without smoothing, between the centres of two pixels.
pub(super) fn line(image: &mut RgbImage, [from_x, from_y]: [i32; 2], [to_x, to_y]: [i32; 2], colour: [u8; 3]) {
    let (width, height) = (image.width().cast_signed(), image.height().cast_signed());
    let (along_x, along_y) = (f64::from(to_x - from_x), f64::from(to_y - from_y));
    let length = along_x * along_x + along_y * along_y;
    for y in (from_y.min(to_y) - 1).max(0)..=(from_y.max(to_y) + 1).min(height - 1) {
        for x in (from_x.min(to_x) - 1).max(0)..=(from_x.max(to_x) + 1).min(width - 1) {
            let (off_x, off_y) = (f64::from(x - from_x), f64::from(y - from_y));
            let share = if length > 0.0 { ((off_x * along_x + off_y * along_y) / length).clamp(0.0, 1.0) } else { 0.0 };
            let (away_x, away_y) = (off_x - share * along_x, off_y - share * along_y);
            if away_x * away_x + away_y * away_y <= 1.0 {
                set(image, x, y, colour);
            }
        }
    }
}

/// Draws a square of four pixels a side, whose middle is the corner before a pixel.
pub(super) fn square(image: &mut RgbImage, [x, y]: [i32; 2], colour: [u8; 3]) {
    for y in y - 2..y + 2 {
        for x in x - 2..x + 2 {
            set(image, x, y, colour);
        }
    }
}

fn set(image: &mut RgbImage, x: i32, y: i32, colour: [u8; 3]) {
    if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
        && let Some(pixel) = image.get_pixel_mut_checked(x, y)
    {
        *pixel = Rgb(colour);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(image: &RgbImage) -> Vec<(u32, u32)> {
        image.enumerate_pixels().filter(|(.., pixel)| pixel.0 == [9, 8, 7]).map(|(x, y, _)| (x, y)).collect()
    }

    #[test]
    fn a_line_covers_what_is_at_most_one_pixel_away() {
        let mut image = RgbImage::new(8, 5);
        line(&mut image, [2, 2], [4, 2], [9, 8, 7]);
        let expected = [(2, 1), (3, 1), (4, 1), (1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (2, 3), (3, 3), (4, 3)];
        assert_eq!(marked(&image), expected);
        let mut point = RgbImage::new(3, 3);
        line(&mut point, [0, 0], [0, 0], [9, 8, 7]);
        assert_eq!(marked(&point), [(0, 0), (1, 0), (0, 1)]);
    }

    #[test]
    fn squares_are_clipped() {
        let mut image = RgbImage::new(9, 9);
        square(&mut image, [1, 8], [9, 8, 7]);
        assert_eq!(marked(&image), [(0, 6), (1, 6), (2, 6), (0, 7), (1, 7), (2, 7), (0, 8), (1, 8), (2, 8)]);
    }
}
