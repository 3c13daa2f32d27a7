//! Deletes the files that runs left behind.
//!
//! Another process may just be writing a file that has no row yet. So only files of runs that are known to be orphaned are
//! deleted; the name of a file begins with its run.

use std::collections::HashMap;
use std::time::Duration;

use imgopen_store::{Moment, OrphanedRun, RunId};
use tracing::warn;

use crate::assets::AssetError;
use crate::context::Context;

/// How long files of an orphaned run may still appear, because a write was in progress when the run ended. By the uptime: a
/// clock that is set must not end it.
const GRACE: Duration = Duration::from_secs(10 * 60);

/// How long the runs of several processes are remembered in any case, by the database's clock: one that stood still, or was cut off,
/// may go on with a write when it wakes up.
const MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest pause between two looks at a run, by the uptime. Later ones are as long as it was seen by then.
const PAUSE: Duration = Duration::from_secs(30);

/// How many runs are read at once.
const BATCH: usize = 1000;

/// How many runs are looked at in one pass while others write: each look lists files.
const LOOKS: usize = 1000;

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
    /// What it knows of each of the runs. What wrote their files has ended before, or is of this process.
    seen: HashMap<RunId, Seen>,
}

/// When a run was seen and looked at, by the uptime.
#[derive(Debug, Clone, Copy)]
struct Seen {
    first: Duration,
    looked: Option<Duration>,
}

impl Seen {
    /// Whether its files are to be looked for again.
    fn is_due(&self, uptime: Duration) -> bool {
        self.looked.is_none_or(|looked| {
            let pause = looked.saturating_sub(self.first).max(PAUSE);
            uptime.saturating_sub(looked) >= pause
        })
    }
}

/// What a pass goes by.
#[derive(Debug, Clone, Copy)]
struct Pass {
    uptime: Duration,
    now: Moment,
    writers: Writers,
    /// How long runs are remembered in any case.
    memory: Duration,
}

impl Pass {
    fn new(context: &Context, writers: Writers) -> Self {
        let memory = if context.fleet.is_some() { MEMORY } else { Duration::ZERO };
        Self { uptime: context.clock.uptime(), now: context.clock.now(), writers, memory }
    }

    /// Whether no file of a run can appear any more.
    fn is_over(&self, orphan: &OrphanedRun, seen: Seen) -> bool {
        let has_waited = self.uptime.saturating_sub(seen.first) >= GRACE && self.now.since(orphan.since) >= self.memory;
        self.writers == Writers::None || has_waited
    }
}

impl Sweeper {
    /// Deletes the files of orphaned runs, and returns how many. A run is forgotten when no file of it can appear any more.
    /// One whose files cannot be deleted stays listed and does not affect the others. While the pictures are away, all do.
    pub async fn sweep(&mut self, context: &Context, writers: Writers) -> Result<usize, AssetError> {
        if !context.assets.is_here().await {
            return Ok(0);
        }
        let pass = Pass::new(context, writers);
        let (mut deleted, mut looks, mut after) = (0, 0, None);
        loop {
            let runs = context.store.orphaned_runs(after, BATCH).await?;
            let mut over = Vec::new();
            for orphan in &runs {
                let run = &orphan.run;
                if context.running.has(run) {
                    continue;
                }
                let seen = self.seen.entry(run.clone()).or_insert(Seen { first: pass.uptime, looked: None });
                let is_over = pass.is_over(orphan, *seen);
                if (!is_over && !seen.is_due(pass.uptime)) || (looks >= LOOKS && writers == Writers::Some) {
                    continue;
                }
                looks += 1;
                match context.assets.delete_orphans(run).await {
                    Ok(count) => deleted += count,
                    Err(AssetError::Store(error)) => return Err(error.into()),
                    Err(error) if error.is_away() => return Ok(deleted),
                    Err(error) => {
                        warn!(run = run.as_str(), %error, "files of an orphaned run could not be deleted; trying again later");
                        continue;
                    }
                }
                seen.looked = Some(pass.uptime);
                if is_over {
                    over.push(run.clone());
                }
            }
            if !over.is_empty() {
                for run in &over {
                    self.seen.remove(run);
                }
                context.store.forget_orphaned_runs(over).await?;
            }
            after = match runs.last() {
                Some(last) if runs.len() == BATCH => Some(last.clone()),
                _ => return Ok(deleted),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A run that is remembered for a day is looked at a dozen times.
    #[test]
    fn looks_at_a_run_become_rare() {
        let mut seen = Seen { first: seconds(60), looked: None };
        let mut looks = Vec::new();
        for minute in 1..=24 * 60 {
            let uptime = seconds(minute * 60);
            if seen.is_due(uptime) {
                seen.looked = Some(uptime);
                looks.push(minute);
            }
        }
        assert_eq!(looks, [1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513, 1025]);
    }

    #[test]
    fn a_run_is_remembered_for_its_time_by_both_clocks() {
        let orphan = OrphanedRun { run: RunId("a".to_owned()), since: Moment(0) };
        let seen = Seen { first: seconds(60), looked: None };
        let day = 24 * 60 * 60;
        let is_over = |uptime: u64, now: u64, writers, memory: u64| {
            let (uptime, now) = (seconds(uptime), Moment(0).plus(seconds(now)));
            Pass { uptime, now, writers, memory: seconds(memory) }.is_over(&orphan, seen)
        };
        for (uptime, now, memory, expected) in [
            (659, 9 * day, 0, false),
            (660, 0, 0, true),
            (659, 9 * day, day, false),
            (660, day - 1, day, false),
            (660, day, day, true),
        ] {
            assert_eq!(is_over(uptime, now, Writers::Some, memory), expected, "{uptime} {now} {memory}");
        }
        assert!(is_over(60, 0, Writers::None, day));
    }
}
