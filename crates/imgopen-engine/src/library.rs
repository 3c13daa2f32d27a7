//! Lists the models in a directory of this machine, with their kinds and base models.
//!
//! The directory is laid out as by the Stable Diffusion web UI or ComfyUI: files in `Stable-diffusion` or `checkpoints` are
//! checkpoints, those in `Lora`, `LyCORIS` or `loras` LoRAs, in `VAE` or `vae` VAEs, in `embeddings` embeddings. The kind of
//! other files, and the base model, come from the header of the file. So the directory of an installation, the `models` in
//! it, or any directory of files will do.
//!
//! - **Names** are paths within the directory of the kind, with `/` between their parts, as those programs name models.
//! - **Safetensors**: only the header is read. A damaged or truncated file is left out, with a warning.
//! - **Other files** (`.ckpt`, `.pt`, `.pth`, `.bin`) can run code when they are loaded, so they are never opened: they are
//!   listed if their directory determines the kind.
//! - **Links** are followed, but not in cycles. Hidden files and directories, models in the layout of diffusers, and packs of
//!   weights are skipped.
//! - **LoRAs that were trained here** belong to one access key, which a file beside each names: `ink.imgopen` beside
//!   `ink.safetensors`. Deleting that file shares the LoRA with all keys.
//! - **Hashes** are computed in the background, one file at a time; until then a model has none. They are cached in a file
//!   and stay valid as long as path, size and modification time are the same.

mod files;
mod hashes;
mod header;
mod metadata;
mod owned;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use crate::model::{Model, ModelKind};
use files::{ModelFile, Stamp};
use hashes::Hashes;
use metadata::ModelMetadata;
pub use owned::{Owner, PublishError};

/// A directory of models. Clones share its caches.
#[derive(Debug, Clone)]
pub struct Library {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    hashes: Hashes,
    /// The metadata of headers, so that each is read once; `None` for a file that cannot be used.
    read: Mutex<HashMap<PathBuf, (Stamp, Option<ModelMetadata>)>>,
    /// What was warned about, which happens once: a file that is being written is damaged in a new way each time.
    warned: Mutex<HashSet<String>>,
}

impl Library {
    /// Opens a directory of models, which need not exist. `hashes` is the file that caches hashes; without it every process
    /// computes them again.
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
            read: Mutex::default(),
            warned: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns the directory.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Returns the models that are there now, sorted by name. Blocks: it checks size and time of every file, and reads the
    /// headers of new and changed ones.
    pub fn models(&self) -> Vec<Model> {
        let inner = &self.inner;
        let (found, problems) = files::walk(&inner.folder);
        problems.into_iter().for_each(|problem| inner.warn(problem.clone(), &problem));
        let mut read = inner.read.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = std::mem::take(&mut *read);
        let mut models: Vec<Model> = Vec::new();
        for file in found {
            let metadata = inner.metadata(&file, &earlier);
            read.insert(file.path.clone(), (file.stamp, metadata.clone()));
            models.extend(metadata.and_then(|metadata| inner.model(file, metadata)));
        }
        drop(read);
        let mut seen = HashSet::new();
        models.retain(|model| seen.insert((model.kind, model.name.clone())));
        models.sort_by(|a, b| a.name.cmp(&b.name));
        models
    }

    /// Copies a LoRA into the directory of LoRAs, or one that is made, as that of an owner. It gets its name once it is complete.
    /// Returns its file. Blocks.
    ///
    /// # Errors
    ///
    /// When there is one of that name, or a file cannot be read or written.
    pub fn publish(&self, file: &Path, name: &str, owner: &Owner) -> Result<PathBuf, PublishError> {
        owned::publish(&self.loras(), file, name, owner)
    }

    /// Returns the LoRA that an earlier run of the owner's task has [published](Self::publish). From now on it is that of the
    /// owner's run. Blocks.
    ///
    /// # Errors
    ///
    /// When a directory cannot be read, or a file cannot be written.
    pub fn adopt(&self, owner: &Owner) -> io::Result<Option<PathBuf>> {
        owned::adopt(&self.loras(), owner)
    }

    /// Removes what a task has [published](Self::publish), or what one run of it has, and what it has left incomplete. Blocks.
    ///
    /// # Errors
    ///
    /// When a directory cannot be read, or a file cannot be removed.
    pub fn withdraw(&self, task: &str, run: Option<&str>) -> io::Result<()> {
        owned::withdraw(&self.loras(), task, run)
    }

    /// Returns the ids of the tasks that have [published](Self::publish) a LoRA that is still theirs, or have left one incomplete.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// When a directory cannot be read.
    pub fn publishers(&self) -> io::Result<BTreeSet<String>> {
        owned::publishers(&self.loras())
    }

    fn loras(&self) -> PathBuf {
        owned::directory(&self.inner.folder)
    }
}

impl Inner {
    /// Returns the metadata of a file, from its header or the cache of earlier reads.
    fn metadata(
        &self,
        file: &ModelFile,
        earlier: &HashMap<PathBuf, (Stamp, Option<ModelMetadata>)>,
    ) -> Option<ModelMetadata> {
        if !file.is_safetensors {
            return Some(ModelMetadata::default());
        }
        match earlier.get(&file.path) {
            Some((stamp, metadata)) if *stamp == file.stamp => metadata.clone(),
            _ => match header::read(&file.path, file.stamp.size) {
                Ok(header) => Some(ModelMetadata::of(&header)),
                Err(problem) => {
                    let path = file.path.display().to_string();
                    let problem = format!("{path} is left out: {problem}");
                    self.warn(path, &problem);
                    None
                }
            },
        }
    }

    fn model(&self, file: ModelFile, metadata: ModelMetadata) -> Option<Model> {
        let kind = file.kind.or(metadata.kind)?;
        let stem = metadata::stem(&file.name);
        let title = match kind {
            // Prompts name it so.
            ModelKind::Embedding => stem.to_owned(),
            _ => metadata.title.unwrap_or_else(|| stem.to_owned()),
        };
        let mut model = Model::new(kind, &file.name, title);
        model.base_model = metadata.base;
        model.version = metadata::version(stem);
        model.hash = self.hashes.of(&file.path, file.stamp);
        model.owner = if kind == ModelKind::Lora { owned::key_of(&file.path) } else { None };
        model.path = Some(file.path);
        Some(model)
    }

    fn warn(&self, about: String, problem: &str) {
        if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(about) {
            warn!(problem, "in the models directory");
        }
    }
}
