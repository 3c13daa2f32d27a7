//! Removes objects from pictures, and paints beyond their edges, with a net that fills holes: LaMa.
//!
//! The net is the operator's own: it takes a picture and a mask. A hole is filled in pieces that are far from each other, each
//! from a part of the picture around it. A part that is larger than what the net takes is given to it smaller, and what it makes
//! is enlarged again; notes say so. What the net makes is matched to the colours along the edge of the hole.
//!
//! Masks, formats, and what is kept are those of [`imgopen_tools::fill`]: pixels outside the hole stay exactly as they were.

mod net;
mod part;

use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{Engine, EngineError, Grade, Job, JobRequest, Monitor, Offer, Output, Picture};
use imgopen_nets::Session;
use imgopen_picture::{self as picture, EncodeError, Expansion, write_like};
use imgopen_tools::fill::{self, Area};
use imgopen_tools::{blocking, memory};
use imgopen_types::{Operation, OutpaintRequest, RemoveObjectRequest, operations};

use self::net::FREE_SIDE;
use self::part::{Part, Piece};
use crate::nets::{Held, Nets, Role, Weights, unavailable};

/// The bytes that a run takes beside the weights at most, if the file does not determine them.
const WORKING: u64 = 2048 * 1024 * 1024;

/// The bytes that the planes of what the net is given take at most: some 40 of them.
const PLANES: u64 = 40 * 4;

/// Bytes for each pixel of the picture: a part of it, and which pixels of it are to be filled.
const PIXEL: u64 = 10;

/// The engine `lama`, which offers `remove_object` and `outpaint` while the operator has put a net for it into the models
/// directory. Notes say which prompts and sampling settings of `outpaint` had no effect.
#[derive(Debug, Clone)]
pub struct Lama {
    nets: Nets,
}

impl Lama {
    /// Creates the engine.
    pub fn new(nets: Nets) -> Self {
        Self { nets }
    }

    fn weights(&self) -> Option<Weights> {
        match self.nets.own(Role::Inpainting) {
            Held::Whole(own) => own.first().cloned(),
            Held::Missing | Held::Broken(_) => None,
        }
    }

    fn open(&self) -> Result<(Weights, Session), EngineError> {
        let missing = || {
            let folder = Role::Inpainting.folder();
            unavailable(format!(
                "there is no net that fills holes any more; put one into `{folder}/` in the models directory"
            ))
        };
        let weights = self.weights().ok_or_else(missing)?;
        let session = self.nets.open(&weights)?;
        Ok((weights, session))
    }

    fn remove(&self, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
        job.request::<RemoveObjectRequest>()?;
        let mut source = picture::decode_input(job.input("sourceImage")?, job.limits(), monitor)?;
        let image = &mut source.image;
        monitor.stage(0.05)?;
        let hole = fill::read_hole(job.input("maskImage")?, job.limits(), image, monitor)?;
        let (weights, session) = self.open()?;
        monitor.stage(0.1)?;
        let mut notes = vec![filled(&weights)];
        let parts = fill_all(&session, image, &hole, monitor, (0.1, 0.9)).map_err(too_little);
        notes.extend(self.nets.judged(&weights, parts)?);
        drop(session);
        let removed = hole.iter().filter(|hole| **hole).count();
        let done = format!("Postprocess removed pixels: {removed}, Postprocess filler: {}", weights.file.name());
        let failed = |error: EncodeError| EngineError::Failed(error.to_string());
        let picture = write_like(&source, &source.image, &done, monitor, failed)?;
        monitor.stage(1.0)?;
        Ok(Output { pictures: vec![picture], notes, ..Output::default() })
    }

    fn outpaint(&self, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
        let request: OutpaintRequest = job.request()?;
        let expansion = fill::expansion(&request)?;
        let mut source = picture::decode_input(job.input("sourceImage")?, job.limits(), monitor)?;
        let before = (source.image.width(), source.image.height());
        let (width, height) = expansion.size(before, job.limits())?;
        let rejected = |error: EncodeError| EngineError::rejected(expansion.larger().0, error.to_string());
        picture::check_sides(source.header.format.written(), width, height).map_err(rejected)?;
        let (weights, session) = self.open()?;
        monitor.stage(0.1)?;
        let mut notes = vec![filled(&weights)];
        let mut image = std::mem::take(&mut source.image);
        if before != (width, height) {
            image = picture::centred(&image, (width, height));
            let hole = fill::frame(before, (width, height));
            let parts = fill_all(&session, &mut image, &hole, monitor, (0.1, 0.8));
            let too_small = || {
                let problem = "the picture is too small beside what is to be painted; give smaller ratios";
                EngineError::rejected(expansion.larger().0, problem)
            };
            notes.extend(self.nets.judged(&weights, parts.map_err(|error| error.or(too_small)))?);
        }
        drop(session);
        notes.extend(unused(&request));
        if expansion.count > 1 {
            notes.push("the net has one answer: the pictures are the same".to_owned());
        }
        let done = format!("Postprocess outpaint to: {width}x{height}, Postprocess filler: {}", weights.file.name());
        let picture = write_like(&source, &image, &done, monitor, rejected)?;
        let seeded = |number: u32| {
            let seed = expansion.seed.wrapping_add(number.into());
            Picture { seed: Some(seed), ..picture.clone() }
        };
        let pictures = (0..expansion.count).map(seeded).collect();
        monitor.stage(1.0)?;
        Ok(Output { pictures, notes, ..Output::default() })
    }
}

impl Engine for Lama {
    fn name(&self) -> &str {
        "lama"
    }

    fn offers(&self) -> Vec<Offer> {
        match self.weights() {
            Some(_) => [&operations::REMOVE_OBJECT, &operations::OUTPAINT]
                .map(|operation| Offer::new(operation, Grade::Neural))
                .into(),
            None => Vec::new(),
        }
    }

