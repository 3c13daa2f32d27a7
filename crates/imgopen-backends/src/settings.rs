//! What an operator says about a back end.

mod inpaint;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use imgopen_types::{operations, utf8};
use serde::{Deserialize, Serialize};
use url::Url;

// `5m`, `1h 30m`, as elsewhere in the settings.
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;

use crate::generation::FluxVariant;
use crate::kind::Kind;
pub use inpaint::InpaintSettings;
pub(crate) use inpaint::UNIT;

/// The settings of a back end. Only its address is needed, or for an `sd-server` that is started on demand, its program.
///
/// ```
/// use imgopen_backends::{BackendSettings, Kind};
///
/// let settings: BackendSettings = serde_json::from_str(r#"{"url": "http://127.0.0.1:7860", "jobs": 2}"#)?;
/// assert_eq!((settings.name(Kind::SdWebui), settings.jobs.get()), ("sd-webui", 2));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendSettings {
    /// The address, such as `http://127.0.0.1:7860`. A path is kept, for servers behind a proxy. Not for an `sd-server` with
    /// a `program`, which gets a free port of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// The name of the back end in results, log lines and metrics. Unless it is given, its kind, with a number if there are
    /// several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What answers there; found out unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The user, if the back end asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's password; one of this and the next two.
    #[serde(default, skip_serializing)]
    pub password: Option<Password>,
    /// The file that holds the password. It is read when the back end is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The environment variable that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_variable: Option<String>,
    /// The operations to offer; all that the back end can serve unless they are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<String>>,
    /// The operations to withhold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withhold: Vec<String>,
    /// The name of the engine that the back end is a part of. Back ends of one kind with the same group share their tasks.
    /// Unless it is given, the kind, so that all back ends of a kind do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How many jobs run at once. Default 1: these programs make pictures one after the other anyway. With `program`, it is
    /// always 1.
    #[serde(default = "one")]
    pub jobs: NonZeroUsize,
    /// The name of the device that it computes with, such as `gpu0`. What names the same one runs one job at a time, whatever
    /// `jobs` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The workflows of ComfyUI for operations, by operation id: files saved in API format, with placeholders.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub workflows: BTreeMap<String, PathBuf>,
    /// The program of an `sd-server` that is started on demand, in place of `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// What the program serves: one process at a time, for the model that a request names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelFiles>,
    /// Further arguments of the program, such as `--diffusion-fa`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// How long the program may be idle before it is stopped. Default 5 minutes.
    #[serde(default = "idle", with = "duration")]
    pub idle: Duration,
    /// How long the program may be silent while it loads a model. Default 5 minutes.
    #[serde(default = "idle", with = "duration")]
    pub start_silence: Duration,
    /// The scripts of the web UI that requests may use in `alwayson_scripts`, beside ADetailer. None by default, because a
    /// script may do anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<String>,
    /// The upscaler for `super_resolution`, such as `R-ESRGAN 4x+`. The operation is offered only with it, because the web UI
    /// fetches the weights of most upscalers from the internet at their first use; so with the next three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upscaler: Option<String>,
    /// The face restorer for `restore_face`: `CodeFormer` or `GFPGAN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub face_restorer: Option<String>,
    /// The models for `describe_image`: `clip`, `deepdanbooru`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interrogators: Vec<String>,
    /// Whether the server's own preprocessors serve `preview_controlnet`. Those that it does not list are then refused.
    #[serde(default)]
    pub preprocessors: bool,
    /// The files of FLUX.1 dev, for `flux_text_to_image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flux_dev: Option<FluxFiles>,
    /// The files of FLUX.1 schnell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flux_schnell: Option<FluxFiles>,
    /// How the back end inpaints, for `outpaint` and `remove_object`. They are offered only with it, in place of the built-in
    /// engine, which needs no weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inpaint: Option<InpaintSettings>,
}

