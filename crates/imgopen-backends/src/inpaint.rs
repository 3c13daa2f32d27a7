//! Inpainting by a back end: `outpaint`, `remove_object` and `change_hairstyle` with a model that makes pictures from pictures.
//!
//! Requests of `change_hairstyle` have no mask. An engine that finds hair gives its jobs one, as the input [`HOLE`], and has them
//! done by [`Inpainter::restyler`].
//!
//! The part around the hole is cut out, brought to a size that the model was made for, and its hole filled from around
//! it. The back end makes the hole from noise, which is then put back into the picture, with an edge that fades into
//! the rest. Pixels beyond that edge stay exactly as they were, except for JPEG's loss. Size, depth, channels, colour
//! profile and format are those that the built-in engine gives, so that only what is painted differs.

mod asked;
mod opacity;
mod parts;
mod region;
mod spread;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{
    BackendStatus, Engine, EngineError, Expected, Grade, Input, Job, JobRequest, Monitor, Offer, Output, Picture,
    PictureLimits, Slots,
};
use imgopen_picture::{
    Decoded, EncodeError, Expansion, centred, check_sides, decode_input, inspect, read_mask, write_like,
};
use imgopen_types::Operation;
use imgopen_types::operations::{CHANGE_HAIRSTYLE, IMAGE_TO_IMAGE, OUTPAINT, REMOVE_OBJECT};
use serde_json::{Value, json};

use crate::blocking::blocking;
use crate::settings::{BackendSettings, InpaintSettings, UNIT};
use asked::{Asked, MASK, NOWHERE, START};
use parts::Parts;
use region::{Region, work_size};

/// Bytes for each pixel of a picture: as it was read, as it is worked on, what was made at its size, and as it is
/// written.
const PIXEL: u64 = 30;
/// Bytes for each pixel of a finished picture.
const WRITTEN: u64 = 8;
/// The field of the picture.
const SOURCE: &str = "sourceImage";
/// The input with the mask of what is painted: that of `remove_object`, and one that jobs of `change_hairstyle` are given.
pub const HOLE: &str = "maskImage";
/// The members of a plan.
const SEED: &str = "seed";
const OF_ENGINE: &str = "engine";

/// What it serves of itself.
pub(crate) const OPERATIONS: [&Operation; 2] = [&OUTPAINT, &REMOVE_OBJECT];

/// An engine that serves `outpaint` and `remove_object`, or `change_hairstyle` with a mask, by another one, which offers
/// `image_to_image`. Clones share it.
#[derive(Clone)]
pub struct Inpainter {
    engine: Arc<dyn Engine>,
    name: String,
    settings: InpaintSettings,
    operations: Vec<&'static Operation>,
}

impl Inpainter {
    /// Creates the engine.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the settings.
    pub fn new(engine: Arc<dyn Engine>, name: impl Into<String>, settings: InpaintSettings) -> Result<Self, String> {
        settings.check()?;
        Ok(Self { engine, name: name.into(), settings, operations: OPERATIONS.to_vec() })
    }

    /// Creates the engine for a back end whose operator configured it by `inpaint`, under the name of the back end's
    /// engine with `-inpaint`. It offers those of its operations that the settings do not withhold.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the settings.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    ///
    /// use imgopen_backends::{Backend, BackendSettings, Inpainter, Surroundings};
    /// use imgopen_engine::Engine;
    ///
    /// # async fn open(settings: BackendSettings) -> Result<(), Box<dyn std::error::Error>> {
    /// let driver = Backend::discover(settings.clone(), &Surroundings::default()).await?.driver();
    /// let mut engines: Vec<Arc<dyn Engine>> = vec![driver];
    /// let inpainter = Inpainter::of(&engines[0], &settings)?;
    /// engines.extend(inpainter.map(|inpainter| Arc::new(inpainter) as Arc<dyn Engine>));
    /// # Ok(())
    /// # }
    /// ```
    pub fn of(engine: &Arc<dyn Engine>, settings: &BackendSettings) -> Result<Option<Self>, String> {
        let Some(inpaint) = settings.inpaint.clone() else { return Ok(None) };
        let name = format!("{}-inpaint", engine.name());
        let mut own = Self::new(engine.clone(), name, inpaint)?;
        own.operations.retain(|operation| settings.has_operation(operation.id));
        Ok(Some(own))
    }

