//! Cuts what a picture shows out of its background.
//!
//! A net finds the subject on a small copy of the picture, squeezed to the sides that the net takes. Its mask is then refined
//! along the edges of the picture itself, by a guided filter, so that opacity follows hairs and outlines that the copy does
//! not show. Where a pixel is half subject and half background, its colour is that of both; what the subject's own colour is
//! likely to be is estimated from the surroundings, so that no fringe of the old background is left.
//!
//! The result is a PNG file with transparency, or with `backgroundColor` an opaque picture in the format of its source. Bits per
//! channel, gray, colour profile and what else the file carries are kept, and transparency of the source counts as background.
//! Pixels that belong to the subject entirely stay exactly as they were; those that are transparent entirely are cleared, so that
//! nothing of the background stays in the file.

mod colour;
mod cut;
mod foreground;
mod mask;
pub(crate) mod matte;
mod people;

use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{Engine, EngineError, Grade, Job, JobRequest, Monitor, Offer, Output, Picture};
use imgopen_picture::{self as picture, Attached, Decoded, Format};
use imgopen_tools::{blocking, memory};
use imgopen_types::{Operation, operations};

use self::colour::Colour;
use self::cut::{Cut, cut};
use self::mask::{Finder, Subjects};
pub(crate) use self::people::People;
use crate::nets::{BACKGROUND, Cutter, Held, Nets, PORTRAIT, Role, Weights, unavailable};
use crate::pixels::{self, Channels};

/// The longest side, in pixels, of the copy on which masks are refined and colours are estimated.
const COPY: u32 = 1024;

/// The least opacity of the pixel that is the most opaque, below which nothing was found.
const FOUND: f32 = 0.5;

/// The bytes that refining and estimating take at most: some 40 planes of the copy.
const PLANES: u64 = 40 * (COPY as u64) * (COPY as u64) * 4;

/// The bytes that a run of ISNet takes beside its weights at most, if its file does not determine them. About 460 MB were
/// measured with rten and the larger of the two nets.
const ISNET: u64 = 640 * 1024 * 1024;

/// As [`ISNET`], of a net that compares places with each other. The limit on runs allows no more.
const ATTENTION: u64 = 4096 * 1024 * 1024;

/// The engine `segmentation`, which offers `remove_background` while there is a net for it: one of the operator's own, or the pack
/// `background`, which finds objects of any kind, or `portrait`, which finds people. The first of these is used.
#[derive(Debug, Clone)]
pub struct Background {
    nets: Nets,
}

/// A net for the job.
struct Choice {
    weights: Weights,
    finder: Finder,
}

impl Background {
    /// Creates the engine.
    pub fn new(nets: Nets) -> Self {
        Self { nets }
    }

    /// Returns the net that is used now; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Says why the preferred one of the installed packs cannot be used, and what to do.
    fn choice(&self) -> Option<Result<Choice, String>> {
        if let Held::Whole(own) = self.nets.own(Role::Segmentation)
            && let Some(weights) = own.first()
        {
            return Some(Ok(Choice { weights: weights.clone(), finder: Finder::own(&weights.file) }));
        }
        let packs = [
            (BACKGROUND, &["isnet-medium.onnx", "isnet-small.onnx"][..], Finder::Isnet),
            (PORTRAIT, &["selfie_segmentation.onnx"][..], Finder::Selfie),
        ];
        packs.into_iter().find_map(|(pack, files, finder)| match self.nets.held(pack) {
            Held::Missing => None,
            Held::Broken(problem) => Some(Err(problem)),
            Held::Whole(all) => {
                let named = |name: &str| all.iter().find(|weights| weights.file.name() == name).cloned();
                let weights = files.iter().find_map(|name| named(name));
                Some(weights.map(|weights| Choice { weights, finder }).ok_or_else(|| lacking(pack, files)))
            }
        })
    }

    fn remove(&self, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
        let colour = Colour::of(&job.request()?)?;
        let choice = self.choice().ok_or_else(|| unavailable(missing()))?.map_err(unavailable)?;
        let mut source = picture::decode_input(job.input("sourceImage")?, job.limits(), monitor)?;
        let image = std::mem::take(&mut source.image);
        monitor.stage(0.1)?;
        let session = self.nets.open(&choice.weights)?;
        monitor.stage(0.2)?;
        let mask = self.nets.judged(&choice.weights, mask::find(&session, &image, choice.finder))?;
        drop(session);
        monitor.stage(0.6)?;
        let was_coloured = image.color().has_color();
        let background = colour.map(|colour| colour.within(&source, was_coloured));
        let image = cut_out(image, &mask, &choice, background, monitor)?;
        monitor.stage(0.9)?;
        // That of a gray picture does not fit one that has become coloured.
        if image.color().has_color() != was_coloured {
            source.profile = None;
        }
        let picture = write(&source, &image, colour, &choice, monitor)?;
        monitor.stage(1.0)?;
        Ok(Output { pictures: vec![picture], notes: vec![choice.note()], ..Output::default() })
    }
}

