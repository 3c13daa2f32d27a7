//! Converts colours between the spaces of pictures.
//!
//! Pixels are numbers. What they look like is said by a colour profile, or by chunks of PNG files, and is sRGB if nothing
//! says it.

use image::{DynamicImage, ImageBuffer};
use moxcms::{
    Chromaticity, CicpProfile, ColorPrimaries, ColorProfile, Layout, LocalizableString, MatrixCoefficients,
    ProfileText, TransferCharacteristics, TransformOptions, XyY, curve_from_gamma,
};

use crate::carried::Carried;
use crate::decode::Decoded;

/// How far samples of 8 bits may differ without being seen.
const UNSEEN: u8 = 1;
/// The gamma of PNG files that stands for sRGB's curve, and how far it may differ. Chunks hold it times 100,000.
const SRGB_GAMMA: f32 = 0.45455;
const SAME_GAMMA: f32 = 0.005;

/// Converts a picture's colours to sRGB, and returns whether that has changed them. Gray stays gray. Colours in a space that is
/// not understood, or brighter than displays show (HDR), keep their numbers.
pub fn to_srgb(picture: &mut Decoded) -> bool {
    let is_gray = !picture.image.color().has_color();
    let from = space(picture.profile.as_deref(), &picture.carried, is_gray);
    let made = from.and_then(|from| converted(&picture.image, &from, &ColorProfile::new_srgb()));
    picture.profile = None;
    picture.carried.colors.clear();
    let is_changed = made.is_some();
    if let Some(image) = made {
        picture.image = image;
    }
    is_changed
}

/// Returns a picture's pixels with colours in the space of another picture, such as to print them on it. A gray picture, or
/// one for a gray one, keeps its numbers, and so does one for a space into which nothing is converted ([`is_space_writable`]).
#[must_use]
pub fn to_space_of(picture: Decoded, other: &Decoded) -> DynamicImage {
    if [&picture, other].iter().any(|picture| !picture.image.color().has_color()) {
        return picture.image;
    }
    let [from, to] = [&picture, other].map(|picture| space(picture.profile.as_deref(), &picture.carried, false));
    match (from, to) {
        (None, None) => picture.image,
        (from, to) => {
            let srgb = ColorProfile::new_srgb;
            let made = converted(&picture.image, &from.unwrap_or_else(srgb), &to.unwrap_or_else(srgb));
            made.unwrap_or(picture.image)
        }
    }
}

/// Returns whether [`to_space_of`] can convert colours into the space of a picture that is not gray. Profiles of scanners may say
/// only how their colours are read.
pub fn is_space_writable(picture: &Decoded) -> bool {
    let to = space(picture.profile.as_deref(), &picture.carried, false);
    to.is_none_or(|to| shallow(&[0; 3], &ColorProfile::new_srgb(), &to, (Layout::Rgb, Layout::Rgb)).is_some())
}

/// Returns a profile for files of formats that do not have the chunks of PNG, unless those say sRGB.
pub(crate) fn as_profile(carried: &Carried, is_gray: bool) -> Option<Vec<u8>> {
    space(None, carried, is_gray)?.encode().ok()
}

/// Returns a gray picture as it looks in sRGB, if it has other numbers there.
pub(crate) fn gray_in_srgb(image: &DynamicImage, profile: Option<&[u8]>, carried: &Carried) -> Option<DynamicImage> {
    converted(image, &space(profile, carried, true)?, &ColorProfile::new_srgb())
}

