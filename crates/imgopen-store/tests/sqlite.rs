//! SQLite passes the suite that every store must pass.
#![allow(clippy::unwrap_used)]

#[cfg(test)]
use std::sync::Arc;

#[cfg(test)]
use imgopen_store::conformance::{Database, async_trait};
#[cfg(test)]
use imgopen_store::{SqliteStore, Store};

/// A new directory for each test.
#[cfg(test)]
struct Directory(tempfile::TempDir);

#[cfg(test)]
#[async_trait]
impl Database for Directory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(self.0.path()).unwrap())
    }
}

#[cfg(test)]
async fn empty() -> Option<Directory> {
    Some(Directory(tempfile::tempdir().unwrap()))
}

imgopen_store::conformance!(super::empty);
