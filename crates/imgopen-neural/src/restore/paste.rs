//! Puts a repaired face back into its picture.

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::Planes;

use super::frame::{Frame, between};
use crate::pixels::Sample;
use crate::plane::Plane;

/// Makes a factor that is a hair below a whole number that number.
const HAIR: f32 = 1e-3;

/// What was made of a frame.
struct Made<'a> {
    frame: &'a Frame,
    planes: [Plane; 3],
    /// By which factors it is wider and higher than the frame.
    larger: [f32; 2],
    share: f32,
}

/// Mixes what was made of a frame into a picture, with a share from 0 to 1 within the frame's oval. What was made is as large as
/// the frame or several times as large. Opacity stays as it is, and so do pixels that are entirely transparent.
///
/// # Errors
///
/// [`EngineError::Cancelled`], and [`EngineError::Failed`] if it does not fit the frame.
pub(super) fn paste(
    image: &mut DynamicImage,
    frame: &Frame,
    made: Planes,
    share: f32,
    monitor: &Monitor,
) -> Result<(), EngineError> {
    let made = Made::of(frame, made, share)?;
    let width = image.width() as usize;
    match image {
        DynamicImage::ImageLuma8(pixels) => made.mix(pixels, width, 1, monitor),
        DynamicImage::ImageLumaA8(pixels) => made.mix(pixels, width, 2, monitor),
        DynamicImage::ImageRgb8(pixels) => made.mix(pixels, width, 3, monitor),
        DynamicImage::ImageRgba8(pixels) => made.mix(pixels, width, 4, monitor),
        DynamicImage::ImageLuma16(pixels) => made.mix(pixels, width, 1, monitor),
        DynamicImage::ImageLumaA16(pixels) => made.mix(pixels, width, 2, monitor),
        DynamicImage::ImageRgb16(pixels) => made.mix(pixels, width, 3, monitor),
        DynamicImage::ImageRgba16(pixels) => made.mix(pixels, width, 4, monitor),
        other => Err(EngineError::Failed(format!("pixels of the type {:?} are not repaired", other.color()))),
    }
}

impl<'a> Made<'a> {
    fn of(frame: &'a Frame, made: Planes, share: f32) -> Result<Self, EngineError> {
        let is_multiple = |made: usize, given: usize| made >= given && made.is_multiple_of(given);
        let fits = made.channels() == 3
            && is_multiple(made.width(), frame.width)
            && is_multiple(made.height(), frame.height)
            && made.width() / frame.width == made.height() / frame.height;
        if !fits {
            return Err(EngineError::Failed("the net returns a picture that does not fit the face".to_owned()));
        }
        let larger = (made.width() / frame.width) as f32;
        // Where the picture has fewer pixels than what was made, each of its pixels is the mean of those that it covers.
        let fewer = ((larger * frame.map.scale() + HAIR).floor() as usize).clamp(1, made.width().min(made.height()));
        let (width, height) = (made.width(), made.height());
        let mut rest = made.into_values();
        let blue = rest.split_off(2 * width * height);
        let green = rest.split_off(width * height);
        let planes = [rest, green, blue].map(|values| averaged(Plane { width, height, values }, fewer));
        Ok(Self { frame, planes, larger: [larger / fewer as f32; 2], share })
    }

    /// Works on samples of that many channels, the last of two and of four being opacity.
    fn mix<S: Sample>(
        &self,
        samples: &mut [S],
        width: usize,
        channels: usize,
        monitor: &Monitor,
    ) -> Result<(), EngineError> {
        let bounds = self.frame.bounds;
        let [left, top, wide, high] =
            [bounds.left, bounds.top, bounds.width, bounds.height].map(|length| length as usize);
        let rows = samples.chunks_exact_mut(width * channels).enumerate().skip(top).take(high);
        for (y, row) in rows {
            monitor.check_cancelled()?;
            let pixels = row.chunks_exact_mut(channels).enumerate().skip(left).take(wide);
            for (x, pixel) in pixels {
                self.pixel(pixel, [x as f32, y as f32]);
            }
        }
        Ok(())
    }

    fn pixel<S: Sample>(&self, pixel: &mut [S], place: [f32; 2]) {
        let place = self.frame.map.apply(place);
        let share = self.share * self.frame.shown(place);
        let (colours, opacity) = match pixel.len() {
            count @ (2 | 4) => pixel.split_at_mut(count - 1),
            _ => (pixel, Default::default()),
        };
        if share <= 0.0 || opacity.first() == Some(&S::default()) {
            return;
        }
        let place = [0, 1].map(|axis| (place[axis] + 0.5) * self.larger[axis] - 0.5);
        let new = self.planes.each_ref().map(|plane| between(plane, place));
        match colours {
            [gray] => *gray = mixed(*gray, new.iter().sum::<f32>() / 3.0, share),
            colours => colours.iter_mut().zip(new).for_each(|(own, new)| *own = mixed(*own, new, share)),
        }
    }
}

