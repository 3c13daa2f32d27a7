//! Fills parts of a picture from the rest of it, without a neural network: removes objects, and paints beyond the edges.
//!
//! A hole is filled with patches from the rest of the picture that agree with each other and with its surroundings:
//! texture synthesis by PatchMatch, coarse to fine. It continues textures, edges and gradients. It knows nothing of
//! objects: beyond the edge of a portrait there is more of the background, not the rest of the person.
//!
//! The result has the format of the input, or PNG for a GIF, BMP or TIFF file. Bits per channel, gray, transparency, colour
//! profile and what else the file carries are kept. Pixels outside the hole stay exactly as they were, except for the loss of
//! JPEG and lossy WebP. The same request with the same seed gives the same pixels on every machine: nothing depends on the number
//! of threads, nor on functions that platforms round differently.
//!
//! - **Masks** have the size of the picture, after applying the EXIF orientation of both. What they mark, by the table of
//!   [`read_mask`](imgopen_picture::read_mask), is removed, with [`MASK_GROWTH`] pixels around it, because edges of masks are soft.
//! - **Without a source**, where no 8x8 pixels are left outside the hole, the nearest pixels are repeated.
//! - **Time** is bounded: more than 8 million pixels around a hole are processed at reduced size, and patches of larger
//!   holes are spaced farther apart. The final content is always made of pixels of the picture itself.

mod canvas;
mod clusters;
mod complete;
mod field;
mod mask;
mod paint;
mod patch;
mod seams;
mod start;
mod votes;

use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{
    Engine, EngineError, Grade, Input, Job, JobRequest, Monitor, Offer, Output, Picture, PictureLimits,
};
use imgopen_picture::{self as picture, Decoded, EncodeError, write_like};
pub use imgopen_picture::{Expansion, LONGEST_SIDE};
use imgopen_types::{OutpaintRequest, RemoveObjectRequest, operations};

use crate::fields::{self, MOST_PICTURES};
use crate::{blocking, memory};
pub use canvas::Area;
pub use clusters::clusters;
use complete::Style;
pub use mask::read_hole;
use paint::Task;

/// How far a mask is grown, in pixels.
pub const MASK_GROWTH: usize = mask::GROWTH;

/// The least width of the surroundings from which patches are taken, in pixels.
const SURROUNDINGS: usize = 128;

/// The engine `patchmatch`, which fills parts of a picture. It offers `remove_object`, and `outpaint` as a draft, which
/// ignores the prompts and the sampling settings.
#[derive(Debug, Clone, Default)]
pub struct Fill {}

impl Fill {
    /// Creates the engine.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for Fill {
    fn name(&self) -> &str {
        "patchmatch"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::new(&operations::REMOVE_OBJECT, Grade::Classical), Offer::new(&operations::OUTPAINT, Grade::Draft)]
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        if *request.operation() == operations::OUTPAINT {
            expansion(&request.typed()?)?;
        }
        Ok(())
    }

    fn memory(&self, job: &Job) -> u64 {
        let expansion = match *job.operation() == operations::OUTPAINT {
            true => job.request().and_then(|request| expansion(&request)).ok(),
            false => None,
        };
        memory::of(job, expansion.map_or(1.0, |expansion| expansion.horizontal * expansion.vertical))
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        blocking::run(job, monitor, serve)
    }
}

fn serve(job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
    let source = job.input("sourceImage")?;
    let pictures = match *job.operation() == operations::OUTPAINT {
        true => outpaint(source, &expansion(&job.request()?)?, job.limits(), monitor)?,
        false => {
            job.request::<RemoveObjectRequest>()?;
            vec![remove(source, job.input("maskImage")?, job.limits(), monitor)?]
        }
    };
    Ok(Output { pictures, ..Output::default() })
}

