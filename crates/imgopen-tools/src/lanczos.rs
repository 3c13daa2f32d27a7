//! Enlarging by Lanczos resampling, without a neural network.
//!
//! The result has the format of the input: PNG lossless, JPEG at quality 93 with the same chroma subsampling, WebP lossless or
//! at quality 90 as its source is; of a GIF, BMP or TIFF file it is a PNG file. Bits per channel, gray, transparency, colour
//! profile and what else the file carries are kept. Pixels are weighted by their opacity, so that colours hidden by transparency
//! do not show at edges.
//!
//! A job resamples on one thread: jobs run in parallel, and most of a job's time goes into reading and writing the file.

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{Engine, EngineError, Grade, Input, Job, Monitor, Offer, Output, Picture, PictureLimits};
use imgopen_picture::{self as picture, EncodeError, write_like};
use imgopen_types::{EnlargeImageRequest, SuperResolutionRequest, operations};

use crate::{blocking, memory};

/// The default scale of `super_resolution`, from the contract.
const SUPER_RESOLUTION_SCALE: i64 = 2;

/// The engine `lanczos`, which enlarges pictures by Lanczos resampling. It offers `enlarge_image`, and `super_resolution`
/// although it adds no detail, which its grade says.
#[derive(Debug, Clone, Default)]
pub struct Lanczos {}

impl Lanczos {
    /// Creates the engine.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for Lanczos {
    fn name(&self) -> &str {
        "lanczos"
    }

    fn offers(&self) -> Vec<Offer> {
        [&operations::ENLARGE_IMAGE, &operations::SUPER_RESOLUTION]
            .map(|operation| Offer::new(operation, Grade::Classical))
            .into()
    }

    fn memory(&self, job: &Job) -> u64 {
        // A request that cannot be read is rejected by the run.
        memory::of(job, of(job).map_or(1.0, |(_, scale)| scale * scale))
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        blocking::run(job, monitor, serve)
    }
}

/// Returns the field of a job's picture and the scale.
fn of(job: &Job) -> Result<(&'static str, f64), EngineError> {
    Ok(match *job.operation() == operations::SUPER_RESOLUTION {
        true => ("image", job.request::<SuperResolutionRequest>()?.scale.unwrap_or(SUPER_RESOLUTION_SCALE) as f64),
        false => ("sourceImage", job.request::<EnlargeImageRequest>()?.scale),
    })
}

fn serve(job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
    let (field, scale) = of(job)?;
    let picture = enlarge(job.input(field)?, scale, job.limits(), monitor)?;
    Ok(Output { pictures: vec![picture], ..Output::default() })
}

/// Enlarges a picture file to `scale` times its width and height, each rounded to whole pixels.
///
/// `scale` is from 1 to 8. Progress is reported after reading, resampling and writing, where cancellation is also checked,
/// as it is within reading and writing, as far as the format allows.
///
/// # Errors
///
/// [`EngineError::Rejected`] if the picture cannot be read, or if the scale is out of range or makes more pixels than
/// `limits` or the format allow; [`EngineError::Cancelled`].
///
/// ```
/// use image::DynamicImage;
/// use imgopen_engine::{Format, Input, Monitor, PictureLimits};
/// use imgopen_picture as picture;
/// use imgopen_tools::lanczos;
///
/// let small = picture::encode(&DynamicImage::new_rgb8(30, 21), Format::Png, &Default::default())?;
/// let input = Input { field: "sourceImage".into(), url: "https://example.com/small.png".into(), bytes: small };
/// let large = lanczos::enlarge(&input, 2.5, &PictureLimits::default(), &Monitor::new().0)?;
/// assert_eq!((large.width, large.height), (75, 53));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn enlarge(input: &Input, scale: f64, limits: &PictureLimits, monitor: &Monitor) -> Result<Picture, EngineError> {
    let mut source = picture::decode_input(input, limits, monitor)?;
    let image = std::mem::take(&mut source.image);
    let (width, height) = size(image.width(), image.height(), scale, limits)?;
    picture::check_sides(source.header.format.written(), width, height).map_err(|error| rejected(scale, &error))?;
    monitor.stage(0.2)?;
    let image = resize(image, width, height)?;
    monitor.stage(0.6)?;
    let done = format!("Postprocess upscale by: {scale}, Postprocess upscaler: Lanczos");
    let picture = write_like(&source, &image, &done, monitor, |error| rejected(scale, &error))?;
    monitor.stage(1.0)?;
    Ok(picture)
}

