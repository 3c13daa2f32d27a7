//! Finds people, for engines that change what belongs to them.

use image::DynamicImage;
use imgopen_engine::EngineError;

use super::mask::{self, Finder};
use super::{Background, Choice, lacking};
use crate::nets::{Held, Nets, PORTRAIT};
use crate::pixels::{self, Channels};
use crate::plane::Plane;

/// The net of the pack `portrait`.
const SELFIE: &str = "selfie_segmentation.onnx";

/// A net that finds people: that of the pack `portrait`, which knows nothing else, or else the one that finds subjects.
pub(crate) struct People {
    choice: Choice,
}

impl People {
    /// Returns the net that is used now; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Says why the preferred one of those that are there cannot be used, and what to do.
    pub(crate) fn of(nets: &Nets) -> Option<Result<Self, String>> {
        let choice = match nets.held(PORTRAIT) {
            Held::Missing => Background::new(nets.clone()).choice()?,
            Held::Broken(problem) => Err(problem),
            Held::Whole(all) => {
                let weights = all.iter().find(|weights| weights.file.name() == SELFIE).cloned();
                let choice = weights.map(|weights| Choice { weights, finder: Finder::Selfie });
                choice.ok_or_else(|| lacking(PORTRAIT, &[SELFIE]))
            }
        };
        Some(choice.map(|choice| Self { choice }))
    }

    /// Returns how many bytes a run takes at most.
    pub(crate) fn memory(&self) -> u64 {
        self.choice.weights.memory(&[], self.choice.least())
    }

    /// Says which net it is, for people.
    pub(crate) fn described(&self) -> String {
        self.choice.weights.described()
    }

    /// Returns how much of each pixel belongs to a person, from 0 to 1. Blocks; the run of the net cannot be stopped.
    ///
    /// # Errors
    ///
    /// As for loading and running a net.
    pub(crate) fn find(&self, nets: &Nets, image: &DynamicImage) -> Result<Plane, EngineError> {
        let session = nets.open(&self.choice.weights)?;
        let mask = nets.judged(&self.choice.weights, mask::find(&session, image, self.choice.finder))?;
        drop(session);
        let [mask, ..] = Channels::of(&pixels::resized(&mask, image.width(), image.height())?)?.colours;
        Ok(mask)
    }
}
