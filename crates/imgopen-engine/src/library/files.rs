//! Finds the files in a models directory that may be models, with the kinds that their directories determine.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use walkdir::{DirEntry, WalkDir};

use crate::model::ModelKind;

/// The deepest nesting of directories.
const DEPTH: usize = 16;

/// The most files and directories that are visited. More are not a models directory, but a whole disk.
const MOST: usize = 200_000;

/// The directories that determine the kind of their files, in the web UI and in ComfyUI, in lower case.
const FOLDERS: [(&str, ModelKind); 7] = [
    ("stable-diffusion", ModelKind::Checkpoint),
    ("checkpoints", ModelKind::Checkpoint),
    ("lora", ModelKind::Lora),
    ("loras", ModelKind::Lora),
    ("lycoris", ModelKind::Lora),
    ("vae", ModelKind::Vae),
    ("embeddings", ModelKind::Embedding),
];

/// The extensions of models, in lower case. Only files with the first are opened.
const ENDINGS: [&str; 5] = ["safetensors", "ckpt", "pt", "pth", "bin"];

/// What marks directories whose files are not models by themselves: models in the layout of diffusers, and packs of weights.
const WHOLES: [&str; 2] = ["model_index.json", "pack.json"];

/// Size and time of a file, by which a change is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The size in bytes.
    pub size: u64,
    /// The modification time in nanoseconds since the Unix epoch.
    pub modified: u64,
}

/// A file that may be a model.
#[derive(Debug)]
pub(super) struct ModelFile {
    pub path: PathBuf,
    pub stamp: Stamp,
    /// The name that requests use.
    pub name: String,
    /// The kind that its directory determines.
    pub kind: Option<ModelKind>,
    /// Whether its header can be read.
    pub is_safetensors: bool,
}

impl Stamp {
    pub fn of(file: &Metadata) -> Self {
        let modified = file.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let modified = modified.and_then(|time| u64::try_from(time.as_nanos()).ok()).unwrap_or_default();
        Self { size: file.len(), modified }
    }
}

/// Returns the files that may be models, sorted by path, and the problems.
pub(super) fn walk(folder: &Path) -> (Vec<ModelFile>, Vec<String>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    if !folder.exists() {
        return (found, problems);
    }
    let walk = WalkDir::new(folder).follow_links(true).max_depth(DEPTH).sort_by_file_name();
    for (count, entry) in walk.into_iter().filter_entry(is_looked_at).enumerate() {
        if count == MOST {
            problems.push(format!("{} holds more than {MOST} files; the others are left out", folder.display()));
            break;
        }
        match entry {
            Ok(entry) if entry.file_type().is_file() => match model_file(folder, &entry) {
                Ok(file) => found.extend(file),
                Err(problem) => problems.push(problem),
            },
            Ok(_) => {}
            Err(error) => problems.push(error.to_string()),
        }
    }
    (found, problems)
}

fn is_looked_at(entry: &DirEntry) -> bool {
    let is_hidden = entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".");
    let is_whole = entry.file_type().is_dir() && WHOLES.iter().any(|name| entry.path().join(name).is_file());
    !is_hidden && !is_whole
}

fn model_file(folder: &Path, entry: &DirEntry) -> Result<Option<ModelFile>, String> {
    let path = entry.path();
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase).unwrap_or_default();
    if !ENDINGS.contains(&ending.as_str()) {
        return Ok(None);
    }
    let within = path.strip_prefix(folder).unwrap_or(path);
    let parts = within.iter().map(|part| part.to_str()).collect::<Option<Vec<_>>>();
    let parts = parts.ok_or_else(|| format!("{} is left out: its name is not UTF-8", path.display()))?;
    let (kind, from) = kind_of(&parts);
    let file = entry.metadata().map_err(|error| error.to_string())?;
    Ok(Some(ModelFile {
        stamp: Stamp::of(&file),
        name: parts[from..].join("/"),
        kind,
        is_safetensors: ending == ENDINGS[0],
        path: path.to_owned(),
    }))
}

/// Returns the kind by the nearest known directory, and the index of the name's first part behind it.
fn kind_of(parts: &[&str]) -> (Option<ModelKind>, usize) {
    let Some((file, folders)) = parts.split_last() else { return (None, 0) };
    let kind = |folder: &str| FOLDERS.iter().find(|(name, _)| folder.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind);
    let nearest = folders.iter().enumerate().rev().find_map(|(index, folder)| Some((kind(folder)?, index + 1)));
    let (kind, from) = nearest.map_or((None, 0), |(kind, from)| (Some(kind), from));
    // A VAE may be beside the checkpoint that it belongs to.
    let is_vae = file.rsplit('.').nth(1).is_some_and(|part| part.eq_ignore_ascii_case("vae"));
    match kind {
        Some(ModelKind::Checkpoint) if is_vae => (Some(ModelKind::Vae), from),
        kind => (kind, from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_directory_determines_kind_and_name() {
        use ModelKind::*;
        for (path, kind, name) in [
            ("Stable-diffusion/photon.safetensors", Some(Checkpoint), "photon.safetensors"),
            ("models/checkpoints/xl/base.ckpt", Some(Checkpoint), "xl/base.ckpt"),
            ("Lora/style/ink.safetensors", Some(Lora), "style/ink.safetensors"),
            ("LyCORIS/a.safetensors", Some(Lora), "a.safetensors"),
            ("Lora/vae/a.safetensors", Some(Vae), "a.safetensors"),
            ("embeddings/easynegative.pt", Some(Embedding), "easynegative.pt"),
            ("Stable-diffusion/photon.vae.pt", Some(Vae), "photon.vae.pt"),
            ("unet/flux.safetensors", None, "unet/flux.safetensors"),
            ("a.safetensors", None, "a.safetensors"),
        ] {
            let parts: Vec<_> = path.split('/').collect();
            let (found, from) = kind_of(&parts);
            assert_eq!((found, parts[from..].join("/").as_str()), (kind, name), "{path}");
        }
    }
}
