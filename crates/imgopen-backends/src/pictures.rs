//! Pictures on their way to a back end, for what it cannot do itself: fitting, masks, and putting a redrawn part back.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, Rgb, RgbImage};
use imgopen_engine::{EngineError, Job, Monitor};
use imgopen_picture::{Attached, Format, decode_input, encode, flatten, mask_shades, to_srgb};

use crate::control_maps;
use crate::generation::{ControlUnit, Fit, Mask};

/// Reads a picture of a job, upright and in sRGB. Blocks.
pub(crate) fn read(job: &Job, field: &str, monitor: &Monitor) -> Result<DynamicImage, EngineError> {
    let mut picture = decode_input(job.input(field)?, job.limits(), monitor)?;
    to_srgb(&mut picture);
    Ok(picture.image)
}

/// Reads the control picture of a unit: the one that a preprocessor has made, or else its own, or else the one that the
/// generation starts from. Blocks.
pub(crate) fn control<'a>(
    job: &Job,
    unit: &ControlUnit,
    start: Option<&'a DynamicImage>,
    monitor: &Monitor,
) -> Result<Cow<'a, DynamicImage>, EngineError> {
    match (&unit.module, &unit.picture, start) {
        (Some(_), ..) => {
            let made = job.input(&unit.module_field())?;
            Ok(Cow::Owned(flatten(decode_input(made, &control_maps::limits(made, job), monitor)?.image)))
        }
        (None, Some(field), _) => Ok(Cow::Owned(flatten(read(job, field, monitor)?))),
        (None, None, Some(start)) => Ok(Cow::Borrowed(start)),
        (None, None, None) => Err(EngineError::rejected(format!("{}.image_link", unit.path), "missing; give its URL")),
    }
}

/// Writes a picture as PNG.
pub(crate) fn png(image: &DynamicImage) -> Result<Bytes, EngineError> {
    let file = encode(image, Format::Png, &Attached::default());
    file.map_err(|error| EngineError::Failed(format!("a picture cannot be sent: {error}")))
}

/// Writes a picture as PNG in Base64.
pub(crate) fn sent(image: &DynamicImage) -> Result<String, EngineError> {
    Ok(BASE64_STANDARD.encode(png(image)?))
}

/// Reads a mask of a job in shades of gray: white is redrawn. Programs differ in what they make of colours and transparency. `of`
/// is the picture that it is for, by its field. Blocks.
pub(crate) fn marked(
    job: &Job,
    field: &str,
    of: Option<(&str, &DynamicImage)>,
    monitor: &Monitor,
) -> Result<GrayImage, EngineError> {
    mask_shades(job.input(field)?, job.limits(), of, monitor)
}

/// Returns a mask as the web UI prepares it: inverted if asked for, and with a blurred edge.
pub(crate) fn prepared(mut shades: GrayImage, rules: &Mask, monitor: &Monitor) -> Result<GrayImage, EngineError> {
    if rules.inverted {
        imageops::invert(&mut shades);
    }
    blurred(shades, rules.blur, monitor)
}

/// Fits a picture to a size.
pub(crate) fn fitted(image: &DynamicImage, fit: Fit, (width, height): (u32, u32)) -> DynamicImage {
    if (image.width(), image.height()) == (width, height) {
        return image.clone();
    }
    match fit {
        Fit::Stretch | Fit::Latent => image.resize_exact(width, height, FilterType::Lanczos3),
        Fit::Crop => image.resize_to_fill(width, height, FilterType::Lanczos3),
        Fit::Pad => padded(&image.resize(width, height, FilterType::Lanczos3), (width, height)),
    }
}

/// Fits a control picture to a size as the web UI's ControlNet does: where it is padded, the margin has the median colour of its
/// border, because lines that reach the border would become stripes.
pub(crate) fn fitted_control(image: &DynamicImage, fit: Fit, (width, height): (u32, u32)) -> DynamicImage {
    if fit != Fit::Pad || (image.width(), image.height()) == (width, height) {
        return fitted(image, fit, (width, height));
    }
    let mut padded = RgbImage::from_pixel(width, height, border(&image.to_rgb8()));
    let inner = image.resize(width, height, FilterType::Lanczos3).to_rgb8();
    let (left, top) = ((width - inner.width()) / 2, (height - inner.height()) / 2);
    imageops::replace(&mut padded, &inner, left.into(), top.into());
    padded.into()
}

/// Returns the median of each channel on the border of a picture.
fn border(image: &RgbImage) -> Rgb<u8> {
    let (right, bottom) = (image.width().saturating_sub(1), image.height().saturating_sub(1));
    let across = (0..=right).flat_map(|x| [(x, 0), (x, bottom)]);
    let down = (0..=bottom).flat_map(|y| [(0, y), (right, y)]);
    let pixels: Vec<[u8; 3]> = across.chain(down).map(|(x, y)| image.get_pixel(x, y).0).collect();
    Rgb([0, 1, 2].map(|channel: usize| {
        let mut shades: Vec<u8> = pixels.iter().map(|pixel| pixel[channel]).collect();
        shades.sort_unstable();
        // Their number is even.
        let middle = shades.len() / 2;
        ((u16::from(shades[middle - 1]) + u16::from(shades[middle])) / 2) as u8
    }))
}

