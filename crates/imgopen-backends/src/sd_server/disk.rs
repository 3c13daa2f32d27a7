//! What the disk has for the program: the files of its models, and the directories that it is given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::served::Files;

/// The option for the directory of LoRAs.
const LORAS: &str = "--lora-model-dir";
/// Options for directories, with the names in a models directory that the web UI and ComfyUI give those.
const FOLDERS: [(&str, &[&str]); 3] = [
    (LORAS, &["Lora", "loras", "lora"]),
    ("--embd-dir", &["embeddings"]),
    ("--hires-upscalers-dir", &["ESRGAN", "upscale_models", "RealESRGAN"]),
];

/// What was there at the last look.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Disk {
    /// Options with the directories that exist.
    folders: Vec<(&'static str, PathBuf)>,
    /// By the names of the models.
    models: BTreeMap<String, OfModel>,
}

#[derive(Debug, Clone, PartialEq)]
struct OfModel {
    bytes: u64,
    /// The option whose file is not there.
    missing: Option<&'static str>,
}

impl Disk {
    /// Looks at the disk, which blocks. `root` is the models directory.
    pub(super) fn look(models: &[Files], root: Option<&Path>) -> Self {
        let folders = FOLDERS.iter().filter_map(|(option, names)| Some((*option, folder(root?, names)?)));
        let models = models.iter().map(|files| {
            let missing = files.roles.iter().find(|(_, path)| !path.is_file()).map(|(role, _)| *role);
            (files.name.clone(), OfModel { bytes: files.bytes(), missing })
        });
        Self { folders: folders.collect(), models: models.collect() }
    }

    /// Returns options with the directories for them.
    pub(super) fn folders(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.folders.iter().map(|(option, folder)| (*option, folder.as_path()))
    }

    /// Returns the directory of LoRAs.
    pub(super) fn loras(&self) -> Option<&Path> {
        self.folders().find(|(option, _)| *option == LORAS).map(|(_, folder)| folder)
    }

    /// Returns the size of the files of a model in bytes.
    pub(super) fn bytes(&self, model: &str) -> u64 {
        self.models.get(model).map_or(0, |found| found.bytes)
    }

    /// Returns the option of a model whose file is not there.
    pub(super) fn missing(&self, model: &str) -> Option<&'static str> {
        self.models.get(model)?.missing
    }
}

/// Returns the first of these directories that exists in the models directory, or in the `models` of an installation.
fn folder(root: &Path, names: &[&str]) -> Option<PathBuf> {
    let at = |root: &Path| names.iter().map(|name| root.join(name)).find(|path| path.is_dir());
    at(root).or_else(|| at(&root.join("models")))
}

#[cfg(test)]
mod tests {
    use super::super::served::Parts;
    use super::*;

    #[test]
    fn files_and_directories_are_found() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in ["Lora", "models/loras", "models/ESRGAN"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::write(at("a.safetensors"), [0; 7]).unwrap();
        let files = |name: &str, roles| Files {
            name: name.to_owned(),
            main: at("a.safetensors"),
            roles,
            flux: None,
            parts: Parts::default(),
            arguments: Vec::new(),
        };
        let whole = files("whole", vec![("--model", at("a.safetensors"))]);
        let half = files("half", vec![("--model", at("a.safetensors")), ("--vae", at("Lora"))]);
        let disk = Disk::look(&[whole, half], Some(root.path()));
        assert_eq!((disk.missing("whole"), disk.bytes("whole")), (None, 7));
        assert_eq!((disk.missing("half"), disk.missing("other"), disk.bytes("other")), (Some("--vae"), None, 0));
        assert_eq!(disk.loras(), Some(at("Lora").as_path()));
        let folders: Vec<_> = disk.folders().map(|(option, folder)| (option, folder.to_owned())).collect();
        assert_eq!(folders, [(LORAS, at("Lora")), ("--hires-upscalers-dir", at("models/ESRGAN"))]);
        assert_eq!(Disk::look(&[], None), Disk::default());
    }
}
