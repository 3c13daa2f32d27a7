//! Enlarges pictures two or four times and rebuilds their detail, with the nets of Real-ESRGAN.
//!
//! | picture | net | up to | tile |
//! |---|---|---|---|
//! | photographs | `realesrgan-x4plus` | [`FINE_PHOTOGRAPH`] pixels | 72x72 |
//! | drawings, by the measures of [`imgopen_tools::style`] | `realesrgan-x4plus-anime` | [`FINE_DRAWING`] pixels | 112x112 |
//! | larger ones | `realesr-animevideov3-x2` and `-x4` | the limit of pixels | 256x256 |
//!
//! The bounds keep a job within some minutes on two cores; the result's note names the net. A tile takes a second or two, after
//! which progress is reported and cancellation is seen. What the nets for four times make is averaged over 2x2 pixels for
//! twice the size.
//!
//! A net of the operator's own is used in place of these, whatever the picture, and its result resampled to the scale if it
//! enlarges by another factor.
//!
//! The nets know red, green and blue only. Opacity is resampled by a Lanczos filter, and colours that transparency hides are
//! replaced by those nearby first, so that they do not show at edges. Gray stays gray, 16 bits stay 16 bits, and the result has
//! the format of the input and keeps what its file carries, as that of [`imgopen_tools::lanczos`].

mod join;
mod own;
mod tile;

use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{Engine, EngineError, Grade, Job, Monitor, Offer, Output};
use imgopen_nets::{Planes, Session, Tiles};
use imgopen_picture::{self as picture, EncodeError, write_like};
use imgopen_tools::{blocking, lanczos, memory, style};
use imgopen_types::{Operation, SuperResolutionRequest, operations};

use self::join::{Join, opacity};
use self::own::OwnUpscaler;
pub(crate) use self::tile::averaged;
use self::tile::run;
use crate::nets::{Held, Nets, Role, UPSCALE, Weights, unavailable};
use crate::pixels::{self, Channels};

/// The most pixels of a photograph that the finest net is given.
pub const FINE_PHOTOGRAPH: u64 = 512 * 512;

/// The most pixels of a drawing that the finest net is given.
pub const FINE_DRAWING: u64 = 1024 * 1024;

/// The longest side of the copy on which photographs and drawings are distinguished.
const MEASURED: u32 = 512;

/// Over how many pixels on both sides of a seam tiles fade into each other.
const BLEND: usize = 2;

/// Bytes for each pixel of the source: its channels, and what replaces hidden colours.
const SOURCE_PLANES: u64 = 48;

/// Bytes for each pixel of the result before its samples are made: three channels.
const RESULT_PLANES: u64 = 12;

/// The engine `realesrgan`, which offers `super_resolution` while the pack `upscale` is installed, or the operator has put a net of
/// their own beside it.
#[derive(Debug, Clone)]
pub struct Upscale {
    nets: Nets,
}

/// A net for pictures of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    file: &'static str,
    /// By which factor the net enlarges.
    factor: usize,
    /// The most pixels of a tile along each side.
    side: usize,
    /// How far around a pixel the net sees what matters.
    margin: usize,
    /// The bytes that a run takes for each pixel of a tile, if the file does not determine that.
    working: u64,
}

const PHOTOGRAPH: Kind = Kind { file: "realesrgan-x4plus.onnx", factor: 4, side: 72, margin: 8, working: 24_576 };
const DRAWING: Kind = Kind { file: "realesrgan-x4plus-anime.onnx", factor: 4, side: 112, margin: 8, working: 24_576 };
/// Its 18 layers of 3x3 see exactly that far.
const TWICE: Kind = Kind { file: "realesr-animevideov3-x2.onnx", factor: 2, side: 256, margin: 18, working: 4096 };
const FOUR_TIMES: Kind = Kind { file: "realesr-animevideov3-x4.onnx", factor: 4, side: 256, margin: 18, working: 4096 };

impl Kind {
    /// Returns the fast one for a scale.
    fn fast(scale: usize) -> Self {
        if scale == 2 { TWICE } else { FOUR_TIMES }
    }

    /// Returns those that may be chosen for pictures with that many pixels.
    fn possible(pixels: u64, scale: usize) -> impl Iterator<Item = Kind> {
        let fine = [(PHOTOGRAPH, FINE_PHOTOGRAPH), (DRAWING, FINE_DRAWING)];
        let fine = fine.into_iter().filter(move |(_, most)| pixels <= *most).map(|(kind, _)| kind);
        fine.chain([Kind::fast(scale)])
    }

