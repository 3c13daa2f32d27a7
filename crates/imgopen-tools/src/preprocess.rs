//! Shows pictures as ControlNet's preprocessors see them: edges, strokes, areas of colour. No neural network is used.
//!
//! | value | aliases | result | how, with the web UI's defaults |
//! |---|---|---|---|
//! | `canny` | | thin edges, white on black | `threshold_a` 100 and `threshold_b` 200, Sobel 3x3, L1 norm, on gray |
//! | `scribble` | `scribble_xdog` | strokes where it is darker than around, white on black | `threshold_a` 32 |
//! | `softedge` | | soft outlines, bright on black | its own method; the web UI's are networks |
//! | `lineart` | `lineart_standard` | dark lines, such as of a drawing, bright on black | deviation 6, threshold 8 |
//! | `threshold` | | white where all channels are above a threshold, else black | `threshold_a` 127 |
//! | `invert` | | the negative | |
//! | `tile` | `tile_resample` | the picture without its detail | `threshold_a` is the rate; previews have 8, its greatest |
//! | `shuffle` | | colours and shapes displaced by smooth noise | meshes of 256 pixels |
//! | `color` | `colour`, `t2ia_color_grid` | cells of one colour | 64 pixels |
//! | `none` | | the picture as it is | |
//!
//! The names are those of the web UI's ControlNet extension, or shorter ones where it is more specific. Its labels are
//! accepted too, such as `invert (from white bg & black line)`, in any case. Its neural preprocessors, such as
//! `softedge_hed`, are rejected; for those of [`NEURAL`], the message says what to install, and for those of [`ELSEWHERE`], such as
//! `openpose`, which back ends have them.
//!
//! The result is a PNG of the size of the source, at 8 bits: gray for results on black, and for gray sources. Distances are
//! in pixels of the source. Transparency is flattened onto white, 16 bits are rounded to 8, and colours are converted to sRGB,
//! so that they look as they did. The same source always gives the same result.
//!
//! For the job of another engine, [`Preprocessing`] says the thresholds, and the size that the source is brought to before, as
//! the web UI's extension does: [`preprocess_as`]. `invert`, `tile` and `none` keep the size, there too, and without
//! `threshold_a` the rate of `tile` is 1, which changes nothing.

#[macro_use]
mod vectorised;

mod areas;
mod canny;
mod gaussian;
mod levels;
mod neural;
mod parameter;
mod raster;
mod shuffle;
mod softedge;
mod strokes;

use std::fmt;
use std::str::FromStr;

use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{
    Engine, EngineError, FieldValues, Grade, Job, JobRequest, Monitor, Offer, Output, PictureLimits, Preprocessing,
    Resolution,
};
use imgopen_picture::{self as picture, LONGEST_SIDE, write_png};
use imgopen_types::{PreviewControlnetRequest, operations};

pub use self::neural::{ELSEWHERE, NEURAL, Neural, plain_name};
use self::parameter::Parameter;
use self::raster::Raster;
use crate::{blocking, memory};

/// Names with more characters are not compared with known ones, and not repeated in full.
const LONGEST_NAME: usize = 60;
/// The field that names the preprocessor.
const FIELD: &str = "preprocessor";
/// The field of the picture.
const SOURCE: &str = "sourceImage";

/// The low and the high threshold.
const CANNY: &[Parameter] =
    &[Parameter::new("threshold_a", (0.0, 256.0), 100.0), Parameter::new("threshold_b", (0.0, 256.0), 200.0)];
/// Twice the least difference of a stroke from what is around it.
const SCRIBBLE: &[Parameter] = &[Parameter::new("threshold_a", (1.0, 64.0), 32.0)];
/// What white is above.
const THRESHOLD: &[Parameter] = &[Parameter::new("threshold_a", (0.0, 255.0), 127.0)];
/// By how much the picture is reduced.
const TILE: &[Parameter] = &[Parameter::new("threshold_a", (1.0, 8.0), 1.0)];
/// The rate of tiles in previews: the web UI's default would show nothing.
const PREVIEW_RATE: f64 = 8.0;
/// The least rate at which a tile is reduced.
const LEAST_RATE: f64 = 1.1;

