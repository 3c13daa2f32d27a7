//! Printing a text or a picture onto a picture.
//!
//! - **Size.** The mark is `scale` times as wide as the picture; without `scale` a quarter, and letters then are no larger than
//!   a sixteenth of the shorter side. It always lies whole inside the picture and its margins: it shrinks to fit. Lines of a
//!   text that would come out too small are broken; if that is not enough, the text is set wider than `scale` says, up to the
//!   margins; and if it still cannot be read at 8 pixels, it is refused.
//! - **Margin.** Without `margin`, a fiftieth of the shorter side; between copies of `tile` the height of the mark, and
//!   at least that fiftieth.
//! - **Texts** are shaped, in both directions of writing, with fonts that come along: Latin, Greek, Cyrillic, Arabic, Hebrew,
//!   Thai, Devanagari, the usual Chinese, Japanese and Korean, and emoji in one colour. What these lack is looked for in the
//!   fonts of the machine. A character that no font has is refused by name.
//! - **Colours.** Letters are white with a dark edge on dark ground and black with a light edge on light ground, each copy by
//!   the ground below it. Pictures keep their colours; a gray picture becomes coloured only under a coloured mark.
//! - **Pictures as marks** keep their shape and their transparency, and are resampled by Lanczos. Their colour profile is not
//!   looked at.
//!
//! Bits per channel, transparency and colour profile are those of the source, and so is the format.

mod blend;
mod fonts;
mod layer;
mod order;
mod outline;
mod place;
mod text;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{Engine, EngineError, Grade, Job, Monitor, Offer, Output};
use imgopen_picture as picture;
use imgopen_types::{Operation, operations};
use serde_json::Value;

use self::blend::Blend;
use self::fonts::Library;
use self::layer::Mark;
use self::order::{Order, What};
use self::place::Space;
use crate::{lanczos, tool};

/// The share of the picture's width that a mark takes where the request has none.
const SCALE: f64 = 0.25;

/// The engine that prints marks. It offers `watermark_image`. Clones share their fonts, which are read when first needed.
///
/// ```
/// use imgopen_engine::Engine;
/// use imgopen_tools::Watermark;
/// use imgopen_types::operations::WATERMARK_IMAGE;
/// use serde_json::json;
///
/// let engine = Watermark::new();
/// let request = json!({"sourceImage": "https://example.com/photo.png", "watermarkText": "© 你好"});
/// assert!(engine.check(&WATERMARK_IMAGE, &request, None).is_ok());
/// let blank = json!({"sourceImage": "https://example.com/photo.png", "watermarkText": "  "});
/// let error = engine.check(&WATERMARK_IMAGE, &blank, None).unwrap_err();
/// assert_eq!(error.to_string(), "`watermarkText`: nothing to see in it; give a text of visible characters");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Watermark {
    library: Arc<Library>,
}

impl Watermark {
    /// The engine.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prints a mark onto a picture in memory. `request` is one of `watermark_image`; its addresses are not looked at, and
    /// `mark` is the picture to print if it asks for one.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the field that is wrong, or that asks for what the picture has no room for.
    /// [`EngineError::Failed`] for a picture or a mark without pixels, and for pixels of other kinds than 8 and 16 bits a
    /// channel, none of which decoding gives.
    pub fn print(
        &self,
        image: DynamicImage,
        mark: Option<DynamicImage>,
        request: &Value,
    ) -> Result<DynamicImage, EngineError> {
        let (order, mut canvas) = (Order::read(request)?, Canvas { image, profile: None });
        canvas.mark(&self.library, &order, mark)?;
        Ok(canvas.image)
    }
}

impl Engine for Watermark {
    fn name(&self) -> &'static str {
        "watermark"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::new(&operations::WATERMARK_IMAGE, Grade::Classical)]
    }

    fn check(&self, _: &Operation, request: &Value, _: Option<&str>) -> Result<(), EngineError> {
        // Whether there is a font for each character is found out by the job, for fonts may have to be read for it.
        Order::read(request).map(drop)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let library = self.library.clone();
        tool::run(job, monitor, move |job, monitor| serve(&library, job, monitor))
    }
}

fn serve(library: &Library, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
    let order = Order::read(&job.request)?;
    let mut source = picture::decode_input(job.input("sourceImage")?, &job.limits)?;
    let mark = match order.what {
        What::Text(_) => None,
        What::Picture => Some(picture::decode_input(job.input("watermarkImage")?, &job.limits)?.image),
    };
    monitor.stage(0.3)?;
    let mut canvas = Canvas { image: std::mem::take(&mut source.image), profile: source.profile.take() };
    canvas.mark(library, &order, mark)?;
    source.profile = canvas.profile;
    monitor.stage(0.7)?;
    let done = format!("Postprocess watermark: {}", order.position.as_str());
    let picture = tool::like(&source, &canvas.image, &done)
        .map_err(|error| EngineError::Failed(format!("the marked picture cannot be written: {error}")))?;
    monitor.stage(1.0)?;
    Ok(Output { pictures: vec![picture], ..Output::default() })
}

/// What is printed on.
struct Canvas {
    image: DynamicImage,
    profile: Option<Vec<u8>>,
}

impl Canvas {
    /// Prints the mark at all its places.
    fn mark(&mut self, library: &Library, order: &Order, mark: Option<DynamicImage>) -> Result<(), EngineError> {
        with_pixels(&self.image)?;
        let space = Space::new(order, self.image.width(), self.image.height())?;
        let mark = match (&order.what, mark) {
            (What::Text(text), _) => text_mark(library, text, order, &space)?,
            (What::Picture, Some(mark)) => picture_mark(mark, &space, is_deep(&self.image))?,
            (What::Picture, None) => {
                return Err(EngineError::rejected("watermarkImage", "missing; give the picture to print"));
            }
        };
        if mark.has_colour() && !self.image.color().has_color() {
            // The profile is one for gray.
            self.image = coloured(std::mem::take(&mut self.image));
            self.profile = None;
        }
        let (width, height) = mark.size();
        let mut blend = Blend::new(&mut self.image, &mark, order.opacity)?;
        for (x, y) in space.places(order, width, height) {
            blend.at(x, y);
        }
        Ok(())
    }
}

fn text_mark(library: &Library, text: &str, order: &Order, space: &Space) -> Result<Mark, EngineError> {
    text::set(library.fonts_for(text)?, text, order.position, space)
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
    use serde_json::json;

    use super::*;

    #[test]
    fn cancelling_is_heeded() {
        let work = |job: &Job, monitor: &Monitor| serve(&Library::default(), job, monitor);
        tool::tests::assert_cancellable(&operations::WATERMARK_IMAGE, json!({"watermarkText": "a"}), work);
    }
}