/// Returns the colour space of a picture, unless it is sRGB. Of several statements the most exact counts, as the standard of
/// PNG says.
fn space(profile: Option<&[u8]>, carried: &Carried, is_gray: bool) -> Option<ColorProfile> {
    let chunk = |name: &[u8; 4]| carried.colors.iter().find(|(kind, _)| kind == name).map(|(_, body)| body.as_slice());
    if let Some(body) = chunk(b"cICP") {
        return from_code_points(body, is_gray);
    }
    if let Some(profile) = profile {
        return ColorProfile::new_from_slice(profile).ok();
    }
    if chunk(b"sRGB").is_some() {
        return None;
    }
    let gamma = chunk(b"gAMA").and_then(|body| fractions(body).next()).filter(|gamma| *gamma > 0.0);
    let gamma = gamma.filter(|gamma| (gamma - SRGB_GAMMA).abs() > SAME_GAMMA).map(|gamma| 1.0 / gamma);
    if is_gray {
        return gamma.map(ColorProfile::new_gray_with_gamma).map(named);
    }
    let primaries = chunk(b"cHRM").and_then(primaries);
    if gamma.is_none() && primaries.is_none() {
        return None;
    }
    let mut space = ColorProfile::new_srgb();
    space.cicp = None;
    if let Some((white, primaries)) = primaries {
        space.update_rgb_colorimetry(white, primaries);
    }
    if let Some(gamma) = gamma {
        let curve = Some(curve_from_gamma(gamma));
        (space.red_trc, space.green_trc, space.blue_trc) = (curve.clone(), curve.clone(), curve);
    }
    Some(named(space))
}

fn named(mut space: ColorProfile) -> ColorProfile {
    let name = LocalizableString::new("en".to_owned(), "US".to_owned(), "Colours of a PNG file".to_owned());
    space.description = Some(ProfileText::Localizable(vec![name]));
    space
}

/// Reads `cICP`. HDR is not converted, because that takes more than arithmetic. Of gray pictures the curve counts alone.
fn from_code_points(body: &[u8], is_gray: bool) -> Option<ColorProfile> {
    let [primaries, transfer, ..] = *body else { return None };
    let transfer = TransferCharacteristics::try_from(transfer).ok()?;
    if matches!(transfer, TransferCharacteristics::Smpte2084 | TransferCharacteristics::Hlg) {
        return None;
    }
    let color_primaries = primaries.try_into().ok()?;
    let matrix_coefficients = MatrixCoefficients::Identity;
    let points =
        CicpProfile { color_primaries, transfer_characteristics: transfer, matrix_coefficients, full_range: true };
    let space = Some(named(ColorProfile::new_from_cicp(points))).filter(ColorProfile::is_matrix_shaper)?;
    if !is_gray {
        return Some(space);
    }
    let mut gray = named(ColorProfile::new_gray_with_gamma(1.0));
    gray.gray_trc = space.red_trc;
    Some(gray)
}

/// Reads `cHRM`: the white point and the primaries.
fn primaries(body: &[u8]) -> Option<(XyY, ColorPrimaries)> {
    let numbers: Vec<f32> = fractions(body).collect();
    let [x, y, red_x, red_y, green_x, green_y, blue_x, blue_y] = *numbers.as_slice() else { return None };
    // A triangle without area has no colours.
    let area = (green_x - red_x) * (blue_y - red_y) - (blue_x - red_x) * (green_y - red_y);
    let is_sound = [y, red_y, green_y, blue_y].iter().all(|y| *y > 0.0) && area.abs() > 0.001;
    let primaries = ColorPrimaries {
        red: Chromaticity { x: red_x, y: red_y },
        green: Chromaticity { x: green_x, y: green_y },
        blue: Chromaticity { x: blue_x, y: blue_y },
    };
    is_sound.then(|| (XyY { x: x.into(), y: y.into(), yb: 1.0 }, primaries))
}

fn fractions(body: &[u8]) -> impl Iterator<Item = f32> {
    body.as_chunks::<4>().0.iter().map(|four| u32::from_be_bytes(*four) as f32 / 100_000.0)
}