/// The engine `preprocessors`, which shows pictures as ControlNet's preprocessors see them. It offers
/// `preview_controlnet`.
#[derive(Debug, Clone, Default)]
pub struct Preprocessors {}

/// A preprocessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preprocessor {
    /// Thin edges.
    Canny,
    /// Strokes where the picture is darker than its surroundings.
    Scribble,
    /// Soft outlines.
    SoftEdge,
    /// The lines of a drawing.
    LineArt,
    /// Black and white.
    Threshold,
    /// The negative.
    Invert,
    /// The picture without detail.
    Tile,
    /// The picture displaced by noise.
    Shuffle,
    /// Cells of one colour.
    Color,
    /// The unchanged picture.
    None,
}

/// A text that does not name a preprocessor of this engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{name}\" is not a preprocessor of this engine; give one of {}{}", Preprocessor::list(), meant(*near))]
pub struct UnknownPreprocessor {
    /// The name, cut to 60 characters.
    pub name: String,
    /// The preprocessor with the most similar name.
    pub near: Option<Preprocessor>,
}

fn meant(near: Option<Preprocessor>) -> String {
    near.map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

impl Preprocessor {
    /// All preprocessors, in the order in which to show them.
    pub const ALL: [Preprocessor; 10] = [
        Preprocessor::Canny,
        Preprocessor::Scribble,
        Preprocessor::SoftEdge,
        Preprocessor::LineArt,
        Preprocessor::Threshold,
        Preprocessor::Invert,
        Preprocessor::Tile,
        Preprocessor::Shuffle,
        Preprocessor::Color,
        Preprocessor::None,
    ];

    /// Returns the name.
    pub const fn as_str(self) -> &'static str {
        self.names()[0]
    }

    /// Returns the name and its aliases.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Preprocessor::Canny => &["canny"],
            Preprocessor::Scribble => &["scribble", "scribble_xdog"],
            Preprocessor::SoftEdge => &["softedge"],
            Preprocessor::LineArt => &["lineart", "lineart_standard"],
            Preprocessor::Threshold => &["threshold"],
            Preprocessor::Invert => &["invert"],
            Preprocessor::Tile => &["tile", "tile_resample"],
            Preprocessor::Shuffle => &["shuffle"],
            Preprocessor::Color => &["color", "colour", "t2ia_color_grid"],
            Preprocessor::None => &["none"],
        }
    }

    /// Returns the numbers that it takes, in the order of the web UI.
    const fn parameters(self) -> &'static [Parameter] {
        match self {
            Preprocessor::Canny => CANNY,
            Preprocessor::Scribble => SCRIBBLE,
            Preprocessor::Threshold => THRESHOLD,
            Preprocessor::Tile => TILE,
            _ => &[],
        }
    }

    /// Returns the values of these numbers; 0 for those that it does not take.
    fn values(self, given: [Option<f64>; 2]) -> Result<[f64; 2], EngineError> {
        let mut values = [0.0; 2];
        for ((value, parameter), given) in values.iter_mut().zip(self.parameters()).zip(given) {
            *value = parameter.value(given)?;
        }
        Ok(values)
    }

    /// Returns whether the picture is brought to a resolution for it.
    const fn has_resolution(self) -> bool {
        !matches!(self, Preprocessor::Invert | Preprocessor::Tile | Preprocessor::None)
    }

    fn list() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// Returns the one with the most similar name, if it is close enough for a typing error or begins a longer name.
    fn near(name: &str) -> Option<Self> {
        let distance = |known: &&str| strsim::damerau_levenshtein(known, name);
        let of = |one: Self| one.names().iter().map(distance).min().map(|distance| (distance, one));
        let close = Self::ALL.into_iter().filter_map(of).min_by_key(|(distance, _)| *distance);
        let close = close.filter(|(distance, _)| *distance <= 1 + name.chars().count() / 4).map(|(_, one)| one);
        close.or_else(|| Self::ALL.into_iter().find(|one| name.starts_with(one.as_str())))
    }
}

