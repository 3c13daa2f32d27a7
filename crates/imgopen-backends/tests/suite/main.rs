//! Engines against fakes made of recordings, and against real programs where variables name them: `IMGOPEN_TEST_SDWEBUI` is
//! the address of A1111 or Forge, with a Stable Diffusion 1.5 model.
#![allow(clippy::unwrap_used)]

mod conformance;
mod discovery;
mod document;
mod drift;
mod extras;
mod fake;
mod faults;
mod generation;
mod honest_fake;
mod jobs;
mod recordings;
mod target;
