//! Moves an embedded service into a database that several processes can share, and its pictures into a bucket.
//!
//! The target notes where the move stands in the transaction that brings the rows, so a move that is killed goes on where it was.
//! The source stays as it is until everything has arrived and was compared. Then a file in its directory bars it, and only then
//! may services open the target: at no moment could both be used.

mod error;
mod examine;
mod files;
mod pictures;
mod stand;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use imgopen_store::{
    AssetToken, Begun, Clock, Counts, Cursor, Exported, Import, MoveAbout, RowKind, SqliteStore, Store, number,
};

use crate::assets::Assets;
use crate::data_dir::{self, ASSETS, RESTORING};
use crate::moved::{self, Marker};
pub use error::MoveError;
use files::Files;
use stand::Stand;
pub use target::MoveTarget;

/// How many rows are put at once.
const BATCH: usize = 1000;

/// How a service is moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MoveOptions {
    /// Whether pictures may be missing.
    pub incomplete: bool,
    /// Whether to look only.
    pub is_trial: bool,
}

/// How far a move has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveProgress {
    /// What is moved now: rows of a kind, or pictures.
    pub what: &'static str,
    /// How many rows or pictures are there.
    pub done: u64,
    /// How many there will be.
    pub of: u64,
}

/// What was moved, or is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// How many rows of each kind there are.
    pub rows: Counts,
    /// How many pictures have a file.
    pub pictures: u64,
    /// The bytes of these.
    pub picture_bytes: u64,
    /// The bucket that they were copied into. `None` if they stay in the data directory.
    pub bucket: Option<String>,
    /// Pictures without a file of the right size.
    pub missing: Vec<AssetToken>,
    /// Whether an earlier move was completed.
    pub is_resumed: bool,
}

/// Moves all that is in a data directory, or goes on with a move that was interrupted. No service may run in it.
///
/// Models, data sets of trainings and files that the service did not make stay where they are.
///
/// # Errors
///
/// When a service runs in the directory, the target holds something else, or something cannot be read or written. The source is
/// then as it was, and the same move can be repeated.
pub async fn move_data(
    from: &Path,
    target: MoveTarget,
    options: MoveOptions,
    clock: &Clock,
    report: &(dyn Fn(MoveProgress) + Send + Sync),
) -> Result<Moved, MoveError> {
    let assets = Assets::in_bucket(&target.storage, target.import.store(), false)?;
    let bucket = target.storage.shown()?;
    let MoveTarget { import, address, .. } = target;
    Mover { from: from.to_owned(), import, address, assets, bucket, options, report }.run(clock).await
}

/// A move.
struct Mover<'a> {
    from: PathBuf,
    import: Arc<dyn Import>,
    address: String,
    /// The place for the pictures, unless they stay.
    assets: Option<Assets>,
    bucket: Option<String>,
    options: MoveOptions,
    report: &'a (dyn Fn(MoveProgress) + Send + Sync),
}