/// Removes from a picture file what a mask marks, and fills it from the surroundings.
///
/// Reports progress to `monitor`, and stops soon after it is cancelled.
///
/// # Errors
///
/// [`EngineError::Rejected`] if a picture cannot be read, or if the mask has another size, marks nothing or everything, or is a
/// picture without holes; [`EngineError::Cancelled`].
///
/// ```
/// use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
/// use imgopen_engine::{Format, Input, Monitor, PictureLimits};
/// use imgopen_picture as picture;
/// use imgopen_tools::fill;
///
/// let file = |field: &str, image: DynamicImage| {
///     let bytes = picture::encode(&image, Format::Png, &Default::default()).unwrap();
///     Input { field: field.into(), url: "https://example.com/picture.png".into(), bytes }
/// };
/// // Stripes with a blot.
/// let stripes = |x: u32, y: u32| if (x + y) / 4 % 2 == 0 { Rgb([200, 180, 0]) } else { Rgb([20, 40, 60]) };
/// let blot = |x: u32, y: u32| (30..40).contains(&x) && (25..35).contains(&y);
/// let picture = RgbImage::from_fn(80, 60, |x, y| if blot(x, y) { Rgb([255, 0, 0]) } else { stripes(x, y) });
/// let mask = GrayImage::from_fn(80, 60, |x, y| Luma([if blot(x, y) { 255 } else { 0 }]));
///
/// let (source, mask) = (file("sourceImage", picture.into()), file("maskImage", mask.into()));
/// let limits = PictureLimits::default();
/// let clean = fill::remove(&source, &mask, &limits, &Monitor::new().0)?;
/// let clean = picture::decode(&clean.bytes, &limits)?.image.to_rgb8();
/// let pairs = clean.into_raw().into_iter().zip(RgbImage::from_fn(80, 60, stripes).into_raw());
/// assert!(pairs.into_iter().all(|(filled, before)| filled.abs_diff(before) <= 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn remove(source: &Input, mask: &Input, limits: &PictureLimits, monitor: &Monitor) -> Result<Picture, EngineError> {
    let mut decoded = picture::decode_input(source, limits, monitor)?;
    let image = &mut decoded.image;
    monitor.stage(0.05)?;
    let hole = read_hole(mask, limits, image, monitor)?;
    monitor.stage(0.1)?;
    erase(image, &hole, monitor)?;
    let removed = hole.iter().filter(|hole| **hole).count();
    let done = format!("Postprocess removed pixels: {removed}, Postprocess filler: PatchMatch");
    let failed = |error: EncodeError| EngineError::Failed(error.to_string());
    let picture = write_like(&decoded, &decoded.image, &done, monitor, failed)?;
    monitor.stage(1.0)?;
    Ok(picture)
}

/// Fills a hole piece by piece.
fn erase(image: &mut DynamicImage, hole: &[bool], monitor: &Monitor) -> Result<(), EngineError> {
    let size = (image.width() as usize, image.height() as usize);
    let pieces = clusters(hole, size.0, monitor)?;
    let share = 0.8 / pieces.len() as f64;
    for (number, inner) in pieces.into_iter().enumerate() {
        let outer = inner.grown(inner.width().max(inner.height()).max(SURROUNDINGS), size);
        let begin = 0.1 + share * number as f64;
        let task = Task { hole, inner, outer, style: Style::removing() };
        paint::fill(image, task, monitor, (begin, begin + share))?;
    }
    Ok(())
}

/// Reads how a request asks for a picture to be extended.
///
/// # Errors
///
/// [`EngineError::Rejected`] if ratios or count are out of range.
pub fn expansion(request: &OutpaintRequest) -> Result<Expansion, EngineError> {
    let count = fields::whole("imageCount", request.image_count.into(), &(1..=MOST_PICTURES), "the engine")?;
    let (horizontal, vertical) = (request.horizontal_expansion_ratio, request.vertical_expansion_ratio);
    let expansion = Expansion { horizontal, vertical, count, seed: fields::seed(request.seed) };
    expansion.check()?;
    Ok(expansion)
}

