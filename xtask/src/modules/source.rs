//! The crates of the workspace, and what of their code counts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::Attribute;

/// A crate of the workspace.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    /// Its Cargo.toml, seen from the root of the workspace.
    pub manifest: String,
    pub toml: toml::Table,
    /// `lib.rs`, `main.rs` and the files in `bin`: each is the root of a tree of modules.
    pub roots: Vec<PathBuf>,
}

/// All crates of the workspace, by name.
pub fn crates(root: &Path) -> Result<Vec<Member>> {
    let mut folders: Vec<PathBuf> = ["xtask", "tests", "fuzz"].iter().map(|name| root.join(name)).collect();
    folders.extend(list(&root.join("crates"))?);
    let mut crates = Vec::new();
    for folder in folders.iter().filter(|folder| folder.join("Cargo.toml").exists()) {
        let manifest = folder.join("Cargo.toml");
        let shown = manifest.strip_prefix(root)?.display().to_string();
        let toml: toml::Table = fs::read_to_string(&manifest)?.parse().with_context(|| format!("reading {shown}"))?;
        let name = toml.get("package").and_then(|package| package.get("name")?.as_str()).unwrap_or_default();
        let source = folder.join("src");
        let mut roots: Vec<PathBuf> = [source.join("lib.rs"), source.join("main.rs")].into();
        if source.join("bin").is_dir() {
            roots.extend(list(&source.join("bin"))?.into_iter().filter(|file| file.is_file()));
        }
        roots.retain(|file| file.exists());
        crates.push(Member { name: name.to_owned(), manifest: shown, toml, roots });
    }
    crates.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(crates)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Whether an item is there for tests only.
pub fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let tokens = match &attribute.meta {
            syn::Meta::List(list) if attribute.path().is_ident("cfg") => list.tokens.to_string(),
            _ => return attribute.path().is_ident("test"),
        };
        tokens.split(|c: char| !c.is_alphanumeric()).any(|word| word == "test") && !tokens.contains("not")
    })
}
