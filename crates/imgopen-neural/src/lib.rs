#![doc = include_str!("../README.md")]

pub mod background;
pub mod controls;
pub mod describe;
mod face;
pub mod faces;
pub mod fill;
pub mod hairstyle;
mod lab;
mod nets;
pub mod parts;
mod pixels;
mod plane;
pub mod restore;
pub mod safety;
pub mod swap;
pub mod upscale;

pub use background::Background;
pub use controls::ControlNets;
pub use describe::Describe;
pub use faces::Faces;
pub use fill::Lama;
pub use hairstyle::Hairstyle;
pub use imgopen_nets::runtime::{Apart, ApartSettings, Provider, Runtime, RuntimeSettings, UnknownProvider, serve};
pub use imgopen_nets::{Limits, NetError, SessionSettings};
pub use nets::{Nets, OwnFile, operations_of, own_files};
pub use restore::Restore;
pub use safety::Safety;
pub use swap::Swap;
pub use upscale::Upscale;

use imgopen_engine::Registry;

/// Adds all engines of this crate to a registry.
pub fn with_all(registry: Registry, nets: &Nets) -> Registry {
    registry
        .with(Background::new(nets.clone()))
        .with(ControlNets::new(nets.clone()))
        .with(Describe::new(nets.clone()))
        .with(Faces::new())
        .with(Hairstyle::new(nets.clone()))
        .with(Lama::new(nets.clone()))
        .with(Restore::new(nets.clone()))
        .with(Swap::new(nets.clone()))
        .with(Upscale::new(nets.clone()))
}
