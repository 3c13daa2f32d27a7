//! The pictures of a job, fitted to its size.

use image::{GrayImage, RgbImage};
use imgopen_engine::{EngineError, Job, Monitor};
use imgopen_picture::flatten;

use super::body::Encoded;
use crate::generation::Generation;
use crate::pictures::{control, fitted, fitted_control, marked, prepared, read, sent};

/// The pictures of a job.
#[derive(Debug, Clone, Default)]
pub(super) struct Inputs {
    pub encoded: Encoded,
    /// The picture that is given, with the mask, for what is not redrawn.
    pub under: Option<(RgbImage, GrayImage)>,
}

impl Inputs {
    /// Reads the pictures. Blocks.
    pub(super) fn read(job: &Job, generation: &Generation, monitor: &Monitor) -> Result<Self, EngineError> {
        let size = (generation.width, generation.height);
        let (mut inputs, mut start) = (Self::default(), None);
        if let Some(rules) = &generation.start {
            let given = read(job, rules.picture, monitor)?;
            let shades = rules.mask.as_ref().map(|mask| {
                let shades = marked(job, mask.picture, Some((rules.picture, &given)), monitor)?;
                prepared(shades, mask, monitor)
            });
            let shades = shades.transpose()?;
            let given = flatten(given);
            let picture = fitted(&given, rules.fit, size);
            inputs.encoded.start = Some(sent(&picture)?);
            if let Some(shades) = shades {
                let shades = fitted(&shades.into(), rules.fit, size);
                inputs.encoded.mask = Some(sent(&shades)?);
                inputs.under = Some((picture.to_rgb8(), shades.to_luma8()));
            }
            start = Some(given);
        }
        if let Some(unit) = generation.control.first() {
            let picture = control(job, unit, start.as_ref(), monitor)?;
            inputs.encoded.control = Some(sent(&fitted_control(&picture, unit.fit, size))?);
        }
        Ok(inputs)
    }
}