impl fmt::Display for Preprocessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parses names and aliases, in any case and with the web UI's remarks in brackets.
impl FromStr for Preprocessor {
    type Err = UnknownPreprocessor;

    fn from_str(text: &str) -> Result<Self, UnknownPreprocessor> {
        let name = plain_name(text);
        let known = Self::ALL.into_iter().find(|one| one.names().contains(&name.as_str()));
        known.ok_or_else(|| match text.char_indices().nth(LONGEST_NAME) {
            Some((end, _)) => UnknownPreprocessor { name: format!("{}…", &text[..end]), near: None },
            None => UnknownPreprocessor { name: text.to_owned(), near: Self::near(&name) },
        })
    }
}

impl Preprocessors {
    /// Creates the engine.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for Preprocessors {
    fn name(&self) -> &str {
        "preprocessors"
    }

    fn offers(&self) -> Vec<Offer> {
        let values = Preprocessor::ALL.map(|one| one.as_str().to_owned()).to_vec();
        let offer = Offer::new(&operations::PREVIEW_CONTROLNET, Grade::Classical);
        vec![Offer { values: vec![FieldValues { field: FIELD, values }], ..offer }]
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        let preprocessor = requested(&request.typed()?)?;
        request.preprocessing().map_or(Ok(()), |asked| preprocessor.values(thresholds(&asked)).map(drop))
    }

    fn memory(&self, job: &Job) -> u64 {
        memory::of(job, growth(job))
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        blocking::run(job, monitor, serve)
    }
}

fn requested(request: &PreviewControlnetRequest) -> Result<Preprocessor, EngineError> {
    let name = request.preprocessor.as_str().trim();
    if name.is_empty() {
        return Err(EngineError::rejected(FIELD, format!("missing; give one of {}", Preprocessor::list())));
    }
    name.parse().map_err(|error: UnknownPreprocessor| {
        let problem = match Neural::find(name) {
            Some(Neural { need, .. }) => {
                format!("\"{}\" needs {need}; without it, give one of {}", error.name, Preprocessor::list())
            }
            None => error.to_string(),
        };
        EngineError::rejected(FIELD, problem)
    })
}

fn thresholds(asked: &Preprocessing) -> [Option<f64>; 2] {
    [asked.threshold_a, asked.threshold_b]
}

/// Returns how many times as many pixels as the source has what a job works on.
fn growth(job: &Job) -> f64 {
    // A request that cannot be read is rejected by the run.
    let preprocessor = job.request().ok().and_then(|request| requested(&request).ok());
    let is_scaled = preprocessor.is_some_and(Preprocessor::has_resolution);
    if is_scaled { scaled_growth(job) } else { 1.0 }
}

/// Returns how many times as many pixels as the source has what a job works on whose preprocessor reads the picture at the
/// resolution that the job asks for.
pub fn scaled_growth(job: &Job) -> f64 {
    let asked = job.checked_request().preprocessing();
    let header = job.input(SOURCE).ok().and_then(|input| picture::inspect(&input.bytes, job.limits()).ok());
    let (Some(asked), Some(header)) = (asked, header) else { return 1.0 };
    // It may be turned upright.
    let sizes = [(header.width, header.height), (header.height, header.width)];
    let pixels = sizes.map(|size| {
        let (width, height) = asked.resolution.size(size);
        f64::from(width) * f64::from(height)
    });
    pixels[0].max(pixels[1]) / header.pixels() as f64
}

