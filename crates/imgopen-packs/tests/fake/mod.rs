//! Packs of tiny packages, and package managers that are shell scripts.
#![allow(dead_code)]

pub mod packages;
#[cfg(unix)]
pub mod programs;
