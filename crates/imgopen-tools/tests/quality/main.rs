//! Measures the quality of each tool on real photographs: `cargo test -p imgopen-tools --test quality`.
//!
//! Needs `python3`; the photographs and the libraries for comparison are installed below the target directory.
#![allow(clippy::unwrap_used)]

mod enlarge;
mod fill;
mod preprocess;
mod style;
#[path = "../support/mod.rs"]
mod support;
mod watermark;
