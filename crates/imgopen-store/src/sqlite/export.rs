//! All rows for another store, in SQL: page by page, each kind by its key.

use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::problem::Problem;
use super::values::JsonOf;
use super::{SqliteStore, callbacks, notes, tasks};
use crate::export::{
    Counts, Cursor, ExpiredFile, Exported, ExportedAnswer, ExportedAsset, ExportedAttempt, ExportedCallback,
    ExportedTask, LastPlaces, RowKind, Rows,
};
use crate::{AssetRow, DeliveryAttempt, Idempotency, KeyRow, Moment, Note, OrphanedRun, State, StoreError, TaskRow};

/// The most bytes of text in a page, but for its last row.
const PAGE: usize = 8 * 1024 * 1024;

/// Runs that may have left files: those that are listed, and those of a process that died.
const ORPHANED: &str = "SELECT run, since FROM orphaned_runs
    UNION ALL SELECT run, coalesce(started_at, created_at) FROM tasks WHERE state = 'running' AND run IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM orphaned_runs WHERE orphaned_runs.run = tasks.run)";

/// Rows up to the end of a kind, or of a page.
struct Page<T> {
    rows: Vec<T>,
    is_last: bool,
}

impl SqliteStore {
    /// Reads rows for another store from a cursor on, at most so many, and fewer if they have much text. While nothing else writes,
    /// the parts together are the whole database.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn export(&self, after: Cursor, most: usize) -> Result<Exported, StoreError> {
        self.read(move |connection| export(connection, &after, most)).await
    }

    /// Counts the rows that an export has.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        self.read(counts).await
    }

    /// Returns the places that were given last.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn last_places(&self) -> Result<LastPlaces, StoreError> {
        self.read(last_places).await
    }
}

/// Returns the rows behind a cursor, at most so many.
fn export(connection: &Connection, after: &Cursor, most: usize) -> Result<Exported, Problem> {
    match after.kind {
        RowKind::Notes => notes_of(connection),
        RowKind::Keys => {
            let page = keys(connection, after, most)?;
            Ok(page.exported(after, Rows::Keys, |key, at| at.id.clone_from(&key.id.0)))
        }
        RowKind::Tasks => {
            let page = tasks_of(connection, after, most)?;
            Ok(page.exported(after, Rows::Tasks, |task, at| at.number = task.row.seq))
        }
        RowKind::Idempotency => {
            let page = answers(connection, after, most)?;
            Ok(page.exported(after, Rows::Idempotency, |answer, at| {
                at.id.clone_from(&answer.key.0);
                at.rest.clone_from(&answer.idempotency.key);
            }))
        }
        RowKind::Assets => {
            let page = assets(connection, after, most)?;
            Ok(page.exported(after, Rows::Assets, |asset, at| at.id.clone_from(&asset.token.0)))
        }
        RowKind::Callbacks => {
            let page = callbacks_of(connection, after, most)?;
            Ok(page.exported(after, Rows::Callbacks, |callback, at| at.number = callback.row.place))
        }
        RowKind::Attempts => {
            let page = attempts(connection, after, most)?;
            Ok(page.exported(after, Rows::Attempts, |attempt, at| {
                at.id.clone_from(&attempt.callback.0);
                at.number = attempt.attempt.number;
            }))
        }
        RowKind::OrphanedRuns => {
            let page = orphaned(connection, after, most)?;
            Ok(page.exported(after, Rows::OrphanedRuns, |run, at| at.id.clone_from(&run.run.0)))
        }
        RowKind::ExpiredFiles => {
            let page = expired(connection, after, most)?;
            Ok(page.exported(after, Rows::ExpiredFiles, |file, at| at.id.clone_from(&file.token.0)))
        }
    }
}

