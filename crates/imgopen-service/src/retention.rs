//! Deleting what has come to its end: pictures, and the memory of repeated submits.

use std::time::Duration;

use tracing::{error, info};

use crate::assets::AssetError;
use crate::service::Service;

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
            if tokens.is_empty() {
                break;
            }
            pictures += tokens.len();
            inner.store.assets_deleted(tokens.clone(), now).await?;
            inner.assets.delete(&tokens).await?;
        }
        Ok((pictures, inner.store.forget(now).await?))
    }
}