    /// As [`of`](Self::of), creates the engine that paints hair, under the name of the back end's engine with `-hairstyle`. Its jobs
    /// of `change_hairstyle` need a further input, [`HOLE`], so it belongs into an engine that finds hair, rather than into a
    /// registry. `None` also if the settings withhold the operation.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the settings.
    pub fn restyler(engine: &Arc<dyn Engine>, settings: &BackendSettings) -> Result<Option<Self>, String> {
        let inpaint = settings.inpaint.clone().filter(|_| settings.has_operation(CHANGE_HAIRSTYLE.id));
        let Some(inpaint) = inpaint else { return Ok(None) };
        let own = Self::new(engine.clone(), format!("{}-hairstyle", engine.name()), inpaint)?;
        Ok(Some(Self { operations: vec![&CHANGE_HAIRSTYLE], ..own }))
    }

    /// Says why the engine that is used cannot be now, and whether it is known what it can.
    fn away(&self) -> (Option<String>, bool) {
        let (name, model) = (self.engine.name(), &self.settings.model);
        let offers = self.engine.offers().into_iter().filter(|offer| *offer.operation == IMAGE_TO_IMAGE);
        let offers: Vec<_> = offers.collect();
        if offers.is_empty() {
            return (Some(format!("`{name}` does not serve `image_to_image`")), true);
        }
        let fitting = offers.into_iter().filter(|offer| offer.models.has(model));
        match fitting.min_by_key(|offer| (offer.away.is_some(), !offer.is_known)) {
            Some(best) => (best.away, best.is_known),
            None => {
                let set = format!("the model \"{model}\", which its operator set as `inpaint.model`");
                (Some(format!("`{name}` does not have {set}")), true)
            }
        }
    }

    /// The request to the engine, for pictures of that size.
    fn request(&self, asked: &Asked, of: &JobRequest, size: (u32, u32), seed: i64) -> JobRequest {
        asked.request(of.task_id(), &self.settings.model, size, seed).with_key(of.key())
    }

    /// A request such as the engine will get, before anything is known of the pictures.
    fn likely(&self, asked: &Asked, of: &JobRequest) -> JobRequest {
        self.request(asked, of, (self.settings.side, self.settings.side), asked.seed.unwrap_or(0))
    }

    /// `expected` counts the job at the engine that is used, until that has it.
    async fn carry_out(self, job: Job, monitor: Monitor, expected: Option<Expected>) -> Result<Output, EngineError> {
        let asked = Asked::read(job.checked_request(), &self.settings)?;
        let planned = |member: &str| job.plan().and_then(|plan| plan.get(member)).filter(|value| !value.is_null());
        let seed = asked.seed.or_else(|| planned(SEED)?.as_i64()).unwrap_or_else(draw_seed);
        let work = {
            let (of_job, watching, (expansion, side)) =
                (job.clone(), monitor.clone(), (asked.expansion, self.settings.side));
            let reading = blocking(move || Work::read(&of_job, expansion, side, &watching));
            monitor.until_cancelled(reading).await??
        };
        let mut notes = Vec::new();
        let mut made = Vec::new();
        match &work.parts {
            Some(parts) => {
                let request = self.request(&asked, job.checked_request(), parts.region.work, seed);
                let inner = Job::new(request, job.run_id())
                    .with_inputs(vec![input(START, &parts.start), input(MASK, &parts.mask)])
                    .with_limits(limits(job.limits(), parts))
                    .with_plan(planned(OF_ENGINE).cloned());
                let running = self.engine.run(inner, monitor.clone());
                drop(expected);
                let output = running.await.map_err(|error| asked.error(error))?;
                made = output.pictures;
                notes = self.notes(&parts.region);
                notes.extend(output.notes.iter().filter_map(|note| asked.note(note)));
                if made.len() != asked.count() as usize {
                    let problem = format!("{} pictures came back in place of {}", made.len(), asked.count());
                    return Err(EngineError::Failed(problem));
                }
            }
            None => {
                drop(expected);
                notes.push("the size stays as it is, so that nothing was painted".to_owned());
            }
        }
        let (asked, model, watching) = (asked.clone(), self.settings.model.clone(), monitor.clone());
        let writing = blocking(move || work.finish(&made, &asked, (model.as_str(), seed), &watching));
        let pictures = monitor.until_cancelled(writing).await??;
        Ok(Output { pictures, notes, ..Output::default() })
    }