/// A model that an `sd-server` is started with: files by their roles, as its command line names them. Paths are absolute, or
/// below the models directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ModelFiles {
    /// The name for requests; unless it is given, that of the file `model` or `diffusion-model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The variant of FLUX.1 that it is, for `flux_text_to_image`: `dev` or `schnell`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flux: Option<FluxVariant>,
    /// A checkpoint with all its parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// The diffusion model alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diffusion_model: Option<PathBuf>,
    /// The VAE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae: Option<PathBuf>,
    /// The text encoder CLIP-L.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_l: Option<PathBuf>,
    /// The text encoder CLIP-G.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_g: Option<PathBuf>,
    /// The text encoder T5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub t5xxl: Option<PathBuf>,
    /// A language model as text encoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llm: Option<PathBuf>,
    /// The ControlNet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_net: Option<PathBuf>,
    /// Further arguments for this model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

impl ModelFiles {
    /// Returns the files by their roles, such as `clip-l`.
    pub fn paths(&self) -> Vec<(&'static str, &Path)> {
        let roles = [
            ("model", &self.model),
            ("diffusion-model", &self.diffusion_model),
            ("vae", &self.vae),
            ("clip-l", &self.clip_l),
            ("clip-g", &self.clip_g),
            ("t5xxl", &self.t5xxl),
            ("llm", &self.llm),
            ("control-net", &self.control_net),
        ];
        roles.into_iter().filter_map(|(role, path)| Some((role, path.as_deref()?))).collect()
    }
}

/// The files of a variant of FLUX.1, by their names in the back end's lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FluxFiles {
    /// The checkpoint, such as `flux1-dev-fp8.safetensors`.
    pub checkpoint: String,
    /// The VAE and text encoders, if the checkpoint does not contain them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
}

/// A password, which is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Keeps a password.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

fn idle() -> Duration {
    Duration::from_secs(5 * 60)
}

impl BackendSettings {
    /// Settings with an address and nothing else.
    pub fn new(url: Url) -> Self {
        Self { url: Some(url), ..Self::empty() }
    }

    /// Settings for an `sd-server` that is started on demand, with the models that it serves.
    pub fn child(program: PathBuf, models: Vec<ModelFiles>) -> Self {
        Self { program: Some(program), models, kind: Some(Kind::SdServer), ..Self::empty() }
    }

    /// Returns settings in which nothing is set.
    pub(crate) fn empty() -> Self {
        Self {
            url: None,
            name: None,
            kind: None,
            user: None,
            password: None,
            password_file: None,
            password_variable: None,
            operations: None,
            withhold: Vec::new(),
            group: None,
            jobs: one(),
            device: None,
            workflows: BTreeMap::new(),
            program: None,
            models: Vec::new(),
            arguments: Vec::new(),
            idle: idle(),
            start_silence: idle(),
            scripts: Vec::new(),
            upscaler: None,
            face_restorer: None,
            interrogators: Vec::new(),
            preprocessors: false,
            flux_dev: None,
            flux_schnell: None,
            inpaint: None,
        }
    }

    /// Returns the name of the back end.
    pub fn name(&self, kind: Kind) -> &str {
        self.name.as_deref().unwrap_or(kind.as_str())
    }

    /// Returns whether an operation is to be offered.
    pub fn has_operation(&self, id: &str) -> bool {
        let has = |ids: &[String]| ids.iter().any(|known| known == id);
        self.operations.as_deref().is_none_or(has) && !has(&self.withhold)
    }

    /// Returns whether an operation was asked for by name, in `operations` or `workflows`.
    pub(crate) fn names_operation(&self, id: &str) -> bool {
        self.workflows.contains_key(id) || self.operations.iter().flatten().any(|known| known == id)
    }

    /// Returns the files for a variant of FLUX.1.
    pub(crate) fn flux_files(&self, variant: FluxVariant) -> Option<&FluxFiles> {
        match variant {
            FluxVariant::Dev => self.flux_dev.as_ref(),
            FluxVariant::Schnell => self.flux_schnell.as_ref(),
        }
    }

    /// Returns the address, or the path of the program, to show to the operator.
    pub fn place(&self) -> String {
        match (&self.url, &self.program) {
            (Some(url), _) => url.to_string(),
            (None, Some(program)) => program.display().to_string(),
            (None, None) => "no address".to_owned(),
        }
    }

