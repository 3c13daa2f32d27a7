//! A database of PostgreSQL in place of that in the data directory, for tests that know of neither.

use std::sync::Arc;
use std::time::Duration;

use imgopen_service::{DatabaseUrl, Settings};
use tokio::sync::OnceCell;

use super::{STORE, is_on_postgres};
use crate::server::{Fresh, empty};

/// The database of a service and of those that are started from it again.
#[derive(Clone, Default)]
pub struct Instead(Arc<OnceCell<Fresh>>);

impl Instead {
    /// Returns the database, if the tests are run on PostgreSQL.
    pub async fn database(&self) -> Option<&Fresh> {
        if !is_on_postgres() {
            return None;
        }
        let made = async || empty().await.unwrap_or_else(|| panic!("{STORE} is `postgres`, but there is no server"));
        Some(self.0.get_or_init(made).await)
    }

    /// Names the database in settings that name none.
    pub async fn settings(&self, mut settings: Settings) -> Settings {
        if settings.database.url.is_some() {
            return settings;
        }
        let Some(database) = self.database().await else { return settings };
        settings.database.url = Some(DatabaseUrl::new(database.url()));
        settings.database.connections = 4;
        // Tests start services again at once.
        settings.database.lease = Duration::from_secs(2);
        settings
    }
}