/// Converts pixels. `None` if that makes no difference, or is not possible.
fn converted(image: &DynamicImage, from: &ColorProfile, to: &ColorProfile) -> Option<DynamicImage> {
    use DynamicImage::*;
    let is_gray = !image.color().has_color();
    if looks_same(from, to, is_gray) {
        return None;
    }
    let size = (image.width(), image.height());
    match image {
        ImageRgb8(pixels) => shallow(pixels, from, to, (Layout::Rgb, Layout::Rgb))
            .and_then(|samples| ImageBuffer::from_raw(size.0, size.1, samples))
            .map(ImageRgb8),
        ImageRgba8(pixels) => shallow(pixels, from, to, (Layout::Rgba, Layout::Rgba))
            .and_then(|samples| ImageBuffer::from_raw(size.0, size.1, samples))
            .map(ImageRgba8),
        ImageLuma8(pixels) => shallow(pixels, from, to, (Layout::Gray, Layout::Rgb))
            .and_then(|samples| ImageBuffer::from_raw(size.0, size.1, first_of(&samples, 3)))
            .map(ImageLuma8),
        ImageLumaA8(pixels) => shallow(pixels, from, to, (Layout::GrayAlpha, Layout::Rgba))
            .and_then(|samples| ImageBuffer::from_raw(size.0, size.1, first_and_last_of(&samples)))
            .map(ImageLumaA8),
        ImageRgb16(pixels) => deep(pixels, from, to, (Layout::Rgb, Layout::Rgb))
            .and_then(|samples| ImageBuffer::from_raw(size.0, size.1, samples))
            .map(ImageRgb16),
        ImageRgba16(pixels) => deep(pixels, from, to, (Layout::Rgba, Layout::Rgba))
            .and_then(|samples| ImageBuffer::from_raw(size.0, size.1, samples))
            .map(ImageRgba16),
        ImageLuma16(pixels) => deep(pixels, from, to, (Layout::Gray, Layout::Rgb))
            .and_then(|samples| ImageBuffer::from_raw(size.0, size.1, first_of(&samples, 3)))
            .map(ImageLuma16),
        ImageLumaA16(pixels) => deep(pixels, from, to, (Layout::GrayAlpha, Layout::Rgba))
            .and_then(|samples| ImageBuffer::from_raw(size.0, size.1, first_and_last_of(&samples)))
            .map(ImageLumaA16),
        _ => None,
    }
}

/// Returns whether a sample of all colours looks the same in both spaces, or cannot be converted.
fn looks_same(from: &ColorProfile, to: &ColorProfile, is_gray: bool) -> bool {
    static STEPS: [u8; 6] = [0, 51, 102, 153, 204, 255];
    let (samples, layout) = match is_gray {
        true => ((0..=u8::MAX).collect::<Vec<_>>(), Layout::Gray),
        false => {
            let colors =
                STEPS.iter().flat_map(|red| STEPS.iter().flat_map(move |green| STEPS.map(|blue| [*red, *green, blue])));
            (colors.flatten().collect(), Layout::Rgb)
        }
    };
    let Some(made) = shallow(&samples, from, to, (layout, Layout::Rgb)) else { return true };
    let made = if is_gray { first_of(&made, 3) } else { made };
    samples.iter().zip(&made).all(|(before, after)| before.abs_diff(*after) <= UNSEEN)
}

type Layouts = (Layout, Layout);

fn shallow(samples: &[u8], from: &ColorProfile, to: &ColorProfile, (of, into): Layouts) -> Option<Vec<u8>> {
    let transform = from.create_transform_8bit(of, to, into, TransformOptions::default()).ok()?;
    let mut made = vec![0; samples.len() / of.channels() * into.channels()];
    transform.transform(samples, &mut made).ok()?;
    Some(made)
}

fn deep(samples: &[u16], from: &ColorProfile, to: &ColorProfile, (of, into): Layouts) -> Option<Vec<u16>> {
    let transform = from.create_transform_16bit(of, to, into, TransformOptions::default()).ok()?;
    let mut made = vec![0; samples.len() / of.channels() * into.channels()];
    transform.transform(samples, &mut made).ok()?;
    Some(made)
}

/// Returns the first sample of each pixel.
fn first_of<T: Copy>(samples: &[T], channels: usize) -> Vec<T> {
    samples.iter().step_by(channels).copied().collect()
}

/// Returns the first sample and the opacity of each pixel.
fn first_and_last_of<T: Copy>(samples: &[T]) -> Vec<T> {
    samples.as_chunks::<4>().0.iter().flat_map(|[first, _, _, alpha]| [*first, *alpha]).collect()
}
