//! Finds and opens the back ends that the settings name.

use std::path::PathBuf;

use imgopen_backends::{Backend, BackendSettings, ControlMaps, DiscoverError, Surroundings};
use imgopen_engine::Library;

use crate::failure::Failure;

/// Finds out what every back end is, and has each list what it has. One whose kind is known need not answer. In the order of
/// the settings. `control_maps` makes the control pictures of those without preprocessors.
///
/// # Errors
///
/// If two have the same name.
pub async fn open(
    backends: &[BackendSettings],
    library: Library,
    control_maps: ControlMaps,
) -> anyhow::Result<Vec<Result<Backend, DiscoverError>>> {
    let around = Surroundings { library: Some(library), launcher: launcher(), control_maps: Some(control_maps) };
    let opened = Backend::discover_all(backends.to_vec(), &around).await;
    Ok(opened.map_err(|problem| Failure::usage(format!("`backends`: {problem}")))?)
}

/// Returns this program as it is to be called to start others. On Linux, by a path that stays right when an upgrade replaces
/// the file.
pub fn launcher() -> Option<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && running.exists() { Some(running) } else { std::env::current_exe().ok() }
}
