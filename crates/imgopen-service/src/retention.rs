//! Deleting what has come to its end: pictures, data sets of trainings, and the memory of repeated submits.

use std::time::Duration;

use tracing::{error, info};

use crate::assets::AssetError;
use crate::service::Service;
use crate::training;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(60);

/// How many pictures are deleted at a time.
const BATCH: usize = 500;

/// Deletes until the service stops.
pub(crate) async fn keep(service: Service) {
    loop {
        match service.clean().await {
            Ok((0, 0)) => {}
            Ok((pictures, keys)) => info!(pictures, keys, "deleted what had come to its end"),
            Err(error) => error!(%error, "what has come to its end could not be deleted; trying again later"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = service.inner.stopping.cancelled() => return,
        }
    }
}

impl Service {
    /// Deletes what has come to its end; tells how many pictures and idempotency keys that were.
    pub(crate) async fn clean(&self) -> Result<(usize, usize), AssetError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let mut pictures = 0;
        loop {
            let tokens = inner.store.expired_assets(now, BATCH).await?;
            // The next start goes on with the rest.
            if tokens.is_empty() || inner.stopping.is_cancelled() {
                break;
            }
            pictures += tokens.len();
            inner.store.assets_deleted(tokens.clone(), now).await?;
            inner.assets.delete(&tokens).await?;
        }
        self.expire_data_sets().await;
        Ok((pictures, inner.store.forget(now).await?))
    }

    /// Data sets are kept as long as results, and for ever if something was trained with them.
    async fn expire_data_sets(&self) {
        let Some(lifetime) = self.inner.settings.assets.lifetime else { return };
        let folder = self.inner.settings.data_dir.clone();
        let removed = tokio::task::spawn_blocking(move || training::expire(&folder, lifetime)).await;
        match removed {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(data_sets)) => info!(data_sets, "deleted what had come to its end"),
            Ok(Err(error)) => error!(%error, "old data sets could not be deleted; trying again later"),
        }
    }
}
