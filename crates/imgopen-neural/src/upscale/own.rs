//! A net of the operator's own that enlarges pictures: by which factor, and which tiles it takes.

use imgopen_engine::EngineError;
use imgopen_nets::{Planes, Session, Tiles};

use super::tile::{averaged, cut, extended, resampled, run};
use crate::nets::{MOST_FACTOR, Nets, Weights, sizes};

/// The most pixels of a tile along each side, for nets that take any.
const SIDE: usize = 128;

/// Sides of tiles are multiples of this, because nets halve them, or divide them into windows.
const MULTIPLE: usize = 16;

/// The side of the tile by which the factor is found.
const PROBE: usize = 32;

/// How far around a pixel a net sees what matters, and over how many pixels on both sides of a seam tiles fade into each other.
const MARGIN: usize = 8;
const BLEND: usize = 2;

/// The bytes that a run takes for each pixel of a tile, if the file does not determine that.
const WORKING: u64 = 24_576;

/// A net that is loaded.
pub(super) struct OwnUpscaler {
    pub weights: Weights,
    session: Session,
    sides: Sides,
    /// By which factor it enlarges.
    factor: usize,
}

/// The sides of a picture that the net takes; `None` for any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sides {
    width: Option<usize>,
    height: Option<usize>,
}

impl Sides {
    fn of(weights: &Weights) -> Self {
        let (height, width) = sizes(weights.file.inputs()).unwrap_or((None, None));
        Self { width, height }
    }

    /// Returns the most pixels of a tile along each side.
    fn tile(self) -> usize {
        [self.width, self.height].into_iter().flatten().fold(SIDE, usize::min)
    }

    /// Returns the width and the height of what the net is given for a tile.
    fn given(self, width: usize, height: usize) -> (usize, usize) {
        let side = |fixed: Option<usize>, side: usize| fixed.unwrap_or_else(|| side.next_multiple_of(MULTIPLE));
        (side(self.width, width), side(self.height, height))
    }
}

impl OwnUpscaler {
    /// Loads the net, and finds by which factor it enlarges.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unavailable`] if it cannot be used, after which it does not count any more; [`EngineError::Interrupted`].
    pub fn open(nets: &Nets, weights: Weights) -> Result<Self, EngineError> {
        let (session, sides) = (nets.open(&weights)?, Sides::of(&weights));
        let (width, height) = sides.given(PROBE, PROBE);
        let gray = Planes::new(3, width, height, vec![0.5; 3 * width * height]);
        let gray = gray.map_err(|error| EngineError::Failed(error.to_string()))?;
        let larger = run(&session, gray).map_err(|error| nets.blamed(&weights, error))?;
        let size = (larger.width(), larger.height());
        let factor = size.0 / width;
        let fits = larger.channels() == 3 && size == (factor * width, factor * height);
        match fits && (2..=MOST_FACTOR).contains(&factor) {
            true => Ok(Self { weights, session, sides, factor }),
            false => {
                Err(nets.refuse(&weights, &format!("it makes {}x{} pixels out of {width}x{height}", size.0, size.1)))
            }
        }
    }

    pub fn tiles(&self, scale: usize) -> Tiles {
        let side = self.sides.tile();
        Tiles { side, margin: MARGIN.min(side / 8), blend: BLEND, scale }
    }

    /// Returns a tile, enlarged by the scale.
    pub fn enlarged(&self, tile: Planes, scale: usize) -> Result<Planes, EngineError> {
        let (width, height) = (tile.width(), tile.height());
        let (given_width, given_height) = self.sides.given(width, height);
        let larger = run(&self.session, extended(&tile, given_width, given_height)?)?;
        if (larger.width(), larger.height()) != (given_width * self.factor, given_height * self.factor) {
            let name = self.session.file().name();
            return Err(EngineError::Failed(format!("the net in \"{name}\" enlarges by a changing factor")));
        }
        let larger = cut(&larger, width * self.factor, height * self.factor)?;
        match self.factor.is_multiple_of(scale) {
            true => averaged(larger, self.factor / scale),
            false => resampled(&larger, width * scale, height * scale),
        }
    }
}

/// Returns how many bytes a net takes at most.
pub(super) fn memory(weights: &Weights) -> u64 {
    let (width, height) = Sides::of(weights).given(SIDE, SIDE);
    let shape = [1, 3, height, width];
    let inputs = weights.file.inputs().iter().map(|port| (port.name.as_str(), &shape[..]));
    let least = (width as u64).saturating_mul(height as u64).saturating_mul(WORKING);
    weights.memory(&inputs.collect::<Vec<_>>(), least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_fit_the_net() {
        let any = Sides { width: None, height: None };
        assert_eq!((any.tile(), any.given(100, 128), any.given(1, 17)), (128, (112, 128), (16, 32)));
        let fixed = Sides { width: Some(64), height: Some(256) };
        assert_eq!((fixed.tile(), fixed.given(40, 3)), (64, (64, 256)));
    }
}
