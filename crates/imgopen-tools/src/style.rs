//! Guesses the style of a picture from measurements of its pixels, without a neural network.
//!
//! It recognises the technique, not the artist or the subject, so its grade is draft. Each label has a confidence from 0 to
//! 1 for how well the measurements fit its rule; it is not a probability. Labels below a tenth are left out, and the best
//! comes first. A picture is measured on a copy of at most 512 pixels a side, so that large ones are quick and enlarged
//! ones are treated like their originals; only the grid of pixel art is searched in the picture itself, in sampled rows and
//! columns.
//!
//! The technique, by rules on the [`Measures`]:
//!
//! | label | rule |
//! |---|---|
//! | `photograph` | many soft transitions, more than edges, uneven as grain is; many colours if it has colour; no strokes |
//! | `illustration` | flat areas, few colours, and edges between them |
//! | `line art` | dark thin strokes of one tone on light paper; or black shapes on white |
//! | `sketch` | gray thin strokes on light paper |
//! | `pixel art` | colours change only on a grid of squares; or a small picture of few colours |
//! | `abstract` | none of these: one colour, a gradient, noise |
//!
//! The tones:
//!
//! | label | rule |
//! |---|---|
//! | `black and white` | nineteen of twenty pixels have no colour |
//! | `monochrome` | colour, but of one twelfth of the circle of hues only |
//! | `low key` | most of it dark |
//! | `high key` | most of it bright, hardly anything dark |
//! | `vivid` | strong colours |
//! | `pastel` | weak colours, all of them bright |

mod grid;
mod measures;
mod strokes;

use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_types::{RecognizeStyleRequest, StyleLabel, operations};

pub use measures::Measures;
pub use strokes::Strokes;

use imgopen_engine::{Engine, EngineError, Grade, Job, Monitor, Offer, Output};
use imgopen_picture as picture;

use crate::{blocking, memory};

/// The confidence below which labels are left out.
const LEAST: f64 = 0.1;
/// The factor that keeps labels of tones below the best label of technique.
const TONES: f64 = 0.9;

/// The engine `statistics`, which guesses styles from measurements. It offers `recognize_style`.
#[derive(Debug, Clone, Default)]
pub struct Style {}

impl Style {
    /// Creates the engine.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for Style {
    fn name(&self) -> &str {
        "statistics"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::new(&operations::RECOGNIZE_STYLE, Grade::Draft)]
    }

    fn memory(&self, job: &Job) -> u64 {
        memory::of(job, 1.0)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        blocking::run(job, monitor, serve)
    }
}

fn serve(job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
    job.request::<RecognizeStyleRequest>()?;
    let source = picture::decode_input(job.input("sourceImage")?, job.limits(), monitor)?;
    monitor.stage(0.5)?;
    let style_labels = labels(&measure(source.image, monitor)?);
    monitor.stage(1.0)?;
    Ok(Output { style_labels, ..Output::default() })
}

/// Measures a picture. Transparency is flattened onto white, and 16 bits are rounded to 8.
///
/// # Errors
///
/// [`EngineError::Failed`] for a picture without pixels, which decoding rejects; [`EngineError::Cancelled`].
pub fn measure(image: DynamicImage, monitor: &Monitor) -> Result<Measures, EngineError> {
    if image.width() == 0 || image.height() == 0 {
        return Err(EngineError::Failed("a picture without pixels cannot be measured".to_owned()));
    }
    Measures::of(picture::flatten(image), monitor)
}

/// Returns the labels that fit the measurements, the best first.
///
/// ```
/// use image::{GrayImage, Luma};
/// use imgopen_engine::Monitor;
/// use imgopen_tools::style::{labels, measure};
///
/// let hatching = GrayImage::from_fn(200, 200, |x, y| Luma([if (x + y) % 20 < 2 { 0 } else { 255 }]));
/// let labels = labels(&measure(hatching.into(), &Monitor::new().0)?);
/// assert_eq!(labels[0].label, "line art");
/// # Ok::<(), imgopen_engine::EngineError>(())
/// ```
pub fn labels(measures: &Measures) -> Vec<StyleLabel> {
    let made = made(measures);
    let sure = made.iter().map(|(_, confidence)| *confidence).fold(0.0, f64::max);
    let rest = [("abstract", falls(sure, 0.2, 0.4) * 0.6)];
    let tones = tones(measures).map(|(label, confidence)| (label, confidence * TONES));
    let all = made.into_iter().chain(rest).chain(tones).map(|(label, confidence)| (label, rounded(confidence)));
    let mut fitting: Vec<_> = all.filter(|(_, confidence)| *confidence >= LEAST).collect();
    fitting.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    fitting
        .into_iter()
        .map(|(label, confidence)| StyleLabel { label: label.to_owned(), confidence: Some(confidence) })
        .collect()
}

