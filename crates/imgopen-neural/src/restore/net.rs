//! The nets that repair faces, and how each is used.

use std::ops::Range;

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::{ElementType, Planes, Port, Session, Tensor, Tiles};

use super::blur::is_blurred;
use super::frame::Frame;
use crate::face::FoundFace;
use crate::nets::{Held, Nets, Role, UPSCALE, Weights};

/// The net of the pack `upscale` that is used.
const ENLARGER: &str = "realesrgan-x4plus.onnx";

/// By which factor it enlarges.
const FACTOR: usize = 4;

/// How a face is divided for it.
const TILES: Tiles = Tiles { side: 72, margin: 8, blend: 2, scale: FACTOR };

/// The fewest pixels of its frame along each side. Down to that, a blurred face is halved, because the net makes more of a small
/// face that is sharp than of a large one that is not.
const LEAST: usize = 64;

/// The bytes that a run of it takes, if its file does not determine that.
const ENLARGING: u64 = (TILES.side * TILES.side) as u64 * 24_576;

/// The bytes that a run of GFPGAN or CodeFormer takes, if its file does not determine that.
const RESTORING: u64 = 1536 * 1024 * 1024;

/// The bytes of planes: a frame, what is made of it, and copies of both.
const PLANES: u64 = 32 * 1024 * 1024;

/// A net that repairs faces, and how it is used.
#[derive(Debug, Clone)]
pub(crate) struct Repair {
    pub weights: Weights,
    kind: Kind,
}

/// A net that is loaded, for a job.
pub(crate) struct Repairer {
    nets: Nets,
    weights: Weights,
    session: Session,
    kind: Kind,
    /// From 0, the most repair, to 1, the least change.
    fidelity: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Makes a face of an aligned one: GFPGAN, or CodeFormer, which takes a weight.
    Restorer { takes_weight: bool },
    /// Enlarges any picture: Real-ESRGAN.
    Enlarger,
}

impl Repair {
    /// Returns the net that is used now; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Says why the preferred one of those that are there cannot be used, and what to do.
    pub(crate) fn of(nets: &Nets) -> Option<Result<Self, String>> {
        match nets.own(Role::FaceRestoration) {
            Held::Whole(all) => {
                if let Some(weights) = all.first().cloned() {
                    let kind = Kind::Restorer { takes_weight: weights.file.inputs().len() > 1 };
                    return Some(Ok(Self { weights, kind }));
                }
            }
            Held::Broken(problem) => return Some(Err(problem)),
            Held::Missing => {}
        }
        match nets.held(UPSCALE) {
            Held::Missing => None,
            Held::Broken(problem) => Some(Err(problem)),
            Held::Whole(all) => {
                let found = all.iter().find(|weights| weights.file.name() == ENLARGER).cloned();
                let lacking = || format!("the pack `{UPSCALE}` does not have `{ENLARGER}`; pull the built-in one");
                Some(found.map(|weights| Self { weights, kind: Kind::Enlarger }).ok_or_else(lacking))
            }
        }
    }

    /// Returns whether the net knows faces, rather than pictures in general.
    pub(super) fn knows_faces(&self) -> bool {
        matches!(self.kind, Kind::Restorer { .. })
    }

    /// Returns how many bytes the net and its pictures take at most, beside the picture of the job.
    pub(crate) fn memory(&self) -> u64 {
        let net = match self.kind {
            Kind::Restorer { .. } => self.weights.memory(&[], RESTORING),
            Kind::Enlarger => {
                let shape = [1, 3, TILES.side, TILES.side];
                let inputs = self.weights.file.inputs().iter().map(|port| (port.name.as_str(), &shape[..]));
                self.weights.memory(&inputs.collect::<Vec<_>>(), ENLARGING)
            }
        };
        net.saturating_add(PLANES)
    }

    /// Loads the net for a job with a balance of quality against fidelity. Blocks.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unavailable`] if its file cannot be used.
    pub(crate) fn load(&self, nets: &Nets, fidelity: f32) -> Result<Repairer, EngineError> {
        let session = nets.open(&self.weights)?;
        Ok(Repairer { nets: nets.clone(), weights: self.weights.clone(), session, kind: self.kind, fidelity })
    }
}

