//! What the disk has for the program: the files of its models, its LoRAs, and the directories that it is given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::capabilities::Lora;
use super::served::Files;

/// The option for the directory of LoRAs.
pub(super) const LORAS: &str = "--lora-model-dir";
/// The extensions of files that the server takes for LoRAs, in lower case.
const EXTENSIONS: [&str; 4] = ["gguf", "pt", "pth", "safetensors"];
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

/// Returns the LoRAs in a directory, as the server finds them. It does not follow links to directories.
pub(super) fn loras_in(folder: &Path) -> Vec<Lora> {
    let mut loras = Vec::new();
    collect(folder, "", &mut loras);
    loras.sort_by(|one, other| one.path.cmp(&other.path));
    loras
}

/// Collects the LoRAs in a directory whose path, with a slash behind it, is `below`.
fn collect(folder: &Path, below: &str, loras: &mut Vec<Lora>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        // Requests could not name others.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&path, &format!("{below}{name}/"), loras);
        } else if let Some((stem, extension)) = name.rsplit_once('.')
            && EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
            && path.is_file()
        {
            loras.push(Lora { name: stem.to_owned(), path: format!("{below}{name}") });
        }
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

    #[test]
    fn loras_are_listed_as_the_server_lists_them() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("sub/deep.safetensors")).unwrap();
        for file in ["b.SafeTensors", "a.v1.safetensors", "sub/a.gguf", "ink.imgopen", "note.txt", "plain"] {
            std::fs::write(at(file), "weights").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.path(), at("again")).unwrap();
        let loras: Vec<_> = loras_in(root.path()).into_iter().map(|lora| (lora.name, lora.path)).collect();
        let expected = [("a.v1", "a.v1.safetensors"), ("b", "b.SafeTensors"), ("a", "sub/a.gguf")];
        assert_eq!(loras, expected.map(|(name, path)| (name.to_owned(), path.to_owned())));
        assert!(loras_in(&at("missing")).is_empty());
    }
}
