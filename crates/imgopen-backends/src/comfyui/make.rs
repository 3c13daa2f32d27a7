//! Makes the pictures of a job: reads and uploads what it starts from, runs one prompt for each picture, and fetches
//! the results.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{EngineError, Job, Monitor, Output};
use imgopen_picture::flatten;

use super::build::{self, Picture};
use super::graph::saving;
use super::ids::Names;
use super::inputs::{Inputs, upload};
use super::instance::Instance;
use super::lists::Lists;
use super::parameters;
use super::result::{Expected, finish};
use super::run::Runner;
use super::template::Template;
use crate::blocking::blocking;
use crate::control_maps;
use crate::generation::{Checkpoint, MOST_PICTURES, PIXEL};
use crate::http::CallError;
use crate::pictures::{self, marked, png};
use crate::seed;

/// Bytes of a file beside its pixels.
const FILE: u64 = 1024 * 1024;
/// How long the fetching of a picture may take.
const FETCH: Duration = Duration::from_secs(300);
/// How often a picture is made whose file is gone.
const ATTEMPTS: u32 = 2;
/// The pixels that a workflow makes of one pixel, at most.
const ENLARGED: u64 = 4;
/// The pixels of a picture whose size is not known.
const USUAL: u64 = 1024 * 1024;
/// What the history proves.
const UNPROVEN: &str =
    "the back end repeats the workflow that it was sent; it does not report what each node made of it";