/// Puts a picture into the middle of a larger one, whose margin has the colours of its edges.
fn padded(inner: &DynamicImage, (width, height): (u32, u32)) -> DynamicImage {
    let (left, top) = ((width - inner.width()) / 2, (height - inner.height()) / 2);
    let within = |at: u32, margin: u32, size: u32| at.saturating_sub(margin).min(size - 1);
    match inner {
        DynamicImage::ImageLuma8(inner) => {
            let at = |x, y| *inner.get_pixel(within(x, left, inner.width()), within(y, top, inner.height()));
            GrayImage::from_fn(width, height, at).into()
        }
        other => {
            let inner = other.to_rgb8();
            let at = |x, y| *inner.get_pixel(within(x, left, inner.width()), within(y, top, inner.height()));
            RgbImage::from_fn(width, height, at).into()
        }
    }
}

/// Blurs as the web UI does: by a Gaussian of these deviations in pixels, cut off at 2.5 of them.
fn blurred(image: GrayImage, (x, y): (u32, u32), monitor: &Monitor) -> Result<GrayImage, EngineError> {
    let across = along(image, x, monitor)?;
    if y == 0 {
        return Ok(across);
    }
    let (width, height) = across.dimensions();
    let turned = GrayImage::from_fn(height, width, |a, b| *across.get_pixel(b, a));
    let down = along(turned, y, monitor)?;
    Ok(GrayImage::from_fn(width, height, |a, b| *down.get_pixel(b, a)))
}

/// Blurs each row; the pixels at its ends are repeated beyond them.
fn along(mut image: GrayImage, deviation: u32, monitor: &Monitor) -> Result<GrayImage, EngineError> {
    let length = image.width() as usize;
    if deviation == 0 || length == 0 {
        return Ok(image);
    }
    let sigma = deviation as f32;
    let reach = (2.5 * sigma + 0.5) as usize;
    let weight = |at: usize| (-(at.abs_diff(reach) as f32 / sigma).powi(2) / 2.0).exp();
    let weights: Vec<f32> = (0..=2 * reach).map(weight).collect();
    let sum: f32 = weights.iter().sum();
    let mut long = vec![0.0_f32; length + 2 * reach];
    let mut sums = vec![0.0_f32; length];
    for row in image.chunks_exact_mut(length) {
        monitor.check_cancelled()?;
        for (at, shade) in long.iter_mut().enumerate() {
            *shade = f32::from(row[at.saturating_sub(reach).min(length - 1)]);
        }
        sums.fill(0.0);
        for (at, weight) in weights.iter().enumerate() {
            sums.iter_mut().zip(&long[at..]).for_each(|(sum, shade)| *sum += shade * weight);
        }
        row.iter_mut().zip(&sums).for_each(|(shade, weighted)| *shade = (weighted / sum).round() as u8);
    }
    Ok(image)
}

/// Puts a redrawn picture over the one that it was made from, where the mask is white.
pub(crate) fn put_back(made: &DynamicImage, under: &RgbImage, mask: &GrayImage) -> RgbImage {
    let made = made.to_rgb8();
    RgbImage::from_fn(under.width(), under.height(), |x, y| {
        let share = u32::from(mask.get_pixel(x, y).0[0]);
        let (new, old) = (made.get_pixel(x, y).0, under.get_pixel(x, y).0);
        let mixed =
            |index: usize| ((u32::from(new[index]) * share + u32::from(old[index]) * (255 - share) + 127) / 255) as u8;
        Rgb([mixed(0), mixed(1), mixed(2)])
    })
}

#[cfg(test)]
mod tests {
    use image::{Luma, LumaA, Rgba};
    use imgopen_engine::{Input, JobRequest};
    use imgopen_types::operations::IMAGE_TO_IMAGE;
    use serde_json::json;

    use super::*;
    use crate::generation::Fill;

    #[test]
    fn a_mask_marks_what_is_light_and_opaque() {
        let mask = image::RgbaImage::from_fn(4, 1, |x, _| {
            [Rgba([255; 4]), Rgba([0, 0, 0, 255]), Rgba([255, 255, 255, 0]), Rgba([255, 255, 255, 128])][x as usize]
        });
        let deep = image::ImageBuffer::from_pixel(1, 1, LumaA([65535_u16, 65535]));
        for (mask, shades) in [(mask.into(), &[255, 0, 0, 128][..]), (DynamicImage::from(deep), &[255][..])] {
            let input = Input { field: "mask".to_owned(), url: String::new(), bytes: png(&mask).unwrap() };
            let request = JobRequest::new("task", &IMAGE_TO_IMAGE, json!({}));
            let job = Job::new(request, "run").with_inputs(vec![input]);
            assert_eq!(marked(&job, "mask", None, &Monitor::new().0).unwrap().as_raw(), shades);
        }
    }

