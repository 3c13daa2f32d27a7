//! Each tool judged on real photographs, by a number: `cargo test -p imgopen-tools --test quality`.
//!
//! Needs `python3`; the photographs and the libraries to compare with are installed below the target folder.
#![allow(clippy::unwrap_used)]

mod enlarge;
mod faces;
mod fill;
mod preprocess;
mod style;
#[path = "../support/mod.rs"]
mod support;
mod watermark;
