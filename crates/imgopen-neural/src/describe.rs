//! Describes pictures in words, by what can be known without a model that writes captions.
//!
//! A caption is a list of phrases in English, such as `a cat, mostly light brown and brown, landscape format, a photograph`:
//!
//! | phrase | where it is from |
//! |---|---|
//! | things | the net of the pack `tags`, which knows a thousand; named as they are, with a reservation (`what looks like …`), or not at all, as the net is sure |
//! | people | faces, which are found without a pack |
//! | colours | groups of similar pixels, by the nearest of 27 names |
//! | light, technique | [`imgopen_tools::style`] |
//!
//! The same picture always has the same caption. What it does not say may be there nevertheless: the net knows photographs of single
//! things, and faces from behind are not found.
//!
//! With `model` `deepdanbooru`, a tagger of the operator's own (WD14, or DeepDanbooru in ONNX) writes its tags in place of a caption,
//! as the web UI does. Without one, if the names of its tags are not beside it, and if it finds none, the caption is that of
//! `clip`, and a note says so. CLIP itself is not there: notes say what was used.

mod caption;
mod classes;
mod classify;
mod palette;
mod tagger;

use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{Engine, EngineError, Grade, Job, JobRequest, Monitor, Offer, Output};
use imgopen_picture as picture;
use imgopen_tools::{blocking, memory, style};
use imgopen_types::{DescribeImageRequest, DescribeModel, Operation, operations};
use tracing::warn;

use self::caption::Facts;
use self::classes::Things;
use crate::face;
use crate::nets::tags::Names;
use crate::nets::{Held, Nets, Role, TAGS, Weights, unavailable};

/// The file of the pack.
const FILE: &str = "efficientnet-lite0.onnx";

/// The bytes that runs take beside the weights at most, if the files do not determine them.
const CLASSIFIER: u64 = 128 * 1024 * 1024;
const TAGGER: u64 = 1024 * 1024 * 1024;

/// The engine `describe`, which offers `describe_image`: neural while the pack `tags` is installed, or the operator has put a tagger
/// beside it, as a draft otherwise. Captions without the pack are drafts.
#[derive(Debug, Clone)]
pub struct Describe {
    nets: Nets,
}

impl Describe {
    /// Creates the engine.
    pub fn new(nets: Nets) -> Self {
        Self { nets }
    }

    /// Returns the net that names things; `None` if its pack is not installed.
    ///
    /// # Errors
    ///
    /// Says why the pack cannot be used, and what to do.
    fn classifier(&self) -> Result<Option<Weights>, String> {
        match self.nets.held(TAGS) {
            Held::Missing => Ok(None),
            Held::Broken(problem) => Err(problem),
            Held::Whole(all) => {
                let found = all.iter().find(|weights| weights.file.name() == FILE).cloned();
                let lacking = || format!("the pack `{TAGS}` does not have `{FILE}`; pull the built-in one");
                found.map(Some).ok_or_else(lacking)
            }
        }
    }

    /// Returns the tagger of the operator's own, which had the names of its tags beside it when it was last looked at.
    fn tagger(&self) -> Option<Weights> {
        match self.nets.own(Role::Tags) {
            Held::Whole(all) => all.first().cloned(),
            Held::Missing | Held::Broken(_) => None,
        }
    }

    /// Returns whether a request asks for tags, and there is a tagger for them.
    fn is_for_tagger(&self, request: &JobRequest) -> Result<bool, EngineError> {
        let model = request.typed::<DescribeImageRequest>()?.model_or_default();
        Ok(model == DescribeModel::Deepdanbooru && self.tagger().is_some())
    }

    fn describe(&self, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
        let model = job.request::<DescribeImageRequest>()?.model_or_default();
        let mut source = picture::decode_input(job.input("image")?, job.limits(), monitor)?;
        picture::to_srgb(&mut source);
        monitor.check_cancelled()?;
        let image = DynamicImage::from(picture::flatten(std::mem::take(&mut source.image)).into_rgb8());
        drop(source);
        monitor.stage(0.2)?;
        let mut reason = format!("`model`: `{}` is not on this server", model.as_str());
        let tagger = if model == DescribeModel::Deepdanbooru { self.tagger() } else { None };
        if let Some(weights) = &tagger {
            let net = weights.described();
            match self.tags(weights, &image, monitor)? {
                Ok(tags) if !tags.is_empty() => {
                    monitor.stage(1.0)?;
                    let note = format!("`model`: the tags are those of the net {net}");
                    return Ok(Output { caption: Some(tags.join(", ")), notes: vec![note], ..Output::default() });
                }
                Ok(_) => reason = format!("`model`: the net {net} found no tag"),
                Err(problem) => {
                    warn!(file = weights.file.name(), problem = problem.as_str(), "own net cannot be used");
                    reason = format!("`model`: the names of the tags of the net {net} are not known: {problem}");
                }
            }
        } else if let Some(problem) = self.nets.own_problem(Role::Tags).filter(|_| model == DescribeModel::Deepdanbooru)
        {
            reason = format!("`model`: the tagger of the server's operator is not used: {problem}");
        }
        monitor.stage(0.4)?;
        // Only now: a tagger needs no pack.
        let classifier = self.classifier().map_err(unavailable)?;
        let things = match &classifier {
            Some(weights) => {
                let session = self.nets.open(weights)?;
                Things::of(&classify::probabilities(&session, &image, monitor)?)
            }
            None => Things::default(),
        };
        monitor.stage(0.6)?;
        let caption = facts(image, things, monitor)?.caption();
        let note = format!("{reason}; {}", made(classifier.as_ref()));
        monitor.stage(1.0)?;
        Ok(Output { caption: Some(caption), notes: vec![note], ..Output::default() })
    }