    /// Checks what does not depend on the kind of back end.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it and what to give.
    pub fn check(&self) -> Result<(), String> {
        self.inpaint.as_ref().map_or(Ok(()), InpaintSettings::check)?;
        let url = match (&self.url, &self.program) {
            (Some(url), None) => url,
            (None, Some(_)) => return self.check_child(),
            (Some(_), Some(_)) => return Err("`url` and `program` are given; give one of them".to_owned()),
            (None, None) => return Err("`url` is missing; give the address of the program".to_owned()),
        };
        if !self.models.is_empty() {
            return Err("`models` is given without `program`; what an address serves is its own matter".to_owned());
        }
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err("`url` is not an HTTP address; give one such as `http://127.0.0.1:7860`".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "`url` has a user or password in it, where logs would show them; give `user`, and `password` or \
                        `password_file` or `password_variable`"
                    .to_owned(),
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("`url` has a query or a fragment, which calls would not have; leave it out".to_owned());
        }
        self.check_operations()?;
        let passwords = self.passwords();
        match (&self.user, &passwords[..]) {
            (None, [password, ..]) => Err(format!("`{password}` is given without `user`; give both")),
            (_, [first, second, ..]) => Err(format!("`{first}` and `{second}` are given; give one of them")),
            _ => Ok(()),
        }
    }

    /// Returns the names of the settings that give a password.
    fn passwords(&self) -> Vec<&'static str> {
        let given = [
            ("password", self.password.is_some()),
            ("password_file", self.password_file.is_some()),
            ("password_variable", self.password_variable.is_some()),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
    }

    /// Returns the user and the password, wherever it is kept.
    ///
    /// # Errors
    ///
    /// Says what cannot be read.
    pub(crate) fn login(&self) -> Result<Option<(String, Option<Password>)>, String> {
        let Some(user) = &self.user else { return Ok(None) };
        let read = |setting: &str, text: Result<String, String>| {
            let text = text.map_err(|problem| format!("`{setting}`: {problem}"))?;
            let password = text.trim_end_matches(['\r', '\n']);
            match password.is_empty() {
                true => Err(format!("`{setting}`: there is no password in it")),
                false => Ok(Password::new(password)),
            }
        };
        let password = match (&self.password_file, &self.password_variable) {
            (Some(file), _) => {
                let bytes = std::fs::read(file);
                let bytes = bytes.map_err(|error| format!("{} cannot be read: {error}", file.display()));
                let text = |bytes: Vec<u8>| match utf8(&bytes) {
                    Ok(text) => Ok(text.to_owned()),
                    Err(error) => Err(format!("{} is {error}", file.display())),
                };
                Some(read("password_file", bytes.and_then(text))?)
            }
            (None, Some(variable)) => {
                let text = std::env::var(variable);
                Some(read("password_variable", text.map_err(|error| format!("{variable}: {error}")))?)
            }
            (None, None) => self.password.clone(),
        };
        Ok(Some((user.clone(), password)))
    }

    fn check_operations(&self) -> Result<(), String> {
        let offered = self.operations.iter().flatten().map(|id| ("operations", id));
        let withheld = self.withhold.iter().map(|id| ("withhold", id));
        let is_known = |id: &str| operations::ALL.iter().any(|operation| operation.id == id);
        match offered.chain(withheld).find(|(_, id)| !is_known(id)) {
            Some((setting, id)) => {
                Err(format!("`{setting}`: no operation has the id \"{id}\"; give one such as `text_to_image`"))
            }
            None => Ok(()),
        }
    }

