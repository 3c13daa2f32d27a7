//! Converts CMYK to sRGB.
//!
//! Colours are meant as Little CMS makes them by default: by the table of the profile that keeps how a picture looks
//! (perceptual), and so that the darkest ink becomes black (black point compensation).

use std::sync::Arc;

use moxcms::{
    ColorProfile, DataColorSpace, Layout, ProfileVersion, RenderingIntent, Transform16BitExecutor, TransformOptions,
};

/// The pixels that are converted at once.
const AT_ONCE: usize = 4096;
/// How much light black has in the tables of profiles of version 4, by their specification.
const BLACK_OF_VERSION_4: f32 = 0.003_473_1;
/// More light is not that of black: the lightness is above 50 of 100.
const GRAY: f32 = 0.184_187;

/// Converts pixels in place: by the colour profile if it is for CMYK, else by the plain formula that most readers use.
/// Each of the four values says how much of its ink there is.
pub(crate) fn to_rgb(mut samples: Vec<u8>, profile: Option<&[u8]>) -> Vec<u8> {
    let conversion = profile.and_then(Conversion::new);
    let mut converted = vec![0; 3 * AT_ONCE];
    let (mut read, mut written) = (0, 0);
    while read < samples.len() {
        let inks = &samples[read..samples.len().min(read + 4 * AT_ONCE)];
        let colors = &mut converted[..inks.len() / 4 * 3];
        if conversion.as_ref().and_then(|conversion| conversion.apply(inks, colors)).is_none() {
            plain(inks, colors);
        }
        read += inks.len();
        let end = written + colors.len();
        samples[written..end].copy_from_slice(colors);
        written = end;
    }
    samples.truncate(written);
    samples
}

/// What black leaves of each colour, less that colour's ink.
fn plain(inks: &[u8], colors: &mut [u8]) {
    for ([cyan, magenta, yellow, black], color) in inks.as_chunks::<4>().0.iter().zip(colors.as_chunks_mut::<3>().0) {
        let white = 255 - u32::from(*black);
        *color = [cyan, magenta, yellow].map(|ink| (white - (white * u32::from(*ink) + 127) / 255) as u8);
    }
}

/// A conversion by a profile.
struct Conversion {
    transform: Arc<Transform16BitExecutor>,
    /// The value of each channel for every one that the transform gives.
    stretched: [Vec<u8>; 3],
}

impl Conversion {
    /// Returns nothing if the profile is invalid or for other colours.
    fn new(profile: &[u8]) -> Option<Self> {
        let profile = ColorProfile::new_from_slice(profile).ok()?;
        if profile.color_space != DataColorSpace::Cmyk {
            return None;
        }
        let options = TransformOptions { rendering_intent: RenderingIntent::Perceptual, ..TransformOptions::default() };
        // `Rgba` stands for any four channels.
        let transform =
            profile.create_transform_16bit(Layout::Rgba, &ColorProfile::new_srgb(), Layout::Rgb, options).ok()?;
        let black = match profile.version() >= ProfileVersion::V4_0 {
            true => [BLACK_OF_VERSION_4; 3],
            false => darkest(transform.as_ref())?,
        };
        Some(Self { transform, stretched: black.map(stretched) })
    }

    fn apply(&self, inks: &[u8], colors: &mut [u8]) -> Option<()> {
        let inks: Vec<u16> = inks.iter().map(|ink| u16::from(*ink) * 257).collect();
        let mut made = vec![0; colors.len()];
        self.transform.transform(&inks, &mut made).ok()?;
        for ((color, made), stretched) in colors.iter_mut().zip(made).zip(self.stretched.iter().cycle()) {
            *color = stretched[usize::from(made)];
        }
        Some(())
    }
}

/// Returns the value of a channel for every one before black became 0.
fn stretched(black: f32) -> Vec<u8> {
    let stretch = |value: u16| {
        let light = (linear(value) - black) / (1.0 - black);
        (encoded(light.clamp(0.0, 1.0)) * 255.0).round() as u8
    };
    (0..=u16::MAX).map(stretch).collect()
}

/// Returns how much light all inks together leave of each channel.
fn darkest(transform: &Transform16BitExecutor) -> Option<[f32; 3]> {
    let mut color = [0; 3];
    transform.transform(&[u16::MAX; 4], &mut color).ok()?;
    let light = color.map(linear);
    Some(if light.iter().any(|light| *light > GRAY) { [0.0; 3] } else { light })
}

/// Returns the amount of light of a value of sRGB, from 0 to 1.
fn linear(value: u16) -> f32 {
    let value = f32::from(value) / 65_535.0;
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

/// Returns the value of sRGB of an amount of light; both from 0 to 1.
fn encoded(light: f32) -> f32 {
    if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}
