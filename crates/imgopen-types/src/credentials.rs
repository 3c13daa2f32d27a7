//! The access key of the API: an id and a secret, sent as two headers.

use std::env;

use secrecy::{ExposeSecret, SecretString};

/// The two parts of an access key. The secret never shows in `Debug` and is wiped from memory when dropped.
///
/// ```
/// use imgopen_types::Credentials;
///
/// let keys = Credentials::new("my-id", "my-secret");
/// assert!(!format!("{keys:?}").contains("my-secret"));
/// ```
#[derive(Debug, Clone)]
pub struct Credentials {
    access_key_id: String,
    access_key_secret: SecretString,
}

/// Why the environment does not hold an access key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable `{variable}` is not set, empty or not a text; set it to your {part}")]
pub struct MissingKey {
    variable: &'static str,
    part: &'static str,
}

impl Credentials {
    /// The environment variable that holds the id.
    pub const ID_VARIABLE: &'static str = "IMGOPEN_ACCESS_KEY_ID";
    /// The environment variable that holds the secret.
    pub const SECRET_VARIABLE: &'static str = "IMGOPEN_ACCESS_KEY_SECRET";

    /// Makes an access key from its parts.
    pub fn new(access_key_id: impl Into<String>, access_key_secret: impl Into<String>) -> Self {
        Self { access_key_id: access_key_id.into(), access_key_secret: SecretString::from(access_key_secret.into()) }
    }

    /// Reads the access key from the environment: [`Self::ID_VARIABLE`] and [`Self::SECRET_VARIABLE`].
    ///
    /// # Errors
    ///
    /// Names the variable that is missing.
    pub fn from_env() -> Result<Self, MissingKey> {
        let read = |variable, part| match env::var(variable) {
            Ok(value) if !value.is_empty() => Ok(value),
            _ => Err(MissingKey { variable, part }),
        };
        Ok(Self::new(read(Self::ID_VARIABLE, "access key's id")?, read(Self::SECRET_VARIABLE, "access key's secret")?))
    }

    /// Returns the id, which may be logged.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// Returns the secret, which must not be logged.
    pub fn expose_secret(&self) -> &str {
        self.access_key_secret.expose_secret()
    }
}
