//! The models that can be asked for, and the files of those that a program is started with.

use std::path::{Path, PathBuf};

use imgopen_engine::{Model, ModelKind};

use super::capabilities::Capabilities;
use crate::generation::FluxVariant;
use crate::settings::{BackendSettings, ModelFiles};

/// A model that can be asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Served {
    /// The name for requests.
    pub name: String,
    /// The name of the file, by which the server reports it.
    pub file: String,
    /// The variant of FLUX.1 that it is.
    pub flux: Option<FluxVariant>,
    /// What is loaded beside it; an address does not say.
    pub parts: Option<Parts>,
    /// What is known of its file.
    pub model: Model,
}

/// What is loaded beside a model, by the names of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub vae: Option<String>,
    pub control_net: Option<String>,
}

/// A model to start a program with. Its paths are absolute, or those of the operator if there is no models directory.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Files {
    pub name: String,
    /// The file that the server reports.
    pub main: PathBuf,
    /// Options of the command line with their files.
    pub roles: Vec<(&'static str, PathBuf)>,
    pub flux: Option<FluxVariant>,
    pub parts: Parts,
    pub arguments: Vec<String>,
}

impl Served {
    /// Returns what an address serves.
    pub(super) fn at_address(capabilities: &Capabilities, settings: &BackendSettings) -> Self {
        let name = capabilities.model.name.clone();
        let is =
            |files: &Option<crate::settings::FluxFiles>| files.as_ref().is_some_and(|files| files.checkpoint == name);
        let flux = match () {
            () if is(&settings.flux_dev) => Some(FluxVariant::Dev),
            () if is(&settings.flux_schnell) => Some(FluxVariant::Schnell),
            () => None,
        };
        let model = Model::new(ModelKind::Checkpoint, name.clone(), crate::names::stem(&name));
        Self { file: name.clone(), flux, parts: None, model, name }
    }

    /// Returns whether it is this variant of FLUX.1.
    pub(super) fn is(&self, variant: FluxVariant) -> bool {
        self.flux == Some(variant)
    }

    /// Returns whether a ControlNet is loaded with it, as far as that is known.
    pub(super) fn has_control_net(&self) -> bool {
        self.parts.as_ref().is_none_or(|parts| parts.control_net.is_some())
    }
}

impl Files {
    /// Reads the models of the settings. Relative paths are below `folder`.
    pub(super) fn read(settings: &BackendSettings, folder: Option<&Path>) -> Result<Vec<Self>, String> {
        let mut models: Vec<Self> = Vec::new();
        for (index, files) in settings.models.iter().enumerate() {
            let model = Self::of(files, folder).map_err(|problem| format!("`models[{index}]`: {problem}"))?;
            if models.iter().any(|other| other.name == model.name) {
                let name = &model.name;
                return Err(format!("`models[{index}]`: a second model \"{name}\"; give each a `name` of its own"));
            }
            models.push(model);
        }
        Ok(models)
    }

    fn of(files: &ModelFiles, folder: Option<&Path>) -> Result<Self, String> {
        let at = |path: &PathBuf| match (path.is_absolute(), folder) {
            (true, _) => Ok(path.clone()),
            (false, Some(folder)) => Ok(folder.join(path)),
            (false, None) => Err(format!(
                "\"{}\" is relative, and there is no models directory; give an absolute path",
                path.display()
            )),
        };
        let roles = [
            ("--model", &files.model),
            ("--diffusion-model", &files.diffusion_model),
            ("--vae", &files.vae),
            ("--clip_l", &files.clip_l),
            ("--clip_g", &files.clip_g),
            ("--t5xxl", &files.t5xxl),
            ("--llm", &files.llm),
            ("--control-net", &files.control_net),
        ];
        let given = roles.into_iter().filter_map(|(role, path)| Some((role, path.as_ref()?)));
        let roles = given.map(|(role, path)| Ok((role, at(path)?))).collect::<Result<Vec<_>, String>>()?;
        let main = files.model.as_ref().or(files.diffusion_model.as_ref());
        let main = at(main.ok_or("neither `model` nor `diffusion-model` given; name the file of the model")?)?;
        let name = match &files.name {
            Some(name) if name.trim().is_empty() => return Err("`name` is empty; leave it out, or give one".to_owned()),
            Some(name) => name.clone(),
            None => file_name(&main),
        };
        let part = |path: &Option<PathBuf>| path.as_deref().map(file_name);
        let parts = Parts { vae: part(&files.vae), control_net: part(&files.control_net) };
        Ok(Self { name, main, roles, flux: files.flux, parts, arguments: files.arguments.clone() })
    }

