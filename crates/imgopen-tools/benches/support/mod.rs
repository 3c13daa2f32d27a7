//! The picture that the benches enlarge.

use image::{DynamicImage, Rgb, RgbImage};
use imgopen_engine::{Format, Input};
use imgopen_picture::{Attached, Chroma, encode};

/// The side of the picture in pixels, and the multiple by which it is enlarged.
pub const SIDE: u32 = 512;
pub const SCALE: f64 = 4.0;

/// Returns something like a photograph: soft shapes, a few edges, and sensor noise. Deterministic.
pub fn photo() -> DynamicImage {
    let mut state = 1_u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from((state >> 40) as u32 % 1000) / 1000.0 - 0.5
    };
    let image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let (x, y) = (f64::from(x) / f64::from(SIDE), f64::from(y) / f64::from(SIDE));
        let hill = if y > 0.6 + 0.1 * (x * 9.0).sin() { 0.5 } else { 1.0 };
        let grain = noise() * 16.0;
        let channel =
            |shift: f64| (hill * (128.0 + 90.0 * ((x + shift) * 5.0).sin() * ((y - shift) * 4.0).cos()) + grain) as u8;
        Rgb([channel(0.0), channel(0.2), channel(0.5)])
    });
    image.into()
}

/// Returns the picture as a JPEG file with chroma subsampling, as cameras write it.
pub fn input(format: Format) -> Result<Input, Box<dyn std::error::Error>> {
    let bytes = encode(&photo(), format, &Attached { chroma: Chroma::Halved, ..Attached::default() })?;
    Ok(Input { field: "sourceImage".to_owned(), url: "https://example.com/photo".to_owned(), bytes })
}
