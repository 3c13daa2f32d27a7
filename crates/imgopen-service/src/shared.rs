//! The database that the processes of a service share, as commands open it.

use std::sync::Arc;

use imgopen_store::Store;

use crate::app::StartError;
use crate::data_dir::Access;
use crate::database::{self, Use};
use crate::settings::Settings;

/// Opens the database that the settings name, for a command that works on its rows. Any number of processes may use it. A command
/// that only reads leaves the tables as they are.
///
/// # Errors
///
/// When the settings name none, or it cannot be used.
pub async fn open_database(settings: &Settings, access: Access) -> Result<Arc<dyn Store>, StartError> {
    let used = match access {
        Access::Reading => Use::Looking,
        Access::Writing => Use::Everything,
    };
    Ok(database::open(&settings.database, used).await?)
}
