//! `cargo xtask operations`: the table of README.md that says what makes the results of each operation real.
//!
//! A test of the command line derives it from the engines, so that this program need not be built with them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The test, and the variable that has it write the table rather than compare it.
const TEST: &str = "commands::engines::table::the_readme_says_what_is_real";
const WRITE: &str = "IMGOPEN_WRITE_README";

/// Writes the table, or only compares it.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--quiet", "-p", "imgopen-cli", "--bin", "imgopen", "--", "--exact", TEST]).env_remove(WRITE);
    if !check {
        cargo.env(WRITE, "1");
    }
    let status = cargo.current_dir(root).status().context("running cargo")?;
    if !status.success() {
        bail!("the table of README.md is not what the engines offer, or cannot be made; the messages are above");
    }
    Ok(())
}
