//! Finds out what answers at an address.

use std::sync::Arc;

use imgopen_engine::Engine;
use serde_json::Value;

use crate::http::{CallError, Http};
use crate::kind::Kind;
use crate::report::Report;
use crate::settings::BackendSettings;
use crate::timing::Timing;
use crate::webui::{self, SdWebui};

/// A back end with the engine that drives it.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A1111 or Forge.
    SdWebui(SdWebui),
}

/// Why an address has no back end that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoverError {
    /// The settings are invalid.
    #[error("{0}")]
    Settings(String),
    /// Nothing answers. It may later.
    #[error("{url} does not answer: {problem}; start the program, or give its `kind` to wait for it")]
    Away {
        /// The address.
        url: String,
        /// What happened.
        problem: String,
    },
    /// What answers is of a kind that this version does not drive.
    #[error("{} answers at {url}, which this version does not drive; give the address of A1111 or Forge", kind.program())]
    NotDriven {
        /// The address.
        url: String,
        /// What answers.
        kind: Kind,
    },
    /// What answers is not a known program.
    #[error("what answers at {url} is not a known program; give the address of A1111 or Forge, started with `--api`")]
    Unknown {
        /// The address.
        url: String,
    },
}

impl Backend {
    /// Finds out what answers at the address of the settings, reads its lists, and creates the engine for it. With a `kind`
    /// in the settings, nothing is asked, and the program may come later. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// See [`DiscoverError`].
    pub async fn discover(settings: BackendSettings) -> Result<Self, DiscoverError> {
        let kind = match settings.kind {
            Some(kind) => kind,
            None => detect(&settings).await?,
        };
        let url = settings.url.to_string();
        match kind {
            Kind::SdWebui => {
                let engine = SdWebui::open(settings).map_err(DiscoverError::Settings)?;
                engine.refresh().await;
                Ok(Self::SdWebui(engine))
            }
            kind => Err(DiscoverError::NotDriven { url, kind }),
        }
    }

    /// Returns the engine.
    pub fn engine(&self) -> Arc<dyn Engine> {
        match self {
            Backend::SdWebui(engine) => Arc::new(engine.clone()),
        }
    }

    /// Returns what is known of the back end, without asking it.
    pub fn report(&self) -> Report {
        match self {
            Backend::SdWebui(engine) => engine.report(),
        }
    }
}

/// Asks for what only one kind of program has. sd-server comes first, because it imitates a part of the web UI.
async fn detect(settings: &BackendSettings) -> Result<Kind, DiscoverError> {
    let http = Http::new(settings, Timing::default().answer).map_err(DiscoverError::Settings)?;
    let url = settings.url.to_string();
    let away = |error: CallError| DiscoverError::Away { url: url.clone(), problem: error.to_string() };
    if has(&http, "sdcpp/v1/capabilities", "supported_modes").await.map_err(away)? {
        return Ok(Kind::SdServer);
    }
    if has(&http, "object_info/KSampler", "KSampler").await.map_err(away)? {
        return Ok(Kind::ComfyUi);
    }
    match webui::answers(&http).await.map_err(away)? {
        true => Ok(Kind::SdWebui),
        false => Err(DiscoverError::Unknown { url }),
    }
}

/// Returns whether a path answers with an object that has a member.
async fn has(http: &Http, path: &str, member: &str) -> Result<bool, CallError> {
    match http.get::<Value>(path).await {
        Ok(answer) => Ok(answer.get(member).is_some()),
        Err(CallError::Away(problem)) => Err(CallError::Away(problem)),
        Err(CallError::Status { status: status @ (401 | 403), message }) => Err(CallError::Status { status, message }),
        Err(CallError::Status { .. } | CallError::Unusable(_)) => Ok(false),
    }
}
