//! The pictures of a request as the server takes them.

use imgopen_engine::{EngineError, Job, Monitor};
use imgopen_picture::flatten;

use super::body::Encoded;
use crate::generation::Generation;
use crate::pictures::{marked, read, sent};

/// Reads the pictures of a job, and writes them as PNG. Blocks.
pub(super) fn encoded(job: &Job, generation: &Generation, monitor: &Monitor) -> Result<Encoded, EngineError> {
    let read = |field: &str| read(job, field, monitor);
    let start = generation.start.as_ref();
    let mask = start.and_then(|start| start.mask.as_ref());
    let control = generation.control.iter().map(|unit| {
        let field = unit.picture.as_deref();
        field.map(|field| sent(&flatten(read(field)?))).transpose()
    });
    let field = start.map(|start| start.picture);
    let start = field.map(read).transpose()?;
    let mask = mask.map(|mask| marked(job, mask.picture, field.zip(start.as_ref()), monitor)).transpose()?;
    Ok(Encoded {
        start_size: start.as_ref().map(|image| (image.width(), image.height())),
        start: start.map(|image| sent(&image)).transpose()?,
        mask: mask.map(|mask| sent(&mask.into())).transpose()?,
        control: control.collect::<Result<_, _>>()?,
    })
}
