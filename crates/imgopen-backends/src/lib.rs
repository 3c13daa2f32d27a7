#![doc = include_str!("../README.md")]

mod generation;
pub mod honesty;
mod kind;

pub use generation::{
    Checkpoint, ControlMode, ControlUnit, Fill, Fit, Generation, Hires, LoraUse, MAX_SIDE, MAX_STEPS, MOST_PICTURES,
    Mask, Prompt, Sampling, Schedule, Start,
};
pub use kind::Kind;
