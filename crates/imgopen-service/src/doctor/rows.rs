//! The database, and whether files and clock agree with its rows.

use std::io;
use std::path::Path;
use std::time::Duration;

use imgopen_store::{AssetFile, AssetToken, Inspection, Moment, Note, StoreError};

use super::finding::{Finding, Pictures};
use crate::data_dir::ASSETS;
use crate::plurals::counted;
use crate::upkeep::watermark;
use crate::{assets, home};

/// How many rows or files are compared at once.
const BATCH: usize = 1000;

/// How far the clock may be behind the newest row: the clocks of two machines differ a little.
const BEHIND: Duration = Duration::from_secs(60);

const RESTORE: &str = "restore the newest backup with `imgopen restore`, or go on without them";

/// How pictures are mended: if the files of all of them are missing, and of some.
pub struct Fixes {
    pub all: &'static str,
    pub some: &'static str,
}

/// The same for a directory.
const FIXES: Fixes = Fixes {
    all: "if `assets/` is on a disk of its own, mount that; or copy them from a backup; --json lists them",
    some: "copy them from a backup into `assets/`; --json lists them",
};

/// The rows that files are compared with. Its methods block.
pub trait Rows {
    /// Lists the assets that have a file, by token from after that one, at most so many.
    fn assets(&self, after: Option<&AssetToken>, most: usize) -> Result<Vec<AssetFile>, StoreError>;

    /// Returns those of the names of files that nothing accounts for.
    fn unaccounted(&self, names: &[AssetToken]) -> Result<Vec<AssetToken>, StoreError>;

    /// Returns the value of a note.
    fn note(&self, note: Note) -> Result<Option<i64>, StoreError>;
}

impl Rows for Inspection {
    fn assets(&self, after: Option<&AssetToken>, most: usize) -> Result<Vec<AssetFile>, StoreError> {
        Self::assets(self, after, most)
    }

    fn unaccounted(&self, names: &[AssetToken]) -> Result<Vec<AssetToken>, StoreError> {
        Self::unaccounted(self, names)
    }

    fn note(&self, note: Note) -> Result<Option<i64>, StoreError> {
        Self::note(self, note)
    }
}

/// Examines the database itself.
pub fn database(rows: &Inspection, directory: &Path) -> Vec<Finding> {
    if rows.layout() > Inspection::KNOWN_LAYOUT {
        let problem = format!("the database has the layout {}, which this version does not know", rows.layout());
        return vec![Finding::new(problem, "use the newer version that made it")];
    }
    let mut findings = Vec::new();
    match rows.damage() {
        Ok(damage) => findings.extend(damage.first().map(|first| {
            let problem = format!("the database is damaged in {} or more: {first}", counted(damage.len() as u64, "place"));
            let fix = "stop the service and restore a backup with `imgopen restore`, or save what can be read with `sqlite3 \
                       imgopen.sqlite3 .recover`";
            Finding::new(problem, fix)
        })),
        Err(error) => findings.push(Finding::of(&error)),
    }
    match rows.last_place() {
        Ok(found) => findings.extend(watermark::read(directory).filter(|noted| *noted > found).map(|noted| {
            let lost = counted(noted.abs_diff(found), "task");
            let problem = format!(
                "the database lacks {lost} that it had: it is an older copy, or its write-ahead log was damaged"
            );
            Finding::new(problem, RESTORE)
        })),
        Err(error) => findings.push(Finding::of(&error)),
    }
    findings
}

/// Examines the clock.
pub fn clock(rows: &Inspection, now: Moment) -> Vec<Finding> {
    match rows.latest() {
        Ok(Some(latest)) if latest.since(now) > BEHIND => {
            let (now, latest) = (now.rfc3339(), latest.rfc3339());
            let problem = format!("the clock shows {now}, but the newest row is of {latest}");
            vec![Finding::new(
                problem,
                "set the clock, such as with NTP; callbacks and deletions wait until it is right",
            )]
        }
        Ok(_) => Vec::new(),
        Err(error) => vec![Finding::of(&error)],
    }
}