    fn check_child(&self) -> Result<(), String> {
        if self.kind.is_some_and(|kind| kind != Kind::SdServer) {
            return Err("`program` is for `sd-server` only; give the `url` of a program of another kind".to_owned());
        }
        if let Some(setting) = self.user.as_ref().map(|_| "user").or(self.passwords().first().copied()) {
            return Err(format!("`{setting}` is for a `url`; a `program` is reached from this machine only"));
        }
        self.check_operations()?;
        if self.models.is_empty() {
            return Err(
                "`models` is empty; name at least one, such as `models = [{ model = \"a.safetensors\" }]`".to_owned()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> BackendSettings {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_password_is_neither_printed_nor_written() {
        let settings = settings(r#"{"url": "http://a.example", "user": "me", "password": "secret"}"#);
        assert_eq!(settings.password.as_ref().map(Password::expose), Some("secret"));
        let shown = format!("{settings:?} {}", serde_json::to_string(&settings).unwrap());
        assert!(shown.contains("me") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_password_is_read_from_a_file_or_a_variable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let kept = |setting: &str, value: &str| {
            let json = serde_json::json!({"url": "http://a.example", "user": "me", setting: value});
            let login = settings(&json.to_string()).login()?;
            Ok::<_, String>(login.and_then(|(_, password)| password).map(|password| password.expose().to_owned()))
        };
        let path = file.to_str().unwrap();
        assert_eq!(kept("password", "secret"), Ok(Some("secret".to_owned())));
        let error = kept("password_file", path).unwrap_err();
        assert!(error.starts_with("`password_file`: ") && error.contains("cannot be read"), "{error}");
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(kept("password_file", path).unwrap_err(), "`password_file`: there is no password in it");
        std::fs::write(&file, "se cret\r\n").unwrap();
        assert_eq!(kept("password_file", path), Ok(Some("se cret".to_owned())));
        std::fs::write(&file, "\u{FEFF}secret\r\n").unwrap();
        assert_eq!(kept("password_file", path), Ok(Some("secret".to_owned())));
        std::fs::write(&file, "secret".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()).unwrap();
        assert!(kept("password_file", path).unwrap_err().contains("is encoded as UTF-16"));
        // Cargo sets it for tests.
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(kept("password_variable", "CARGO_PKG_VERSION"), Ok(Some(version.to_owned())));
        let error = kept("password_variable", "IMGOPEN_NO_SUCH_VARIABLE").unwrap_err();
        assert!(error.starts_with("`password_variable`: IMGOPEN_NO_SUCH_VARIABLE: "), "{error}");
    }

    #[test]
    fn operations_are_offered_or_withheld() {
        let all = settings(r#"{"url": "http://a.example", "withhold": ["controlnet"]}"#);
        let some = settings(r#"{"url": "http://a.example", "operations": ["controlnet"]}"#);
        assert!(all.has_operation("text_to_image") && !all.has_operation("controlnet"));
        assert!(!some.has_operation("text_to_image") && some.has_operation("controlnet"));
    }

    #[test]
    fn unusable_settings_say_what_to_give() {
        for (json, problem) in [
            (r#"{"url": "ftp://a.example"}"#, "not an HTTP address"),
            (r#"{"url": "http://me:secret@a.example"}"#, "where logs would show them"),
            (r#"{"url": "http://a.example/sd?token=secret"}"#, "has a query or a fragment"),
            (r#"{"url": "http://a.example/#txt2img"}"#, "has a query or a fragment"),
            (r#"{"url": "http://a.example", "password": "secret"}"#, "`password` is given without `user`"),
            (r#"{"url": "http://a.example", "password_file": "secret"}"#, "`password_file` is given without `user`"),
            (
                r#"{"url": "http://a.example", "user": "me", "password": "secret", "password_variable": "X"}"#,
                "`password` and `password_variable` are given",
            ),
            (r#"{"url": "http://a.example", "withhold": ["text2image"]}"#, "no operation has the id \"text2image\""),
            (r#"{"program": "a", "models": [{"model": "b"}], "user": "me"}"#, "`user` is for a `url`"),
        ] {
            let error = settings(json).check().unwrap_err();
            assert!(error.contains(problem) && !error.contains("secret"), "{error}");
        }
        assert!(serde_json::from_str::<BackendSettings>(r#"{"url": "http://a.example", "nme": "x"}"#).is_err());
        assert_eq!(settings(r#"{"url": "http://a.example", "kind": "comfyui"}"#).kind, Some(Kind::ComfyUi));
    }
}
