//! Real programs that make pictures, from the command line to the file. Their models have random weights; `.ci/backends` installs
//! the programs, writes the models, and sets the variables by which the tests find them. Without these, nothing is tested here:
//!
//! - `IMGOPEN_TEST_SD_SERVER`: the program `sd-server`.
//! - `IMGOPEN_TEST_SD_MODELS`: the directory that the example `weights` of `imgopen-backends` has written.
//! - `IMGOPEN_TEST_COMFYUI`: the address of a ComfyUI that has these models.
//!
//! `.ci/weights` sets `IMGOPEN_TEST_PACKS` to the names of packs of weights, separated by commas, which are then pulled from
//! their registries.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "real/comfyui.rs"]
mod comfyui;
mod common;
#[path = "real/packs.rs"]
mod packs;
#[path = "real/processes.rs"]
mod processes;
#[path = "real/sd_server.rs"]
mod sd_server;
#[path = "real/studio.rs"]
mod studio;
