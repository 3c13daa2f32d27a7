//! The engines of a service that this program runs.

#[cfg(test)]
mod control;
#[cfg(test)]
mod table;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use imgopen_backends::{ControlMaps, DiscoverError, Fleet, Inpainter};
use imgopen_engine::{Devices, Library, Registry};
use imgopen_neural::{
    Apart, ApartSettings, ControlNets, Faces, Hairstyle, Limits, Nets, Runtime, Safety, SessionSettings,
};
use imgopen_packs::Catalogue;
use imgopen_service::{NetSettings, Settings};
use imgopen_tools::Sandbox;

use crate::backends;
use crate::failure::Failure;
use crate::settings::{self, Backends};

/// How long a run of a net of the operator's own may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Returns the engines that are built in and need no pack. The order decides between engines of the same grade only.
pub fn built_in(sandbox: bool) -> Registry {
    with_sandbox(imgopen_tools::classical().with(Faces::new()), sandbox)
}

/// Returns the engines that are built in, those for networks in a models directory, and the sandbox.
///
/// # Errors
///
/// If the catalogue or the runtime of the settings cannot be used.
pub fn built_in_with_nets(models: &Path, settings: &NetSettings) -> anyhow::Result<Registry> {
    let nets = nets_in(models, settings, settings::catalogue(settings)?.into_owned())?;
    Ok(with_sandbox(with_nets(imgopen_tools::classical(), &nets, Vec::new()), true))
}

/// Returns the engines that are built in, and those for back ends. Back ends are preferred to networks that run here.
///
/// # Errors
///
/// If the settings of a back end are invalid, it is not known what it is because nothing answers and its kind is not given, or the
/// catalogue of packs, or the library that is to run networks, cannot be used.
pub async fn engines(settings: &Settings, backends: &Backends, library: Library) -> anyhow::Result<Registry> {
    let catalogue = settings::catalogue(&settings.nets)?.into_owned();
    let nets = nets_in(&settings.models_dir(), &settings.nets, catalogue)?;
    let control_maps = ControlMaps::new(Arc::new(ControlNets::new(nets.clone())));
    let opened = backends::open(&backends.list, library.clone(), control_maps).await?;
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for (index, opened) in opened.into_iter().enumerate() {
        match opened {
            Ok(backend) => found.push(backend),
            Err(error) => failed.push((index, error)),
        }
    }
    if !failed.is_empty() {
        let is_invalid = failed.iter().any(|(_, error)| matches!(error, DiscoverError::Settings(_)));
        let lines = failed.into_iter().map(|(index, error)| format!("{}: {error}", backends.place(index)));
        let message = lines.collect::<Vec<_>>().join("\n");
        return Err(if is_invalid { Failure::usage(message).into() } else { anyhow::Error::msg(message) });
    }
    let devices = Devices::default();
    let invalid = |problem: String| Failure::usage(format!("`backends`: {problem}"));
    let fleets = Fleet::of(found, &devices).map_err(invalid)?;
    let inpainters = fleets.iter().map(Fleet::inpainter).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    let painters = fleets.iter().map(Fleet::restyler).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    let painters = painters.into_iter().flatten().collect();
    let mut registry = imgopen_tools::classical().with_library(library).with_devices(devices);
    if let Some(launcher) = backends::launcher() {
        registry = registry.with_launcher(launcher);
    }
    let registry = fleets.into_iter().fold(registry, Registry::with);
    let registry = inpainters.into_iter().flatten().fold(registry, Registry::with);
    Ok(with_sandbox(with_nets(registry, &nets, painters), settings.sandbox))
}

/// Returns the networks of a models directory, with the packs of a catalogue.
///
/// # Errors
///
/// If the runtime of the settings cannot be used.
fn nets_in(models: &Path, settings: &NetSettings, catalogue: Catalogue) -> anyhow::Result<Nets> {
    let sessions = SessionSettings { idle: settings.idle, resident: settings.resident, ..SessionSettings::default() };
    Ok(Nets::run_apart(catalogue, runtime(settings)?, own_runtime(settings)?, models, sessions))
}

/// Returns the runtime of nets of the operator's own, each of which runs in a process of its own.
///
/// # Errors
///
/// If the settings of the runtime are invalid.
pub fn own_runtime(settings: &NetSettings) -> Result<Arc<dyn Runtime>, Failure> {
    // The program of unit tests does not have the command.
    let Some(program) = backends::launcher().filter(|_| !cfg!(test)) else { return runtime(settings) };
    let chosen = settings::runtime(settings)?;
    let mut arguments = vec![OsString::from("net"), OsString::from(format!("--threads={}", chosen.threads))];
    if let Some(library) = &chosen.library {
        arguments.extend([OsString::from("--library"), OsString::from(library)]);
    }
    arguments.extend(settings.providers.iter().map(|provider| OsString::from(format!("--provider={provider}"))));
    let (runtime, variant, working) = (chosen.name(), chosen.variant(), Limits::default().working);
    Ok(Arc::new(Apart::new(ApartSettings { program, arguments, runtime, variant, working, patience: PATIENCE })))
}

/// Adds the engines that run networks, and what audits results. `painters` paint the hair that one of them finds.
fn with_nets(registry: Registry, nets: &Nets, painters: Vec<Inpainter>) -> Registry {
    let painted = painters.into_iter().map(|painter| Hairstyle::with_painter(nets.clone(), Arc::new(painter)));
    let registry = painted.fold(registry, Registry::with).with_auditor(Safety::new(nets.clone()));
    imgopen_neural::with_all(registry, nets)
}

/// Opens the runtime of networks. The message names the library.
fn runtime(settings: &NetSettings) -> Result<Arc<dyn Runtime>, Failure> {
    let runtime = settings::runtime(settings)?;
    runtime.open().map_err(|error| {
        let library = runtime.library.as_deref().unwrap_or(Path::new("")).display();
        let fix = match cfg!(feature = "ort") {
            true => "",
            false => ": `cargo build --release --package imgopen-cli --features ort`",
        };
        Failure::usage(format!("`nets.library`: {library}: {error}{fix}"))
    })
}

fn with_sandbox(registry: Registry, sandbox: bool) -> Registry {
    if sandbox { registry.with(Sandbox::new()) } else { registry }
}