impl Instance {
    /// Has the control pictures of a job made. A workflow of the operator takes those of the caller, as they are.
    pub(super) fn prepare(&self, job: &Job, monitor: &Monitor) -> Option<BoxFuture<'static, Result<Job, EngineError>>> {
        if self.template(job.operation()).is_some() {
            return None;
        }
        // A request that cannot be read is rejected by the run.
        let (generation, _) = self.generation(job.checked_request()).ok()?;
        self.control_maps.as_ref()?.prepare(job, &generation, monitor)
    }

    /// Carries out a job.
    pub(super) async fn carry_out(self: Arc<Self>, job: Job, monitor: Monitor) -> Result<Output, EngineError> {
        let lists = self.server.lists().await?;
        let result = match self.template(job.operation()) {
            Some(template) => self.fill(template, &lists, &job, &monitor).await,
            None => self.generate(&lists, &job, &monitor).await,
        };
        result.inspect_err(|error| {
            if matches!(error, EngineError::Unavailable { .. }) {
                self.server.lost(error);
            }
        })
    }

    /// Makes pictures by graphs of ours.
    async fn generate(&self, lists: &Lists, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
        let (generation, mut notes) = self.generation(job.checked_request())?;
        generation.check_pixels(job.limits())?;
        let mut resolved = self.resolve(&generation, lists).inspect_err(|_| self.server.refresh_soon())?;
        notes.append(&mut resolved.notes);
        notes.extend(control_maps::notes(self.control_maps.as_ref(), job, &generation));
        notes.push(UNPROVEN.to_owned());
        let seed = seed::of(generation.seed, job);
        let (owned, of_job, watching) = (generation.clone(), job.clone(), monitor.clone());
        let inputs = blocking(move || Inputs::read(&of_job, &owned, &watching)).await?;
        let uploads = inputs.upload(&self.server.http).await.map_err(|error| self.error(error))?;
        let names = Names::new(job.task_id());
        let mut runner = Runner::open(&self.server, monitor, &names, generation.pictures()).await?;
        let kept = inputs.kept.map(Arc::new);
        let mut output = Output { notes, ..Output::default() };
        for index in 0..generation.pictures() {
            let seed = seed + i64::from(index);
            let (width, height) = generation.final_size();
            let limit = FILE + u64::from(width) * u64::from(height) * 8;
            let graph =
                |prefix: &str| build::picture((&generation, &resolved), (lists, self.name()), &uploads, seed, prefix);
            let files = self.files((&mut runner, &names, index), graph, (limit, 1)).await?;
            let expected = Expected {
                size: Some((width, height)),
                seed,
                parameters: Some(parameters::parameters(&generation, &resolved, seed, lists.version.as_deref())),
                format: generation.format,
                limits: *job.limits(),
            };
            for file in files {
                let (expected, kept, name) = (expected.clone(), kept.clone(), self.name().to_owned());
                let watching = monitor.clone();
                let finished = move || finish(&file, &expected, kept.as_deref(), &name, &watching);
                output.pictures.push(blocking(finished).await?);
            }
        }
        self.note_loaded(match &generation.checkpoint {
            Checkpoint::Named(name) => Some(name.clone()),
            Checkpoint::Flux(_) => None,
        });
        Ok(output)
    }

    /// Makes pictures by a workflow of the operator.
    async fn fill(
        &self,
        template: &Template,
        lists: &Lists,
        job: &Job,
        monitor: &Monitor,
    ) -> Result<Output, EngineError> {
        let filling = template.request(job.checked_request(), self.name())?;
        let seed = seed::of(filling.seed, job);
        let mut uploads = BTreeMap::new();
        let pictures = template.pictures();
        let source = pictures.iter().find(|picture| !picture.is_mask && job.input(&picture.field).is_ok());
        let source = source.map(|picture| picture.field.clone());
        for wanted in pictures {
            if job.input(&wanted.field).is_err() {
                // The request does not name it, and the workflow may have a default.
                continue;
            }
            let (field, of_job, watching) = (wanted.field.clone(), job.clone(), monitor.clone());
            let source = source.clone();
            let file = blocking(move || {
                png(&match wanted.is_mask {
                    true => mask_of(&of_job, &wanted.field, source.as_deref(), &watching)?,
                    false => flatten(pictures::read(&of_job, &wanted.field, &watching)?),
                })
            });
            let name = upload(&self.server.http, &file.await?).await.map_err(|error| self.error(error))?;
            uploads.insert(field, name);
        }
        let names = Names::new(job.task_id());
        let mut runner = Runner::open(&self.server, monitor, &names, filling.pictures).await?;
        let mut output = Output { notes: vec![UNPROVEN.to_owned()], ..Output::default() };
        for index in 0..filling.pictures {
            let seed = seed + i64::from(index);
            let graph = |prefix: &str| {
                let graph = template.fill(&filling, (lists, self.name()), &uploads, seed, prefix)?;
                Ok(Picture { graph, passes: Vec::new() })
            };
            let limit = FILE + job.limits().pixels * 8;
            let files = self.files((&mut runner, &names, index), graph, (limit, MOST_PICTURES as usize)).await?;
            let expected = Expected {
                size: None,
                seed,
                parameters: filling.parameters(job.operation(), seed),
                format: filling.format,
                limits: *job.limits(),
            };
            for file in files {
                let (expected, name, watching) = (expected.clone(), self.name().to_owned(), monitor.clone());
                let picture = blocking(move || finish(&file, &expected, None, &name, &watching)).await?;
                if let Some((width, height)) = filling.size()
                    && (width, height) != (picture.width, picture.height)
                {
                    let made = format!("{}x{}", picture.width, picture.height);
                    output.notes.push(format!("`width`: the workflow made {made} pixels of {width}x{height}"));
                }
                output.pictures.push(picture);
            }
        }
        output.notes.dedup();
        self.note_loaded(filling.model().map(str::to_owned));
        Ok(output)
    }

    /// Has the server make a picture, and fetches its files: at most so many, of at most so many bytes each. The server does not
    /// make a file again that it believes to have, so a file that is gone gets another name.
    async fn files(
        &self,
        (runner, names, index): (&mut Runner<'_>, &Names, u32),
        graph: impl Fn(&str) -> Result<Picture, EngineError>,
        (limit, most): (u64, usize),
    ) -> Result<Vec<Bytes>, EngineError> {
        for attempt in 0..ATTEMPTS {
            let picture = graph(&names.picture(index, attempt))?;
            let entry = runner.make(index, &picture).await?;
            let places = entry.files(&saving(&picture.graph));
            if places.is_empty() {
                return Err(self.failed("it made no picture"));
            }
            if places.len() > most {
                let problem = format!("{} files came back for one picture, more than {most}", places.len());
                return Err(self.failed(&problem));
            }
            let mut files = Vec::new();
            for place in &places {
                match self.server.http.file(&place.path(), limit, FETCH).await {
                    Ok(file) => files.push(file),
                    Err(error) if error.is_missing() => break,
                    Err(error) => return Err(self.error(error)),
                }
            }
            if files.len() == places.len() {
                return Ok(files);
            }
        }
        Err(self.failed("the file of a picture is gone"))
    }

    fn failed(&self, problem: &str) -> EngineError {
        EngineError::Failed(format!("the back end `{}` did not make what was asked for: {problem}", self.name()))
    }

    fn error(&self, error: CallError) -> EngineError {
        error.into_engine(self.name())
    }

    /// Returns how much memory a job takes here.
    pub(super) fn memory(&self, job: &Job) -> u64 {
        let size = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        match self.template(job.operation()) {
            Some(template) => {
                let inputs = job.inputs().iter().filter_map(|input| {
                    let header = imgopen_picture::inspect(&input.bytes, job.limits()).ok()?;
                    Some(size((header.width, header.height)))
                });
                // A request that cannot be read is rejected by the run.
                let Ok(filling) = template.request(job.checked_request(), self.name()) else { return 0 };
                let largest = inputs.chain(filling.size().map(size)).max().unwrap_or(USUAL) * ENLARGED;
                u64::from(filling.pictures) * largest.min(job.limits().pixels) * PIXEL
            }
            None => match self.generation(job.checked_request()) {
                Ok((generation, _)) => {
                    generation.memory() + control_maps::memory(self.control_maps.as_ref(), job, &generation)
                }
                Err(_) => 0,
            },
        }
    }
}

/// Reads a mask for a workflow, which marks a part of the picture in the field `source`. Blocks.
fn mask_of(job: &Job, field: &str, source: Option<&str>, monitor: &Monitor) -> Result<DynamicImage, EngineError> {
    let shades = match source {
        Some(source) => {
            let picture = pictures::read(job, source, monitor)?;
            marked(job, field, Some((source, &picture)), monitor)?
        }
        None => marked(job, field, None, monitor)?,
    };
    Ok(DynamicImage::from(shades).into_rgb8().into())
}