impl Mover<'_> {
    async fn run(&self, clock: &Clock) -> Result<Moved, MoveError> {
        let from = &*self.from;
        if !data_dir::exists(from) {
            return Err(MoveError::NoData(self.shown()));
        }
        // Held to the end, so that neither a service nor another move begins.
        let lock = data_dir::lock(from).map_err(MoveError::at(from))?;
        let Some(_lock) = lock.filter(|_| !from.join(RESTORING).exists()) else {
            return Err(MoveError::Occupied(self.shown()));
        };
        if let Some(marker) = moved::done(from).map_err(MoveError::at(from))? {
            return self.complete(marker, clock).await;
        }
        let source = SqliteStore::open(from)?;
        let outcome = self.run_from(&source, clock).await;
        drop(source.close().await);
        let moved = outcome?;
        if !self.options.is_trial {
            let marker = moved::in_progress(from).map_err(MoveError::at(from))?;
            // The source is barred before the target opens. If the process dies in between, the next move only opens the target.
            let is_valid = moved::finish(from).map_err(MoveError::at(from))?;
            let marker = marker.filter(|_| is_valid).ok_or_else(|| MoveError::Used(self.shown()))?;
            self.import.complete(marker.id).await?;
        }
        Ok(moved)
    }

    /// Opens the target of a move that has barred its source and did no more.
    async fn complete(&self, marker: Marker, clock: &Clock) -> Result<Moved, MoveError> {
        let id = marker.id;
        match self.import.begin(self.about(&id), true).await? {
            Begun::Again(_) if !self.options.is_trial => self.import.complete(id).await?,
            _ => return Err(MoveError::Done { from: self.shown(), to: marker.to }),
        }
        let source = SqliteStore::open(&self.from)?;
        let rows = source.counts().await?;
        let files = self.examine(&source, None, clock.now()).await?;
        drop(source.close().await);
        Ok(self.moved(rows, files, true))
    }

    fn moved(&self, rows: Counts, files: Files, is_resumed: bool) -> Moved {
        let Files { count: pictures, bytes: picture_bytes, missing, .. } = files;
        Moved { rows, pictures, picture_bytes, bucket: self.bucket.clone(), missing, is_resumed }
    }

    async fn run_from(&self, source: &SqliteStore, clock: &Clock) -> Result<Moved, MoveError> {
        let marker = self.marker(clock)?;
        let stand = self.stand(&marker, true).await?;
        let after = match &stand {
            Stand::Pictures(after) => after.clone(),
            _ => None,
        };
        let files = self.examine(source, after.as_ref(), clock.now()).await?;
        if let (Some(first), false) = (files.missing.first(), self.options.incomplete) {
            let (missing, first) = (files.missing.len() as u64, first.0.clone());
            return Err(MoveError::Missing { missing, first });
        }
        let is_resumed = stand != Stand::first();
        let rows = source.counts().await?;
        if !self.options.is_trial {
            // Before the target knows of it, which would belong to nobody otherwise.
            moved::begin(&self.from, &marker).map_err(MoveError::at(&self.from))?;
            let stand = self.stand(&marker, false).await?;
            self.carry_out(source, &marker.id, stand, &files, &rows).await?;
            self.compare(source, &rows).await?;
        } else if !is_resumed && let Some(assets) = &self.assets {
            assets.try_out(source).await?;
        }
        Ok(self.moved(rows, files, is_resumed))
    }

    /// Returns the move that was interrupted, if it had the same target, or else a new one.
    fn marker(&self, clock: &Clock) -> Result<Marker, MoveError> {
        let earlier = moved::in_progress(&self.from).map_err(MoveError::at(&self.from))?;
        match earlier.filter(|marker| marker.to == self.address) {
            Some(marker) => Ok(marker),
            None => {
                let (id, to) = (format!("{:016x}", number()?), self.address.clone());
                Ok(Marker { id, to, since: clock.now().rfc3339() })
            }
        }
    }

    /// Finds out where the move stands, and begins it unless that is a trial.
    async fn stand(&self, marker: &Marker, is_trial: bool) -> Result<Stand, MoveError> {
        match self.import.begin(self.about(&marker.id), is_trial).await? {
            Begun::New | Begun::Again(None) => Ok(Stand::first()),
            Begun::Again(Some(noted)) => Ok(Stand::of(noted)),
            Begun::NotEmpty => Err(MoveError::NotEmpty(self.address.clone())),
            Begun::Other(MoveAbout { source, .. }) => {
                Err(MoveError::Other { to: self.address.clone(), source_dir: source })
            }
            Begun::Complete => Err(MoveError::Other { to: self.address.clone(), source_dir: self.shown() }),
        }
    }

    async fn carry_out(
        &self,
        source: &SqliteStore,
        id: &str,
        mut stand: Stand,
        files: &Files,
        rows: &Counts,
    ) -> Result<(), MoveError> {
        let mut is_settled = false;
        let (mut done, of, mut copied) = (sum(&self.import.counts().await?), sum(rows), files.before);
        loop {
            // A bucket is known by a number among the notes, and is taken while the database has no pictures yet.
            if let Some(assets) = self.assets.as_ref().filter(|_| !is_settled && stand != Stand::first()) {
                assets.settle().await?;
                is_settled = true;
            }
            stand = match stand {
                Stand::Rows(cursor) => {
                    let what = cursor.kind.as_str();
                    let (put, next) = self.put_rows(source, id, cursor).await?;
                    done += put;
                    (self.report)(MoveProgress { what, done, of });
                    next
                }
                Stand::Pictures(after) => {
                    let (put, next) = self.put_pictures(source, id, after, files).await?;
                    copied += put;
                    (self.report)(MoveProgress { what: "pictures", done: copied, of: files.count });
                    next
                }
                Stand::Put => return Ok(self.import.settle(source.last_places().await?).await?),
            };
        }
    }

    /// Puts a page of rows. Returns how many count, and where the move stands then.
    async fn put_rows(&self, source: &SqliteStore, id: &str, cursor: Cursor) -> Result<(u64, Stand), MoveError> {
        let is_counted = cursor.kind != RowKind::Notes;
        let Exported { rows, next } = source.export(cursor, BATCH).await?;
        let stand = match (next, &self.assets) {
            (Some(next), _) => Stand::Rows(next),
            (None, Some(_)) => Stand::Pictures(None),
            (None, None) => Stand::Put,
        };
        let put = if is_counted { rows.len() as u64 } else { 0 };
        self.import.put(id.to_owned(), Some(rows), stand.noted()).await?;
        Ok((put, stand))
    }

    /// Compares what there is on both sides: the numbers of rows, then each row with all its values.
    async fn compare(&self, source: &SqliteStore, expected: &Counts) -> Result<(), MoveError> {
        let found = self.import.counts().await?;
        for (kind, source_count) in expected {
            let target_count = found.iter().find(|(found, _)| found == kind).map_or(0, |(_, count)| *count);
            if target_count != *source_count {
                return Err(MoveError::Differs { kind: *kind, source_count: *source_count, target_count });
            }
        }
        // A bucket has been given a number of its own among the notes.
        let (mut next, mut done, of) = (Some(Cursor::before(RowKind::Keys)), 0, sum(expected));
        while let Some(cursor) = next {
            let kind = cursor.kind;
            let Exported { rows, next: following } = source.export(cursor, BATCH).await?;
            done += rows.len() as u64;
            match self.import.differing(rows).await? {
                0 => (self.report)(MoveProgress { what: "rows to compare", done, of }),
                differing => return Err(MoveError::AlteredRows { kind, differing }),
            }
            next = following;
        }
        Ok(())
    }

    fn about(&self, id: &str) -> MoveAbout {
        MoveAbout { id: id.to_owned(), source: self.shown() }
    }

    /// The data directory, for messages.
    fn shown(&self) -> String {
        std::path::absolute(&self.from).unwrap_or_else(|_| self.from.clone()).display().to_string()
    }

    /// The directory of the pictures.
    fn pictures(&self) -> PathBuf {
        self.from.join(ASSETS)
    }
}

fn sum(counts: &Counts) -> u64 {
    counts.iter().map(|(_, count)| *count).sum()
}

#[cfg(test)]
mod tests;