impl<T> Page<T> {
    /// Reads rows until there are so many, or so much text.
    fn read(
        connection: &Connection,
        sql: &str,
        values: impl Params,
        most: usize,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<(T, usize)>,
    ) -> Result<Self, Problem> {
        let mut statement = connection.prepare_cached(sql)?;
        let mut found = statement.query(values)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            let (row, size) = read(row)?;
            rows.push(row);
            bytes += size;
            if rows.len() >= most || bytes >= PAGE {
                return Ok(Self { rows, is_last: false });
            }
        }
        Ok(Self { rows, is_last: true })
    }

    /// The page as a part of an export. `move_to` sets a cursor behind a row.
    fn exported(
        self,
        after: &Cursor,
        rows: impl FnOnce(Vec<T>) -> Rows,
        move_to: impl FnOnce(&T, &mut Cursor),
    ) -> Exported {
        let next = if self.is_last {
            after.kind.next().map(Cursor::before)
        } else {
            let mut next = after.clone();
            if let Some(last) = self.rows.last() {
                move_to(last, &mut next);
            }
            Some(next)
        };
        Exported { rows: rows(self.rows), next }
    }
}

fn notes_of(connection: &Connection) -> Result<Exported, Problem> {
    let mut found = Vec::new();
    for note in [Note::LastSeen, Note::Pictures] {
        found.extend(notes::note(connection, note)?.map(|value| (note, value)));
    }
    Ok(Exported { rows: Rows::Notes(found), next: RowKind::Notes.next().map(Cursor::before) })
}

fn keys(connection: &Connection, after: &Cursor, most: usize) -> Result<Page<KeyRow>, Problem> {
    let sql = "SELECT id, name, secret_hash, signing_secret, previous_secrets, created_at, revoked_at FROM keys
               WHERE id > ?1 ORDER BY id";
    Page::read(connection, sql, [&after.id], most, |row| {
        let key = KeyRow {
            id: row.get(0)?,
            name: row.get(1)?,
            secret_hash: row.get(2)?,
            signing_secret: row.get(3)?,
            previous_secrets: row.get::<_, JsonOf<_>>(4)?.0,
            created_at: row.get(5)?,
            revoked_at: row.get(6)?,
        };
        let size = key.name.len();
        Ok((key, size))
    })
}

fn tasks_of(connection: &Connection, after: &Cursor, most: usize) -> Result<Page<ExportedTask>, Problem> {
    let sql = format!(
        "SELECT {}, unique_id, reserves, state = 'running' AND owner IS NOT NULL AND 1 = (
             SELECT count(*) FROM tasks other WHERE other.state = 'running' AND other.owner = tasks.owner)
         FROM tasks WHERE seq > ?1 ORDER BY seq",
        tasks::COLUMNS
    );
    Page::read(connection, &sql, [after.number], most, |row| {
        let task = ExportedTask {
            row: queued_again(tasks::read(row)?, row.get(27)?),
            unique_id: row.get(25)?,
            reserves: row.get(26)?,
        };
        let size = task.row.request.len() + row.get_ref(14)?.as_str_or_null()?.map_or(0, str::len);
        Ok((task, size))
    })
}

/// A task whose process is dead, as a recovery queues it again.
fn queued_again(task: TaskRow, was_alone: bool) -> TaskRow {
    if task.state != State::Running {
        return task;
    }
    let crashes_alone = task.crashes_alone + i64::from(was_alone);
    TaskRow { state: State::Queued, run: None, owner: None, started_at: None, crashes_alone, ..task }
}

fn answers(connection: &Connection, after: &Cursor, most: usize) -> Result<Page<ExportedAnswer>, Problem> {
    let sql = "SELECT key_id, idempotency_key, task_id, expires_at FROM idempotency
               WHERE (key_id, idempotency_key) > (?1, ?2) ORDER BY key_id, idempotency_key";
    Page::read(connection, sql, [&after.id, &after.rest], most, |row| {
        let idempotency = Idempotency { key: row.get(1)?, expires_at: row.get(3)? };
        let size = idempotency.key.len();
        Ok((ExportedAnswer { key: row.get(0)?, task: row.get(2)?, idempotency }, size))
    })
}

fn assets(connection: &Connection, after: &Cursor, most: usize) -> Result<Page<ExportedAsset>, Problem> {
    let sql = "SELECT token, task_id, tasks.key_id, media_type, bytes, assets.created_at, expires_at, deleted_at, name
               FROM assets CROSS JOIN tasks ON tasks.id = assets.task_id WHERE token > ?1 ORDER BY token";
    Page::read(connection, sql, [&after.id], most, |row| {
        let asset = AssetRow {
            media_type: row.get(3)?,
            bytes: row.get::<_, i64>(4)?.try_into().unwrap_or(0),
            created_at: row.get(5)?,
            expires_at: row.get(6)?,
            deleted_at: row.get(7)?,
            name: row.get(8)?,
        };
        let size = asset.name.as_ref().map_or(0, String::len);
        Ok((ExportedAsset { token: row.get(0)?, task: row.get(1)?, key: row.get(2)?, row: asset }, size))
    })
}

