//! The pixels of a face that is put onto another one, read between them.

use image::DynamicImage;
use imgopen_engine::EngineError;

use super::paste::Area;
use crate::pixels::{self, Channels};
use crate::plane::Plane;

/// How much of a picture is kept around a face, as a share of the face.
const MARGIN: f32 = 0.05;

/// A face in its picture, as large as it is needed.
#[derive(Debug)]
pub(super) struct Texture {
    colours: [Plane; 3],
    /// Where its first pixel begins in the picture.
    origin: [f32; 2],
    /// How many of its pixels a pixel of the picture has.
    scale: [f32; 2],
}

impl Texture {
    /// Takes the part of a picture around points, made smaller by a factor of at most 1. `None` if they do not lie within it.
    ///
    /// # Errors
    ///
    /// [`EngineError::Failed`] for pixel types that decoded pictures do not have.
    pub fn around(image: &DynamicImage, points: &[[f32; 3]], factor: f32) -> Result<Option<Self>, EngineError> {
        let points = points.iter().map(|[x, y, _]| [*x, *y]);
        let Some(area) = Area::around(points, MARGIN, image.width(), image.height()) else { return Ok(None) };
        let part = area.of(image);
        let side = |side: u32| ((side as f32 * factor).round() as u32).clamp(1, side.max(1));
        let (width, height) = (side(area.width), side(area.height));
        let part = match (width, height) == (area.width, area.height) {
            true => part,
            false => pixels::resized(&part, width, height)?,
        };
        let Channels { colours, .. } = Channels::of(&part)?;
        let scale = [width as f32 / area.width as f32, height as f32 / area.height as f32];
        Ok(Some(Self { colours, origin: [area.left as f32, area.top as f32], scale }))
    }

    /// Returns the colour at a place in the picture, by cubic interpolation. Beyond the edges, those are continued.
    pub fn at(&self, place: [f32; 2]) -> [f32; 3] {
        let [x, y] = [0, 1].map(|axis: usize| (place[axis] - self.origin[axis]) * self.scale[axis] - 0.5);
        let (columns, across) = taps(x, self.colours[0].width);
        let (rows, down) = taps(y, self.colours[0].height);
        let colour = |plane: &Plane| {
            let along = |row: &usize| {
                let row = plane.row(*row);
                columns.iter().zip(across).map(|(column, weight)| weight * row[*column]).sum::<f32>()
            };
            rows.iter().zip(down).map(|(row, weight)| weight * along(row)).sum::<f32>()
        };
        [colour(&self.colours[0]), colour(&self.colours[1]), colour(&self.colours[2])]
    }
}

/// Returns the four pixels of a side around a place, and their weights: those of Catmull and Rom.
fn taps(at: f32, side: usize) -> ([usize; 4], [f32; 4]) {
    let last = side.saturating_sub(1) as f32;
    let at = at.clamp(0.0, last);
    let first = at.floor();
    let t = at - first;
    // The conversion makes 0 of what is negative.
    let places = [-1.0, 0.0, 1.0, 2.0].map(|step: f32| (first + step).min(last) as usize);
    let weights = [
        ((2.0 - t) * t - 1.0) * t / 2.0,
        ((3.0 * t - 5.0) * t * t + 2.0) / 2.0,
        ((4.0 - 3.0 * t) * t + 1.0) * t / 2.0,
        (t - 1.0) * t * t / 2.0,
    ];
    (places, weights)
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Rgb};

    use super::*;

    fn slope() -> DynamicImage {
        ImageBuffer::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, 100])).into()
    }

    #[test]
    fn pixels_are_met_exactly_and_slopes_between_them() {
        let points = [[5.0, 4.0, 0.0], [35.0, 26.0, 0.0]];
        let texture = Texture::around(&slope(), &points, 1.0).unwrap().unwrap();
        for (place, expected) in
            [([10.5, 8.5], [60.0, 64.0]), ([10.75, 9.0], [61.5, 68.0]), ([20.0, 20.5], [117.0, 160.0])]
        {
            let [red, green, blue] = texture.at(place).map(|level| level * 255.0);
            assert!((red - expected[0]).abs() < 0.01 && (green - expected[1]).abs() < 0.01, "{place:?}: {red} {green}");
            assert!((blue - 100.0).abs() < 0.01, "{blue}");
        }
    }

    #[test]
    fn a_smaller_copy_has_the_same_places() {
        let points = [[2.0, 2.0, 0.0], [38.0, 28.0, 0.0]];
        let texture = Texture::around(&slope(), &points, 0.5).unwrap().unwrap();
        assert_eq!((texture.colours[0].width, texture.colours[0].height), (20, 15));
        let [red, green, _] = texture.at([20.0, 16.0]).map(|level| level * 255.0);
        assert!((red - 117.0).abs() < 1.5 && (green - 124.0).abs() < 1.5, "{red} {green}");
    }

    #[test]
    fn edges_are_continued_and_places_elsewhere_have_no_texture() {
        let texture = Texture::around(&slope(), &[[0.0, 0.0, 0.0], [40.0, 30.0, 0.0]], 1.0).unwrap().unwrap();
        assert_eq!(texture.at([-50.0, -50.0]), texture.at([0.5, 0.5]));
        assert_eq!(texture.at([90.0, 90.0]), texture.at([39.5, 29.5]));
        assert!(Texture::around(&slope(), &[[50.0, 50.0, 0.0], [60.0, 60.0, 0.0]], 1.0).unwrap().is_none());
    }

    #[test]
    fn weights_add_up_to_1() {
        for at in [0.0, 0.3, 4.5, 8.99, 20.0] {
            let (places, weights) = taps(at, 10);
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6 && places.iter().all(|place| *place < 10), "{at}");
        }
    }
}
