//! Control pictures for back ends that have no preprocessors: another engine of this service makes them of the units' pictures.
//!
//! A job that is prepared has one more input for each of them, under the field that asks for it: the `module` of the unit. From
//! there on it is treated as a control picture that the caller has made.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use imgopen_engine::{Engine, EngineError, Input, Job, JobRequest, Monitor, PictureLimits, Preprocessing, Resolution};
use imgopen_picture::inspect;
use imgopen_types::operations::PREVIEW_CONTROLNET;
use serde_json::json;

use crate::generation::{ControlUnit, Fit, Generation};
use crate::refusals::Refusals;

/// The fields of `preview_controlnet`.
const PREPROCESSOR: &str = "preprocessor";
const SOURCE: &str = "sourceImage";
/// The member of [`Preprocessing`] by which an engine rejects a size.
const RESOLUTION: &str = "resolution";
/// Nothing is fetched: the picture comes with the job.
const NOWHERE: &str = "https://control.invalid/picture.png";
/// The shorter side of what a preprocessor reads, in pixels, unless a unit says otherwise: the web UI's default.
const SHORTER: u32 = 512;

/// A future that ends with a job that is ready for its back end.
pub(crate) type Preparing = BoxFuture<'static, Result<Job, EngineError>>;

/// Makes control pictures by an engine that offers `preview_controlnet`. Clones share it.
#[derive(Clone)]
pub struct ControlMaps {
    engine: Arc<dyn Engine>,
}

/// The fields of a request that stand behind those of the engine's job.
struct Fields {
    unit: String,
    module: String,
    picture: String,
    /// What asks for the size.
    resolution: String,
}

impl ControlMaps {
    /// Has an engine make them, such as `Preprocessors` of imgopen-tools. It works on this machine, does what [`Preprocessing`]
    /// says, and its [`check`](Engine::check) rejects preprocessors that it does not have.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Has the control pictures of a job made. `None` if it needs none, or has them.
    pub(crate) fn prepare(&self, job: &Job, generation: &Generation, monitor: &Monitor) -> Option<Preparing> {
        let units = asking(generation).filter(|unit| job.input(&unit.module_field()).is_err());
        let parts: Vec<_> = units.map(|unit| (Fields::of(unit, generation), part(job, unit, generation))).collect();
        if parts.is_empty() {
            return None;
        }
        // What the back end makes of the job is its progress.
        let (engine, job, monitor) = (self.engine.clone(), job.clone(), monitor.silent());
        Some(Box::pin(async move {
            let (mut inputs, mut notes) = (job.inputs().to_vec(), Vec::new());
            for (fields, part) in parts {
                let made = engine.run(part?, monitor.clone()).await.map_err(|error| fields.error(error))?;
                let none = || EngineError::Failed(format!("the engine `{}` made no control picture", engine.name()));
                notes.extend(made.notes.iter().map(|note| format!("`{}`: {note}", fields.module)));
                let made = made.pictures.into_iter().next().ok_or_else(none)?;
                inputs.push(Input { field: fields.module, url: NOWHERE.to_owned(), bytes: made.bytes });
            }
            Ok(job.with_inputs(inputs).with_notes(notes))
        }))
    }
}

/// Refuses units whose preprocessor nobody here has.
pub(crate) fn check(
    maps: Option<&ControlMaps>,
    request: &JobRequest,
    generation: &Generation,
    backend: Refusals<'_>,
) -> Result<(), EngineError> {
    for unit in asking(generation) {
        let fields = Fields::of(unit, generation);
        let Some(ControlMaps { engine }) = maps else {
            let problem = "preprocessors; make the control picture with `preview_controlnet`, and give \"none\"";
            return Err(backend.refused(&fields.module, problem));
        };
        engine.check(&asked(unit, generation, request)).map_err(|error| match error {
            EngineError::Rejected { field: Some(field), problem } if field == PREPROCESSOR => {
                let engine = engine.name();
                let problem = format!(
                    "preprocessors, and the engine `{engine}` of this service, which makes its control pictures, says: \
                     {problem}; A1111 and Forge have others; or give a finished control picture, and \"none\""
                );
                backend.refused(&fields.module, &problem)
            }
            error => fields.error(error),
        })?;
    }
    Ok(())
}

