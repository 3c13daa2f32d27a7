//! `cargo xtask gallery`: a contact sheet of all tools, as an HTML page and a PNG.
//!
//! The work is done by an example of the engines, built for speed, so that this program need not be built with them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Where the files go when no folder is named, seen from the root of the workspace.
const DEFAULT: &str = "target/gallery";

/// Makes the sheet in `folder`, with the packs and nets of a models directory if there is one.
pub fn run(root: &Path, folder: Option<PathBuf>, models: Option<PathBuf>) -> Result<()> {
    let folder = std::path::absolute(folder.unwrap_or_else(|| root.join(DEFAULT)))?;
    let models = models.map(std::path::absolute).transpose()?;
    if let Some(models) = models.as_ref().filter(|models| !models.is_dir()) {
        bail!(
            "--models: {} is not a directory; give one with packs, as `imgopen models pull --models` fills it",
            models.display()
        );
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["run", "--quiet", "--release", "-p", "imgopen-neural", "--example", "gallery", "--"])
        .arg(folder)
        .args(models);
    let status = cargo.current_dir(root).status().context("running cargo")?;
    if !status.success() {
        bail!("the gallery was not made");
    }
    Ok(())
}
