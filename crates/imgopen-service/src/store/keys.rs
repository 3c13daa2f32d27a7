//! Access keys in the database.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Store, StoreError};
use crate::clock::Moment;
use crate::ids::KeyId;
use crate::keys::OPEN;

/// An access key as it is kept: its secret only as a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its id.
    pub id: KeyId,
    /// What the operator calls it.
    pub name: String,
    /// SHA-256 of its secret.
    pub secret_hash: Vec<u8>,
    /// What its callbacks are signed with.
    pub signing_secret: String,
    /// When it was made.
    pub created_at: Moment,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Moment>,
}

const COLUMNS: &str = "id, name, secret_hash, signing_secret, created_at, revoked_at";

impl KeyRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            secret_hash: row.get(2)?,
            signing_secret: row.get(3)?,
            created_at: Moment(row.get(4)?),
            revoked_at: row.get::<_, Option<i64>>(5)?.map(Moment),
        })
    }
}

impl Store {
    /// Adds a key.
    pub(crate) async fn add_key(&self, key: KeyRow) -> Result<(), StoreError> {
        self.write(move |connection| insert(connection, &key)).await
    }

    /// Adds a key if there is none at all, and tells whether it did.
    pub(crate) async fn add_first_key(&self, key: KeyRow) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let any: bool =
                connection.query_row("SELECT EXISTS (SELECT 1 FROM keys WHERE id <> ?1)", [OPEN], |row| row.get(0))?;
            if !any {
                insert(connection, &key)?;
            }
            Ok(!any)
        })
        .await
    }

    /// The key of that id.
    pub(crate) async fn key(&self, id: KeyId) -> Result<Option<KeyRow>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM keys WHERE id = ?1"))?;
            Ok(statement.query_row([&id], KeyRow::read).optional()?)
        })
        .await
    }

    /// Every key that somebody holds, the oldest first.
    pub(crate) async fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare(&format!("SELECT {COLUMNS} FROM keys WHERE id <> '{OPEN}' ORDER BY created_at, id"))?;
            let rows = statement.query_map([], KeyRow::read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Revokes a key for good. Tells whether there is one of that id; one that was revoked before stays as it is.
    pub(crate) async fn revoke_key(&self, id: KeyId, now: Moment) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let sql = "UPDATE keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1 AND id <> 'open'";
            Ok(connection.execute(sql, params![id, now.0])? == 1)
        })
        .await
    }
}

fn insert(connection: &Connection, key: &KeyRow) -> Result<(), StoreError> {
    let sql = format!("INSERT INTO keys ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
    let revoked_at = key.revoked_at.map(|moment| moment.0);
    connection
        .execute(&sql, params![key.id, key.name, key.secret_hash, key.signing_secret, key.created_at.0, revoked_at])?;
    Ok(())
}