/// Returns how much memory the making of a job's control pictures takes, with the finished ones.
pub(crate) fn memory(maps: Option<&ControlMaps>, job: &Job, generation: &Generation) -> u64 {
    let Some(ControlMaps { engine }) = maps else { return 0 };
    // A picture that is not there is rejected by the run. They are made one after the other, but each stays.
    asking(generation).filter_map(|unit| Some(engine.memory(&part(job, unit, generation).ok()?))).sum()
}

/// Says who has made the control pictures of a job, and at which size, and what they have noted.
pub(crate) fn notes(maps: Option<&ControlMaps>, job: &Job, generation: &Generation) -> Vec<String> {
    let size = (generation.width, generation.height);
    let note = |unit: &ControlUnit| {
        let (field, module) = (unit.module_field(), unit.module.as_deref()?);
        let made = job.input(&field).ok()?;
        let header = inspect(&made.bytes, &limits(made, job)).ok()?;
        let fitted = match (header.width, header.height) == size {
            true => String::new(),
            false => format!(", and fitted to {}x{}", size.0, size.1),
        };
        Some(format!(
            "`{field}`: the control picture `{module}` was made by the engine `{}` of this service, at {}x{} pixels{fitted}",
            maps?.engine.name(),
            header.width,
            header.height
        ))
    };
    asking(generation).filter_map(note).chain(job.notes().iter().cloned()).collect()
}

/// Returns the limits of a control picture that was made here: its file may be larger than those of callers.
pub(crate) fn limits(made: &Input, job: &Job) -> PictureLimits {
    PictureLimits { bytes: made.bytes.len() as u64, ..*job.limits() }
}

/// Returns the units that name a preprocessor.
fn asking(generation: &Generation) -> impl Iterator<Item = &ControlUnit> {
    generation.control.iter().filter(|unit| unit.module.is_some())
}

/// Returns the job of the engine that makes a unit's control picture.
fn part(job: &Job, unit: &ControlUnit, generation: &Generation) -> Result<Job, EngineError> {
    let source = job.input(&Fields::of(unit, generation).picture)?;
    let source = Input { field: SOURCE.to_owned(), ..source.clone() };
    let request = asked(unit, generation, job.checked_request());
    Ok(Job::new(request, job.run_id()).with_inputs(vec![source]).with_limits(*job.limits()))
}

fn asked(unit: &ControlUnit, generation: &Generation, of: &JobRequest) -> JobRequest {
    let module = unit.module.as_deref().unwrap_or_default();
    let body = json!({"businessTaskId": "control", "sourceImage": NOWHERE, "preprocessor": module});
    let preprocessing = Preprocessing {
        resolution: resolution(unit, (generation.width, generation.height)),
        threshold_a: unit.threshold_a,
        threshold_b: unit.threshold_b,
    };
    let request = JobRequest::new(of.task_id(), &PREVIEW_CONTROLNET, body).with_key(of.key());
    request.with_preprocessing(preprocessing)
}

/// Pixel perfect wins over a resolution, as in the web UI.
fn resolution(unit: &ControlUnit, (width, height): (u32, u32)) -> Resolution {
    match (unit.pixel_perfect, unit.fit) {
        (true, Fit::Pad) => Resolution::Within(width, height),
        (true, Fit::Stretch | Fit::Crop | Fit::Latent) => Resolution::Covering(width, height),
        (false, _) => Resolution::Shorter(unit.resolution.unwrap_or(SHORTER)),
    }
}

impl Fields {
    fn of(unit: &ControlUnit, generation: &Generation) -> Self {
        let start = || generation.start.as_ref().map(|start| start.picture.to_owned());
        let picture = unit.picture.clone().or_else(start).unwrap_or_else(|| format!("{}.image_link", unit.path));
        let resolution = match (unit.pixel_perfect, unit.resolution) {
            (true, _) => format!("{}.pixel_perfect", unit.path),
            (false, Some(_)) => format!("{}.processor_res", unit.path),
            (false, None) => picture.clone(),
        };
        Self { unit: unit.path.clone(), module: unit.module_field(), picture, resolution }
    }

