//! The files of a models folder that may be models, and what their folders tell of them.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use walkdir::{DirEntry, WalkDir};

use crate::ModelKind;

/// How deep folders may lie within each other.
const DEPTH: usize = 16;

/// How many files and folders are looked at. More are not a models folder, but a whole disk.
const MOST: usize = 200_000;

/// The folders that tell what their files are, in the web UI and in ComfyUI, in small letters.
const FOLDERS: [(&str, ModelKind); 7] = [
    ("stable-diffusion", ModelKind::Checkpoint),
    ("checkpoints", ModelKind::Checkpoint),
    ("lora", ModelKind::Lora),
    ("loras", ModelKind::Lora),
    ("lycoris", ModelKind::Lora),
    ("vae", ModelKind::Vae),
    ("embeddings", ModelKind::Embedding),
];

/// The endings of models, in small letters. The first is the only one that is opened.
const ENDINGS: [&str; 5] = ["safetensors", "ckpt", "pt", "pth", "bin"];

/// What tells a file from what it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Its size in bytes.
    pub size: u64,
    /// When it was changed, in nanoseconds since the Unix epoch.
    pub modified: u64,
}

/// A file that may be a model.
#[derive(Debug)]
pub(super) struct Place {
    pub path: PathBuf,
    pub stamp: Stamp,
    /// The name that requests use.
    pub name: String,
    /// What its folder tells.
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

/// The files that may be models, by their paths, and what stood in the way.
pub(super) fn walk(folder: &Path) -> (Vec<Place>, Vec<String>) {
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
            Ok(entry) if entry.file_type().is_file() => match place(folder, &entry) {
                Ok(place) => found.extend(place),
                Err(problem) => problems.push(problem),
            },
            Ok(_) => {}
            Err(error) => problems.push(error.to_string()),
        }
    }
    (found, problems)
}

/// Models in the form of diffusers are folders of files of which none is a model.
fn is_looked_at(entry: &DirEntry) -> bool {
    let is_hidden = entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".");
    let is_diffusers = entry.file_type().is_dir() && entry.path().join("model_index.json").is_file();
    !is_hidden && !is_diffusers
}

fn place(folder: &Path, entry: &DirEntry) -> Result<Option<Place>, String> {
    let path = entry.path();
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase).unwrap_or_default();
    if !ENDINGS.contains(&ending.as_str()) {
        return Ok(None);
    }
    let within = path.strip_prefix(folder).unwrap_or(path);
    let parts = within.iter().map(|part| part.to_str()).collect::<Option<Vec<_>>>();
    let parts = parts.ok_or_else(|| format!("{} is left out: its name is no UTF-8", path.display()))?;
    let (kind, from) = told_by(&parts);
    let file = entry.metadata().map_err(|error| error.to_string())?;
    Ok(Some(Place {
        stamp: Stamp::of(&file),
        name: parts[from..].join("/"),
        kind,
        is_safetensors: ending == ENDINGS[0],
        path: path.to_owned(),
    }))
}

/// What the nearest of the known folders tells, and where the name begins behind it.
fn told_by(parts: &[&str]) -> (Option<ModelKind>, usize) {
    let Some((file, folders)) = parts.split_last() else { return (None, 0) };
    let kind = |folder: &str| FOLDERS.iter().find(|(name, _)| folder.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind);
    let told = folders.iter().enumerate().rev().find_map(|(index, folder)| Some((kind(folder)?, index + 1)));
    let (kind, from) = told.map_or((None, 0), |(kind, from)| (Some(kind), from));
    // A VAE lies beside the checkpoint that it belongs to.
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
    fn the_nearest_folder_tells_the_kind_and_begins_the_name() {
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
            let (told, from) = told_by(&parts);
            assert_eq!((told, parts[from..].join("/").as_str()), (kind, name), "{path}");
        }
    }
}
