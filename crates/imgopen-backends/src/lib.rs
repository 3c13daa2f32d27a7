#![doc = include_str!("../README.md")]

mod backend;
mod generation;
pub mod honesty;
mod http;
mod infotext;
mod kind;
mod report;
mod settings;
mod timing;
mod verify;
mod watched;
mod webui;

pub use backend::{Backend, DiscoverError};
pub use generation::{
    Checkpoint, ControlMode, ControlUnit, Fill, Fit, Generation, Hires, LoraUse, MAX_SIDE, MAX_STEPS, MOST_PICTURES,
    Mask, Prompt, Sampling, Schedule, Start,
};
pub use kind::Kind;
pub use report::{OperationReport, Report};
pub use settings::{BackendSettings, FluxFiles, Password};
pub use timing::Timing;
pub use webui::SdWebui;