    /// Says how a picture was made.
    fn notes(&self, region: &Region) -> Vec<String> {
        let mut notes = vec![format!(
            "made by inpainting with the model \"{}\" of the engine `{}`",
            self.settings.model,
            self.engine.name()
        )];
        if region.is_enlarged() {
            let Region { work: (width, height), .. } = region;
            let (wide, high) = (region.width, region.height);
            notes.push(format!(
                "the new part was made in a picture of {width}x{height} pixels, enlarged to {wide}x{high}"
            ));
        }
        notes
    }
}

/// A picture that is read, and what of it is sent to the engine.
struct Work {
    /// The picture; for `outpaint`, in the middle of one of the new size.
    picture: Decoded,
    /// The number of pixels that are new.
    count: usize,
    /// `None` if there is nothing to paint.
    parts: Option<Parts>,
}

impl Work {
    fn read(job: &Job, expansion: Option<Expansion>, side: u32, monitor: &Monitor) -> Result<Self, EngineError> {
        let mut picture = decode_input(job.input(SOURCE)?, job.limits(), monitor)?;
        let hole = match expansion {
            Some(expansion) => extend(&mut picture, &expansion, job.limits())?,
            None => read_mask(job.input(HOLE)?, job.limits(), (SOURCE, &picture.image), monitor)?,
        };
        monitor.check_cancelled()?;
        let image = &picture.image;
        let region = Region::around(&hole, (image.width(), image.height()), side);
        let parts = region.map(|region| Parts::cut(image, &hole, region, monitor)).transpose()?;
        Ok(Self { count: hole.iter().filter(|hole| **hole).count(), picture, parts })
    }

    /// Puts what was made into the picture, and writes it as the picture was written.
    fn finish(
        &self,
        made: &[Picture],
        asked: &Asked,
        (model, seed): (&str, i64),
        monitor: &Monitor,
    ) -> Result<Vec<Picture>, EngineError> {
        let mut pictures = Vec::new();
        for number in 0..asked.count() {
            let mut image = self.picture.image.clone();
            let mut seed = seed.wrapping_add(number.into());
            if let (Some(parts), Some(made)) = (&self.parts, made.get(number as usize)) {
                parts.paste(made, &mut image, monitor)?;
                seed = made.seed.unwrap_or(seed);
            }
            let done = self.done(asked, &image, (model, seed));
            let unwritten = |error: EncodeError| EngineError::Failed(error.to_string());
            let picture = write_like(&self.picture, &image, &done, monitor, unwritten)?;
            // Requests of the other operations have no seed.
            pictures.push(Picture { seed: asked.expansion.is_some().then_some(seed), ..picture });
        }
        Ok(pictures)
    }

    /// Says in the picture what was done to it, as the built-in engine does.
    fn done(&self, asked: &Asked, image: &DynamicImage, (model, seed): (&str, i64)) -> String {
        let what = match asked.expansion {
            Some(_) => format!("Postprocess outpaint to: {}x{}", image.width(), image.height()),
            None if asked.is_hair => format!("Postprocess hairstyle pixels: {}", self.count),
            None => format!("Postprocess removed pixels: {}", self.count),
        };
        match self.parts {
            // A name may contain commas.
            Some(_) => format!(
                "{what}, Postprocess seed: {seed}, Postprocess filler: inpainting, Postprocess model: {}",
                Value::from(model)
            ),
            None => what,
        }
    }
}

/// Puts a picture into the middle of one of the new size. Returns the pixels around it as a hole.
fn extend(picture: &mut Decoded, expansion: &Expansion, limits: &PictureLimits) -> Result<Vec<bool>, EngineError> {
    let before = (picture.image.width(), picture.image.height());
    let size = expansion.size(before, limits)?;
    let rejected = |error: EncodeError| EngineError::rejected(expansion.larger().0, error.to_string());
    check_sides(picture.header.format.written(), size.0, size.1).map_err(rejected)?;
    let (left, top) = Expansion::corner(before, size);
    let [left, top, width, height] = [left, top, before.0, before.1].map(|length| length as usize);
    let columns = size.0 as usize;
    let mut hole = vec![true; columns * size.1 as usize];
    for row in hole.chunks_exact_mut(columns).skip(top).take(height) {
        row[left..left + width].fill(false);
    }
    if before != size {
        picture.image = centred(&picture.image, size);
    }
    Ok(hole)
}

