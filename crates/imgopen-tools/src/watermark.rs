//! Prints a text or a picture onto a picture.
//!
//! - **Size.** The mark is `scale` times as wide as the picture; without `scale` a quarter, with letters no larger than a
//!   sixteenth of the shorter side. It shrinks to fit inside the margins. Lines of a text that would come out too small are
//!   wrapped; if that is not enough, the text becomes wider than `scale`, up to the margins; and if it still does not fit at
//!   8 pixels, it is rejected.
//! - **Margin.** Without `margin`, a fiftieth of the shorter side; between copies of `tile` the height of the mark, and at
//!   least that fiftieth.
//! - **Texts** are shaped, left to right and right to left, with bundled fonts: Latin, Greek, Cyrillic, Arabic, Hebrew, Thai,
//!   Devanagari, Bengali, Tamil, common Chinese, Japanese and Korean, and emoji in one colour. Texts with kana have the Japanese
//!   forms of Chinese characters. Fonts of the machine supply what these lack. A character that no font has is rejected by name.
//! - **Colours.** Letters are white with a dark outline on a dark background and black with a light one on a light
//!   background, chosen for each copy. Pictures keep their colours; a gray picture becomes coloured only under a coloured
//!   mark.
//! - **Pictures as marks** keep their aspect ratio and transparency, and are resampled with a Lanczos filter. Their colours are
//!   converted to the colour space of the picture, so that they look as they do alone.
//!
//! Format, bits per channel, transparency, colour profile and what else the file carries are those of the source.

mod blend;
mod fonts;
mod layer;
mod order;
mod outline;
mod place;
mod request;
mod text;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use image::{DynamicImage, GenericImageView};
use imgopen_engine::{Engine, EngineError, Grade, Job, JobRequest, Monitor, Offer, Output};
use imgopen_picture::{self as picture, Decoded, write_like};
use imgopen_types::{WatermarkImageRequest, operations};

use self::blend::Blend;
use self::fonts::Library;
use self::layer::Mark;
use self::place::Space;
use self::request::{Content, Print};
use crate::{blocking, lanczos, memory};

/// The engine `watermark`, which prints marks. It offers `watermark_image`. Clones share their fonts, which are read when
/// first needed.
///
/// ```
/// use imgopen_engine::{Engine, JobRequest};
/// use imgopen_tools::Watermark;
/// use imgopen_types::operations::WATERMARK_IMAGE;
/// use serde_json::json;
///
/// let check = |text: &str| {
///     let source = "https://example.com/photo.png";
///     let body = json!({"businessTaskId": "1", "sourceImage": source, "watermarkText": text});
///     Watermark::new().check(&JobRequest::new("1", &WATERMARK_IMAGE, body))
/// };
/// assert!(check("© 你好").is_ok());
/// let error = check("  ").unwrap_err();
/// assert_eq!(error.to_string(), "`watermarkText`: nothing to see in it; give a text of visible characters");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Watermark {
    library: Arc<Library>,
}

impl Watermark {
    /// Creates the engine.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prints a mark onto a picture in memory. The addresses of the request are ignored; `mark` is the picture to print if it
    /// asks for one.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the field that is invalid or does not fit the picture. [`EngineError::Failed`] for
    /// pictures without pixels or with other types than 8 and 16 bits a channel, which decoding never returns.
    pub fn print(
        &self,
        image: DynamicImage,
        mark: Option<DynamicImage>,
        request: &WatermarkImageRequest,
    ) -> Result<DynamicImage, EngineError> {
        let (print, mut canvas) = (Print::of(request)?, Canvas { image, profile: None });
        canvas.mark(&self.library, &print, mark, &Monitor::new().0)?;
        Ok(canvas.image)
    }
}

impl Engine for Watermark {
    fn name(&self) -> &str {
        "watermark"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::new(&operations::WATERMARK_IMAGE, Grade::Classical)]
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        // Whether there is a font for each character is left to the job, because fonts may have to be read for it.
        Print::of(&request.typed()?)?;
        Ok(())
    }

    fn memory(&self, job: &Job) -> u64 {
        memory::of(job, 1.0)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let library = self.library.clone();
        blocking::run(job, monitor, move |job, monitor| serve(&library, job, monitor))
    }
}

fn serve(library: &Library, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
    let print = Print::of(&job.request()?)?;
    let mut source = picture::decode_input(job.input("sourceImage")?, job.limits(), monitor)?;
    let mark = match print.content {
        Content::Text(_) => None,
        Content::Picture => Some(picture::decode_input(job.input("watermarkImage")?, job.limits(), monitor)?),
    };
    monitor.stage(0.2)?;
    let mark = mark.map(|mark| matched(mark, &mut source, monitor)).transpose()?;
    monitor.stage(0.3)?;
    let mut canvas = Canvas { image: std::mem::take(&mut source.image), profile: source.profile.take() };
    canvas.mark(library, &print, mark, monitor)?;
    source.profile = canvas.profile;
    monitor.stage(0.7)?;
    let done = format!("Postprocess watermark: {}", print.position.as_str());
    let failed = |error| EngineError::Failed(format!("the marked picture cannot be written: {error}"));
    let picture = write_like(&source, &canvas.image, &done, monitor, failed)?;
    monitor.stage(1.0)?;
    Ok(Output { pictures: vec![picture], ..Output::default() })
}

