//! Looks at all files of results, a part at a time, for those that nothing in the database accounts for.
//!
//! Those of runs that the database knows to be over are deleted: a bucket may have kept a file although it reported the deletion, and
//! a write may have ended long after its run. The others may belong to another database, or to a later state of this one. They are
//! counted and kept.

use std::time::Duration;

use imgopen_store::{AssetToken, Note};
use tracing::warn;

use crate::assets::AssetError;
use crate::context::Context;

/// How many files are looked at in one step, page by page.
const PAGES: usize = 64;

/// How many files a page has. Only they are in memory.
const PAGE: usize = 1000;

/// The time from the start of one round to that of the next, by the uptime. Listing a bucket costs money.
const ROUND: Duration = Duration::from_secs(24 * 60 * 60);

/// The state of the rounds.
#[derive(Debug, Default)]
pub struct Survey {
    /// When the last round began, by the uptime.
    begun: Option<Duration>,
    /// The round in progress.
    round: Option<Round>,
}

/// A round in progress.
#[derive(Debug)]
struct Round {
    /// Where files are still to be looked at.
    shelves: Vec<String>,
    /// The last file on the last of them that was looked at.
    after: Option<AssetToken>,
    unknown: usize,
}

impl Survey {
    /// Looks at some more files, and returns how many were deleted. Begins a round if the last one was long ago. Notes how many files
    /// are unknown at its end.
    ///
    /// # Errors
    ///
    /// When the files cannot be listed, or the database fails. The next step goes on there.
    pub async fn step(&mut self, context: &Context) -> Result<usize, AssetError> {
        let uptime = context.clock.uptime();
        let mut round = match self.round.take() {
            Some(round) => round,
            None if self.begun.is_some_and(|begun| uptime.saturating_sub(begun) < ROUND) => return Ok(0),
            None => {
                let shelves = context.assets.shelves().await?;
                self.begun = Some(uptime);
                Round { shelves, after: None, unknown: 0 }
            }
        };
        let outcome = round.step(context).await;
        // If it could not be noted, it is not over.
        self.round = Some(round).filter(|round| outcome.is_err() || !round.shelves.is_empty());
        outcome
    }
}

impl Round {
    async fn step(&mut self, context: &Context) -> Result<usize, AssetError> {
        let deleted = self.look(context).await?;
        if self.shelves.is_empty() {
            self.end(context).await?;
        }
        Ok(deleted)
    }

    /// Looks at as many files as a step may, and returns how many were deleted.
    async fn look(&mut self, context: &Context) -> Result<usize, AssetError> {
        let mut deleted = 0;
        for _ in 0..PAGES {
            let Some(shelf) = self.shelves.last() else { break };
            if context.stopping.is_cancelled() {
                break;
            }
            let page = context.assets.page(shelf, self.after.as_ref(), PAGE).await?;
            let (last, is_full) = (page.last().cloned(), page.len() == PAGE);
            deleted += self.judge(context, page).await?;
            match last.filter(|_| is_full) {
                Some(last) => self.after = Some(last),
                None => {
                    self.shelves.pop();
                    self.after = None;
                }
            }
        }
        Ok(deleted)
    }

    /// Deletes those of the files that nothing accounts for and of which that is proven, and returns how many. Counts the others.
    async fn judge(&mut self, context: &Context, page: Vec<AssetToken>) -> Result<usize, AssetError> {
        // Listed before the rows are read, so that a file of a task that ends meanwhile is known.
        let unaccounted = context.store.unaccounted_files(page).await?;
        let count = unaccounted.len();
        let deletion = context.assets.delete(unaccounted).await?;
        self.unknown += count - deletion.proven;
        if let Some(error) = deletion.error {
            // They are listed as expired.
            warn!(%error, "files of runs that are over could not be deleted; trying again later");
        }
        Ok(deletion.deleted)
    }

    /// Notes how many files are unknown, and warns if there are others than before.
    async fn end(&self, context: &Context) -> Result<(), AssetError> {
        let unknown = i64::try_from(self.unknown).unwrap_or(i64::MAX);
        let before = context.store.note(Note::Unknown).await?;
        if before == Some(unknown) {
            return Ok(());
        }
        context.store.set_note(Note::Unknown, unknown).await?;
        if unknown > before.unwrap_or(0) {
            let place = context.assets.shown();
            warn!(
                unknown,
                place,
                "there are files of results that the database does not know; they are kept; `imgopen doctor` lists them"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
