//! The pictures of a request as the server takes them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::{DynamicImage, GrayImage};
use imgopen_engine::{EngineError, Job, Monitor};
use imgopen_picture::{Attached, Format, decode_input, encode, flatten};

use super::body::Encoded;
use crate::generation::Generation;

/// Reads the pictures of a job, and writes them as PNG: upright, with 8 bits, on white where they are transparent. Blocks.
pub(super) fn encoded(job: &Job, generation: &Generation, monitor: &Monitor) -> Result<Encoded, EngineError> {
    let read = |field: &str| Ok::<_, EngineError>(decode_input(job.input(field)?, job.limits(), monitor)?.image);
    let start = generation.start.as_ref();
    let mask = start.and_then(|start| start.mask.as_ref());
    let control = generation.control.iter().map(|unit| {
        let field = unit.picture.as_deref();
        field.map(|field| png(&flatten(read(field)?))).transpose()
    });
    let start = start.map(|start| Ok::<_, EngineError>(flatten(read(start.picture)?))).transpose()?;
    Ok(Encoded {
        start_size: start.as_ref().map(|image| (image.width(), image.height())),
        start: start.map(|image| png(&image)).transpose()?,
        mask: mask.map(|mask| png(&marked(&read(mask.picture)?))).transpose()?,
        control: control.collect::<Result<_, _>>()?,
    })
}

/// Returns a mask in shades of gray, in which what is transparent is black. Versions of the web UI differ in what they make
/// of transparency.
fn marked(mask: &DynamicImage) -> DynamicImage {
    let (width, height) = (mask.width(), mask.height());
    let pixels = mask.to_luma_alpha8().into_raw();
    let shade = |pixel: &[u8; 2]| (u32::from(pixel[0]) * u32::from(pixel[1]) / 255) as u8;
    let shades = pixels.as_chunks::<2>().0.iter().map(shade).collect();
    GrayImage::from_raw(width, height, shades).unwrap_or_default().into()
}

fn png(image: &DynamicImage) -> Result<String, EngineError> {
    let file = encode(image, Format::Png, &Attached::default());
    let file = file.map_err(|error| EngineError::Failed(format!("a picture cannot be sent: {error}")))?;
    Ok(BASE64_STANDARD.encode(file))
}

#[cfg(test)]
mod tests {
    use image::{LumaA, Rgba};

    use super::*;

    #[test]
    fn a_mask_marks_what_is_light_and_opaque() {
        let mask = image::RgbaImage::from_fn(4, 1, |x, _| {
            [Rgba([255; 4]), Rgba([0, 0, 0, 255]), Rgba([255, 255, 255, 0]), Rgba([255, 255, 255, 128])][x as usize]
        });
        assert_eq!(marked(&mask.into()).as_bytes(), [255, 0, 0, 128]);
        let deep = image::ImageBuffer::from_pixel(1, 1, LumaA([65535_u16, 65535]));
        assert_eq!(marked(&deep.into()), GrayImage::from_pixel(1, 1, image::Luma([255])).into());
    }
}
