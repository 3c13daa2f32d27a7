//! Opens the data directory of a service, for commands that work on it directly.

use imgopen_service::Store;

use crate::args::data::Data;
use crate::settings;

/// Opens the data directory, creating it if needed.
pub fn create(data: &Data) -> anyhow::Result<Store> {
    Ok(Store::create(&settings::data_dir(data)?)?)
}

/// Opens an existing data directory. Commands that only read must not create one, which would hide a typing error.
pub fn open(data: &Data) -> anyhow::Result<Store> {
    let directory = settings::data_dir(data)?;
    let exists = Store::exists(&directory);
    let fix = "name the service's data directory with --data-dir";
    anyhow::ensure!(exists, "{} is not a data directory; {fix}", directory.display());
    Ok(Store::open(&directory)?)
}
