//! The bucket of the pictures: whether it can be used, and whether its objects agree with the rows.

use std::collections::{BTreeMap, BTreeSet};

use imgopen_store::{AssetFile, AssetToken, Inspection, Moment, Note};

use super::finding::{Finding, Pictures};
use super::rows::{self, Fixes};
use crate::assets::{AssetError, Examined};

/// How many rows or files are compared at once.
const BATCH: usize = 1000;

/// How many rows without an object are asked for one by one, because their object may have been written meanwhile. Where more are
/// missing, something else is wrong.
const ASKED: usize = 100;

/// How pictures are mended.
const FIXES: Fixes = Fixes {
    all: "if `storage.url` names another place than before, correct it; or restore earlier versions of the objects; --json lists \
          them",
    some: "restore earlier versions of the objects; --json lists them",
};

/// Examines whether an object can be written, and whether the prefix is that of the database. Writes an object and deletes it.
pub fn reached(rows: &Inspection, bucket: &Examined) -> Vec<Finding> {
    let outcome = unmarked(rows, bucket).and_then(|finding| match finding {
        Some(finding) => Err(finding),
        None => bucket.write_probe().map_err(of),
    });
    outcome.err().into_iter().collect()
}

fn unmarked(rows: &Inspection, bucket: &Examined) -> Result<Option<Finding>, Finding> {
    let noted = rows.note(Note::Pictures).map_err(|error| Finding::of(&error))?;
    let found = bucket.mark().map_err(of)?;
    // A service that has not started yet will mark it.
    let is_new = noted.is_none() && found.is_none();
    if is_new || noted == found || bucket.is_adopted(noted).map_err(of)? {
        return Ok(None);
    }
    let what = if found.is_some() { "bears the mark of another database" } else { "lacks the mark of the database" };
    let fix = format!(
        "correct `storage.url`; if it is the right place, put an empty object there to have the service take it: {}",
        bucket.shown_adoption(noted)
    );
    Ok(Some(Finding::new(format!("{} {what}", bucket.shown()), fix)))
}

/// Compares the rows of pictures with the objects.
pub fn pictures(rows: &Inspection, bucket: &Examined, now: Moment) -> Result<(Pictures, Vec<Finding>), Finding> {
    let mut comparison = Comparison { rows, bucket, now, pictures: Pictures::default() };
    let mut left: BTreeSet<_> = bucket.shelves().map_err(of)?.into_iter().collect();
    let (mut after, mut shelf, mut objects) = (None, String::new(), BTreeMap::new());
    loop {
        let batch = rows.assets(after.as_ref(), BATCH).map_err(|error| Finding::of(&error))?;
        let Some(last) = batch.last() else { break };
        after = Some(last.token.clone());
        for row in batch {
            // The rows are in the order of their tokens.
            if !row.token.as_str().starts_with(&shelf) || shelf.is_empty() {
                shelf = row.token.as_str().get(..2).unwrap_or("_").to_owned();
                objects = if left.remove(&shelf) { comparison.listed(&shelf)? } else { BTreeMap::new() };
            }
            comparison.compare(row, &objects)?;
        }
    }
    for shelf in left {
        comparison.listed(&shelf)?;
    }
    let findings = rows::findings(&comparison.pictures, &FIXES);
    Ok((comparison.pictures, findings))
}

struct Comparison<'a> {
    rows: &'a Inspection,
    bucket: &'a Examined,
    now: Moment,
    pictures: Pictures,
}

impl Comparison<'_> {
    /// Lists the objects of a shelf, and notes those that nothing accounts for. They are listed before rows are read, so that one
    /// of a task that ends meanwhile is known.
    fn listed(&mut self, shelf: &str) -> Result<BTreeMap<AssetToken, u64>, Finding> {
        let objects = self.bucket.on_shelf(shelf).map_err(of)?;
        let names: Vec<_> = objects.keys().cloned().collect();
        for names in names.chunks(BATCH) {
            for token in self.rows.unaccounted(names).map_err(|error| Finding::of(&error))? {
                self.pictures.unknown_bytes += objects.get(&token).copied().unwrap_or_default();
                self.pictures.unknown.push(token);
            }
        }
        Ok(objects)
    }

    fn compare(&mut self, row: AssetFile, objects: &BTreeMap<AssetToken, u64>) -> Result<(), Finding> {
        self.pictures.rows += 1;
        self.pictures.bytes += row.bytes;
        let size = match objects.get(&row.token) {
            Some(size) => Some(*size),
            None if self.pictures.missing.len() < ASKED => self.bucket.size(&row.token).map_err(of)?,
            None => None,
        };
        match size {
            Some(size) if size == row.bytes => {}
            Some(_) => self.pictures.damaged.push(row.token),
            // A running service is deleting it.
            None if row.expires_at.is_some_and(|end| end <= self.now) => {}
            None => self.pictures.missing.push(row.token),
        }
        Ok(())
    }
}

fn of(error: AssetError) -> Finding {
    Finding::split(&error.to_string(), "see the log of the bucket's server")
}