/// Rates the labels of technique.
fn made(m: &Measures) -> [(&'static str, f64); 5] {
    let strokes = strokes_on_paper(m);
    // Some photographs were enlarged into a grid without contrast.
    let grid = m.grid * rises(m.edges, 0.006, 0.02);
    // Distinguishes ink of one tone from pencil.
    let pencil = rises(m.strokes.ink_tone, 0.51, 0.57);
    let silhouette =
        rises(m.extremes, 0.85, 0.95) * rises(m.lesser_extreme, 0.03, 0.08) * rises(m.flat, 0.6, 0.9) * gray(m);
    let ink = (strokes * (1.0 - pencil)).max(silhouette);
    let drawn = (1.0 - strokes.max(silhouette)) * (1.0 - grid);
    let colored = rises(m.chroma, 10.0, 20.0);
    let many_colors = 1.0 - colored * falls(f64::from(m.colors), 8.0, 20.0);
    let soft = rises(m.soft, 0.15, 0.32) * rises(m.soft / (m.soft + m.edges).max(f64::EPSILON), 0.3, 0.5);
    let photograph = soft * rises(m.grain, 0.1, 0.25) * many_colors;
    let few_colors = falls(f64::from(m.colors), 16.0, 40.0);
    let shapes = rises(m.flat, 0.5, 0.8) * falls(m.soft, 0.2, 0.45) * few_colors * rises(m.edges, 0.001, 0.01);
    [
        ("photograph", photograph * drawn * 0.95),
        ("illustration", shapes * drawn * 0.9),
        ("line art", ink * (1.0 - grid) * 0.9),
        ("sketch", strokes * pencil * (1.0 - grid) * 0.85),
        ("pixel art", grid * 0.95),
    ]
}

fn strokes_on_paper(m: &Measures) -> f64 {
    let paper = rises(m.strokes.paper, 0.4, 0.55) * rises(m.strokes.paper_tone, 115.0, 150.0);
    let thin = rises(m.strokes.thin, 0.8, 0.95) * rises(m.strokes.ink, 0.005, 0.02) * falls(m.strokes.ink, 0.3, 0.45);
    paper * thin * falls(m.chroma, 12.0, 30.0)
}

/// Rates the labels of tones.
fn tones(m: &Measures) -> [(&'static str, f64); 6] {
    let colored = 1.0 - gray(m);
    [
        ("black and white", gray(m)),
        ("monochrome", colored * rises(m.chroma, 5.0, 12.0) * rises(m.one_hue, 0.96, 1.0)),
        ("low key", rises(m.dark, 0.55, 0.85) * falls(m.bright, 0.1, 0.3)),
        ("high key", rises(m.bright, 0.55, 0.85) * falls(m.dark, 0.02, 0.1)),
        ("vivid", rises(m.chroma, 60.0, 110.0)),
        (
            "pastel",
            colored
                * rises(m.shadows, 110.0, 150.0)
                * rises(m.median, 170.0, 200.0)
                * rises(m.chroma, 10.0, 20.0)
                * falls(m.chroma, 60.0, 90.0),
        ),
    ]
}

fn gray(m: &Measures) -> f64 {
    falls(m.chroma_peak, 6.0, 20.0)
}

/// Returns 0 up to `none`, 1 from `full` on, and interpolates between.
fn rises(value: f64, none: f64, full: f64) -> f64 {
    ((value - none) / (full - none)).clamp(0.0, 1.0)
}

/// Returns 1 up to `full`, 0 from `none` on, and interpolates between.
fn falls(value: f64, full: f64, none: f64) -> f64 {
    1.0 - rises(value, full, none)
}

/// Rounds to two digits, because it is a guess.
fn rounded(confidence: f64) -> f64 {
    (confidence * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cancellation_stops_the_work() {
        blocking::tests::assert_cancellable(&operations::RECOGNIZE_STYLE, json!({}), serve);
    }
}
