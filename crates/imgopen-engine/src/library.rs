//! The models that lie in a folder of this machine: which there are, of which kind, made from what.
//!
//! The folder is laid out as the Stable Diffusion web UI or ComfyUI does it: files in `Stable-diffusion` or `checkpoints`
//! are checkpoints, those in `Lora`, `LyCORIS` or `loras` LoRAs, in `VAE` or `vae` VAEs, in `embeddings` embeddings. Whatever
//! lies elsewhere is told by the header of its file, which also tells the base model. So the folder of an installation, the
//! `models` within it, or any folder with files in it will do.
//!
//! - **Names** are paths within the folder of the kind, with `/` between their parts, as those programs name models.
//! - **Safetensors** files are read as far as their header goes. One that is broken or cut off is left out, with a warning.
//! - **Other files** (`.ckpt`, `.pt`, `.pth`, `.bin`) can run code when they are loaded, so they are not opened at all: they are
//!   listed where their folder tells the kind.
//! - **Links** are followed, but not in circles. Hidden files and folders, and those of models in the form of diffusers, are
//!   passed over.
//! - **Hashes** are computed in the background, one file at a time; a model has none until then. They are kept in a file
//!   and stay valid as long as path, size and time of change are the same.

mod files;
mod hashes;
mod header;
mod told;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use crate::{Model, ModelKind};
use files::{Place, Stamp};
use hashes::Hashes;
use told::Told;

/// A folder of models. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Library {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    hashes: Hashes,
    /// What headers said, so that they are read once; `None` for a file that cannot be used.
    known: Mutex<HashMap<PathBuf, (Stamp, Option<Told>)>>,
    /// What was warned of, which is done once: a file that is being written is broken in another way each time.
    warned: Mutex<HashSet<String>>,
}

impl Library {
    /// A folder of models, which need not exist. `hashes` is the file in which hashes are kept; without it they are
    /// computed anew by every process.
    ///
    /// ```
    /// use imgopen_engine::{Library, ModelKind, Registry};
    ///
    /// let folder = tempfile::tempdir()?;
    /// std::fs::create_dir(folder.path().join("VAE"))?;
    /// std::fs::write(folder.path().join("VAE").join("kl-f8-anime.ckpt"), "never opened")?;
    /// let registry = Registry::new(vec![]).with_library(Library::open(folder.path(), None));
    /// let models = registry.models(ModelKind::Vae);
    /// assert_eq!(models[0].name, "kl-f8-anime.ckpt");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open(folder: impl Into<PathBuf>, hashes: Option<PathBuf>) -> Self {
        let inner = Inner {
            folder: folder.into(),
            hashes: Hashes::open(hashes),
            known: Mutex::default(),
            warned: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// The models that are there now, sorted by name. It looks at every file's size and time, and reads the headers of
    /// those that are new or have changed, so it belongs where blocking is allowed.
    pub fn models(&self) -> Vec<Model> {
        let inner = &self.inner;
        let (found, problems) = files::walk(&inner.folder);
        problems.into_iter().for_each(|problem| inner.warn(problem.clone(), &problem));
        let mut known = inner.known.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = std::mem::take(&mut *known);
        let mut models: Vec<Model> = Vec::new();
        for place in found {
            let told = inner.told(&place, &earlier);
            known.insert(place.path.clone(), (place.stamp, told.clone()));
            models.extend(told.and_then(|told| inner.model(place, told)));
        }
        drop(known);
        let mut seen = HashSet::new();
        models.retain(|model| seen.insert((model.kind, model.name.clone())));
        models.sort_by(|a, b| a.name.cmp(&b.name));
        models
    }
}

impl Inner {
    /// What a file says, or what it said when it was read last.
    fn told(&self, place: &Place, earlier: &HashMap<PathBuf, (Stamp, Option<Told>)>) -> Option<Told> {
        if !place.is_safetensors {
            return Some(Told::default());
        }
        match earlier.get(&place.path) {
            Some((stamp, told)) if *stamp == place.stamp => told.clone(),
            _ => match header::read(&place.path, place.stamp.size) {
                Ok(header) => Some(told::told(&header)),
                Err(problem) => {
                    let file = place.path.display().to_string();
                    let problem = format!("{file} is left out: {problem}");
                    self.warn(file, &problem);
                    None
                }
            },
        }
    }

    fn model(&self, place: Place, told: Told) -> Option<Model> {
        let kind = place.kind.or(told.kind)?;
        let stem = told::stem(&place.name);
        let title = match kind {
            // A prompt names it so.
            ModelKind::Embedding => stem.to_owned(),
            _ => told.title.unwrap_or_else(|| stem.to_owned()),
        };
        let mut model = Model::new(kind, &place.name, title);
        model.base_model = told.base;
        model.version = told::version(stem);
        model.hash = self.hashes.of(&place.path, place.stamp);
        model.path = Some(place.path);
        Some(model)
    }

    fn warn(&self, about: String, problem: &str) {
        if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(about) {
            warn!(problem, "in the models folder");
        }
    }
}