    fn nets(&self, operation: &Operation) -> Vec<String> {
        self.nets.names_for(operation)
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        if *request.operation() == operations::OUTPAINT {
            fill::expansion(&request.typed()?)?;
        }
        Ok(())
    }

    fn memory(&self, job: &Job) -> u64 {
        let growth = expansion(job).map_or(1.0, |expansion| expansion.horizontal * expansion.vertical);
        let pixels = job.input("sourceImage").ok().and_then(|input| picture::inspect(&input.bytes, job.limits()).ok());
        let pixels = pixels.map_or(0.0, |header| header.pixels() as f64 * growth.max(1.0));
        let pixels = pixels.min(job.limits().pixels as f64) as u64;
        let (net, planes) = match self.weights() {
            Some(weights) => {
                let (width, height) = net::sides(&weights.file).unwrap_or((FREE_SIDE, FREE_SIDE));
                (net::memory(&weights, WORKING), (width as u64).saturating_mul(height as u64).saturating_mul(PLANES))
            }
            None => (0, 0),
        };
        memory::of(job, growth).saturating_add(pixels.saturating_mul(PIXEL)).saturating_add(net).saturating_add(planes)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let engine = self.clone();
        blocking::run(job, monitor, move |job, monitor| match *job.operation() == operations::OUTPAINT {
            true => engine.outpaint(job, monitor),
            false => engine.remove(job, monitor),
        })
    }
}

/// Why a hole was not filled.
enum Unfilled {
    /// Next to nothing of the picture is left outside the hole.
    TooLittle,
    Failed(EngineError),
}

impl Unfilled {
    /// Returns the error, which is this one if too little is left.
    fn or(self, too_little: impl FnOnce() -> EngineError) -> EngineError {
        match self {
            Unfilled::TooLittle => too_little(),
            Unfilled::Failed(error) => error,
        }
    }
}

impl From<EngineError> for Unfilled {
    fn from(error: EngineError) -> Self {
        Unfilled::Failed(error)
    }
}

fn too_little(unfilled: Unfilled) -> EngineError {
    unfilled.or(|| {
        let problem = "it marks nearly all of the picture, which leaves nothing to fill the rest from; mark less";
        EngineError::rejected("maskImage", problem)
    })
}

/// Fills a hole piece by piece. Returns notes on pieces that were filled at a smaller size.
fn fill_all(
    session: &Session,
    image: &mut DynamicImage,
    hole: &[bool],
    monitor: &Monitor,
    (begin, done): (f64, f64),
) -> Result<Vec<String>, Unfilled> {
    let size = (image.width() as usize, image.height() as usize);
    let sides = net::sides(session.file());
    let most = sides.unwrap_or((FREE_SIDE, FREE_SIDE));
    let pieces = fill::clusters(hole, size.0, monitor)?;
    let share = (done - begin) / pieces.len().max(1) as f64;
    let mut notes = Vec::new();
    for (number, inner) in pieces.into_iter().enumerate() {
        monitor.stage(begin + share * number as f64)?;
        let piece = Piece { hole, inner, outer: around(inner, most, size) };
        let part = Part::of(image, &piece, most, monitor)?;
        if !part.has_known() {
            return Err(Unfilled::TooLittle);
        }
        let made = part.filled(session, sides, monitor)?;
        made.write(image, &piece, monitor)?;
        let (whole, given) = ((piece.outer.width(), piece.outer.height()), (part.width, part.height));
        if given != whole {
            let (width, height) = whole;
            notes.push(format!(
                "a part of {width}x{height} pixels was filled at {}x{}, and is less sharp than the rest",
                given.0, given.1
            ));
        }
    }
    Ok(notes)
}

/// Returns the part of a picture from which a piece is filled: half of its size on each side, and as much as the net takes.
fn around(inner: Area, (width, height): (usize, usize), size: (usize, usize)) -> Area {
    let longest = inner.width().max(inner.height());
    let room = width.min(height).saturating_sub(longest) / 2;
    inner.grown((longest / 2).max(room), size)
}

/// Says which fields of a request the net knows nothing of.
fn unused(request: &OutpaintRequest) -> Option<String> {
    let given = [
        ("prompt", request.prompt.as_deref().is_some_and(|prompt| !prompt.is_empty())),
        ("negativePrompt", request.negative_prompt.as_deref().is_some_and(|prompt| !prompt.is_empty())),
        ("sampleStep", request.sample_step.is_some()),
        ("sampler", request.sampler.is_some()),
        ("promptGuideFactor", request.prompt_guide_factor.is_some()),
    ];
    let fields: Vec<_> =
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(field, _)| format!("`{field}`")).collect();
    (!fields.is_empty()).then(|| format!("the net knows the picture alone: {} had no effect", fields.join(", ")))
}

fn filled(weights: &Weights) -> String {
    format!("filled by the net {}", weights.described())
}

fn expansion(job: &Job) -> Option<Expansion> {
    // A request that cannot be read is rejected by the run.
    match *job.operation() == operations::OUTPAINT {
        true => job.request().and_then(|request| fill::expansion(&request)).ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_filled_from_as_much_as_the_net_takes() {
        let inner = Area { left: 400, top: 400, right: 500, bottom: 440 };
        let outer = around(inner, (512, 512), (2000, 2000));
        assert_eq!(outer, Area { left: 194, top: 194, right: 706, bottom: 646 });
        let large = Area { left: 400, top: 400, right: 1400, bottom: 900 };
        assert_eq!(around(large, (512, 512), (2000, 2000)), Area { left: 0, top: 0, right: 1900, bottom: 1400 });
    }
}
