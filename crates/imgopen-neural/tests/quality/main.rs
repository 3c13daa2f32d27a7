//! Measures results on photographs: `cargo test -p imgopen-neural --test quality -- --nocapture`.
//!
//! Needs `python3` and `npm`; the photographs and the libraries for comparison are installed below the target directory. The packs are
//! not part of the repository: `IMGOPEN_TEST_MODELS` names a models directory with those that you have pulled, whichever they are;
//! without it, only what needs none is measured.
#![allow(clippy::unwrap_used)]

mod background;
#[path = "../support/cutouts.rs"]
mod cutouts;
mod faces;
mod hairstyle;
#[path = "../support/packs.rs"]
mod packs;
#[path = "../../../imgopen-tools/tests/support/python.rs"]
#[allow(dead_code)]
mod python;
#[path = "../support/mod.rs"]
mod support;
mod swap;
mod upscale;

use std::path::Path;

use imgopen_neural::Nets;
use imgopen_packs::{Catalogue, Packs, State};

/// Returns the nets if a pack is among those that are there.
fn with(pack: &str) -> Option<Nets> {
    let nets = packs::nets()?;
    let models = std::env::var_os("IMGOPEN_TEST_MODELS")?;
    let state = Packs::in_models(Path::new(&models)).state(Catalogue::built_in().find(pack).unwrap());
    if !matches!(state, State::Installed(_)) {
        eprintln!("the pack `{pack}` is not there: nothing is measured");
        return None;
    }
    Some(nets)
}