    /// Returns what is served by it. `listed` are the models in the models directory.
    pub(super) fn served(&self, listed: &[Model]) -> Served {
        let known = listed.iter().find(|model| model.path.as_ref() == Some(&self.main));
        let title = crate::names::stem(&self.name);
        let mut model = known.cloned().unwrap_or_else(|| Model::new(ModelKind::Checkpoint, "", title));
        model.name = self.name.clone();
        model.kind = ModelKind::Checkpoint;
        model.path = Some(self.main.clone());
        Served {
            name: self.name.clone(),
            file: file_name(&self.main),
            flux: self.flux,
            parts: Some(self.parts.clone()),
            model,
        }
    }

    /// Returns the size of all files in bytes: about what the program takes for its weights.
    pub(super) fn bytes(&self) -> u64 {
        let size = |(_, path): &(_, PathBuf)| std::fs::metadata(path).map_or(0, |file| file.len());
        self.roles.iter().map(size).sum()
    }
}

/// Returns the last part of a path.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(models: serde_json::Value) -> Result<Vec<Files>, String> {
        let settings = serde_json::json!({"program": "sd-server", "models": models});
        Files::read(&serde_json::from_value(settings).unwrap(), Some(Path::new("/models")))
    }

    #[test]
    fn files_are_below_the_models_directory_and_named_after_the_model() {
        let models = serde_json::json!([
            {"model": "sd/a.safetensors", "control-net": "/else/cn.safetensors", "arguments": ["-v"]},
            {"diffusion-model": "flux.gguf", "clip-l": "clip_l.safetensors", "flux": "schnell", "name": "flux"},
        ]);
        let [plain, flux] = &read(models).unwrap()[..] else { panic!("two models") };
        assert_eq!(plain.name, "a.safetensors");
        let roles = |files: &Files| {
            let shown = files.roles.iter().map(|(role, path)| format!("{role} {}", path.display()));
            shown.collect::<Vec<_>>()
        };
        assert_eq!(roles(plain), ["--model /models/sd/a.safetensors", "--control-net /else/cn.safetensors"]);
        assert_eq!((plain.parts.control_net.as_deref(), plain.arguments.len()), (Some("cn.safetensors"), 1));
        assert_eq!(roles(flux), ["--diffusion-model /models/flux.gguf", "--clip_l /models/clip_l.safetensors"]);
        let served = flux.served(&[]);
        assert_eq!((served.name.as_str(), served.file.as_str()), ("flux", "flux.gguf"));
        assert!(served.is(FluxVariant::Schnell) && !served.is(FluxVariant::Dev));
        let listed = Model {
            base_model: Some("SD 1.5".to_owned()),
            path: Some("/models/sd/a.safetensors".into()),
            ..Model::new(ModelKind::Checkpoint, "sd/a.safetensors", "A")
        };
        let model = plain.served(&[listed]).model;
        assert_eq!((model.name.as_str(), model.base_model.as_deref()), ("a.safetensors", Some("SD 1.5")));
    }

    #[test]
    fn unusable_models_say_what_to_give() {
        for (models, problem) in [
            (serde_json::json!([{"vae": "a.safetensors"}]), "`models[0]`: neither `model` nor `diffusion-model`"),
            (serde_json::json!([{"model": "a.pt"}, {"model": "b/a.pt"}]), "`models[1]`: a second model \"a.pt\""),
            (serde_json::json!([{"model": "a.pt", "name": " "}]), "`name` is empty"),
        ] {
            let error = read(models).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        let settings = BackendSettings::child(
            "sd-server".into(),
            vec![ModelFiles { model: Some("a.pt".into()), ..ModelFiles::default() }],
        );
        assert!(Files::read(&settings, None).unwrap_err().contains("give an absolute path"));
    }
}