fn rejected(scale: f64, error: &EncodeError) -> EngineError {
    EngineError::rejected("scale", format!("{scale} given: {error}"))
}

/// Returns the size of a picture that is enlarged to `scale` times its width and height, each rounded to whole pixels.
///
/// # Errors
///
/// [`EngineError::Rejected`] for the field `scale` if it is not from 1 to 8, or makes more pixels than `limits` allow.
pub fn size(width: u32, height: u32, scale: f64, limits: &PictureLimits) -> Result<(u32, u32), EngineError> {
    if !(1.0..=8.0).contains(&scale) {
        return Err(EngineError::rejected("scale", format!("{scale} given, a number from 1 to 8 expected")));
    }
    let grown = [width, height].map(|side| (f64::from(side) * scale).round());
    let limit = limits.pixels;
    if grown[0] * grown[1] > limit as f64 {
        let most = (limit as f64 / (f64::from(width) * f64::from(height))).sqrt();
        let most = (most * 100.0).floor() / 100.0;
        let [large, high] = grown;
        let problem = format!(
            "{scale} given, which makes {large}x{high} pixels out of {width}x{height}; at most {limit} pixels in all \
             are allowed, so give at most {most}"
        );
        return Err(EngineError::rejected("scale", problem));
    }
    Ok((grown[0] as u32, grown[1] as u32))
}

/// Resamples a picture with a Lanczos filter of three lobes. It cannot be stopped; the limit of pixels bounds the time that
/// it takes.
///
/// # Errors
///
/// [`EngineError::Failed`] for pixel types that decoded pictures do not have.
pub fn resize(image: DynamicImage, width: u32, height: u32) -> Result<DynamicImage, EngineError> {
    if (image.width(), image.height()) == (width, height) {
        return Ok(image);
    }
    let mut larger = DynamicImage::new(width, height, image.color());
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3)).use_alpha(shows_through(&image));
    Resizer::new()
        .resize(&image, &mut larger, &options)
        .map_err(|error| EngineError::Failed(format!("the picture cannot be resampled: {error}")))?;
    Ok(larger)
}

/// Returns whether any pixel is not opaque; otherwise weighting by opacity is wasted.
fn shows_through(image: &DynamicImage) -> bool {
    match image {
        DynamicImage::ImageLumaA8(image) => image.pixels().any(|pixel| pixel.0[1] != u8::MAX),
        DynamicImage::ImageRgba8(image) => image.pixels().any(|pixel| pixel.0[3] != u8::MAX),
        DynamicImage::ImageLumaA16(image) => image.pixels().any(|pixel| pixel.0[1] != u16::MAX),
        DynamicImage::ImageRgba16(image) => image.pixels().any(|pixel| pixel.0[3] != u16::MAX),
        image => image.color().has_alpha(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_rounded_to_whole_pixels() {
        let size = |width, height, scale| size(width, height, scale, &PictureLimits::default()).unwrap();
        assert_eq!(size(3, 5, 1.5), (5, 8));
        assert_eq!(size(100, 33, 1.0), (100, 33));
        assert_eq!(size(1, 1, 8.0), (8, 8));
        assert_eq!(size(333, 1000, 1.001), (333, 1001));
    }

    #[test]
    fn a_scale_that_makes_too_many_pixels_is_rejected_with_one_that_fits() {
        let limits = PictureLimits { pixels: 1_000_000, ..PictureLimits::default() };
        let error = size(400, 300, 4.0, &limits).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`scale`: 4 given, which makes 1600x1200 pixels out of 400x300; at most 1000000 pixels in all are allowed, \
             so give at most 2.88"
        );
        assert!(size(400, 300, 2.88, &limits).is_ok());
        for scale in [0.99, 8.01, f64::NAN, f64::INFINITY, -1.0] {
            assert!(matches!(size(4, 3, scale, &limits), Err(EngineError::Rejected { .. })));
        }
    }
}
