//! Opens the data directory of a service, for commands that work on it directly.

use std::sync::Arc;

use anyhow::Context;
use imgopen_service::{Store, data_dir};

use crate::args::data::Data;
use crate::settings;

/// Opens the data directory, creating it if needed.
pub fn create(data: &Data) -> anyhow::Result<Arc<dyn Store>> {
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
    Ok(data_dir::open_store(&directory)?)
}
