#![doc = include_str!("../README.md")]

mod archive;
mod cancel;
mod catalogue;
mod convert;
mod digest;
mod error;
mod fetch;
mod file;
mod local;
mod manifest;
mod options;
mod packs;
mod paths;
mod process;
mod pull;
mod unknown;

pub use archive::ArchiveError;
pub use cancel::Cancel;
pub use catalogue::{
    Agreement, Archive, Catalogue, CatalogueError, Licence, Member, Pack, PackFile, Registry, Source, Wheel,
};
pub use convert::Convert;
pub use error::PullError;
pub use file::InstalledFile;
pub use manifest::Manifest;
pub use options::PullOptions;
pub use packs::{Damage, Packs, State};
pub use pull::{Origin, Pulled, Step};
pub use unknown::UnknownName;
