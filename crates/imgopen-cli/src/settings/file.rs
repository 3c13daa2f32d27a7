//! A settings file as a source of settings.

use std::path::{Path, PathBuf};

use anyhow::Context;
use figment::value::{Dict, Map};
use figment::{Metadata, Profile, Provider};

use super::messages::SECRETS;
use crate::failure::Failure;
use crate::text;

/// The settings of a TOML file. Figment's own reader of TOML needs an old version of the crate `toml`.
pub struct SettingsFile {
    path: PathBuf,
    settings: Dict,
}

impl SettingsFile {
    /// Reads the file of `--config`.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not TOML; the error names the line.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = text::read(path).with_context(|| format!("--config: cannot read {}", path.display()))?;
        let settings = toml::from_str(&text).map_err(|error| {
            let problem = describe(&text, &error);
            Failure::usage(format!("--config: {} is not TOML: {problem}", path.display()))
        })?;
        Ok(Self { path: path.to_owned(), settings })
    }
}

/// Describes what is not TOML, by its place. The line itself is quoted unless it may contain a secret.
fn describe(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let number = before.matches('\n').count();
    let line = text.split('\n').nth(number).unwrap_or_default();
    let has_user = line.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
    match SECRETS.iter().any(|name| line.contains(name)) || has_user {
        true => format!("error at line {}: {}", number + 1, error.message()),
        false => error.to_string().trim_end().to_owned(),
    }
}

impl Provider for SettingsFile {
    /// Errors name the file, and relative paths begin in its directory.
    fn metadata(&self) -> Metadata {
        Metadata::from("settings file", self.path.as_path())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.settings.clone()))
    }
}