    /// Returns the tags of a picture, or why the names that belong to the net are not known.
    fn tags(
        &self,
        weights: &Weights,
        image: &DynamicImage,
        monitor: &Monitor,
    ) -> Result<Result<Vec<String>, String>, EngineError> {
        let names = match Names::beside(weights.path()) {
            Ok(names) => names,
            Err(problem) => return Ok(Err(problem)),
        };
        let session = self.nets.open(weights)?;
        let scores = self.nets.judged(weights, tagger::scores(&session, image, names.family, monitor))?;
        Ok(names.given(&scores))
    }
}

impl Engine for Describe {
    fn name(&self) -> &str {
        "describe"
    }

    fn offers(&self) -> Vec<Offer> {
        let offer = |grade| Offer::new(&operations::DESCRIBE_IMAGE, grade);
        vec![match self.classifier() {
            Ok(Some(_)) => offer(Grade::Neural),
            // Requests for tags are served, and others as drafts, or refused with what to pull.
            Ok(None) | Err(_) if self.tagger().is_some() => offer(Grade::Neural),
            Ok(None) => offer(Grade::Draft),
            // It does not come back by itself, so nothing new should wait for it.
            Err(problem) => Offer { away: Some(problem), is_known: false, ..offer(Grade::Neural) },
        }]
    }

    fn nets(&self, operation: &Operation) -> Vec<String> {
        self.nets.names_for(operation)
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        match self.is_for_tagger(request)? {
            true => Ok(()),
            false => self.classifier().map(drop).map_err(unavailable),
        }
    }

    fn grade(&self, request: &JobRequest, offered: Grade) -> Grade {
        match (self.is_for_tagger(request), self.classifier()) {
            (Ok(false), Ok(None)) => offered.min(Grade::Draft),
            _ => offered,
        }
    }

    fn memory(&self, job: &Job) -> u64 {
        // If a pack is broken, the run ends before it takes any.
        let classifier = self.classifier().ok().flatten().map_or(0, |weights| weights.memory(&[], CLASSIFIER));
        // A request that cannot be read is rejected by the run.
        let model = job.request::<DescribeImageRequest>().map(|request| request.model_or_default());
        let tagger = self.tagger().filter(|_| model == Ok(DescribeModel::Deepdanbooru));
        let tagger = tagger.map_or(0, |weights| tagger::memory(&weights, TAGGER));
        let nets = classifier.saturating_add(tagger).saturating_add(face::DETECTION);
        memory::of(job, 1.0).saturating_add(nets)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let engine = self.clone();
        blocking::run(job, monitor, move |job, monitor| engine.describe(job, monitor))
    }
}

/// Measures a picture of 8 bits.
fn facts(image: DynamicImage, things: Things, monitor: &Monitor) -> Result<Facts, EngineError> {
    let size = (image.width(), image.height());
    let rgb = image.as_rgb8().ok_or_else(|| EngineError::Failed("the picture was not flattened".to_owned()))?;
    let found = face::detect(rgb, monitor)?;
    let faces = found.iter().map(|face| face.height / size.1.max(1) as f32).collect();
    monitor.stage(0.8)?;
    let colours = palette::colours(&image, monitor)?;
    monitor.stage(0.9)?;
    let styles = style::labels(&style::measure(image, monitor)?);
    Ok(Facts { things, faces, colours, styles, size })
}

/// Says what a caption was made of.
fn made(classifier: Option<&Weights>) -> String {
    match classifier {
        Some(weights) => format!(
            "the text was put together from what the net {} names, from faces that were found, and from measurements of colours and \
             style",
            weights.described()
        ),
        None => format!(
            "the text was put together from faces that were found and from measurements of colours and style; it names things once \
             the server's operator has run `imgopen models pull {TAGS}`"
        ),
    }
}
