//! Opens the data directory of a service, for commands that work on it directly. They close the store at their end, so that
//! the database file is complete if no service runs.

use std::sync::Arc;

use anyhow::Context;
use imgopen_service::{Store, data_dir};

use crate::args::data::Data;
use crate::settings;

/// From now on, files that this process makes can be read by its user only.
pub fn keep_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Opens the data directory, creating it if needed.
pub fn create(data: &Data) -> anyhow::Result<Arc<dyn Store>> {
    keep_private();
    let directory = settings::data_dir(data)?;
    data_dir::make_private(&directory)
        .with_context(|| format!("the data directory {} cannot be created", directory.display()))?;
    Ok(data_dir::open_store(&directory)?)
}

/// Opens an existing data directory. Commands that only read must not create one, which would hide a typing error.
pub fn open(data: &Data) -> anyhow::Result<Arc<dyn Store>> {
    let directory = settings::data_dir(data)?;
    let fix = "name the service's data directory with --data-dir";
    anyhow::ensure!(data_dir::exists(&directory), "{} is not a data directory; {fix}", directory.display());
    keep_private();
    Ok(data_dir::open_store(&directory)?)
}

/// Closes a store. A service that is running makes the database file complete when it stops.
pub async fn close(store: &dyn Store) {
    drop(store.close().await);
}
