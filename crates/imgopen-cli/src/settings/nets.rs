//! The runtime and the packs of neural networks that the settings choose.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use anyhow::Context;
use imgopen_neural::{Provider, RuntimeSettings};
use imgopen_packs::Catalogue;
use imgopen_service::NetSettings;

use crate::failure::Failure;
use crate::text;

/// Returns the settings of the runtime, which is not opened.
///
/// # Errors
///
/// If a provider is unknown.
pub fn runtime(settings: &NetSettings) -> Result<RuntimeSettings, Failure> {
    let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let threads = settings.threads.and_then(NonZeroUsize::new).unwrap_or_else(cores);
    let providers = settings.providers.iter().map(|provider| provider.parse::<Provider>());
    let providers = providers.collect::<Result<Vec<_>, _>>();
    let providers = providers.map_err(|error| Failure::usage(format!("`nets.providers`: {error}")))?;
    Ok(RuntimeSettings { threads, library: settings.library.clone(), providers })
}

/// Returns the catalogue of packs of the settings, or the built-in one.
///
/// # Errors
///
/// If its file cannot be read, or is not a catalogue.
pub fn catalogue(settings: &NetSettings) -> anyhow::Result<Cow<'static, Catalogue>> {
    settings
        .catalogue
        .as_deref()
        .map_or(Ok(Cow::Borrowed(Catalogue::built_in())), |file| named(file, "`nets.catalogue`"))
}

/// Reads the catalogue of a file. `source` is the flag or the setting that names it.
///
/// # Errors
///
/// If it cannot be read, or is not a catalogue.
pub fn named(file: &Path, source: &str) -> anyhow::Result<Cow<'static, Catalogue>> {
    let text = text::read(file).with_context(|| format!("{source}: cannot read {}", file.display()))?;
    let invalid = |error| Failure::usage(format!("{source}: {}: {error}", file.display()));
    Ok(Cow::Owned(Catalogue::parse(&text).map_err(invalid)?))
}
