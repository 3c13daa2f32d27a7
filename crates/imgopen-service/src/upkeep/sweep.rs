//! Deletes the files that runs left behind.
//!
//! Another process may just be writing a file that has no row yet. So only files of runs that are known to be orphaned are
//! deleted; the name of a file begins with its run.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use imgopen_store::{OrphanedRun, RunId};
use tracing::warn;

use crate::assets::AssetError;
use crate::context::Context;

/// How long files of an orphaned run may still appear, because a write was in progress when the run ended. By the uptime: a
/// clock that is set must not end it.
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

/// Deletes the files of orphaned runs.
#[derive(Debug, Default)]
pub struct Sweeper {
    /// When it saw each of the runs first, by the uptime. What wrote their files has ended before, or is of this process.
    seen: HashMap<RunId, Duration>,
}

impl Sweeper {
    /// Deletes the files of orphaned runs, and returns how many. A run is forgotten when no file of it can appear any more.
    /// One whose files cannot be deleted stays listed and does not affect the others. While the pictures are away, all do.
    pub async fn sweep(&mut self, context: &Context, writers: Writers) -> Result<usize, AssetError> {
        if !context.assets.is_here().await {
            return Ok(0);
        }
        let uptime = context.clock.uptime();
        let (mut deleted, mut failed) = (0, HashSet::new());
        loop {
            let runs = context.store.orphaned_runs(BATCH).await?;
            let mut over = Vec::new();
            for OrphanedRun { run, .. } in &runs {
                if context.running.has(run) || failed.contains(run) {
                    continue;
                }
                match context.assets.delete_orphans(run).await {
                    Ok(count) => deleted += count,
                    Err(AssetError::Store(error)) => return Err(error.into()),
                    Err(error) if error.is_away() => return Ok(deleted),
                    Err(error) => {
                        warn!(run = run.as_str(), %error, "files of an orphaned run could not be deleted; trying again later");
                        failed.insert(run.clone());
                        continue;
                    }
                }
                let seen = *self.seen.entry(run.clone()).or_insert(uptime);
                if writers == Writers::None || uptime.saturating_sub(seen) >= GRACE {
                    over.push(run.clone());
                }
            }
            let is_done = runs.len() < BATCH || over.is_empty();
            if !over.is_empty() {
                for run in &over {
                    self.seen.remove(run);
                }
                context.store.forget_orphaned_runs(over).await?;
            }
            if is_done {
                return Ok(deleted);
            }
        }
    }
}
