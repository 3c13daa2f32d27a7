//! Opens the database that several processes share.

use std::sync::Arc;
use std::time::Duration;

use imgopen_store::{Store, StoreError};

use crate::settings::{DatabaseSettings, InvalidSetting};

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The settings are wrong.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a process uses the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only PostgreSQL has time limits"))]
pub(crate) enum Use {
    /// For all that it does.
    Everything,
    /// To look only: the tables stay as they are.
    Looking,
    /// For heartbeats alone, which take no longer than that.
    Heartbeats(Duration),
}

/// Opens the database of the settings, and makes its tables if there are none, unless it is to be looked at only.
///
/// # Errors
///
/// When the settings name none, or it cannot be used.
#[cfg(feature = "postgres")]
pub(crate) async fn open(settings: &DatabaseSettings, used: Use) -> Result<Arc<dyn Store>, OpenError> {
    use imgopen_postgres::{PostgresOptions, PostgresStore};

    let Some(address) = settings.address()? else { return Err(missing().into()) };
    let all = PostgresOptions {
        connections: settings.connections,
        notify: settings.notify,
        password_file: settings.password_file.clone(),
        ..PostgresOptions::default()
    };
    let options = match used {
        Use::Everything | Use::Looking => all,
        Use::Heartbeats(longest) => PostgresOptions {
            connections: 1,
            connect_timeout: longest,
            lock_timeout: longest,
            statement_timeout: longest,
            call_timeout: longest,
            ..all
        },
    };
    let store = match used {
        Use::Looking => PostgresStore::open_existing(&address, &options).await?,
        _ => PostgresStore::open(&address, &options).await?,
    };
    Ok(Arc::new(store))
}

/// Opens the database of the settings.
///
/// # Errors
///
/// Always: this program was built without PostgreSQL.
#[cfg(not(feature = "postgres"))]
pub(crate) async fn open(_: &DatabaseSettings, _: Use) -> Result<Arc<dyn Store>, OpenError> {
    Err(missing().into())
}

fn missing() -> InvalidSetting {
    let problem =
        "no database of PostgreSQL is named, or this program was built without the feature `postgres`".to_owned();
    InvalidSetting { setting: "database.url".to_owned(), problem }
}
