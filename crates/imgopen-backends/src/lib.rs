#![doc = include_str!("../README.md")]

mod backend;
mod blocking;
mod comfyui;
mod control_maps;
mod driver;
mod exhausted;
mod fleet;
mod generation;
pub mod honesty;
mod http;
mod infotext;
mod inpaint;
mod kind;
mod names;
mod pictures;
mod possible;
mod refusals;
mod report;
mod sd_server;
mod seed;
mod settings;
mod timing;
mod verify;
mod watched;
mod webui;

pub use backend::{Backend, DiscoverError};
pub use comfyui::ComfyUi;
pub use control_maps::ControlMaps;
pub use driver::{Driver, Surroundings};
pub use fleet::{Fleet, name_all};
pub use generation::{
    Checkpoint, ControlMode, ControlUnit, Fill, Fit, FluxVariant, Generation, Hires, LoraUse, MAX_SIDE, MAX_STEPS,
    MOST_PICTURES, Mask, Prompt, Sampling, Schedule, Start,
};
pub use inpaint::{HOLE, Inpainter};
pub use kind::Kind;
pub use possible::{Possible, possible};
pub use report::{OperationReport, Report};
pub use sd_server::SdServer;
pub use settings::{BackendSettings, FluxFiles, InpaintSettings, ModelFiles, Password};
pub use timing::Timing;
pub use webui::SdWebui;
