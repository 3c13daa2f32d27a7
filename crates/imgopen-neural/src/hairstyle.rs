//! Gives the person of a portrait another hairstyle, or their hair another colour.
//!
//! | asked for | done by | grade |
//! |---|---|---|
//! | another style | a back end that inpaints: it paints the hair, by words made of `hairStyle`, `hairColor` and `prompt` | neural |
//! | a [`KEPT`] style in a colour | recolouring: strands, lights and shades stay as they are | draft |
//!
//! In both cases, the hair is found by a net that finds people, the faces, and the colours of crown, cheeks and chest. Without a net
//! nothing is offered. Of several people, the one with the largest face is taken, and what belongs to the others stays. Pixels beyond the hair, and beyond
//! what a new style may cover, stay exactly as they were. Names of colours are those of hair; `#rrggbb` is read as sRGB.
//!
//! An engine that paints is given each job with a further input, `maskImage`, the size of the picture and white where to paint.

mod asked;
mod hair;
mod head;
mod recolour;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{
    BackendStatus, Engine, EngineError, Expected, Grade, Input, Job, JobRequest, Monitor, Offer, Output, PictureLimits,
    Slots,
};
use imgopen_picture::{self as picture, EncodeError, write_like, write_png};
use imgopen_tools::{blocking, memory};
use imgopen_types::operations::CHANGE_HAIRSTYLE;
use imgopen_types::{ChangeHairstyleRequest, Operation};
use serde_json::Value;

use self::asked::Asked;
pub use self::asked::KEPT;
use self::hair::Hair;
use self::head::Head;
use crate::background::People;
use crate::face::{self, FoundFace};
use crate::nets::{Nets, PORTRAIT, unavailable};

/// The field of the picture.
const SOURCE: &str = "sourceImage";

/// The input that an engine that paints is given.
const HOLE: &str = "maskImage";

/// The engine `hairstyle`, which recolours hair while there is a net that finds people, or one with the name of a back end that
/// also has hair painted by that.
#[derive(Clone)]
pub struct Hairstyle {
    nets: Nets,
    painter: Option<Arc<dyn Engine>>,
}

impl Hairstyle {
    /// Creates the engine that recolours.
    pub fn new(nets: Nets) -> Self {
        Self { nets, painter: None }
    }

    /// Creates an engine that has new styles painted by another one, which offers `change_hairstyle` for jobs with a mask, as
    /// `Inpainter::restyler` of imgopen-backends makes it. It has the name of that one, and takes its slots.
    pub fn with_painter(nets: Nets, painter: Arc<dyn Engine>) -> Self {
        Self { nets, painter: Some(painter) }
    }

    /// Returns what is asked for.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] also if nothing here paints.
    fn asked(&self, request: &JobRequest) -> Result<Asked, EngineError> {
        let asked = Asked::read(&request.typed::<ChangeHairstyleRequest>()?)?;
        if asked == Asked::Restyle && self.painter.is_none() {
            let problem = "no back end is configured that paints hair, so that only its colour can change";
            let remedy = "or have the operator set `inpaint` for a back end";
            let problem = format!("{problem}; give \"{}\" and `hairColor`, {remedy}", KEPT[0]);
            return Err(EngineError::rejected("hairStyle", problem));
        }
        Ok(asked)
    }

    fn people(&self) -> Result<People, EngineError> {
        People::of(&self.nets).ok_or_else(|| unavailable(missing()))?.map_err(unavailable)
    }