    /// Returns the one for a picture.
    fn of(image: &DynamicImage, scale: usize, monitor: &Monitor) -> Result<Self, EngineError> {
        let pixels = u64::from(image.width()) * u64::from(image.height());
        if pixels > FINE_DRAWING {
            return Ok(Kind::fast(scale));
        }
        let longest = f64::from(image.width().max(image.height()));
        let share = (f64::from(MEASURED) / longest).min(1.0);
        let [width, height] = [image.width(), image.height()].map(|side| ((f64::from(side) * share) as u32).max(1));
        let labels = style::labels(&style::measure(pixels::resized(image, width, height)?, monitor)?);
        // Tones are labels too.
        let drawn = labels.iter().find_map(|label| match label.label.as_str() {
            "illustration" | "line art" | "sketch" | "pixel art" => Some(true),
            "photograph" | "abstract" => Some(false),
            _ => None,
        });
        let is_drawn = drawn.unwrap_or(false);
        Ok(match is_drawn {
            true => DRAWING,
            false if pixels <= FINE_PHOTOGRAPH => PHOTOGRAPH,
            false => Kind::fast(scale),
        })
    }

    fn tiles(self, scale: usize) -> Tiles {
        Tiles { side: self.side, margin: self.margin, blend: BLEND, scale }
    }

    /// Returns how many bytes its net takes at most.
    fn memory(self, weights: &Weights) -> u64 {
        let shape = [1, 3, self.side, self.side];
        let inputs = weights.file.inputs().iter().map(|port| (port.name.as_str(), &shape[..]));
        let least = (self.side * self.side) as u64 * self.working;
        weights.memory(&inputs.collect::<Vec<_>>(), least)
    }
}

/// A net that is loaded.
enum Upscaler {
    Pack { kind: Kind, weights: Weights, session: Session },
    Own(OwnUpscaler),
}

impl Upscaler {
    fn weights(&self) -> &Weights {
        match self {
            Upscaler::Pack { weights, .. } => weights,
            Upscaler::Own(own) => &own.weights,
        }
    }

    fn tiles(&self, scale: usize) -> Tiles {
        match self {
            Upscaler::Pack { kind, .. } => kind.tiles(scale),
            Upscaler::Own(own) => own.tiles(scale),
        }
    }

    /// Returns a tile, enlarged by the scale.
    fn enlarged(&self, tile: Planes, scale: usize) -> Result<Planes, EngineError> {
        match self {
            Upscaler::Pack { kind, session, .. } => averaged(run(session, tile)?, kind.factor / scale),
            Upscaler::Own(own) => own.enlarged(tile, scale),
        }
    }
}

impl Upscale {
    /// Creates the engine.
    pub fn new(nets: Nets) -> Self {
        Self { nets }
    }

    /// Returns the net of a kind.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unavailable`] if it is not there any more.
    fn weights(&self, kind: Kind) -> Result<Weights, EngineError> {
        match self.nets.held(UPSCALE) {
            Held::Whole(all) => {
                let found = all.iter().find(|weights| weights.file.name() == kind.file).cloned();
                let lacking = || format!("the pack `{UPSCALE}` does not have `{}`; pull the built-in one", kind.file);
                found.ok_or_else(|| unavailable(lacking()))
            }
            Held::Broken(problem) => Err(unavailable(problem)),
            Held::Missing => Err(unavailable(format!(
                "the pack `{UPSCALE}` is not installed any more; pull it with `imgopen models pull {UPSCALE}`"
            ))),
        }
    }

    /// Returns the operator's own net, if there is one.
    fn own(&self) -> Option<Weights> {
        match self.nets.own(Role::Upscaling) {
            Held::Whole(own) => own.first().cloned(),
            Held::Missing | Held::Broken(_) => None,
        }
    }

    /// Loads the net for a picture.
    fn upscaler(&self, image: &DynamicImage, scale: usize, monitor: &Monitor) -> Result<Upscaler, EngineError> {
        match self.own() {
            Some(weights) => Ok(Upscaler::Own(OwnUpscaler::open(&self.nets, weights)?)),
            None => {
                let kind = Kind::of(image, scale, monitor)?;
                let weights = self.weights(kind)?;
                let session = self.nets.open(&weights)?;
                Ok(Upscaler::Pack { kind, weights, session })
            }
        }
    }

    fn enlarge(&self, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
        let scale = scale(job)?;
        let mut source = picture::decode_input(job.input("image")?, job.limits(), monitor)?;
        let image = std::mem::take(&mut source.image);
        let rejected = |error: EncodeError| EngineError::rejected("scale", format!("{scale} given: {error}"));
        let (width, height) = lanczos::size(image.width(), image.height(), f64::from(scale), job.limits())?;
        picture::check_sides(source.header.format.written(), width, height).map_err(rejected)?;
        monitor.stage(0.05)?;
        let upscaler = self.upscaler(&image, scale as usize, monitor)?;
        let weights = upscaler.weights().clone();
        monitor.stage(0.1)?;
        let join = Join::of(&image);
        let opacity = match opacity(&image) {
            Some(opacity) => Some(lanczos::resize(opacity, width, height)?),
            None => None,
        };
        let channels = Channels::of(&image)?;
        drop(image);
        let planes = visible(channels, opacity.is_some(), monitor)?;
        let tiles = upscaler.tiles(scale as usize);
        let larger = tiles.run(&planes, monitor, 0.1..0.9, |tile| upscaler.enlarged(tile, scale as usize));
        let larger = self.nets.judged(&weights, larger)?;
        drop((upscaler, planes));
        let image = join.image(larger, opacity, monitor)?;
        let name = weights.file.name();
        let done = format!("Postprocess upscale by: {scale}, Postprocess upscaler: {name}");
        let picture = write_like(&source, &image, &done, monitor, rejected)?;
        monitor.stage(1.0)?;
        let notes = vec![format!("enlarged by the net {}", weights.described())];
        Ok(Output { pictures: vec![picture], notes, ..Output::default() })
    }
}