/// Brings a picture to the resolution at which a preprocessor reads it.
///
/// # Errors
///
/// [`EngineError::Rejected`] for `resolution` if that makes it larger than results may be.
pub fn scaled(
    image: DynamicImage,
    resolution: Resolution,
    limits: &PictureLimits,
) -> Result<DynamicImage, EngineError> {
    let before = (image.width(), image.height());
    check_size(resolution, before, limits)?;
    areas::scaled(image, resolution.size(before))
}

/// Rejects a resolution that makes a picture larger than results may be.
fn check_size(resolution: Resolution, before: (u32, u32), limits: &PictureLimits) -> Result<(), EngineError> {
    let ((width, height), (wide, high)) = (resolution.size(before), before);
    if width.max(height) <= LONGEST_SIDE && u64::from(width) * u64::from(height) <= limits.pixels {
        return Ok(());
    }
    let problem = format!(
        "{width}x{height} pixels would be made of {wide}x{high} for the preprocessor; at most {} pixels in all and \
         {LONGEST_SIDE} on a side are allowed",
        limits.pixels
    );
    Err(EngineError::rejected("resolution", problem))
}

fn serve(job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
    let preprocessor = requested(&job.request()?)?;
    let mut source = picture::decode_input(job.input(SOURCE)?, job.limits(), monitor)?;
    monitor.stage(0.2)?;
    picture::to_srgb(&mut source);
    monitor.stage(0.3)?;
    let image = match job.checked_request().preprocessing() {
        Some(asked) => {
            if preprocessor.has_resolution() {
                check_size(asked.resolution, (source.image.width(), source.image.height()), job.limits())?;
            }
            preprocess_as(source.image, preprocessor, &asked, monitor)?
        }
        None => preprocess(source.image, preprocessor, monitor)?,
    };
    monitor.stage(0.8)?;
    let picture = write_png(&image, &format!("ControlNet preprocessor: {preprocessor}"), monitor)?;
    monitor.stage(1.0)?;
    Ok(Output { pictures: vec![picture], ..Output::default() })
}

/// Returns a picture as the preprocessor sees it: 8 bits without transparency, of the same size.
///
/// # Errors
///
/// [`EngineError::Failed`] for a picture without pixels, which decoding rejects; [`EngineError::Cancelled`].
///
/// ```
/// use image::DynamicImage;
/// use imgopen_engine::Monitor;
/// use imgopen_tools::preprocess::{Preprocessor, preprocess};
///
/// let white = preprocess(DynamicImage::new_rgb8(30, 20), Preprocessor::Invert, &Monitor::new().0)?;
/// assert!(white.to_luma8().iter().all(|sample| *sample == 255));
/// # Ok::<(), imgopen_engine::EngineError>(())
/// ```
pub fn preprocess(
    image: DynamicImage,
    preprocessor: Preprocessor,
    monitor: &Monitor,
) -> Result<DynamicImage, EngineError> {
    let mut values = preprocessor.values([None; 2])?;
    if preprocessor == Preprocessor::Tile {
        values[0] = PREVIEW_RATE;
    }
    make(image, preprocessor, None, values, monitor)
}

/// Returns a picture as the preprocessor of the web UI's extension makes it with these settings: 8 bits without transparency, of
/// the size that the resolution gives, or of its own for `invert`, `tile` and `none`. The size must be one that fits into memory.
///
/// # Errors
///
/// [`EngineError::Rejected`] names the member of `asked` whose value is out of range; for others, see [`preprocess`].
///
/// ```
/// use image::DynamicImage;
/// use imgopen_engine::{Monitor, Preprocessing, Resolution};
/// use imgopen_tools::preprocess::{Preprocessor, preprocess_as};
///
/// let asked = Preprocessing { resolution: Resolution::Shorter(64), threshold_a: Some(50.0), threshold_b: None };
/// let edges = preprocess_as(DynamicImage::new_rgb8(30, 20), Preprocessor::Canny, &asked, &Monitor::new().0)?;
/// assert_eq!((edges.width(), edges.height()), (96, 64));
/// # Ok::<(), imgopen_engine::EngineError>(())
/// ```
pub fn preprocess_as(
    image: DynamicImage,
    preprocessor: Preprocessor,
    asked: &Preprocessing,
    monitor: &Monitor,
) -> Result<DynamicImage, EngineError> {
    let values = preprocessor.values(thresholds(asked))?;
    let resolution = preprocessor.has_resolution().then_some(asked.resolution);
    make(image, preprocessor, resolution, values, monitor)
}