    /// Finds the hair of the person with the largest face. The notes say how.
    fn find(&self, image: &DynamicImage, monitor: &Monitor) -> Result<(Hair, Vec<String>), EngineError> {
        let people = self.people()?;
        let faces = face::detect(&image.to_rgb8(), monitor)?;
        let largest = (0..faces.len()).max_by(|one, other| size(&faces[*one]).total_cmp(&size(&faces[*other])));
        let head = largest.and_then(|largest| Head::of(&faces[largest]));
        let head = head.ok_or_else(|| rejected("no face was found in the picture; give a portrait"))?;
        let others = faces.iter().enumerate().filter(|(index, _)| Some(*index) != largest);
        let others: Vec<Head> = others.filter_map(|(_, face)| Head::of(face)).collect();
        monitor.stage(0.3)?;
        let found = hair::find(&people, &self.nets, image, head, &others, monitor)?;
        let hair =
            found.ok_or_else(|| rejected("no hair was found around the face; give a portrait that shows some"))?;
        let mut notes = vec![format!("the person was found by the net {}", people.described())];
        if faces.len() > 1 {
            notes.push(format!("{} faces were found; the hair of the largest was changed", faces.len()));
        }
        Ok((hair, notes))
    }

    fn recolour(&self, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
        let Asked::Recolour(target) = self.asked(job.checked_request())? else {
            return Err(EngineError::Failed("a new style was to be painted by recolouring".to_owned()));
        };
        let mut source = picture::decode_input(job.input(SOURCE)?, job.limits(), monitor)?;
        let image = std::mem::take(&mut source.image);
        monitor.stage(0.1)?;
        let (hair, mut notes) = self.find(&image, monitor)?;
        monitor.stage(0.7)?;
        let was_coloured = image.color().has_color();
        let image = recolour::recolour(image, &hair, target, monitor)?;
        monitor.stage(0.9)?;
        // That of a gray picture does not fit one that has become coloured.
        if !was_coloured {
            source.profile = None;
        }
        notes.insert(0, "the hair was recoloured, and its style kept".to_owned());
        let failed = |error: EncodeError| EngineError::Failed(error.to_string());
        let picture = write_like(&source, &image, "Postprocess hairstyle: recoloured", monitor, failed)?;
        monitor.stage(1.0)?;
        Ok(Output { pictures: vec![picture], notes, ..Output::default() })
    }

    /// Returns a mask of what is to be painted, as a picture.
    fn mask(&self, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
        let style = job.request::<ChangeHairstyleRequest>()?.hair_style;
        let image = picture::decode_input(job.input(SOURCE)?, job.limits(), monitor)?.image;
        let (hair, notes) = self.find(&image, monitor)?;
        let hole = hair.hole(&style, (image.width(), image.height()), monitor)?;
        let mask = write_png(&hole.into(), "Postprocess hairstyle: mask", monitor)?;
        Ok(Output { pictures: vec![mask], notes, ..Output::default() })
    }

    /// `expected` counts the job at the painter, until that has it.
    async fn restyle(
        self,
        painter: Arc<dyn Engine>,
        job: Job,
        monitor: Monitor,
        expected: Option<Expected>,
    ) -> Result<Output, EngineError> {
        let finding = {
            let engine = self.clone();
            blocking::run(job.clone(), monitor.silent(), move |job, monitor| engine.mask(job, monitor))
        };
        let Output { pictures, notes, .. } = finding.await?;
        let [mask] = <[_; 1]>::try_from(pictures).map_err(|_| EngineError::Failed("no mask was made".to_owned()))?;
        let bytes = job.limits().bytes.max(mask.bytes.len() as u64);
        let mut inputs = job.inputs().to_vec();
        let url = job.input(SOURCE)?.url.clone();
        inputs.push(Input { field: HOLE.to_owned(), url, bytes: mask.bytes });
        let limits = PictureLimits { bytes, ..*job.limits() };
        let painting = painter.run(job.with_inputs(inputs).with_limits(limits), monitor);
        drop(expected);
        let mut output = painting.await?;
        output.notes.extend(notes);
        Ok(output)
    }

    /// Returns the engine that paints, for a request that needs it.
    fn painter(&self, request: &JobRequest) -> Result<Option<&Arc<dyn Engine>>, EngineError> {
        match self.asked(request)? {
            Asked::Restyle => Ok(self.painter.as_ref()),
            Asked::Recolour(_) => Ok(None),
        }
    }
}

