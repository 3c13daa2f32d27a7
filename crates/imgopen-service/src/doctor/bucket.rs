//! The bucket of the pictures: whether it can be used, and whether its objects agree with the rows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use imgopen_store::{AssetFile, AssetToken, Moment, Note};

use super::finding::{Finding, Pictures};
use super::rows::{self, Fixes, Rows};
use crate::assets::{AssetError, Examined};

/// How many rows or files are compared at once.
const BATCH: usize = 1000;

/// How many rows without an object are asked for one by one, because their object may have been written meanwhile. Where more are
/// missing, something else is wrong.
const ASKED: u64 = 100;

/// How pictures are mended.
const FIXES: Fixes = Fixes {
    all: "if `storage.url` names another place than before, correct it; or restore earlier versions of the objects; --json lists \
          them",
    some: "restore earlier versions of the objects; --json lists them",
};

/// Examines whether an object can be written, and whether the prefix is that of the database. Writes an object and deletes it.
pub fn reached(rows: &dyn Rows, bucket: &Examined) -> Vec<Finding> {
    let outcome = unmarked(rows, bucket).and_then(|finding| match finding {
        Some(finding) => Err(finding),
        None => bucket.write_probe().map_err(of),
    });
    outcome.err().into_iter().collect()
}

fn unmarked(rows: &dyn Rows, bucket: &Examined) -> Result<Option<Finding>, Finding> {
    let noted = rows.note(Note::Pictures).map_err(|error| Finding::of(&error))?;
    let found = bucket.mark().map_err(of)?;
    // A service that has not started yet will mark it.
    let is_new = noted.is_none() && found.is_none();
    if is_new || noted == found || bucket.is_adopted(noted).map_err(of)? {
        return Ok(None);
    }
    // A process was interrupted, or is at it; the next one completes the mark.
    if let Some(number) = noted
        && bucket.is_proposed(number).map_err(of)?
    {
        return Ok(None);
    }
    let what = if found.is_some() { "bears the mark of another database" } else { "lacks the mark of the database" };
    let fix = format!(
        "correct `storage.url`; if it is the right place, put an empty object there to have the service take it: {}",
        bucket.shown_adoption(noted)
    );
    Ok(Some(Finding::new(format!("{} {what}", bucket.shown()), fix)))
}

/// Compares the rows of pictures with the objects, both in the order of their names, so that only a part of each is in memory.
pub fn pictures(rows: &dyn Rows, bucket: &Examined, now: Moment) -> Result<(Pictures, Vec<Finding>), Finding> {
    let shelves: BTreeSet<_> = bucket.shelves().map_err(of)?.into_iter().collect();
    let mut comparison = Comparison { rows: Ahead::of(rows), bucket, now, pictures: Pictures::default() };
    let none = BTreeMap::new();
    for shelf in shelves {
        comparison.compare_while(|token| token.as_str() < shelf.as_str(), &none)?;
        let mut after = None;
        loop {
            let objects: BTreeMap<_, _> = bucket.page(&shelf, after.as_ref(), BATCH).map_err(of)?.into_iter().collect();
            comparison.note_unknown(&objects)?;
            after = objects.keys().next_back().filter(|_| objects.len() == BATCH).cloned();
            match &after {
                Some(last) => comparison.compare_while(|token| token <= last, &objects)?,
                None => comparison.compare_while(|token| token.as_str().starts_with(&shelf), &objects)?,
            }
            if after.is_none() {
                break;
            }
        }
    }
    comparison.compare_while(|_| true, &none)?;
    let findings = rows::findings(&comparison.pictures, &FIXES);
    Ok((comparison.pictures, findings))
}

/// Rows in the order of their tokens, some of which are read ahead.
struct Ahead<'a> {
    rows: &'a dyn Rows,
    read: VecDeque<AssetFile>,
    last: Option<AssetToken>,
    is_at_end: bool,
}

impl<'a> Ahead<'a> {
    fn of(rows: &'a dyn Rows) -> Self {
        Self { rows, read: VecDeque::new(), last: None, is_at_end: false }
    }

    /// Returns the next row if its token fits.
    fn next_if(&mut self, fits: impl Fn(&AssetToken) -> bool) -> Result<Option<AssetFile>, Finding> {
        if self.read.is_empty() && !self.is_at_end {
            let batch = self.rows.assets(self.last.as_ref(), BATCH).map_err(|error| Finding::of(&error))?;
            self.last = batch.last().map(|row| row.token.clone());
            self.is_at_end = batch.is_empty();
            self.read = batch.into();
        }
        match self.read.front() {
            Some(next) if fits(&next.token) => Ok(self.read.pop_front()),
            _ => Ok(None),
        }
    }
}

struct Comparison<'a> {
    rows: Ahead<'a>,
    bucket: &'a Examined,
    now: Moment,
    pictures: Pictures,
}

impl Comparison<'_> {
    /// Notes objects that nothing accounts for. They are listed before that is asked, so that one of a task that ends meanwhile is
    /// known.
    fn note_unknown(&mut self, objects: &BTreeMap<AssetToken, u64>) -> Result<(), Finding> {
        let names: Vec<_> = objects.keys().cloned().collect();
        for token in self.rows.rows.unaccounted(&names).map_err(|error| Finding::of(&error))? {
            let bytes = objects.get(&token).copied().unwrap_or_default();
            self.pictures.add_unknown(token, bytes);
        }
        Ok(())
    }

    /// Compares the next rows with these objects, as long as their tokens fit.
    fn compare_while(
        &mut self,
        fits: impl Fn(&AssetToken) -> bool,
        objects: &BTreeMap<AssetToken, u64>,
    ) -> Result<(), Finding> {
        while let Some(row) = self.rows.next_if(&fits)? {
            self.compare(row, objects)?;
        }
        Ok(())
    }

    fn compare(&mut self, row: AssetFile, objects: &BTreeMap<AssetToken, u64>) -> Result<(), Finding> {
        self.pictures.rows += 1;
        self.pictures.bytes += row.bytes;
        let size = match objects.get(&row.token) {
            Some(size) => Some(*size),
            None if self.pictures.counts.missing < ASKED => self.bucket.size(&row.token).map_err(of)?,
            None => None,
        };
        match size {
            Some(size) if size == row.bytes => {}
            Some(_) => self.pictures.add_damaged(row.token),
            // A running service is deleting it.
            None if row.expires_at.is_some_and(|end| end <= self.now) => {}
            None => self.pictures.add_missing(row.token),
        }
        Ok(())
    }
}

fn of(error: AssetError) -> Finding {
    Finding::split(&error.to_string(), "see the log of the bucket's server")
}
