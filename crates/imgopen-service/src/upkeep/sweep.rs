//! Deletes the files that runs left behind.
//!
//! Another process may just be writing a file that has no row yet. So only files of runs that are known to be orphaned are
//! deleted; the name of a file begins with its run.

use std::collections::HashSet;
use std::time::Duration;

use tracing::warn;

use crate::assets::AssetError;
use crate::context::Context;

/// How long files of an orphaned run may still appear, because a write was in progress when the run ended.
const GRACE: Duration = Duration::from_secs(10 * 60);

/// How many runs are read at once.
const BATCH: usize = 1000;

/// Which writers may still be at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// None: this process is the only one, and has not started its workers.
    None,
    /// Those of this process and of others.
    Some,
}

/// Deletes the files of orphaned runs, and returns how many. A run is forgotten when no file of it can appear any more. One
/// whose files cannot be deleted stays listed and does not affect the others.
pub async fn sweep(context: &Context, writers: Writers) -> Result<usize, AssetError> {
    let now = context.clock.now();
    let (mut deleted, mut failed) = (0, HashSet::new());
    loop {
        let runs = context.store.orphaned_runs(BATCH).await?;
        let mut over = Vec::new();
        for orphan in &runs {
            if context.running.has(&orphan.run) || failed.contains(&orphan.run) {
                continue;
            }
            match context.assets.delete_orphans(context.store.as_ref(), &orphan.run).await {
                Ok(count) => deleted += count,
                Err(AssetError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    let run = orphan.run.as_str();
                    warn!(run, %error, "files of an orphaned run could not be deleted; trying again later");
                    failed.insert(orphan.run.clone());
                    continue;
                }
            }
            if writers == Writers::None || now.since(orphan.since) >= GRACE {
                over.push(orphan.run.clone());
            }
        }
        let is_done = runs.len() < BATCH || over.is_empty();
        if !over.is_empty() {
            context.store.forget_orphaned_runs(over).await?;
        }
        if is_done {
            return Ok(deleted);
        }
    }
}