/// Averages squares of that many pixels a side. What is left over at the right and below is dropped.
pub(super) fn averaged(plane: Plane, side: usize) -> Plane {
    if side <= 1 {
        return plane;
    }
    let (width, height) = (plane.width / side, plane.height / side);
    let count = (side * side) as f32;
    let mut values = Vec::with_capacity(width * height);
    for y in 0..height {
        let mut sums = vec![0.0; width];
        for row in y * side..(y + 1) * side {
            let squares = plane.row(row).chunks_exact(side);
            sums.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square.iter().sum::<f32>());
        }
        values.extend(sums.into_iter().map(|sum| sum / count));
    }
    Plane { width, height, values }
}

fn mixed<S: Sample>(own: S, new: f32, share: f32) -> S {
    let own = own.level();
    S::nearest(own + share * (new - own))
}

#[cfg(test)]
mod tests {
    use image::GenericImageView;

    use super::*;
    use crate::face::FoundFace;

    fn frame() -> Frame {
        let points = [[40.0, 40.0], [60.0, 40.0], [50.0, 50.0], [50.0, 60.0], [30.0, 40.0], [70.0, 40.0]];
        let face = FoundFace { left: 30.0, top: 30.0, width: 40.0, height: 40.0, score: 0.9, points };
        Frame::upright(&face, (120, 110), 1.0).unwrap()
    }

    /// White, in place of a black face.
    fn white(frame: &Frame, factor: usize) -> Planes {
        let (width, height) = (frame.width * factor, frame.height * factor);
        Planes::new(3, width, height, vec![1.0; 3 * width * height]).unwrap()
    }

    #[test]
    fn pixels_beyond_the_oval_stay_as_they_are_in_every_kind_of_picture() {
        let frame = frame();
        for source in [
            DynamicImage::new_luma8(120, 110),
            DynamicImage::new_luma_a16(120, 110),
            DynamicImage::new_rgb8(120, 110),
            DynamicImage::new_rgb16(120, 110),
            DynamicImage::new_rgba8(120, 110),
        ] {
            // Opaque, but for the pixels of one column.
            let mut image = DynamicImage::from(source.to_rgba16());
            if let DynamicImage::ImageRgba16(pixels) = &mut image {
                pixels.enumerate_pixels_mut().for_each(|(x, _, pixel)| pixel.0[3] = if x == 45 { 0 } else { u16::MAX });
            }
            let image = match source.color() {
                image::ColorType::L8 => image.to_luma8().into(),
                image::ColorType::La16 => image.to_luma_alpha16().into(),
                image::ColorType::Rgb8 => image.to_rgb8().into(),
                image::ColorType::Rgb16 => image.to_rgb16().into(),
                _ => DynamicImage::from(image.to_rgba8()),
            };
            let mut repaired = image.clone();
            paste(&mut repaired, &frame, white(&frame, 4), 1.0, &Monitor::new().0).unwrap();
            assert_eq!(repaired.color(), source.color());
            let mut changed = 0;
            for ((x, y, before), (_, _, after)) in image.pixels().zip(repaired.pixels()) {
                let is_hidden = source.color().has_alpha() && x == 45;
                assert_eq!(before.0[3], after.0[3]);
                if frame.shown(frame.map.apply([x as f32, y as f32])) == 0.0 || is_hidden {
                    assert_eq!(before, after, "{x},{y}");
                }
                changed += u32::from(before != after);
            }
            assert!(changed > 1000, "{changed}");
            assert_eq!(repaired.get_pixel(50, 50).0[..3], [255; 3]);
        }
    }

    #[test]
    fn squares_are_averaged() {
        let plane = Plane { width: 5, height: 2, values: (0..10).map(|value| value as f32).collect() };
        assert_eq!(averaged(plane, 2), Plane { width: 2, height: 1, values: vec![3.0, 5.0] });
    }

    #[test]
    fn a_share_of_it_is_mixed_in() {
        let frame = frame();
        let mut image = DynamicImage::new_rgb8(120, 110);
        paste(&mut image, &frame, white(&frame, 1), 0.6, &Monitor::new().0).unwrap();
        assert_eq!(image.get_pixel(50, 50).0, [153, 153, 153, 255]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let frame = frame();
        let mut image = DynamicImage::new_rgb8(120, 110);
        for planes in [
            Planes::new(1, frame.width, frame.height, vec![0.0; frame.width * frame.height]).unwrap(),
            Planes::new(3, frame.width + 1, frame.height, vec![0.0; 3 * (frame.width + 1) * frame.height]).unwrap(),
        ] {
            assert!(paste(&mut image, &frame, planes, 1.0, &Monitor::new().0).is_err());
        }
    }

    #[test]
    fn a_cancelled_job_ends_within_a_row() {
        let (frame, mut image) = (frame(), DynamicImage::new_rgb8(120, 110));
        let (monitor, _watch, checks) = Monitor::counted(5);
        assert_eq!(paste(&mut image, &frame, white(&frame, 4), 1.0, &monitor), Err(EngineError::Cancelled));
        assert_eq!(checks.count(), 5);
    }
}
