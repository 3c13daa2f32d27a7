//! The rows of a service, which a test reads and changes past the store: on SQLite, or on PostgreSQL in place of it.

/// A connection of a test's own to the database of a service.
pub enum Rows {
    Sqlite(Box<rusqlite::Connection>),
    #[cfg(all(unix, feature = "postgres"))]
    Postgres(Box<tokio_postgres::Client>),
}

impl Rows {
    /// Carries out statements that both know, and returns how many rows the last one has changed.
    pub async fn execute(&self, sql: &str) -> u64 {
        match self {
            Self::Sqlite(rows) => {
                rows.execute_batch(sql).unwrap();
                rows.changes()
            }
            #[cfg(all(unix, feature = "postgres"))]
            Self::Postgres(rows) => {
                let done = rows.simple_query(sql).await.unwrap();
                let last = done.into_iter().rev().find_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::CommandComplete(count) => Some(count),
                    _ => None,
                });
                last.unwrap_or(0)
            }
        }
    }

    /// Returns the columns of the first row that a statement finds, as text, which is empty for NULL. `None` if it finds none.
    pub async fn first(&self, sql: &str) -> Option<Vec<String>> {
        match self {
            Self::Sqlite(rows) => {
                let mut statement = rows.prepare(sql).unwrap();
                let columns = statement.column_count();
                let mut found = statement.query([]).unwrap();
                let row = found.next().unwrap()?;
                Some((0..columns).map(|column| shown(row.get_ref_unwrap(column))).collect())
            }
            #[cfg(all(unix, feature = "postgres"))]
            Self::Postgres(rows) => {
                let found = rows.simple_query(sql).await.unwrap();
                found.iter().find_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => {
                        Some((0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect())
                    }
                    _ => None,
                })
            }
        }
    }

    /// Blocks all writes of a service that runs tasks, and no reads, until [`unlock`](Self::unlock).
    pub async fn lock(&self) {
        match self {
            Self::Sqlite(_) => {
                self.execute("BEGIN IMMEDIATE").await;
            }
            #[cfg(all(unix, feature = "postgres"))]
            Self::Postgres(rows) => {
                let tables =
                    "tasks, callbacks, callback_tries, assets, owners, live, watched, duties, orphaned_runs, notes";
                let sql = format!("BEGIN; LOCK TABLE {tables} IN EXCLUSIVE MODE NOWAIT");
                // Waiting for one table while it has another one, it could be what the service waits for in turn.
                while let Err(error) = rows.simple_query(&sql).await {
                    assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE), "{error}");
                    self.unlock().await;
                }
            }
        }
    }

    /// Lets writes through again.
    pub async fn unlock(&self) {
        self.execute("ROLLBACK").await;
    }
}

fn shown(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;

    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
    }
}
