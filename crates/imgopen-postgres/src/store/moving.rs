//! A database that is filled with the rows of another store.

use std::sync::Arc;

use async_trait::async_trait;
use imgopen_store::{Begun, Counts, Import, LastPlaces, MoveAbout, Rows, Store, StoreError};
use serde_json::Value;

use super::{PostgresStore, Repeat, TRIES, Tables, Tries, timeout};
use crate::connect::PostgresOptions;
use crate::import;

/// A database that is filled with the rows of another store. [`PostgresStore::open`] refuses it until the move is complete.
#[derive(Debug, Clone)]
pub struct PostgresImport {
    store: PostgresStore,
    has_tables: bool,
}

impl PostgresImport {
    /// Connects to a database, which must exist, and makes the tables if there are none.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`] does, but for a move.
    pub async fn open(url: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        let (store, _) = PostgresStore::connect(url, options, Tables::Made).await?;
        Ok(Self { store, has_tables: true })
    }

    /// Does the same for a trial, which leaves the database as it is.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open) does.
    pub async fn look(url: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        let (store, found) = PostgresStore::connect(url, options, Tables::AsTheyAre).await?;
        Ok(Self { store, has_tables: found.version > 0 })
    }

    /// Where the database is, without the user and the password.
    pub fn address(&self) -> &str {
        self.store.address()
    }
}

#[async_trait]
impl Import for PostgresImport {
    async fn begin(&self, about: MoveAbout, is_trial: bool) -> Result<Begun, StoreError> {
        if is_trial && !self.has_tables {
            return Ok(Begun::New);
        }
        let store = &self.store;
        call!(store, Always, |client| import::begin(&mut client, &about, is_trial))
    }

    async fn put(&self, id: String, rows: Option<Rows>, noted: Value) -> Result<(), StoreError> {
        let store = &self.store;
        call!(store, Always, |client| import::put(&mut client, &id, rows.as_ref(), &noted))
    }

    async fn settle(&self, last: LastPlaces) -> Result<(), StoreError> {
        let store = &self.store;
        call!(store, Always, |client| import::settle(&mut client, last))
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let store = &self.store;
        call!(store, Always, |client| import::counts(&mut client))
    }

    async fn differing(&self, rows: Rows) -> Result<usize, StoreError> {
        let store = &self.store;
        call!(store, Always, |client| import::differing(&mut client, &rows))
    }

    async fn complete(&self, id: String) -> Result<(), StoreError> {
        let store = &self.store;
        call!(store, Always, |client| import::complete(&mut client, &id))
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }
}