/// Paints beyond the edges of a picture file, which is centred in each result.
///
/// Reports progress to `monitor`, and stops soon after it is cancelled.
///
/// # Errors
///
/// [`EngineError::Rejected`] if the picture cannot be read, or if ratios and count are out of range or make more pixels than
/// `limits` or the format allow; [`EngineError::Cancelled`].
///
/// ```
/// use image::DynamicImage;
/// use imgopen_tools::fill::{self, Expansion};
/// use imgopen_engine::{Format, Input, Monitor, PictureLimits};
/// use imgopen_picture as picture;
///
/// let small = picture::encode(&DynamicImage::new_rgb8(30, 20), Format::Png, &Default::default())?;
/// let input = Input { field: "sourceImage".into(), url: "https://example.com/small.png".into(), bytes: small };
/// let expansion = Expansion { horizontal: 1.5, vertical: 2.0, count: 2, seed: 7 };
/// let larger = fill::outpaint(&input, &expansion, &PictureLimits::default(), &Monitor::new().0)?;
/// assert_eq!((larger[1].width, larger[1].height, larger[1].seed), (45, 40, Some(8)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn outpaint(
    source: &Input,
    expansion: &Expansion,
    limits: &PictureLimits,
    monitor: &Monitor,
) -> Result<Vec<Picture>, EngineError> {
    expansion.check()?;
    let decoded = picture::decode_input(source, limits, monitor)?;
    let (width, height) = expansion.size((decoded.image.width(), decoded.image.height()), limits)?;
    let rejected = |error: EncodeError| EngineError::rejected(expansion.larger().0, error.to_string());
    picture::check_sides(decoded.header.format.written(), width, height).map_err(rejected)?;
    let share = 0.95 / f64::from(expansion.count);
    let make = |number: u32| {
        let begin = 0.05 + share * f64::from(number);
        monitor.stage(begin)?;
        let seed = expansion.seed.wrapping_add(number.into());
        let image = extended(&decoded, (width, height), seed, monitor, (begin, begin + 0.9 * share))?;
        let done = format!(
            "Postprocess outpaint to: {width}x{height}, Postprocess seed: {seed}, Postprocess filler: PatchMatch"
        );
        let picture = write_like(&decoded, &image, &done, monitor, rejected)?;
        Ok(Picture { seed: Some(seed), ..picture })
    };
    let pictures = (0..expansion.count).map(make).collect::<Result<_, EngineError>>()?;
    monitor.stage(1.0)?;
    Ok(pictures)
}

/// Returns a larger picture that continues this one beyond its edges.
fn extended(
    source: &Decoded,
    (width, height): (u32, u32),
    seed: i64,
    monitor: &Monitor,
    span: (f64, f64),
) -> Result<DynamicImage, EngineError> {
    let small = &source.image;
    if (small.width(), small.height()) == (width, height) {
        return Ok(small.clone());
    }
    let mut image = picture::centred(small, (width, height));
    let hole = frame((small.width(), small.height()), (width, height));
    let (width, height) = (width as usize, height as usize);
    let area = Area { left: 0, top: 0, right: width, bottom: height };
    let style = Style::outpainting(seed.cast_unsigned());
    paint::fill(&mut image, Task { hole: &hole, inner: area, outer: area, style }, monitor, span)?;
    Ok(image)
}

/// Returns which pixels of a picture are to be painted, row by row, around a smaller one in its centre.
pub fn frame((width, height): (u32, u32), (wide, high): (u32, u32)) -> Vec<bool> {
    let (left, top) = Expansion::corner((width, height), (wide, high));
    let (left, top) = (left as usize, top as usize);
    let (right, bottom) = (left + width as usize, top + height as usize);
    let (wide, high) = (wide as usize, high as usize);
    let mut hole = vec![true; wide * high];
    for row in hole.chunks_exact_mut(wide).take(bottom).skip(top) {
        row[left..right].fill(false);
    }
    hole
}