impl Engine for Background {
    fn name(&self) -> &str {
        "segmentation"
    }

    fn offers(&self) -> Vec<Offer> {
        let offer = Offer::new(&operations::REMOVE_BACKGROUND, Grade::Neural);
        match self.choice() {
            None => Vec::new(),
            Some(Ok(_)) => vec![offer],
            // It does not come back by itself, so nothing new should wait for it.
            Some(Err(problem)) => vec![Offer { away: Some(problem), is_known: false, ..offer }],
        }
    }

    fn nets(&self, operation: &Operation) -> Vec<String> {
        self.nets.names_for(operation)
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        Colour::of(&request.typed()?).map(drop)
    }

    fn memory(&self, job: &Job) -> u64 {
        let net = match self.choice() {
            Some(Ok(choice)) => choice.weights.memory(&[], choice.least()),
            // The run ends before it takes any.
            Some(Err(_)) | None => 0,
        };
        // The planes are made when the run of the net has ended, but its weights may stay.
        memory::of(job, 1.0).saturating_add(net).saturating_add(PLANES)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let engine = self.clone();
        blocking::run(job, monitor, move |job, monitor| engine.remove(job, monitor))
    }
}

impl Choice {
    /// Returns how many bytes a run takes beside the weights, if the file does not determine that.
    fn least(&self) -> u64 {
        match self.finder {
            Finder::Own { cutter: Cutter::Birefnet, .. } => ATTENTION,
            Finder::Own { .. } | Finder::Isnet | Finder::Selfie => ISNET,
        }
    }

    fn note(&self) -> String {
        let made = format!("the subject was found by the net {}", self.weights.described());
        match self.finder.subjects() {
            Subjects::Any => made,
            Subjects::People => format!("{made}, which finds people only"),
        }
    }

    /// Says that a picture has nothing to cut out.
    fn nothing(&self) -> EngineError {
        let problem = match self.finder.subjects() {
            Subjects::Any => "nothing in the picture stands out from a background; give one with a subject".to_owned(),
            Subjects::People => format!(
                "nobody was found in the picture, and the net that the server has finds people only; for other subjects, its \
                 operator can install another with `imgopen models pull {BACKGROUND}`"
            ),
        };
        EngineError::rejected("sourceImage", problem)
    }
}

fn lacking(pack: &str, files: &[&str]) -> String {
    format!("the pack `{pack}` has none of the files {}; pull the built-in one", files.join(", "))
}

fn missing() -> String {
    format!(
        "there is no net that finds subjects any more; pull one with `imgopen models pull {PORTRAIT}`, or put one of your own \
         into `{}/` in the models directory",
        Role::Segmentation.folder()
    )
}

/// Makes the background transparent, or of a colour.
fn cut_out(
    image: DynamicImage,
    mask: &DynamicImage,
    choice: &Choice,
    background: Option<[f32; 3]>,
    monitor: &Monitor,
) -> Result<DynamicImage, EngineError> {
    let (width, height) = copy_size(image.width(), image.height());
    let small = Channels::of(&pixels::resized(&image, width, height)?)?;
    let [mask, ..] = Channels::of(&pixels::resized(mask, width, height)?)?.colours;
    monitor.check_cancelled()?;
    let matte = matte::refine(&mask, &small.colours, choice.finder.radius(width.max(height)), monitor)?;
    let opacity = matte.on(&small.colours);
    let shown = opacity.with(&small.opacity, |found, own| found * own);
    if shown.values.iter().all(|opacity| *opacity < FOUND) {
        return Err(choice.nothing());
    }
    monitor.stage(0.7)?;
    let estimate = foreground::estimate(&small, &opacity, monitor)?;
    monitor.stage(0.8)?;
    cut(image, &Cut { matte: &matte, estimate: &estimate, background }, monitor)
}

/// Returns the size of the copy of a picture, which is never larger.
fn copy_size(width: u32, height: u32) -> (u32, u32) {
    let longest = width.max(height);
    if longest <= COPY {
        return (width, height);
    }
    let scaled = |side: u32| ((f64::from(side) * f64::from(COPY) / f64::from(longest)).round() as u32).max(1);
    (scaled(width), scaled(height))
}

fn write(
    source: &Decoded,
    image: &DynamicImage,
    colour: Option<Colour>,
    choice: &Choice,
    monitor: &Monitor,
) -> Result<Picture, EngineError> {
    let (to, format) = match colour {
        Some(colour) => (colour.to_string(), source.header.format.written()),
        None => ("transparent".to_owned(), Format::Png),
    };
    let done = format!("Postprocess background: {to}, Postprocess segmentation: {}", choice.weights.file.name());
    let attached = Attached {
        profile: source.profile.as_deref(),
        chroma: source.header.chroma,
        parameters: source.parameters.as_deref(),
        postprocessing: Some(&done),
        carried: Some(&source.carried),
        lossy: source.is_lossy_webp,
    };
    picture::write(image, format, &attached, monitor, |error| EngineError::Failed(error.to_string()))
}
