//! Measures the quality of nets on photographs: `cargo test -p imgopen-neural --test quality`.
//!
//! Needs `python3` and `npm`; the photographs and the libraries for comparison are installed below the target directory.
#![allow(clippy::unwrap_used)]

mod faces;
#[path = "../../../imgopen-tools/tests/support/python.rs"]
#[allow(dead_code)]
mod python;
#[path = "../support/mod.rs"]
mod support;
mod swap;