/// Compares the rows of pictures with the files.
pub fn pictures(rows: &dyn Rows, directory: &Path, now: Moment) -> Result<(Pictures, Vec<Finding>), Finding> {
    let directory = directory.join(ASSETS);
    let mut pictures = Pictures::default();
    let mut after = None;
    loop {
        let batch = rows.assets(after.as_ref(), BATCH).map_err(|error| Finding::of(&error))?;
        let Some(last) = batch.last() else { break };
        after = Some(last.token.clone());
        batch.into_iter().for_each(|row| compare(&mut pictures, row, &directory, now));
    }
    find_unknown(rows, &mut pictures, &directory)?;
    let mut findings = findings(&pictures, &FIXES);
    findings.extend(unmarked(rows, &directory)?);
    Ok((pictures, findings))
}

/// Finds out whether the directory lacks the mark that the database names, as the mount point of a disk does.
fn unmarked(rows: &dyn Rows, directory: &Path) -> Result<Option<Finding>, Finding> {
    let Some(noted) = rows.note(Note::Pictures).map_err(|error| Finding::of(&error))? else { return Ok(None) };
    let cannot = |error| Finding::on(directory.display(), error, "check the disk and the permissions of the directory");
    let marks = home::marks(directory).map_err(cannot)?.unwrap_or_default();
    if marks.numbers.contains(&noted) || marks.adopters.contains(&noted) {
        return Ok(None);
    }
    let (path, adopt) = (directory.display(), home::adoption_of(directory, Some(noted)));
    let problem =
        format!("{path} lacks the mark `.imgopen-{noted:016x}`: it may be the mount point of a disk that is away");
    let fix = format!(
        "mount its disk; if it is the right directory, run `mkdir -p {}` to have the service take it; `--json` lists the \
         pictures that are missing",
        adopt.display()
    );
    Ok(Some(Finding::new(problem, fix)))
}

fn compare(pictures: &mut Pictures, row: AssetFile, directory: &Path, now: Moment) {
    pictures.rows += 1;
    pictures.bytes += row.bytes;
    match assets::path(directory, &row.token).metadata() {
        Ok(file) if file.len() == row.bytes => {}
        Ok(_) => pictures.add_damaged(row.token),
        // A running service is deleting it.
        Err(_) if row.expires_at.is_some_and(|end| end <= now) => {}
        Err(_) => pictures.add_missing(row.token),
    }
}

/// Finds files that nothing accounts for. Names are listed before rows are read, so that a file of a task that ends meanwhile
/// is known.
fn find_unknown(rows: &dyn Rows, pictures: &mut Pictures, directory: &Path) -> Result<(), Finding> {
    if !directory.exists() {
        return Ok(());
    }
    let cannot = |error| Finding::on(directory.display(), error, "check the disk and the permissions of the directory");
    let mut names = assets::names(directory).map_err(cannot)?;
    loop {
        let batch: Vec<AssetToken> =
            names.by_ref().take(BATCH).map(|file| Ok(file?.0)).collect::<io::Result<_>>().map_err(cannot)?;
        if batch.is_empty() {
            return Ok(());
        }
        for token in rows.unaccounted(&batch).map_err(|error| Finding::of(&error))? {
            let file = assets::path(directory, &token).metadata();
            pictures.add_unknown(token, file.map_or(0, |file| file.len()));
        }
    }
}

/// Returns what is wrong with pictures.
pub fn findings(pictures: &Pictures, fixes: &Fixes) -> Vec<Finding> {
    let Pictures { rows, missing, damaged, unknown, unknown_bytes, counts, .. } = pictures;
    let mut findings = Vec::new();
    if let Some(first) = missing.first() {
        let problem = format!("the files of {} of {rows} pictures are missing, such as {first}", counts.missing);
        let fix = match counts.missing == *rows {
            true => fixes.all,
            false => fixes.some,
        };
        findings.push(Finding::new(problem, fix));
    }
    if let Some(first) = damaged.first() {
        let problem = format!("the files of {} of {rows} pictures have another size, such as {first}", counts.damaged);
        findings.push(Finding::new(problem, fixes.some));
    }
    if let Some(first) = unknown.first() {
        let (files, belong) = match counts.unknown {
            1 => ("1 file".to_owned(), "belongs"),
            count => (format!("{count} files"), "belong"),
        };
        let problem = format!("{files} ({unknown_bytes} bytes) {belong} to no picture, such as {first}");
        let fix = "they are kept, and are not in backups; restore the database that they belong to, or delete them; --json \
                   lists them";
        findings.push(Finding::new(problem, fix));
    }
    findings
}
