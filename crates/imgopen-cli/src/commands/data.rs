//! Opens the rows of a service, for commands that work on them directly: in its data directory, or in the database that its
//! processes share. They close the store at their end, so that the file of a database is complete if no service runs.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use imgopen_service::data_dir::{self, Access};
use imgopen_service::{Settings, Store, open_database};

use crate::args::data::{Data, Rows};
use crate::failure::Failure;
use crate::settings;

/// From now on, files that this process makes can be read by its user only.
pub fn keep_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Opens the rows of a service, creating the data directory if needed.
pub async fn create(rows: &Rows) -> anyhow::Result<Arc<dyn Store>> {
    keep_private();
    let settings = settings::of_rows(rows)?;
    if !settings.is_in_fleet() {
        let directory = &settings.data_dir;
        data_dir::make_private(directory)
            .with_context(|| format!("the data directory {} cannot be created", directory.display()))?;
    }
    of(&settings, Access::Writing).await
}

/// Opens the rows of a service that has some. Commands that only read must not create a data directory, which would hide a typing
/// error.
pub async fn open(rows: &Rows, access: Access) -> anyhow::Result<Arc<dyn Store>> {
    let settings = settings::of_rows(rows)?;
    if !settings.is_in_fleet() {
        check(&settings.data_dir)?;
    }
    keep_private();
    of(&settings, access).await
}

fn check(directory: &Path) -> anyhow::Result<()> {
    let fix = "name the service's data directory with --data-dir, or its database with --database";
    anyhow::ensure!(data_dir::exists(directory), "{} is not a data directory; {fix}", directory.display());
    Ok(())
}

async fn of(settings: &Settings, access: Access) -> anyhow::Result<Arc<dyn Store>> {
    if settings.is_in_fleet() {
        return Ok(open_database(settings, access).await?);
    }
    Ok(data_dir::open_beside(&settings.data_dir, access)?)
}

/// Rejects a command that works on the files of an embedded database alone, for a service whose rows are elsewhere. `instead` says
/// what does it there.
pub fn refuse_shared(data: &Data, database: Option<&String>, instead: &str) -> anyhow::Result<()> {
    let settings = settings::of_rows(&Rows { data: data.clone(), database: database.cloned() })?;
    let Some(url) = settings.database.url else { return Ok(()) };
    let problem = format!("the rows of this service are in the database {url}, which this command does not know");
    Err(Failure::usage(format!("{problem}; {instead}; see \"Backups\" in docs/scale-out.md")).into())
}

/// Closes a store. A service that is running makes the database file complete when it stops.
pub async fn close(store: &dyn Store) {
    drop(store.close().await);
}
