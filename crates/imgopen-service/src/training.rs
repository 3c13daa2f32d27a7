//! Training: the pictures are fetched into a folder as a trainer wants it, with the command to train by; then it ends, for
//! no training engine is configured.

mod base;
mod caption;
mod files;
mod order;
mod plan;
mod rules;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use imgopen_engine::ModelKind;
use imgopen_types::Operation;
use serde_json::Value;

pub use plan::TrainingPlan;

use crate::ids::TaskId;
use crate::service::Service;
use crate::store::TaskRow;
use base::Base;
use order::Order;

/// The folder of the data sets within the data folder.
pub(crate) const DATASETS: &str = "datasets";

/// What a folder is called until it is whole.
const PARTIAL: &str = "part";

/// How often a folder is tried to be removed; the next start removes what is left.
const TIDY: u32 = 5;

/// Works out how a training is to be run.
///
/// # Errors
///
/// Names the fields that a trainer would break off on.
pub(crate) async fn planned(service: &Service, task: &TaskId, request: &Value) -> Result<TrainingPlan, String> {
    let engines = service.inner.engines.clone();
    let models = tokio::task::spawn_blocking(move || engines.models(ModelKind::Checkpoint)).await;
    let models = models.map_err(|error| format!("the models cannot be listed: {error}"))?;
    plan::plan(task, request, &Base::find(&Order(request).text("pretrainedModel"), &models))
}

/// Fetches the data set of a training, and tells why it ends without a result: a picture that cannot be used; or, when
/// all can, that nothing trains with them.
pub(crate) async fn run(service: &Service, task: &TaskRow, operation: &Operation, request: &Value) -> String {
    match data_set(service, task, operation, request).await {
        Ok(plan) => ended(&plan, &Order(request).text("pretrainedModel")),
        Err(problem) => problem,
    }
}

fn ended(plan: &TrainingPlan, base: &str) -> String {
    let TrainingPlan { folder, base_model, .. } = plan;
    let script = files::SCRIPT;
    let told = format!(
        "no training engine configured; the data set is kept in `{folder}` within the server's data folder, with the \
         command to train by in its `{script}`"
    );
    match base_model {
        Some(_) => told,
        None => format!("{told}; the base model {base:?} is in no models folder"),
    }
}

async fn data_set(
    service: &Service,
    task: &TaskRow,
    operation: &Operation,
    request: &Value,
) -> Result<TrainingPlan, String> {
    // One of an earlier version has none.
    let plan = match &task.training {
        Some(plan) => plan.clone(),
        None => planned(service, &task.id, request).await?,
    };
    let folder = service.inner.settings.data_dir.join(&plan.folder);
    // An earlier run may have been cut off just after the folder was whole.
    if !folder.exists() {
        let partial = folder.with_extension(PARTIAL);
        if let Err(problem) = files::prepare(service, operation, request, &plan, &partial).await {
            remove(partial).await?;
            return Err(problem);
        }
        tokio::fs::rename(&partial, &folder).await.map_err(|error| failed(&folder, &error))?;
    }
    Ok(plan)
}

async fn remove(folder: PathBuf) -> Result<(), String> {
    match tokio::fs::remove_dir_all(&folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(&folder, &error)),
        _ => Ok(()),
    }
}

fn failed(place: &Path, error: &std::io::Error) -> String {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    format!("the data set's folder or file {name} cannot be written: {error}")
}

/// Removes what a run has begun and not ended, whatever broke it off.
pub(crate) async fn tidy(service: &Service, task: &TaskRow) {
    let partial = service.inner.settings.data_dir.join(DATASETS).join(&task.id.0).with_extension(PARTIAL);
    // A file that was being written at that moment may come into being while the folder is emptied.
    for _ in 0..TIDY {
        match remove(partial.clone()).await {
            Ok(()) => return,
            Err(problem) => tracing::warn!(task = %task.id, problem, "a part of a data set is not removed yet"),
        }
    }
}

/// Removes the data sets with which nothing has been done for as long as results are kept; tells how many. What was trained
/// with one was not made by the service, so that it is not the service's to delete.
pub(crate) fn expire(data_dir: &Path, lifetime: Duration) -> std::io::Result<usize> {
    remove_where(data_dir, |folder| {
        if has_output(folder)? {
            return Ok(false);
        }
        // While a training goes on, it writes somewhere in the folder.
        Ok(last_change(folder)?.elapsed().is_ok_and(|age| age >= lifetime))
    })
}

fn has_output(folder: &Path) -> std::io::Result<bool> {
    match std::fs::read_dir(folder.join(plan::OUTPUT)) {
        Ok(mut files) => Ok(files.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// When a folder was last changed, or anything in it.
fn last_change(path: &Path) -> std::io::Result<SystemTime> {
    let facts = path.symlink_metadata()?;
    let mut last = facts.modified()?;
    if facts.is_dir() {
        for entry in std::fs::read_dir(path)? {
            last = last.max(last_change(&entry?.path())?);
        }
    }
    Ok(last)
}

/// Removes what is left of data sets that were being fetched when the process was killed. Only before the first task.
pub(crate) fn sweep(data_dir: &Path) -> std::io::Result<usize> {
    remove_where(data_dir, |folder| Ok(folder.extension().is_some_and(|extension| extension == PARTIAL)))
}

fn remove_where(data_dir: &Path, is_over: impl Fn(&Path) -> std::io::Result<bool>) -> std::io::Result<usize> {
    let folders = match std::fs::read_dir(data_dir.join(DATASETS)) {
        Ok(folders) => folders,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    for folder in folders {
        let folder = folder?.path();
        if is_over(&folder)? {
            std::fs::remove_dir_all(folder)?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    const MONTH: Duration = Duration::from_secs(30 * 86400);

    /// A data set that was made long ago.
    fn old(data: &Path, name: &str) -> PathBuf {
        let folder = data.join(DATASETS).join(name);
        for inner in [plan::IMAGES, plan::OUTPUT, plan::LOGS] {
            fs::create_dir_all(folder.join(inner)).unwrap();
        }
        fs::write(folder.join(plan::IMAGES).join("0001.png"), "picture").unwrap();
        for inner in ["img/0001.png", "img", "output", "logs", ""] {
            age(&folder.join(inner));
        }
        folder
    }

    fn age(path: &Path) {
        File::open(path).unwrap().set_modified(SystemTime::now() - 2 * MONTH).unwrap();
    }

    #[test]
    fn only_what_nothing_was_done_with_comes_to_its_end() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(expire(data.path(), MONTH).unwrap(), 0);
        old(data.path(), "left");
        let trained = old(data.path(), "trained");
        fs::write(trained.join("output/lora.safetensors"), "weights").unwrap();
        let going_on = old(data.path(), "going-on");
        fs::create_dir(going_on.join("logs/run")).unwrap();
        fs::write(going_on.join("logs/run/events"), "step 1").unwrap();
        for changed in [trained.join("output/lora.safetensors"), trained.join("output"), going_on.join("logs")] {
            age(&changed);
        }
        assert_eq!(expire(data.path(), MONTH).unwrap(), 1);
        assert!(trained.exists() && going_on.exists() && !data.path().join(DATASETS).join("left").exists());
        assert_eq!(expire(data.path(), 3 * MONTH).unwrap(), 0);
        age(&going_on.join("logs/run/events"));
        age(&going_on.join("logs/run"));
        assert_eq!(expire(data.path(), MONTH).unwrap(), 1);
        assert!(trained.exists());
    }
}
