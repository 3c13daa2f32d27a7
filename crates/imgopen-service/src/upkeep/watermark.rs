//! A note of the newest task beside the database, which shows whether the database has lost tasks: an older copy was put in
//! its place, or its write-ahead log was cut or damaged, of which SQLite says nothing.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use imgopen_store::StoreError;
use tracing::{debug, warn};

use crate::context::Context;
use crate::data_dir::LAST_TASK;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Warns if the database has fewer tasks than were noted.
pub async fn compare(context: &Context) -> Result<(), StoreError> {
    let found = context.store.last_place().await?;
    if let Some(noted) = read(&context.settings.data_dir).filter(|noted| *noted > found) {
        let lost = noted - found;
        warn!(
            lost,
            "the database lacks tasks that it had: it is an older copy, or its write-ahead log was damaged; stop the service and \
             restore the newest backup, or go on without them"
        );
    }
    Ok(())
}

/// Notes the newest task until the service stops.
pub async fn run(context: Arc<Context>) {
    let mut noted = None;
    loop {
        match context.store.last_place().await {
            Ok(place) if noted != Some(place) => {
                let path = context.settings.data_dir.join(LAST_TASK);
                match tokio::task::spawn_blocking(move || write(&path, place)).await {
                    Ok(Ok(())) => noted = Some(place),
                    // What cannot be written here is reported by those whose writes matter.
                    Ok(Err(error)) => debug!(%error, "the newest task could not be noted"),
                    Err(error) => debug!(%error, "the newest task could not be noted"),
                }
            }
            Ok(_) => {}
            Err(error) => debug!(%error, "the newest task could not be read"),
        }
        if context.stopping.is_cancelled() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            // Then once more.
            () = context.stopping.cancelled() => {}
        }
    }
}

/// Returns the place that was noted, if any.
pub(crate) fn read(data_dir: &Path) -> Option<i64> {
    std::fs::read_to_string(data_dir.join(LAST_TASK)).ok()?.trim().parse().ok()
}

/// Replaces the file. Not synced, because it is a hint, written often.
fn write(path: &Path, place: i64) -> io::Result<()> {
    let staged = path.with_extension("new");
    std::fs::write(&staged, format!("{place}\n"))?;
    std::fs::rename(staged, path)
}
