//! Deletes what has expired: pictures, ended tasks, what engines keep of past tasks, and idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use imgopen_store::{Duty, Moment, StoreError};
use tracing::{error, info, warn};

use super::duties;
use super::survey::Survey;
use super::sweep::{Sweeper, Writers};
use super::watch::Watch;
use crate::assets::AssetError;
use crate::context::Context;

/// The pause between two passes.
const PAUSE: Duration = Duration::from_secs(60);

/// The pause between two searches for ended tasks, by the uptime. Such a search looks at every old task whose pictures are
/// kept.
const TASKS_PAUSE: Duration = Duration::from_secs(60 * 60);

/// How many pictures or tasks are deleted in one transaction.
const BATCH: usize = 500;

/// How many of each a pass has deleted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Deleted {
    pictures: usize,
    tasks: usize,
    keys: usize,
    orphans: usize,
}

/// Deletes until the service stops.
pub async fn run(context: Arc<Context>) {
    let mut retention = Retention::default();
    loop {
        retention.pass(&context).await;
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = context.stopping.cancelled() => break,
        }
    }
    // The next start compares its time with this one. In a fleet, others go on.
    if context.fleet.is_none() {
        retention.time(&context, true).await;
    }
}

/// The state of the loop.
#[derive(Debug, Default)]
struct Retention {
    /// The watch of the clock, once the last moment that was seen could be read.
    watch: Option<Watch>,
    /// When ended tasks were searched for last, by the uptime.
    tasks_searched: Option<Duration>,
    sweeper: Sweeper,
    survey: Survey,
}

impl Retention {
    async fn pass(&mut self, context: &Context) {
        match self.delete(context).await {
            Ok(deleted) if deleted == Deleted::default() => {}
            Ok(Deleted { pictures, tasks, keys, orphans }) => {
                info!(pictures, tasks, keys, orphans, "expired data deleted");
            }
            Err(error) => error!(%error, "expired data could not be deleted; trying again later"),
        }
    }

    /// Returns the time by which things have expired. `None` while it is doubted or cannot be judged. Notes it if `is_noted`: one
    /// process does, and the clocks of all follow that of their database.
    async fn time(&mut self, context: &Context, is_noted: bool) -> Option<Moment> {
        if self.watch.is_none() {
            let started = Watch::start(context).await;
            let started = started.inspect_err(|error| error!(%error, "nothing is deleted by age until this passes"));
            self.watch = started.ok();
        }
        self.watch.as_mut()?.time(context, is_noted).await
    }

    async fn delete(&mut self, context: &Context) -> Result<Deleted, AssetError> {
        let mut deleted = Deleted::default();
        let is_on_duty = duties::take(context, Duty::Retention).await?;
        // What engines keep is on their own machine.
        let has_engines = context.settings.role.runs_tasks();
        if let Some(now) = self.time(context, is_on_duty).await {
            if is_on_duty {
                expire_pictures(context, now).await?;
                deleted.tasks = self.delete_tasks(context, now).await?;
                deleted.keys = context.store.forget_idempotency_keys(now).await?;
                context.store.forget_progress().await?;
            }
            if has_engines {
                expire_in_engines(context).await;
            }
        }
        let sweeps = duties::take(context, Duty::Sweep).await?;
        if !sweeps {
            // Another process begins again.
            (self.sweeper, self.survey) = (Sweeper::default(), Survey::default());
        }
        if !is_on_duty && !sweeps {
            return Ok(deleted);
        }
        match context.assets.settle().await {
            Ok(()) => {
                if is_on_duty {
                    deleted.pictures = delete_expired(context).await?;
                }
                if sweeps {
                    deleted.orphans = self.sweep(context).await?;
                    context.metrics.orphans_deleted(deleted.orphans);
                }
            }
            Err(error) => warn!(%error, "no files can be deleted; trying again later"),
        }
        Ok(deleted)
    }

    /// Deletes files of runs that are over, and returns how many.
    async fn sweep(&mut self, context: &Context) -> Result<usize, AssetError> {
        let orphans = self.sweeper.sweep(context, Writers::Some).await?;
        Ok(orphans + self.survey.step(context).await?)
    }

    /// Deletes the rows of tasks that ended too long ago and that nothing needs: not a pending callback, not a picture.
    async fn delete_tasks(&mut self, context: &Context, now: Moment) -> Result<usize, AssetError> {
        let Some(lifetime) = context.settings.tasks.lifetime else { return Ok(0) };
        // Another process keeps its tasks for longer, or this one does.
        if context.fleet.as_ref().is_some_and(|fleet| fleet.differs_in("tasks.lifetime")) {
            return Ok(0);
        }
        let uptime = context.clock.uptime();
        if self.tasks_searched.is_some_and(|searched| uptime.saturating_sub(searched) < TASKS_PAUSE) {
            return Ok(0);
        }
        let age = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        let (before, mut after, mut deleted) = (Moment(now.0.saturating_sub(age)), None, 0);
        while !context.stopping.is_cancelled() {
            let found = context.store.deletable_tasks(before, after, BATCH).await?;
            if !found.tasks.is_empty() {
                deleted += context.store.delete_tasks(found.tasks).await?;
            }
            after = found.next;
            if after.is_none() {
                break;
            }
        }
        self.tasks_searched = Some(uptime);
        Ok(deleted)
    }
}

/// Marks the pictures that have expired; their files are deleted next.
async fn expire_pictures(context: &Context, now: Moment) -> Result<(), StoreError> {
    // If the service stops, the next start marks the rest.
    while !context.stopping.is_cancelled() {
        if context.store.expire_assets(now, BATCH).await?.len() < BATCH {
            break;
        }
    }
    Ok(())
}

/// Deletes the files of expired pictures, also those that an earlier pass did not get to. One that cannot be deleted stays
/// listed and does not affect the others. While the pictures are away, all do.
async fn delete_expired(context: &Context) -> Result<usize, StoreError> {
    let (mut deleted, mut kept, mut first) = (0, 0, None);
    let mut after = None;
    while !context.stopping.is_cancelled() {
        let tokens = context.store.expired_files(after, BATCH).await?;
        let Some(last) = tokens.last().cloned() else { break };
        after = Some(last);
        let (gone, error) = context.assets.delete_each(&tokens).await;
        deleted += gone.len();
        kept += tokens.len() - gone.len();
        first = first.or(error);
        context.store.forget_expired_files(gone).await?;
    }
    if let Some(error) = first {
        warn!(kept, %error, "expired pictures could not be deleted; trying again later");
    }
    Ok(deleted)
}

/// Has every engine delete what it keeps of tasks whose results have expired.
async fn expire_in_engines(context: &Context) {
    let Some(lifetime) = context.settings.assets.lifetime else { return };
    for engine in context.engines.engines() {
        match engine.expire(lifetime).await {
            Ok(0) => {}
            Ok(deleted) => info!(engine = engine.name(), deleted, "expired data deleted"),
            Err(error) => {
                error!(engine = engine.name(), %error, "expired data could not be deleted; trying again later");
            }
        }
    }
}

#[cfg(test)]
mod tests;
