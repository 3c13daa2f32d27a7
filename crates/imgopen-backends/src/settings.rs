//! What an operator says about a back end.

use std::fmt;
use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::kind::Kind;

/// The settings of a back end. Only the address is needed.
///
/// ```
/// use imgopen_backends::{BackendSettings, Kind};
///
/// let settings: BackendSettings = serde_json::from_str(r#"{"url": "http://127.0.0.1:7860", "jobs": 2}"#)?;
/// assert_eq!((settings.name(Kind::SdWebui), settings.jobs.get()), ("sd-webui", 2));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendSettings {
    /// The address, such as `http://127.0.0.1:7860`. A path is kept, for servers behind a proxy.
    pub url: Url,
    /// The name of the engine in results, log lines and metrics; the kind of back end unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What answers there; found out unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The user, if the back end asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's password.
    #[serde(default, skip_serializing)]
    pub password: Option<Password>,
    /// The operations to offer; all that the back end can serve unless they are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<String>>,
    /// The operations to withhold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withhold: Vec<String>,
    /// How many jobs run at once. Default 1: the web UI makes pictures one after the other anyway.
    #[serde(default = "one")]
    pub jobs: NonZeroUsize,
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

impl BackendSettings {
    /// Settings with an address and nothing else.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            name: None,
            kind: None,
            user: None,
            password: None,
            operations: None,
            withhold: Vec::new(),
            jobs: one(),
            scripts: Vec::new(),
            upscaler: None,
            face_restorer: None,
            interrogators: Vec::new(),
            preprocessors: false,
            flux_dev: None,
            flux_schnell: None,
        }
    }

    /// Returns the name of the engine.
    pub fn name(&self, kind: Kind) -> &str {
        self.name.as_deref().unwrap_or(kind.as_str())
    }

    /// Returns whether an operation is to be offered.
    pub fn has_operation(&self, id: &str) -> bool {
        let has = |ids: &[String]| ids.iter().any(|known| known == id);
        self.operations.as_deref().is_none_or(has) && !has(&self.withhold)
    }

    /// Checks the address.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it and what to give.
    pub fn check(&self) -> Result<(), String> {
        let url = &self.url;
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err("`url` is not an HTTP address; give one such as `http://127.0.0.1:7860`".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "`url` has a user or password in it, where logs would show them; give `user` and `password`".to_owned()
            );
        }
        if self.password.is_some() && self.user.is_none() {
            return Err("`password` is given without `user`; give both".to_owned());
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
            (r#"{"url": "http://a.example", "password": "x"}"#, "without `user`"),
        ] {
            let error = settings(json).check().unwrap_err();
            assert!(error.contains(problem) && !error.contains("secret"), "{error}");
        }
        assert!(serde_json::from_str::<BackendSettings>(r#"{"url": "http://a.example", "nme": "x"}"#).is_err());
        assert_eq!(settings(r#"{"url": "http://a.example", "kind": "comfyui"}"#).kind, Some(Kind::ComfyUi));
    }
}