fn callbacks_of(connection: &Connection, after: &Cursor, most: usize) -> Result<Page<ExportedCallback>, Problem> {
    let sql = format!(
        "SELECT {}, pause, (SELECT coalesce(max(number), 0) FROM callback_tries WHERE callback_id = callbacks.id)
         FROM callbacks WHERE seq > ?1 ORDER BY seq",
        callbacks::COLUMNS
    );
    Page::read(connection, &sql, [after.number], most, |row| {
        let mut callback = callbacks::read(row)?;
        callback.claim = None;
        let size = callback.url.len() + callback.body.len();
        Ok((ExportedCallback { row: callback, pause: row.get(16)?, attempts: row.get(17)? }, size))
    })
}

fn attempts(connection: &Connection, after: &Cursor, most: usize) -> Result<Page<ExportedAttempt>, Problem> {
    let sql = "SELECT callback_id, number, started_at, duration_ms, http_status, outcome FROM callback_tries
               WHERE (callback_id, number) > (?1, ?2) ORDER BY callback_id, number";
    Page::read(connection, sql, params![after.id, after.number], most, |row| {
        let attempt = DeliveryAttempt {
            number: row.get(1)?,
            started_at: row.get(2)?,
            duration_ms: row.get(3)?,
            http_status: row.get(4)?,
            outcome: row.get(5)?,
        };
        let size = attempt.outcome.len();
        Ok((ExportedAttempt { callback: row.get(0)?, attempt }, size))
    })
}

fn orphaned(connection: &Connection, after: &Cursor, most: usize) -> Result<Page<OrphanedRun>, Problem> {
    let sql = format!("SELECT run, since FROM ({ORPHANED}) WHERE run > ?1 ORDER BY run");
    Page::read(connection, &sql, [&after.id], most, |row| Ok((OrphanedRun { run: row.get(0)?, since: row.get(1)? }, 0)))
}

fn expired(connection: &Connection, after: &Cursor, most: usize) -> Result<Page<ExpiredFile>, Problem> {
    let sql = "SELECT token, since FROM expired_files WHERE token > ?1 ORDER BY token";
    Page::read(connection, sql, [&after.id], most, |row| {
        Ok((ExpiredFile { token: row.get(0)?, since: row.get::<_, Moment>(1)? }, 0))
    })
}

fn counts(connection: &Connection) -> Result<Counts, Problem> {
    let count = |kind: RowKind| -> Result<Option<(RowKind, u64)>, Problem> {
        let sql = match kind {
            RowKind::Notes => return Ok(None),
            RowKind::Keys => "SELECT count(*) FROM keys".to_owned(),
            RowKind::Tasks => "SELECT count(*) FROM tasks".to_owned(),
            RowKind::Idempotency => "SELECT count(*) FROM idempotency".to_owned(),
            RowKind::Assets => "SELECT count(*) FROM assets JOIN tasks ON tasks.id = assets.task_id".to_owned(),
            RowKind::Callbacks => "SELECT count(*) FROM callbacks".to_owned(),
            RowKind::Attempts => "SELECT count(*) FROM callback_tries".to_owned(),
            RowKind::OrphanedRuns => format!("SELECT count(*) FROM ({ORPHANED})"),
            RowKind::ExpiredFiles => "SELECT count(*) FROM expired_files".to_owned(),
        };
        let count: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        Ok(Some((kind, u64::try_from(count).unwrap_or(0))))
    };
    RowKind::ALL.into_iter().filter_map(|kind| count(kind).transpose()).collect()
}

fn last_places(connection: &Connection) -> Result<LastPlaces, Problem> {
    let last = |table: &str| -> Result<i64, Problem> {
        let sql = "SELECT seq FROM sqlite_sequence WHERE name = ?1";
        let place = connection.prepare_cached(sql)?.query_row([table], |row| row.get(0)).optional()?;
        Ok(place.unwrap_or(0))
    };
    Ok(LastPlaces { task: last("tasks")?, callback: last("callbacks")? })
}

#[cfg(test)]
mod tests;