    #[test]
    fn a_mask_is_inverted_and_blurred_in_each_direction_by_itself() {
        let monitor = Monitor::new().0;
        let done = |mask: &DynamicImage, blur: (u32, u32), inverted: bool| {
            let rules = Mask { picture: "", blur, fill: Fill::Original, only_masked: None, inverted };
            prepared(mask.to_luma8(), &rules, &monitor).unwrap()
        };
        let half = DynamicImage::from(GrayImage::from_fn(40, 30, |x, _| Luma([if x < 20 { 255 } else { 0 }])));
        assert_eq!(done(&half, (0, 0), false), half.to_luma8());
        // Down the edge, nothing changes; across it, the edge becomes a slope.
        assert_eq!(done(&half, (0, 4), false), half.to_luma8());
        assert_eq!(done(&half, (0, 8), true).get_pixel(5, 5).0, [0]);
        let across = done(&half, (4, 0), false);
        let row: Vec<u8> = (0..40).map(|x| across.get_pixel(x, 7).0[0]).collect();
        assert!(row.is_sorted_by(|a, b| a >= b), "{row:?}");
        assert_eq!((row[9], row[10], row[29], row[30]), (255, 254, 1, 0), "{row:?}");
        assert!(row[19].abs_diff(255 - row[20]) <= 1, "{row:?}");
        let turned = done(&half.rotate90(), (0, 4), false);
        assert_eq!((0..40).map(|y| turned.get_pixel(7, y).0[0]).collect::<Vec<_>>(), row);
        let (cancelled, watch) = Monitor::new();
        watch.cancel.cancel();
        assert_eq!(blurred(half.to_luma8(), (4, 0), &cancelled), Err(EngineError::Cancelled));
    }

    #[test]
    fn pictures_are_stretched_cropped_or_padded() {
        let wide =
            DynamicImage::from(RgbImage::from_fn(
                80,
                20,
                |x, _| if x < 40 { Rgb([200, 0, 0]) } else { Rgb([0, 0, 200]) },
            ));
        let size = (40, 40);
        let at = |fit, x, y| fitted(&wide, fit, size).to_rgb8().get_pixel(x, y).0;
        for fit in [Fit::Stretch, Fit::Crop, Fit::Pad] {
            let image = fitted(&wide, fit, size);
            assert_eq!((image.width(), image.height()), size);
            assert_eq!((at(fit, 2, 20), at(fit, 37, 20)), ([200, 0, 0], [0, 0, 200]), "{fit:?}");
        }
        // The margin repeats the edge.
        assert_eq!((at(Fit::Pad, 2, 0), at(Fit::Pad, 37, 39)), ([200, 0, 0], [0, 0, 200]));
        let mask = DynamicImage::from(GrayImage::from_pixel(10, 20, Luma([255])));
        assert_eq!(fitted(&mask, Fit::Pad, (20, 20)).color(), image::ColorType::L8);
    }

    #[test]
    fn a_control_picture_is_padded_without_stripes() {
        // Lines that reach the border, on less than half of it.
        let lines = GrayImage::from_fn(40, 10, |x, y| Luma([if y == 5 || x == 30 { 255 } else { 0 }]));
        let padded = fitted_control(&lines.clone().into(), Fit::Pad, (40, 40)).to_rgb8();
        let margin = |y: u32| !(15..25).contains(&y);
        assert!(padded.enumerate_pixels().all(|(x, y, pixel)| {
            let shade = if margin(y) { 0 } else { lines.get_pixel(x, y - 15).0[0] };
            pixel.0 == [shade; 3]
        }));
        // The other way round, the margin is white.
        let white = RgbImage::from_fn(10, 40, |_, y| if y == 20 { Rgb([0, 0, 0]) } else { Rgb([255, 250, 7]) });
        let padded = fitted_control(&white.into(), Fit::Pad, (40, 40)).to_rgb8();
        assert_eq!((padded.get_pixel(0, 20).0, padded.get_pixel(39, 0).0), ([255, 250, 7], [255, 250, 7]));
        assert_eq!(padded.get_pixel(20, 20).0, [0, 0, 0]);
        // Nothing else differs from other pictures.
        let image = DynamicImage::from(lines);
        for fit in [Fit::Stretch, Fit::Crop, Fit::Latent] {
            assert_eq!(fitted_control(&image, fit, (20, 20)), fitted(&image, fit, (20, 20)));
        }
        assert_eq!(fitted_control(&image, Fit::Pad, (40, 10)), image);
    }

    #[test]
    fn what_is_outside_the_mask_stays_as_it_was() {
        let made = DynamicImage::from(RgbImage::from_pixel(3, 1, Rgb([10, 20, 30])));
        let under = RgbImage::from_pixel(3, 1, Rgb([250, 250, 250]));
        let mask = GrayImage::from_raw(3, 1, vec![255, 0, 128]).unwrap();
        let back = put_back(&made, &under, &mask);
        assert_eq!((back.get_pixel(0, 0).0, back.get_pixel(1, 0).0), ([10, 20, 30], [250, 250, 250]));
        assert_eq!(back.get_pixel(2, 0).0, [130, 135, 140]);
    }
}