impl Engine for Upscale {
    fn name(&self) -> &str {
        "realesrgan"
    }

    fn offers(&self) -> Vec<Offer> {
        let offer = Offer::new(&operations::SUPER_RESOLUTION, Grade::Neural);
        if self.own().is_some() {
            return vec![offer];
        }
        match self.nets.held(UPSCALE) {
            Held::Missing => Vec::new(),
            Held::Whole(_) => vec![offer],
            // It does not come back by itself, so nothing new should wait for it.
            Held::Broken(problem) => vec![Offer { away: Some(problem), is_known: false, ..offer }],
        }
    }

    fn nets(&self, operation: &Operation) -> Vec<String> {
        self.nets.names_for(operation)
    }

    fn memory(&self, job: &Job) -> u64 {
        // A request that cannot be read is rejected by the run.
        let scale = scale(job).unwrap_or(1);
        let header = job.inputs().iter().find_map(|input| picture::inspect(&input.bytes, job.limits()).ok());
        let pixels = header.map_or(0, |header| header.pixels());
        let nets = match self.own() {
            Some(weights) => own::memory(&weights),
            None => {
                let kinds = Kind::possible(pixels, scale as usize);
                kinds.filter_map(|kind| Some(kind.memory(&self.weights(kind).ok()?))).max().unwrap_or(0)
            }
        };
        let factor = u64::from(scale) * u64::from(scale);
        let grown = pixels.saturating_mul(factor).min(job.limits().pixels.max(pixels));
        let planes = pixels.saturating_mul(SOURCE_PLANES).saturating_add(grown.saturating_mul(RESULT_PLANES));
        memory::of(job, factor as f64).saturating_add(planes).saturating_add(nets)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let engine = self.clone();
        blocking::run(job, monitor, move |job, monitor| engine.enlarge(job, monitor))
    }
}

fn scale(job: &Job) -> Result<u32, EngineError> {
    let scale = job.request::<SuperResolutionRequest>()?.scale_or_default();
    // The contract has no others.
    match scale {
        2 => Ok(2),
        4 => Ok(4),
        other => Err(EngineError::rejected("scale", format!("{other} given; give 2 or 4"))),
    }
}

/// Returns the colours of a picture as a net takes them. Those that are hidden become those of the pixels around.
fn visible(channels: Channels, is_transparent: bool, monitor: &Monitor) -> Result<Planes, EngineError> {
    let Channels { colours, opacity } = channels;
    let (width, height) = (opacity.width, opacity.height);
    let mut values = Vec::with_capacity(3 * width * height);
    for plane in colours {
        let plane = match is_transparent {
            true => plane.seen(&opacity, monitor)?,
            false => plane,
        };
        values.extend(plane.values);
    }
    Planes::new(3, width, height, values).map_err(|error| EngineError::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Rgb};

    use super::*;

    #[test]
    fn the_net_is_chosen_by_kind_and_size() {
        let monitor = Monitor::new().0;
        let drawing = |width, height| {
            let image = ImageBuffer::from_fn(width, height, |x, y| {
                Rgb(if (x / 40 + y / 40) % 2 == 0 { [250_u8, 220, 40] } else { [30, 60, 200] })
            });
            DynamicImage::from(image)
        };
        // Soft and uneven, as a photograph.
        let photograph = |width, height| {
            let image = ImageBuffer::from_fn(width, height, |x: u32, y: u32| {
                let noise = (x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)).wrapping_mul(2_654_435_761) >> 28;
                let wave = |step: f32| ((x as f32 / step).sin() + (y as f32 / (step + 7.0)).cos()) * 40.0 + 120.0;
                Rgb([19.0, 29.0, 41.0].map(|step: f32| wave(step) as u8 + noise as u8))
            });
            DynamicImage::from(image)
        };
        for (image, scale, expected) in [
            (photograph(200, 150), 2, PHOTOGRAPH),
            (photograph(600, 600), 2, TWICE),
            (photograph(600, 600), 4, FOUR_TIMES),
            (drawing(600, 600), 4, DRAWING),
            (drawing(1100, 1000), 2, TWICE),
        ] {
            let (size, kind) = ((image.width(), image.height()), Kind::of(&image, scale, &monitor).unwrap());
            assert_eq!(kind, expected, "{size:?}, {scale}");
            let pixels = u64::from(size.0) * u64::from(size.1);
            assert!(Kind::possible(pixels, scale).any(|possible| possible == kind));
        }
    }

    #[test]
    fn tiles_leave_room() {
        for kind in [PHOTOGRAPH, DRAWING, TWICE, FOUR_TIMES] {
            assert!(kind.tiles(2).count(1000, 1000).is_ok(), "{kind:?}");
        }
    }
}
