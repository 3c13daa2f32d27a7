//! A database of PostgreSQL in place of that in the data directory, for tests that know of neither.

use std::sync::Arc;
use std::time::Duration;

use imgopen_service::{DatabaseUrl, Settings};
use tokio::sync::OnceCell;

use crate::server::{Fresh, empty};

/// The store that the tests run on: `sqlite`, unless it is `postgres`.
const STORE: &str = "IMGOPEN_TEST_STORE";

/// The database of a service and of those that are started from it again.
#[derive(Clone, Default)]
pub struct Instead(Arc<OnceCell<Fresh>>);

impl Instead {
    /// Names the database in settings that name none, if the tests are run on PostgreSQL.
    pub async fn settings(&self, mut settings: Settings) -> Settings {
        if settings.database.url.is_some() || std::env::var_os(STORE).is_none_or(|store| store != "postgres") {
            return settings;
        }
        let made = async || empty().await.unwrap_or_else(|| panic!("{STORE} is `postgres`, but there is no server"));
        settings.database.url = Some(DatabaseUrl::new(self.0.get_or_init(made).await.url()));
        settings.database.connections = 4;
        // Tests start services again at once.
        settings.database.lease = Duration::from_secs(2);
        settings
    }
}