impl Engine for Hairstyle {
    fn name(&self) -> &str {
        self.painter.as_ref().map_or("hairstyle", |painter| painter.name())
    }

    fn offers(&self) -> Vec<Offer> {
        let offer = match &self.painter {
            None => Some(Offer::new(&CHANGE_HAIRSTYLE, Grade::Draft)),
            Some(painter) => painter.offers().into_iter().find(|offer| *offer.operation == CHANGE_HAIRSTYLE),
        };
        match (offer, People::of(&self.nets)) {
            (None, _) | (_, None) => Vec::new(),
            (Some(offer), Some(Ok(_))) => vec![offer],
            // It does not come back by itself, so nothing new should wait for it.
            (Some(offer), Some(Err(problem))) => vec![Offer { away: Some(problem), is_known: false, ..offer }],
        }
    }

    fn nets(&self, operation: &Operation) -> Vec<String> {
        self.nets.names_for(operation)
    }

    fn slots(&self) -> Slots {
        self.painter.as_ref().map_or(Slots::Shared, |painter| painter.slots())
    }

    fn backends(&self) -> Vec<BackendStatus> {
        self.painter.as_ref().map_or_else(Vec::new, |painter| painter.backends())
    }

    fn pool(&self) -> &str {
        self.painter.as_ref().map_or("hairstyle", |painter| painter.pool())
    }

    fn free_places(&self, operation: &Operation, model: Option<&str>) -> Option<usize> {
        self.painter.as_ref()?.free_places(operation, model)
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        self.painter(request)?.map_or(Ok(()), |painter| painter.check(request))
    }

    fn grade(&self, request: &JobRequest, offered: Grade) -> Grade {
        match self.painter(request) {
            Ok(None) => offered.min(Grade::Draft),
            Ok(Some(_)) | Err(_) => offered,
        }
    }

    fn plan<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        Box::pin(async move {
            match self.painter(request)? {
                Some(painter) => painter.plan(request).await,
                None => Ok(None),
            }
        })
    }

    fn memory(&self, job: &Job) -> u64 {
        // A request that cannot be read is rejected by the run, as is one for which there is no net.
        let Ok(painter) = self.painter(job.checked_request()) else { return 0 };
        let Some(Ok(people)) = People::of(&self.nets) else { return 0 };
        let finding = people.memory().saturating_add(hair::PLANES).max(face::DETECTION);
        let painting = painter.map_or(0, |painter| painter.memory(job));
        memory::of(job, 1.0).saturating_add(finding).max(painting)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let engine = self.clone();
        match self.painter(job.checked_request()) {
            Ok(Some(painter)) => {
                // The hair is found before the painter gets its job.
                let expected = painter.expect_job(&CHANGE_HAIRSTYLE, None);
                Box::pin(engine.restyle(painter.clone(), job, monitor, expected))
            }
            Ok(None) | Err(_) => blocking::run(job, monitor, move |job, monitor| engine.recolour(job, monitor)),
        }
    }

    fn discard<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(painter) = &self.painter {
                painter.discard(task, run).await;
            }
        })
    }

    fn interrupt<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(painter) = &self.painter {
                painter.interrupt(task, run).await;
            }
        })
    }

    fn forget<'a>(&'a self, task: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(painter) = &self.painter {
                painter.forget(task).await;
            }
        })
    }
}

impl fmt::Debug for Hairstyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hairstyle").field("name", &self.name()).field("nets", &self.nets).finish()
    }
}

fn size(face: &FoundFace) -> f32 {
    face.width * face.height
}

fn rejected(problem: &str) -> EngineError {
    EngineError::rejected(SOURCE, problem)
}

fn missing() -> String {
    format!("no net that finds people is there any more; pull one with `imgopen models pull {PORTRAIT}`")
}