    /// Names the field of the request for that of the engine's job.
    fn error(&self, error: EngineError) -> EngineError {
        match error {
            EngineError::Rejected { field: Some(field), problem } => {
                let field = match field.as_str() {
                    PREPROCESSOR => self.module.clone(),
                    SOURCE => self.picture.clone(),
                    RESOLUTION => self.resolution.clone(),
                    member => format!("{}.{member}", self.unit),
                };
                EngineError::rejected(field, problem)
            }
            other => other,
        }
    }
}

impl fmt::Debug for ControlMaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlMaps").field("engine", &self.engine.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use imgopen_types::operations::CONTROLNET;
    use serde_json::Value;

    use super::*;

    fn generation(unit: Value) -> Generation {
        let mut given = json!({"module": "canny", "model": "n", "image_link": "https://example.com/c.png"});
        given.as_object_mut().unwrap().extend(unit.as_object().unwrap().clone());
        let scripts = json!({"sd_model_checkpoint": "m", "image_link": "https://example.com/a.png"});
        let body = json!({
            "prompt": "a", "width": 768, "height": 512, "alwayson_scripts": scripts, "controlnet": {"args": [given]},
        });
        Generation::read(&JobRequest::new("task", &CONTROLNET, body)).unwrap()
    }

    #[test]
    fn the_size_is_that_of_the_web_ui() {
        for (unit, expected) in [
            (json!({}), Resolution::Shorter(512)),
            (json!({"processor_res": -1}), Resolution::Shorter(512)),
            (json!({"processor_res": 1024}), Resolution::Shorter(1024)),
            (json!({"processor_res": 1024, "pixel_perfect": true}), Resolution::Covering(768, 512)),
            (json!({"pixel_perfect": true, "resize_mode": 1}), Resolution::Covering(768, 512)),
            (json!({"pixel_perfect": true, "resize_mode": "Resize and Fill"}), Resolution::Within(768, 512)),
        ] {
            let generation = generation(unit.clone());
            let request = asked(&generation.control[0], &generation, &JobRequest::new("1", &CONTROLNET, json!({})));
            let expected = Preprocessing { resolution: expected, threshold_a: None, threshold_b: None };
            assert_eq!(request.preprocessing(), Some(expected), "{unit}");
        }
        let generation = generation(json!({"threshold_a": 7, "threshold_b": -1}));
        let request = asked(&generation.control[0], &generation, &JobRequest::new("1", &CONTROLNET, json!({})));
        let thresholds = request.preprocessing().map(|asked| (asked.threshold_a, asked.threshold_b));
        assert_eq!(thresholds, Some((Some(7.0), None)), "-1 is the default");
    }

    #[test]
    fn rejections_name_the_fields_of_the_request() {
        let error = |unit: Value, field: &str| {
            let generation = generation(unit);
            let error = Fields::of(&generation.control[0], &generation).error(EngineError::rejected(field, "no"));
            error.to_string().split("`: no").next().unwrap().to_owned()
        };
        let at = |member: &str| format!("`controlnet.args[0].{member}");
        assert_eq!(error(json!({}), PREPROCESSOR), at("module"));
        assert_eq!(error(json!({}), SOURCE), at("image_link"));
        assert_eq!(error(json!({"image_link": null}), SOURCE), "`alwayson_scripts.image_link");
        assert_eq!(error(json!({}), "threshold_b"), at("threshold_b"));
        assert_eq!(error(json!({"processor_res": 2048}), RESOLUTION), at("processor_res"));
        assert_eq!(error(json!({"pixel_perfect": true}), RESOLUTION), at("pixel_perfect"));
        assert_eq!(error(json!({}), RESOLUTION), at("image_link"), "the default is large for it");
        let generation = generation(json!({}));
        let fields = Fields::of(&generation.control[0], &generation);
        assert_eq!(fields.error(EngineError::Cancelled), EngineError::Cancelled);
    }
}
