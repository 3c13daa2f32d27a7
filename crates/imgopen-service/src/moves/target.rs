//! Where a service is moved to: an empty database, and a bucket.

use std::sync::Arc;

use imgopen_store::Import;

use super::error::MoveError;
use crate::settings::{InvalidSetting, Settings, StorageSettings};

/// Where a service is moved to.
#[derive(Debug, Clone)]
pub struct MoveTarget {
    /// The database.
    pub import: Arc<dyn Import>,
    /// Its address, without a password.
    pub address: String,
    /// The bucket for the pictures, if the settings name one. Otherwise they stay in the data directory.
    pub storage: StorageSettings,
}

impl MoveTarget {
    /// Opens the database of the settings, and makes its tables if there are none, unless that is for a trial.
    ///
    /// # Errors
    ///
    /// When the settings name none, or it cannot be used.
    #[cfg(feature = "postgres")]
    pub async fn open(settings: &Settings, is_trial: bool) -> Result<Self, MoveError> {
        use std::time::Duration;

        use imgopen_postgres::{PostgresImport, PostgresOptions};

        let Some(url) = settings.database.address()? else { return Err(missing().into()) };
        // Pages of rows and counts of all of them take longer than what callers wait for.
        let options = PostgresOptions {
            connections: 2,
            statement_timeout: Duration::from_secs(10 * 60),
            call_timeout: Duration::from_secs(11 * 60),
            notify: false,
            ..PostgresOptions::default()
        };
        let import = match is_trial {
            true => PostgresImport::look(&url, &options).await?,
            false => PostgresImport::open(&url, &options).await?,
        };
        let address = import.address().to_owned();
        Ok(Self { import: Arc::new(import), address, storage: settings.storage.clone() })
    }

    /// Opens the database of the settings.
    ///
    /// # Errors
    ///
    /// Always: this program was built without PostgreSQL.
    #[cfg(not(feature = "postgres"))]
    pub async fn open(_: &Settings, _: bool) -> Result<Self, MoveError> {
        Err(missing().into())
    }
}

fn missing() -> InvalidSetting {
    let problem =
        "no database of PostgreSQL is named, or this program was built without the feature `postgres`".to_owned();
    InvalidSetting { setting: "database.url".to_owned(), problem }
}