/// Returns a mark with the colours that it has to have in the picture to look as it does alone. A gray picture, which becomes
/// coloured under a coloured mark, is prepared for it.
fn matched(mut mark: Decoded, source: &mut Decoded, monitor: &Monitor) -> Result<DynamicImage, EngineError> {
    if source.image.color().has_color() {
        return Ok(picture::to_space_of(mark, source));
    }
    if has_colour(&mark.image, monitor)? {
        picture::to_srgb(source);
        picture::to_srgb(&mut mark);
    }
    Ok(mark.image)
}

/// Returns whether any visible pixel is neither black, gray nor white, however little that shows.
fn has_colour(image: &DynamicImage, monitor: &Monitor) -> Result<bool, EngineError> {
    if !image.color().has_color() {
        return Ok(false);
    }
    let differ = |[red, green, blue]: [u16; 3]| red != green || green != blue;
    let is_coloured = |x, y| match image {
        DynamicImage::ImageRgb16(pixels) => differ(pixels.get_pixel(x, y).0),
        DynamicImage::ImageRgba16(pixels) => {
            let [red, green, blue, alpha] = pixels.get_pixel(x, y).0;
            alpha > 0 && differ([red, green, blue])
        }
        other => {
            let [red, green, blue, alpha] = other.get_pixel(x, y).0;
            alpha > 0 && differ([red, green, blue].map(u16::from))
        }
    };
    for y in 0..image.height() {
        monitor.check_cancelled()?;
        if (0..image.width()).any(|x| is_coloured(x, y)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The picture that is printed on.
struct Canvas {
    image: DynamicImage,
    profile: Option<Vec<u8>>,
}

impl Canvas {
    /// Prints the mark at all its positions.
    fn mark(
        &mut self,
        library: &Library,
        print: &Print,
        mark: Option<DynamicImage>,
        monitor: &Monitor,
    ) -> Result<(), EngineError> {
        with_pixels(&self.image)?;
        let space = Space::new(print, self.image.width(), self.image.height())?;
        let mark = match (&print.content, mark) {
            (Content::Text(text), _) => text_mark(library, text, print, &space, monitor)?,
            (Content::Picture, Some(mark)) => picture_mark(mark, &space, is_deep(&self.image))?,
            (Content::Picture, None) => {
                return Err(EngineError::rejected("watermarkImage", "missing; give the picture to print"));
            }
        };
        monitor.check_cancelled()?;
        if mark.has_colour() && !self.image.color().has_color() {
            // The profile is for gray.
            self.image = coloured(std::mem::take(&mut self.image));
            self.profile = None;
        }
        let (width, height) = mark.size();
        let mut blend = Blend::new(&mut self.image, &mark, print.opacity)?;
        for (x, y) in space.places(print, width, height) {
            blend.at(x, y, monitor)?;
        }
        Ok(())
    }
}

fn text_mark(
    library: &Library,
    text: &str,
    print: &Print,
    space: &Space,
    monitor: &Monitor,
) -> Result<Mark, EngineError> {
    text::set(library.fonts_for(text)?, text, print.position, space, monitor)
}

fn picture_mark(mark: DynamicImage, space: &Space, deep: bool) -> Result<Mark, EngineError> {
    with_pixels(&mark)?;
    let (width, height) = space.fit(mark.width(), mark.height());
    Ok(Mark::picture(lanczos::resize(mark, width, height)?, deep))
}

fn with_pixels(image: &DynamicImage) -> Result<(), EngineError> {
    match image.width() > 0 && image.height() > 0 {
        true => Ok(()),
        false => Err(EngineError::Failed("a picture without pixels cannot be printed on, nor printed".to_owned())),
    }
}

fn is_deep(image: &DynamicImage) -> bool {
    image.color().bytes_per_pixel() / image.color().channel_count() > 1
}

fn coloured(image: DynamicImage) -> DynamicImage {
    match (is_deep(&image), image.color().has_alpha()) {
        (false, false) => image.into_rgb8().into(),
        (false, true) => image.into_rgba8().into(),
        (true, false) => image.into_rgb16().into(),
        (true, true) => image.into_rgba16().into(),
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Rgb, Rgba};
    use serde_json::json;

    use super::*;

    #[test]
    fn cancellation_stops_the_work() {
        let work = |job: &Job, monitor: &Monitor| serve(&Library::default(), job, monitor);
        blocking::tests::assert_cancellable(&operations::WATERMARK_IMAGE, json!({"watermarkText": "a"}), work);
    }

    #[test]
    fn colour_is_found_in_every_depth_where_it_is_visible() {
        let deep = |pixel: [u16; 3]| DynamicImage::from(ImageBuffer::from_pixel(3, 2, Rgb(pixel)));
        let clear = |alpha: u8| DynamicImage::from(ImageBuffer::from_pixel(3, 2, Rgba([9_u8, 8, 9, alpha])));
        let (monitor, watch) = Monitor::new();
        for (image, expected) in [
            (deep([1000; 3]), false),
            (deep([1000, 1001, 1000]), true),
            (clear(0), false),
            (clear(1), true),
            (DynamicImage::new_luma8(3, 2), false),
        ] {
            assert_eq!(has_colour(&image, &monitor), Ok(expected), "{image:?}");
        }
        watch.cancel.cancel();
        assert_eq!(has_colour(&deep([7; 3]), &monitor), Err(EngineError::Cancelled));
    }
}
