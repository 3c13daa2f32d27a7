//! Finds out what answers at an address.

use std::fmt;
use std::sync::Arc;

use futures_util::future;
use serde_json::Value;

use crate::comfyui::ComfyUi;
use crate::driver::{Driver, Surroundings};
use crate::fleet::name_all;
use crate::http::{CallError, Http};
use crate::kind::Kind;
use crate::report::Report;
use crate::sd_server::SdServer;
use crate::settings::BackendSettings;
use crate::timing::Timing;
use crate::webui::{self, SdWebui};

/// A back end with the engine that drives it.
#[derive(Clone)]
pub struct Backend {
    driver: Arc<dyn Driver>,
    kind: Kind,
}

/// Why an address has no back end that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoverError {
    /// The settings are invalid.
    #[error("{0}")]
    Settings(String),
    /// Nothing answers. It may later.
    #[error(
        "nothing that can be used answers at {url}: {problem}; start the program, or give its `kind` in `[[backends]]` to wait \
         for it"
    )]
    Away {
        /// The address.
        url: String,
        /// What happened.
        problem: String,
    },
    /// It asks for another user or password.
    #[error("what answers at {url} rejects the login; check `user` and the password in `[[backends]]`")]
    Denied {
        /// The address.
        url: String,
    },
    /// What answers is not a known program.
    #[error(
        "what answers at {url} is not a known program; give the address of sd-server, of ComfyUI, or of A1111 or Forge started with \
         `--api`"
    )]
    Unknown {
        /// The address.
        url: String,
    },
}

impl Backend {
    /// Finds out what answers at the address of the settings, reads its lists, and creates the engine for it. With a `kind` or a
    /// `program` in the settings, nothing is asked, and the program may come later. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// See [`DiscoverError`].
    pub async fn discover(settings: BackendSettings, around: &Surroundings) -> Result<Self, DiscoverError> {
        let kind = kind_of(&settings).await?;
        Self::there(kind, settings, around).await
    }

    /// Does so for several back ends at the same time, once those without a name are [named](name_all), and returns them in the
    /// same order.
    ///
    /// # Errors
    ///
    /// Says which name is given twice.
    pub async fn discover_all(
        all: Vec<BackendSettings>,
        around: &Surroundings,
    ) -> Result<Vec<Result<Self, DiscoverError>>, String> {
        let kinds = future::join_all(all.iter().map(kind_of)).await;
        let (mut named, mut failed) = (Vec::new(), Vec::new());
        for (index, (kind, settings)) in kinds.into_iter().zip(all).enumerate() {
            match kind {
                Ok(kind) => named.push((kind, settings)),
                Err(error) => failed.push((index, error)),
            }
        }
        name_all(&mut named)?;
        let opened = named.into_iter().map(|(kind, settings)| Self::there(kind, settings, around));
        let mut backends = future::join_all(opened).await;
        for (index, error) in failed {
            backends.insert(index, Err(error));
        }
        Ok(backends)
    }

    /// Creates the engine, and asks the back end for what it has.
    async fn there(kind: Kind, settings: BackendSettings, around: &Surroundings) -> Result<Self, DiscoverError> {
        let backend = Self::open(kind, settings, around).map_err(DiscoverError::Settings)?;
        backend.driver.refresh().await;
        Ok(backend)
    }

    /// A back end with another engine than the one of this crate.
    pub fn with_driver(kind: Kind, driver: Arc<dyn Driver>) -> Self {
        Self { driver, kind }
    }

    /// Creates the engine for a back end of a kind, without waiting for an answer. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the settings.
    pub fn open(kind: Kind, settings: BackendSettings, around: &Surroundings) -> Result<Self, String> {
        let driver: Arc<dyn Driver> = match kind {
            Kind::SdServer => Arc::new(SdServer::open(settings, around)?),
            Kind::ComfyUi => Arc::new(ComfyUi::open(settings, around)?),
            Kind::SdWebui => Arc::new(SdWebui::open(settings)?),
        };
        Ok(Self { driver, kind })
    }

    /// Returns the kind of the back end.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the engine.
    pub fn driver(&self) -> Arc<dyn Driver> {
        self.driver.clone()
    }

    /// Returns what is known of the back end, without asking it.
    pub fn report(&self) -> Report {
        self.driver.report()
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("kind", &self.kind).field("settings", self.driver.settings()).finish()
    }
}

/// Returns the kind that the settings state, or else that of what answers.
async fn kind_of(settings: &BackendSettings) -> Result<Kind, DiscoverError> {
    match settings.kind.or(settings.program.as_ref().map(|_| Kind::SdServer)) {
        Some(kind) => Ok(kind),
        None => detect(settings).await,
    }
}

/// Asks for what only one kind of program has. sd-server comes first, because it imitates a part of the web UI.
async fn detect(settings: &BackendSettings) -> Result<Kind, DiscoverError> {
    let http = Http::new(settings, Timing::default().answer).map_err(DiscoverError::Settings)?;
    let url = settings.place();
    let away = |error: CallError| match error {
        CallError::Status { status: 401 | 403, .. } => DiscoverError::Denied { url: url.clone() },
        error => DiscoverError::Away { url: url.clone(), problem: error.to_string() },
    };
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
