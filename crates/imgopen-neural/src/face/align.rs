//! Similarity transforms between a picture and an aligned one, and the points by which nets align faces.
//!
//! Points are continuous: the first pixel reaches from 0 to 1, and its centre is at 0.5.

use image::{Rgb, RgbImage};

/// Where aligned faces of 112x112 pixels have the points of [`Mesh::five`](super::Mesh::five): those of ArcFace, and of nets that
/// take its numbers.
pub(crate) const ARCFACE_112: [[f32; 2]; 5] =
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

/// Where aligned faces of 512x512 pixels have the points of [`Mesh::five`](super::Mesh::five): those of the data set FFHQ, as nets
/// that restore faces take them.
pub(crate) const FFHQ_512: [[f32; 2]; 5] = [
    [192.98138, 239.94708],
    [318.90277, 240.1936],
    [256.63416, 314.01935],
    [201.26117, 371.41043],
    [313.08905, 371.15118],
];

/// The most samples along each side that are averaged for a pixel of a picture that becomes smaller.
const MOST_SAMPLES: f64 = 8.0;

/// A transform that moves, turns and scales, from points of a picture to points of an aligned one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Alignment {
    /// The factor times the cosine of the angle.
    across: f64,
    /// The factor times the sine of the angle.
    turned: f64,
    offset: [f64; 2],
}

impl Alignment {
    /// Returns the transform that scales by `factor`, turns clockwise by `angle` radians, and takes the point `from` to `to`.
    pub fn around(from: [f32; 2], to: [f32; 2], factor: f32, angle: f32) -> Self {
        let (sine, cosine) = f64::from(angle).sin_cos();
        let linear = Self { across: f64::from(factor) * cosine, turned: f64::from(factor) * sine, offset: [0.0; 2] };
        let ([x, y], [to_x, to_y]) = (linear.moved(from.map(f64::from)), to.map(f64::from));
        Self { offset: [to_x - x, to_y - y], ..linear }
    }

    /// Returns the transform that takes points closest to others in the sense of least squares, as Umeyama's method does without
    /// reflection. `None` if there are not as many of both, or fewer than two, or if they coincide.
    pub fn fit(from: &[[f32; 2]], to: &[[f32; 2]]) -> Option<Self> {
        if from.len() != to.len() || from.len() < 2 {
            return None;
        }
        let (middle, aim) = (middle(from), middle(to));
        let (mut across, mut turned, mut spread) = (0.0, 0.0, 0.0);
        for (from, to) in from.iter().zip(to) {
            let [x, y] = off(*from, middle);
            let [to_x, to_y] = off(*to, aim);
            across += x * to_x + y * to_y;
            turned += x * to_y - y * to_x;
            spread += x * x + y * y;
        }
        let linear = Self { across: across / spread, turned: turned / spread, offset: [0.0; 2] };
        let factor = linear.factor();
        if !factor.is_finite() || factor <= 0.0 {
            return None;
        }
        let [x, y] = linear.moved(middle);
        let offset = [aim[0] - x, aim[1] - y];
        offset.iter().all(|number| number.is_finite()).then_some(Self { offset, ..linear })
    }

    /// Returns how many times larger the aligned picture is.
    pub fn factor(&self) -> f64 {
        self.across.hypot(self.turned)
    }

    /// Returns where a point goes.
    pub fn apply(&self, point: [f32; 2]) -> [f32; 2] {
        self.moved(point.map(f64::from)).map(|number| number as f32)
    }

    /// Returns the transform back.
    pub fn inverse(&self) -> Self {
        let square = self.across * self.across + self.turned * self.turned;
        let linear = Self { across: self.across / square, turned: -self.turned / square, offset: [0.0; 2] };
        let [x, y] = linear.moved(self.offset);
        Self { offset: [-x, -y], ..linear }
    }

    /// Returns the aligned picture, by bilinear interpolation. What lies outside `image` is black. Where it becomes smaller, a
    /// pixel is the mean of several samples.
    pub fn warp(&self, image: &RgbImage, width: u32, height: u32) -> RgbImage {
        let back = self.inverse();
        let count = back.factor().round().clamp(1.0, MOST_SAMPLES);
        let shares: Vec<f64> = (0..count as u32).map(|index| (f64::from(index) + 0.5) / count).collect();
        let weight = (count * count).recip() as f32;
        RgbImage::from_fn(width, height, |x, y| {
            let mut sum = [0.0_f32; 3];
            for down in &shares {
                for right in &shares {
                    let levels = sample(image, back.moved([f64::from(x) + right, f64::from(y) + down]));
                    sum.iter_mut().zip(levels).for_each(|(sum, level)| *sum += level);
                }
            }
            Rgb(sum.map(|level| (level * weight + 0.5) as u8))
        })
    }

    fn moved(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [right, down] = self.offset;
        [self.across * x - self.turned * y + right, self.turned * x + self.across * y + down]
    }
}

fn middle(points: &[[f32; 2]]) -> [f64; 2] {
    let count = points.len() as f64;
    let [x, y] = points.iter().fold([0.0, 0.0], |[x, y], point| [x + f64::from(point[0]), y + f64::from(point[1])]);
    [x / count, y / count]
}

fn off([x, y]: [f32; 2], middle: [f64; 2]) -> [f64; 2] {
    [f64::from(x) - middle[0], f64::from(y) - middle[1]]
}