impl Repairer {
    /// Returns where a face is seen by the net, and what it sees; `None` if the face has no extent, or lies outside the picture.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`], and [`EngineError::Failed`] for pixel types that decoded pictures do not have.
    pub(super) fn look(
        &self,
        face: &FoundFace,
        image: &DynamicImage,
        monitor: &Monitor,
    ) -> Result<Option<(Frame, Planes)>, EngineError> {
        let size = (image.width(), image.height());
        let frame = match self.kind {
            Kind::Restorer { .. } => Frame::aligned(face, size),
            Kind::Enlarger => Frame::upright(face, size, 1.0),
        };
        let Some(mut frame) = frame else { return Ok(None) };
        let mut seen = frame.cut(image, monitor)?;
        let mut factor = 0.5;
        while self.kind == Kind::Enlarger && frame.width.min(frame.height) >= 2 * LEAST && is_blurred(&seen, monitor)? {
            let Some(smaller) = Frame::upright(face, size, factor) else { break };
            seen = smaller.cut(image, monitor)?;
            frame = smaller;
            factor /= 2.0;
        }
        Ok(Some((frame, seen)))
    }

    /// Returns how much of what the net makes is shown, from 0 to 1.
    pub(super) fn share(&self) -> f32 {
        match self.kind {
            Kind::Restorer { takes_weight: true } => 1.0,
            // Of a repair, at least half is left.
            Kind::Restorer { takes_weight: false } | Kind::Enlarger => 1.0 - self.fidelity / 2.0,
        }
    }

    /// Runs the net on colours from 0 to 1, and returns such colours, of the same size or a multiple of it.
    pub(super) fn run(&self, given: Planes, monitor: &Monitor, progress: Range<f64>) -> Result<Planes, EngineError> {
        match self.kind {
            Kind::Restorer { .. } => {
                monitor.stage(progress.start)?;
                let made = self.nets.judged(&self.weights, self.restored(given))?;
                monitor.stage(progress.end)?;
                Ok(made)
            }
            Kind::Enlarger => TILES.run(&given, monitor, progress, |tile| self.enlarged(tile)),
        }
    }

    fn enlarged(&self, tile: Planes) -> Result<Planes, EngineError> {
        let (input, output) =
            self.ports().next().zip(self.session.file().outputs().first()).ok_or_else(|| self.unfit())?;
        let [larger] = self.session.run(&[(input.name.as_str(), &tile.into_tensor())], [output.name.as_str()])?;
        Planes::from_tensor(larger).map_err(EngineError::Failed)
    }

    fn restored(&self, face: Planes) -> Result<Planes, EngineError> {
        let size = (face.width(), face.height());
        let output = self.session.file().outputs().first().ok_or_else(|| self.unfit())?;
        let picture = self.ports().find(|port| dimensions(port) == Some(4)).ok_or_else(|| self.unfit())?;
        let signed = mapped(face, |level| 2.0 * level - 1.0)?.into_tensor();
        let weight = self.ports().find(|port| port.name != picture.name);
        let weight = weight.map(|port| Ok::<_, EngineError>((port.name.as_str(), self.weight(port)?))).transpose()?;
        let mut inputs = vec![(picture.name.as_str(), &signed)];
        inputs.extend(weight.as_ref().map(|(name, weight)| (*name, weight)));
        let [made] = self.session.run(&inputs, [output.name.as_str()])?;
        let made = Planes::from_tensor(made).map_err(EngineError::Failed)?;
        if (made.channels(), made.width(), made.height()) != (3, size.0, size.1) {
            return Err(self.unfit());
        }
        mapped(made, |level| (level + 1.0) / 2.0)
    }

    /// Returns the weight as the net takes it: one number, in as many dimensions as its file declares.
    fn weight(&self, port: &Port) -> Result<Tensor, EngineError> {
        if !matches!(port.element, ElementType::F32 | ElementType::F64) {
            return Err(self.unfit());
        }
        let shape = vec![1; dimensions(port).unwrap_or(1)];
        Tensor::new(shape, vec![self.fidelity]).map_err(|error| EngineError::Failed(error.to_string()))
    }

    fn ports(&self) -> impl Iterator<Item = &Port> {
        self.session.file().inputs().iter()
    }

    fn unfit(&self) -> EngineError {
        EngineError::Failed(format!("the net in \"{}\" does not repair faces", self.session.file().name()))
    }
}

fn dimensions(port: &Port) -> Option<usize> {
    port.shape.as_ref().map(Vec::len)
}

fn mapped(planes: Planes, map: impl Fn(f32) -> f32) -> Result<Planes, EngineError> {
    let (channels, width, height) = (planes.channels(), planes.width(), planes.height());
    let values = planes.into_values().into_iter().map(map).collect();
    Planes::new(channels, width, height, values).map_err(|error| EngineError::Failed(error.to_string()))
}
