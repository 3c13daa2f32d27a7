//! Runs the work of a tool on a thread that may block.

use futures_util::future::BoxFuture;
use imgopen_engine::{EngineError, Job, Monitor, Output};
use tokio::task::spawn_blocking;

/// Carries out a job on a thread that may block, for [`Engine::run`](imgopen_engine::Engine::run). A panic of the work is a
/// failure of the engine.
///
/// The future ends when the job is cancelled, even if the work has not; the work looks for that by its monitor.
pub fn run<F>(job: Job, monitor: Monitor, work: F) -> BoxFuture<'static, Result<Output, EngineError>>
where
    F: FnOnce(&Job, &Monitor) -> Result<Output, EngineError> + Send + 'static,
{
    Box::pin(async move {
        let own = monitor.clone();
        // It may have waited for a thread.
        let work = spawn_blocking(move || own.check_cancelled().and_then(|()| work(&job, &own)));
        // After a cancellation the work runs on until it next checks for it, but nobody waits for it.
        match monitor.until_cancelled(work).await? {
            Ok(result) => result,
            Err(panic) => Err(EngineError::Failed(panic.to_string())),
        }
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use image::DynamicImage;
    use imgopen_engine::{Input, JobRequest};
    use imgopen_picture::{Attached, Format, encode};
    use imgopen_types::Operation;
    use imgopen_types::schema::Shape;
    use serde_json::Value;

    use super::*;

    const URL: &str = "https://example.com/picture.png";

    /// Asserts that the work of a tool ends early if its job is cancelled. [`run`] alone ends early whatever the work
    /// does, which may then run on in vain.
    pub(crate) fn assert_cancellable(
        operation: &'static Operation,
        mut body: Value,
        work: impl FnOnce(&Job, &Monitor) -> Result<Output, EngineError>,
    ) {
        for field in operation.request.fields.iter().filter(|field| field.required) {
            if body.get(field.name).is_none() && matches!(field.shape, Shape::Text(_)) {
                body[field.name] = URL.into();
            }
        }
        let image = DynamicImage::new_rgb8(60, 50);
        let bytes = encode(&image, Format::Png, &Attached::default()).unwrap();
        let input = Input { field: "sourceImage".to_owned(), url: URL.to_owned(), bytes };
        let job = Job::new(JobRequest::new("1", operation, body), "run").with_inputs(vec![input]);
        let (monitor, watch) = Monitor::new();
        watch.cancel.cancel();
        assert_eq!(work(&job, &monitor), Err(EngineError::Cancelled));
        assert_eq!(watch.progress.borrow().percent, 0.0);
    }
}
