//! The documents in `spec/`: finds and loads them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::yaml::{self, Node};

/// The vendor's own document, which is read first.
pub const VENDOR: &str = "imgopen";

/// One document as loaded.
#[derive(Debug)]
pub struct Source {
    /// The file's name without its ending.
    pub name: String,
    /// The file, seen from the root of the workspace, with forward slashes.
    pub path: String,
    pub text: String,
    pub root: Node,
}

/// The root of the checkout that this run works on.
///
/// Cargo passes it at run time; a path baked in at build time would lead a copied binary into another checkout.
pub fn workspace_root() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask …`")?;
    let root = Path::new(&manifest).parent().context("the xtask folder has no parent")?;
    Ok(root.to_owned())
}

/// Loads every `spec/*.yaml`, the vendor's first, the others by name.
pub fn load(root: &Path) -> Result<Vec<Source>> {
    let folder = root.join("spec");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading the folder {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix(".yaml") {
            names.push(stem.to_owned());
        }
    }
    if !names.iter().any(|name| name == VENDOR) {
        bail!("spec/{VENDOR}.yaml is missing: restore it, it is the source of everything generated");
    }
    names.sort_by_key(|name| (name != VENDOR, name.clone()));
    names.into_iter().map(|name| load_one(&folder, name)).collect()
}

fn load_one(folder: &Path, name: String) -> Result<Source> {
    let file = folder.join(format!("{name}.yaml"));
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    Source::parse(name, text)
}

impl Source {
    /// A document of that name and text.
    pub fn parse(name: String, text: String) -> Result<Self> {
        let path = format!("spec/{name}.yaml");
        let root = yaml::parse(&text).with_context(|| format!("parsing {path}"))?;
        Ok(Self { name, path, text, root })
    }
}
