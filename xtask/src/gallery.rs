//! `cargo xtask gallery`: a contact sheet of all tools, as an HTML page and a PNG.
//!
//! The work is done by an example of the engines, built for speed, so that this program need not be built with them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Where the files go when no folder is named, seen from the root of the workspace.
const DEFAULT: &str = "target/gallery";

/// Makes the sheet in `folder`.
pub fn run(root: &Path, folder: Option<PathBuf>) -> Result<()> {
    let folder = std::path::absolute(folder.unwrap_or_else(|| root.join(DEFAULT)))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--release", "-p", "imgopen-tools", "--example", "gallery", "--"]).arg(folder);
    let status = cargo.current_dir(root).status().context("running cargo")?;
    if !status.success() {
        bail!("the gallery was not made");
    }
    Ok(())
}