/// Returns the levels at a point, from 0 to 255.
fn sample(image: &RgbImage, [x, y]: [f64; 2]) -> [f32; 3] {
    let (left, top) = ((x - 0.5).floor(), (y - 0.5).floor());
    let (right, down) = ((x - 0.5 - left) as f32, (y - 0.5 - top) as f32);
    let levels = |x: f64, y: f64| {
        let pixel = if x >= 0.0 && y >= 0.0 { image.get_pixel_checked(x as u32, y as u32) } else { None };
        pixel.map_or([0.0; 3], |pixel| pixel.0.map(f32::from))
    };
    let mixed = |one: [f32; 3], other: [f32; 3], share: f32| {
        let mut mixed = one;
        mixed.iter_mut().zip(other).for_each(|(one, other)| *one += (other - *one) * share);
        mixed
    };
    let row = |y: f64| mixed(levels(left, y), levels(left + 1.0, y), right);
    mixed(row(top), row(top + 1.0), down)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: [[f32; 2]; 5] = [[110.0, 120.0], [171.0, 98.0], [148.0, 150.0], [128.0, 188.0], [180.0, 170.0]];

    fn assert_near(one: [f32; 2], other: [f32; 2], most: f32) {
        let is_near = one.iter().zip(other).all(|(one, other)| (one - other).abs() <= most);
        assert!(is_near, "{one:?} {other:?}");
    }

    /// The numbers are those of `skimage.transform.SimilarityTransform` 0.26, which is Umeyama's method.
    #[test]
    fn points_are_fitted_as_by_umeyama() {
        let fit = Alignment::fit(&FROM, &ARCFACE_112).unwrap();
        assert!((fit.factor() - 0.553_592_703).abs() < 1e-6, "{fit:?}");
        assert_near(fit.apply([0.0, 0.0]), [-3.610_015, -25.890_972], 1e-4);
        assert_near(fit.apply([200.0, 100.0]), [90.350_1, 54.698_98], 1e-4);
    }

    #[test]
    fn what_does_not_determine_a_transform_has_none() {
        assert_eq!(Alignment::fit(&FROM[..4], &ARCFACE_112), None);
        assert_eq!(Alignment::fit(&FROM[..1], &ARCFACE_112[..1]), None);
        assert_eq!(Alignment::fit(&[[3.0, 4.0]; 5], &ARCFACE_112), None);
        assert_eq!(Alignment::fit(&FROM, &[[3.0, 4.0]; 5]), None);
        assert_eq!(Alignment::fit(&[[f32::NAN, 4.0]; 5], &ARCFACE_112), None);
    }

    #[test]
    fn the_inverse_leads_back() {
        let fit = Alignment::fit(&FROM, &FFHQ_512).unwrap();
        for point in FROM {
            assert_near(fit.inverse().apply(fit.apply(point)), point, 1e-3);
        }
        let around = Alignment::around([10.0, 20.0], [30.0, 40.0], 2.0, std::f32::consts::FRAC_PI_2);
        assert_near(around.apply([10.0, 20.0]), [30.0, 40.0], 1e-4);
        // Clockwise: what is to the right comes below.
        assert_near(around.apply([11.0, 20.0]), [30.0, 42.0], 1e-4);
    }

    fn pattern() -> RgbImage {
        RgbImage::from_fn(9, 6, |x, y| Rgb([(20 * x) as u8, (30 * y) as u8, (3 * x * y) as u8]))
    }

    #[test]
    fn a_picture_that_is_only_moved_keeps_its_pixels() {
        let moved = Alignment::around([0.0, 0.0], [2.0, -1.0], 1.0, 0.0).warp(&pattern(), 9, 6);
        for (x, y, pixel) in moved.enumerate_pixels() {
            let expected = match (x.checked_sub(2), y + 1) {
                (Some(from), below) if below < 6 => *pattern().get_pixel(from, below),
                _ => Rgb([0; 3]),
            };
            assert_eq!(*pixel, expected, "{x},{y}");
        }
    }

    #[test]
    fn a_quarter_turn_keeps_all_pixels() {
        let turn = Alignment::around([4.5, 3.0], [3.0, 4.5], 1.0, std::f32::consts::FRAC_PI_2);
        assert_eq!(turn.warp(&pattern(), 6, 9), image::imageops::rotate90(&pattern()));
    }

    /// By hand: the mean of four pixels, and a pixel between two.
    #[test]
    fn smaller_pictures_are_averages_and_larger_ones_are_interpolated() {
        let image = RgbImage::from_fn(2, 2, |x, y| Rgb([if (x, y) == (1, 1) { 200 } else { 100 }; 3]));
        let half = Alignment::around([0.0, 0.0], [0.0, 0.0], 0.5, 0.0).warp(&image, 1, 1);
        assert_eq!(half.get_pixel(0, 0).0, [125; 3]);
        // The centre of the pixel (2, 3) is at 1.25 and 1.75 before, which is 0.75 and 1.25 beyond the first centre.
        let image = RgbImage::from_fn(4, 4, |x, y| Rgb([(40 * x + 8 * y) as u8, 0, 0]));
        let double = Alignment::around([0.0, 0.0], [0.0, 0.0], 2.0, 0.0).warp(&image, 8, 8);
        assert_eq!(double.get_pixel(2, 3).0, [40, 0, 0]);
    }
}
