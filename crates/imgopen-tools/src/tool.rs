//! What the classical tools share: a thread for the work, and the form of the results.

use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{EngineError, Format, Job, Monitor, Output, Picture};
use imgopen_picture::{self as picture, Attached, Decoded, EncodeError};
use tokio::task::spawn_blocking;

/// Carries out a job on a thread that may block.
pub(crate) fn run<F>(job: Job, monitor: Monitor, work: F) -> BoxFuture<'static, Result<Output, EngineError>>
where
    F: FnOnce(&Job, &Monitor) -> Result<Output, EngineError> + Send + 'static,
{
    Box::pin(async move {
        let watched = monitor.clone();
        let work = spawn_blocking(move || work(&job, &watched));
        // A stage that has begun is not broken off, but nobody waits for it.
        match monitor.until_cancelled(work).await? {
            Ok(result) => result,
            Err(panic) => Err(EngineError::Failed(panic.to_string())),
        }
    })
}

/// Writes a result that is `source` in another form: in its format, with its colour profile, its fineness of colours and
/// the text of how it was made. `done` tells what was done to it, as the web UI's tab of extras does.
pub(crate) fn like(source: &Decoded, image: &DynamicImage, done: &str) -> Result<Picture, EncodeError> {
    let format = source.header.format;
    let attached = Attached {
        profile: source.profile.as_deref(),
        chroma: source.header.chroma,
        parameters: source.parameters.as_deref(),
        postprocessing: Some(done),
    };
    write(image, format, &attached)
}

/// Writes a result in pixels of its own, such as a drawing of edges, without loss.
pub(crate) fn drawn(image: &DynamicImage, done: &str) -> Result<Picture, EncodeError> {
    write(image, Format::Png, &Attached { postprocessing: Some(done), ..Attached::default() })
}

fn write(image: &DynamicImage, format: Format, attached: &Attached<'_>) -> Result<Picture, EncodeError> {
    let bytes = picture::encode(image, format, attached)?;
    Ok(Picture { bytes, format, width: image.width(), height: image.height(), seed: None })
}

#[cfg(test)]
pub(crate) mod tests {
    use imgopen_engine::{Input, PictureLimits};
    use imgopen_types::Operation;
    use serde_json::Value;

    use super::*;

    /// Asserts that the work of a tool ends early when its job is cancelled. [`run`] alone ends early whatever the work
    /// does, which then goes on in vain.
    pub(crate) fn assert_cancellable(
        operation: &'static Operation,
        request: Value,
        work: impl FnOnce(&Job, &Monitor) -> Result<Output, EngineError>,
    ) {
        let image = DynamicImage::new_rgb8(60, 50);
        let bytes = picture::encode(&image, Format::Png, &Attached::default()).unwrap();
        let input = Input { field: "sourceImage".to_owned(), url: "https://example.com/picture.png".to_owned(), bytes };
        let job = Job {
            task_id: "1".to_owned(),
            operation,
            request,
            inputs: vec![input],
            directives: None,
            limits: PictureLimits::default(),
        };
        let (monitor, watch) = Monitor::new();
        watch.cancel.cancel();
        assert_eq!(work(&job, &monitor), Err(EngineError::Cancelled));
        assert_eq!(watch.progress.borrow().percent, 0.0);
    }
}