fn make(
    image: DynamicImage,
    preprocessor: Preprocessor,
    resolution: Option<Resolution>,
    [first, second]: [f64; 2],
    monitor: &Monitor,
) -> Result<DynamicImage, EngineError> {
    if image.width() == 0 || image.height() == 0 {
        return Err(EngineError::Failed("a picture without pixels cannot be preprocessed".to_owned()));
    }
    let mut image = picture::flatten(image);
    monitor.check_cancelled()?;
    if let Some(resolution) = resolution {
        let size = resolution.size((image.width(), image.height()));
        image = areas::scaled(image, size)?;
        monitor.check_cancelled()?;
    }
    let raster = Raster::of(&image, monitor);
    // Thresholds are compared with whole numbers, so that fractions of them have no effect.
    let made = match preprocessor {
        Preprocessor::Canny => canny::edges(raster, [first, second].map(|threshold| threshold as i16))?.into(),
        Preprocessor::Scribble => strokes::scribble(raster, (first / 2.0).floor() as f32)?.into(),
        Preprocessor::SoftEdge => softedge::edges(raster)?.into(),
        Preprocessor::LineArt => strokes::lines(raster)?.into(),
        Preprocessor::Threshold => levels::threshold(raster, first as u8)?.into(),
        Preprocessor::Invert => raster.with(levels::invert(raster)?),
        Preprocessor::Tile if first < LEAST_RATE => image,
        Preprocessor::Tile => areas::tile(&image, first, monitor)?,
        Preprocessor::Shuffle => raster.with(shuffle::shuffle(raster)?),
        Preprocessor::Color => raster.with(areas::grid(raster)?),
        Preprocessor::None => image,
    };
    Ok(made)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cancellation_stops_the_work() {
        for one in Preprocessor::ALL {
            let request = json!({"preprocessor": one.as_str()});
            blocking::tests::assert_cancellable(&operations::PREVIEW_CONTROLNET, request, serve);
        }
    }

    #[test]
    fn names_are_read_with_their_aliases() {
        for one in Preprocessor::ALL {
            for name in one.names() {
                assert_eq!(name.to_uppercase().parse(), Ok(one));
            }
        }
        assert_eq!("invert (from white bg & black line)".parse(), Ok(Preprocessor::Invert));
        let names = Preprocessor::ALL.iter().flat_map(|one| one.names());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn an_unknown_name_is_rejected_with_the_list_and_a_similar_name() {
        let near = |name: &str| name.parse::<Preprocessor>().unwrap_err().near;
        assert_eq!(near("cany"), Some(Preprocessor::Canny));
        assert_eq!(near("softedge_hed"), Some(Preprocessor::SoftEdge));
        assert_eq!(near("t2ia_colour_grid"), Some(Preprocessor::Color));
        assert_eq!(near("depth"), None);
        assert_eq!(Neural::find("Depth_Anything_V2 (fast)"), Some(NEURAL[0]));
        assert_eq!([Neural::find("depth_leres"), Neural::find("canny")], [None, None]);
        let long = "canny".repeat(200_000).parse::<Preprocessor>().unwrap_err();
        assert_eq!((long.name, long.near), (format!("{}…", "canny".repeat(12)), None));
        let error = "cannny".parse::<Preprocessor>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"cannny\" is not a preprocessor of this engine; give one of canny, scribble, softedge, lineart, \
             threshold, invert, tile, shuffle, color, none; did you mean canny?"
        );
    }
}
