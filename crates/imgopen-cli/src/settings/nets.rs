//! The runtime of neural networks that the settings choose.

use std::num::NonZeroUsize;
use std::thread;

use imgopen_neural::{Provider, RuntimeSettings};
use imgopen_service::NetSettings;

use crate::failure::Failure;

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
