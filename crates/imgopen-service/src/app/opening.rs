//! What a service is opened with: its data directory, its database, its owner id, its trainer.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use imgopen_engine::{Library, Registry};
use imgopen_store::{Clock, KeyId, OwnerAbout, OwnerId, Store};
use imgopen_trainer::{InvalidSetup, SdScripts, Trainer};
use tracing::warn;

use super::error::StartError;
use crate::assets::AssetError;
use crate::data_dir;
use crate::database::{self, Use};
use crate::dispatch::Dispatch;
use crate::fleet::{Fleet, offers};
use crate::keys::Keys;
use crate::metrics::Scope;
use crate::settings::{InvalidSetting, Settings, TrainingSettings};
use crate::tasks::needs;

/// Opens the database: that of several processes if the settings name one, or else that in the data directory.
pub async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, StartError> {
    if !settings.is_in_fleet() {
        return Ok(data_dir::open_store(&settings.data_dir)?);
    }
    if data_dir::exists(&settings.data_dir) {
        let directory = settings.data_dir.display().to_string();
        warn!(directory, "the data directory has a database, which is not used: `database.url` names another one");
    }
    Ok(database::open(&settings.database, Use::Everything).await?)
}

/// Registers this process as an owner of runs. One of several has a lease, and its clock follows that of the database.
pub async fn register(
    settings: &Settings,
    clock: &Clock,
    store: &dyn Store,
    engines: &Registry,
) -> Result<(OwnerId, Option<Arc<Fleet>>), StartError> {
    let owner = OwnerId::new()?;
    if settings.is_in_fleet() {
        let fleet = Fleet::new(settings, clock.clone(), owner.clone());
        // At once, so that others accept what it can run.
        fleet.set_offers(offers::own(engines).await);
        fleet.join(store).await?;
        return Ok((owner, Some(Arc::new(fleet))));
    }
    // Without a lease: the lock proves that this process lives.
    let about =
        OwnerAbout { role: settings.role.as_str().to_owned(), started_at: clock.now(), ..OwnerAbout::default() };
    store.register_owner(owner.clone(), None, about).await?;
    Ok((owner, None))
}

/// Returns an empty queue, of which others have a part if this is one of several processes.
pub fn dispatch(settings: &Settings, engines: &Registry) -> Dispatch {
    let dispatch = Dispatch::new(needs::pools(engines, settings), settings.queue.length);
    let dispatch = dispatch.with_room(needs::room(engines.clone()));
    if settings.is_in_fleet() { dispatch.shared() } else { dispatch }
}

/// Returns what this process measures.
pub fn scope(settings: &Settings) -> Scope {
    match settings.is_in_fleet() {
        true => Scope::Fleet { has_database: settings.role.answers_calls() },
        false => Scope::Alone,
    }
}

/// Makes the data directory if there is none, and locks it. A process that runs no tasks keeps nothing of its own there, so several
/// may use one.
pub fn take(settings: &Settings) -> Result<Option<File>, StartError> {
    if settings.role.runs_tasks() {
        return occupy(&settings.data_dir).map(Some);
    }
    data_dir::make_private(&settings.data_dir).map_err(|error| StartError::Directory {
        directory: settings.data_dir.display().to_string(),
        problem: error.to_string(),
    })?;
    Ok(None)
}

fn occupy(data_dir: &Path) -> Result<File, StartError> {
    let to_error = |error: std::io::Error| StartError::Directory {
        directory: data_dir.display().to_string(),
        problem: error.to_string(),
    };
    data_dir::make_private(data_dir).map_err(to_error)?;
    let unusable = |problem| StartError::Directory { directory: data_dir.display().to_string(), problem };
    #[cfg(unix)]
    if let Some(mode) = data_dir::close_to_others(data_dir).map_err(unusable)? {
        let (directory, mode) = (data_dir.display(), format!("{mode:04o}"));
        warn!(%directory, mode, "other users could read the data directory; it is closed to them now");
    }
    let lock = data_dir::lock(data_dir).map_err(to_error)?;
    let lock = lock.ok_or_else(|| StartError::Occupied(data_dir.display().to_string()))?;
    if data_dir.join(data_dir::RESTORING).exists() {
        let problem = format!(
            "a restore was interrupted; repeat it with `imgopen restore --replace`, or delete `{}` to go on without",
            data_dir::RESTORING
        );
        return Err(unusable(problem));
    }
    Ok(lock)
}

/// The refusal of a directory of pictures that is not the one of the other processes.
pub fn apart(error: &AssetError) -> InvalidSetting {
    let problem = format!(
        "missing, and the data directory has not the pictures of the other processes; name a bucket that all of them use, such as \
         `s3://bucket/prefix`; for a single process: {error}"
    );
    InvalidSetting { setting: "storage.url".to_owned(), problem }
}

/// Checks that the keys exist that settings name.
pub async fn check_keys(settings: &Settings, keys: &Keys) -> Result<(), StartError> {
    for id in settings.safety.keys.keys().filter(|id| *id != KeyId::OPEN) {
        if !keys.knows(&KeyId(id.clone())).await? {
            let problem = "no access key has that id; `imgopen keys list` shows all".to_owned();
            return Err(InvalidSetting { setting: format!("safety.keys.{id}"), problem }.into());
        }
    }
    Ok(())
}

/// Opens the trainer, which trains if sd-scripts is configured.
pub fn trainer(settings: &Settings, engines: &Registry, library: Library) -> Result<Trainer, InvalidSetting> {
    let TrainingSettings { memory, scripts, accelerate, tokenizers, arguments, device, cpu, .. } = &settings.training;
    let trainer = Trainer::open(&settings.data_dir, library).with_memory(*memory);
    let Some(scripts) = scripts else { return Ok(trainer) };
    let scripts = SdScripts {
        scripts: scripts.clone(),
        accelerate: accelerate.clone(),
        tokenizers: tokenizers.clone(),
        arguments: arguments.clone(),
        device: device.clone(),
        cpu: *cpu,
        launcher: engines.launcher().map(Path::to_owned),
    };
    trainer
        .with_scripts(&scripts, engines.devices().clone())
        .map_err(|InvalidSetup { setting, problem }| InvalidSetting { setting: format!("training.{setting}"), problem })
}