/// The operator's limits bound what callers send; what is made of it may be somewhat larger.
fn limits(limits: &PictureLimits, parts: &Parts) -> PictureLimits {
    let bytes = parts.start.len().max(parts.mask.len()) as u64;
    PictureLimits { bytes: limits.bytes.max(bytes), pixels: limits.pixels.max(parts.pixels()), ..*limits }
}

fn input(field: &str, bytes: &Bytes) -> Input {
    Input { field: field.to_owned(), url: NOWHERE.to_owned(), bytes: bytes.clone() }
}

/// A seed that `outpaint` takes.
fn draw_seed() -> i64 {
    i64::from(fastrand::i32(0..))
}

impl Engine for Inpainter {
    fn name(&self) -> &str {
        &self.name
    }

    fn offers(&self) -> Vec<Offer> {
        let (away, is_known) = self.away();
        let offer = |&operation: &&'static Operation| Offer {
            away: away.clone(),
            is_known,
            ..Offer::new(operation, Grade::Neural)
        };
        self.operations.iter().map(offer).collect()
    }

    fn slots(&self) -> Slots {
        self.engine.slots()
    }

    /// Returns those that the engine that is used has for it, with what they serve by this one.
    fn backends(&self) -> Vec<BackendStatus> {
        let used = self.engine.backends().into_iter().filter(|used| used.operations.contains(&IMAGE_TO_IMAGE.id));
        let operations = || self.operations.iter().map(|operation| operation.id).collect();
        used.map(|used| BackendStatus { operations: operations(), ..used }).collect()
    }

    /// Its runs take places of the engine that is used.
    fn pool(&self) -> &str {
        self.engine.pool()
    }

    fn free_places(&self, operation: &Operation, _: Option<&str>) -> Option<usize> {
        let is_own = self.operations.iter().any(|own| **own == *operation);
        is_own.then(|| self.engine.free_places(&IMAGE_TO_IMAGE, Some(&self.settings.model))).flatten()
    }

    fn expect_job(&self, operation: &Operation, _: Option<&str>) -> Option<Expected> {
        let is_own = self.operations.iter().any(|own| **own == *operation);
        is_own.then(|| self.engine.expect_job(&IMAGE_TO_IMAGE, Some(&self.settings.model))).flatten()
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        let asked = Asked::read(request, &self.settings)?;
        self.engine.check(&self.likely(&asked, request)).map_err(|error| asked.error(error))
    }

    /// Keeps the seed, and what the engine that is used wants to keep.
    fn plan<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        Box::pin(async move {
            let asked = Asked::read(request, &self.settings)?;
            let likely = self.likely(&asked, request);
            let of_engine = self.engine.plan(&likely).await.map_err(|error| asked.error(error))?;
            Ok(Some(json!({ SEED: asked.seed.unwrap_or_else(draw_seed), OF_ENGINE: of_engine })))
        })
    }

    fn memory(&self, job: &Job) -> u64 {
        // A request that cannot be read is rejected by the run.
        let Ok(asked) = Asked::read(job.checked_request(), &self.settings) else { return 0 };
        let Some(header) = job.input(SOURCE).ok().and_then(|input| inspect(&input.bytes, job.limits()).ok()) else {
            return 0;
        };
        let (ratio, count) = asked.expansion.map_or((1.0, 1), |of| (of.horizontal * of.vertical, u64::from(of.count)));
        let pixels = ((header.pixels() as f64 * ratio) as u64).min(job.limits().pixels.max(header.pixels()));
        // Sides are rounded to units.
        let (width, height) = work_size((header.width, header.height), self.settings.side);
        let request = self.request(&asked, job.checked_request(), (width + UNIT, height + UNIT), 0);
        let of_engine = self.engine.memory(&Job::new(request, job.run_id()).with_limits(*job.limits()));
        (pixels * (PIXEL + WRITTEN * count)).saturating_add(of_engine)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        // The pictures are read before the engine that is used gets its job.
        let expected = self.engine.expect_job(&IMAGE_TO_IMAGE, Some(&self.settings.model));
        Box::pin(self.clone().carry_out(job, monitor, expected))
    }

    fn discard<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        self.engine.discard(task, run)
    }

    fn interrupt<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        self.engine.interrupt(task, run)
    }

    fn forget<'a>(&'a self, task: &'a str) -> BoxFuture<'a, ()> {
        self.engine.forget(task)
    }
}

impl fmt::Debug for Inpainter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Inpainter");
        shown.field("engine", &self.engine.name()).field("name", &self.name).field("settings", &self.settings).finish()
    }
}
