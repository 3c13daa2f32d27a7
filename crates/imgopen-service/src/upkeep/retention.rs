//! Deleting what has expired: pictures, data sets of trainings, and idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use super::sweep::{Writers, sweep};
use crate::assets::AssetError;
use crate::context::Context;
use crate::training;

/// The pause between two passes.
const PAUSE: Duration = Duration::from_secs(60);

/// How many pictures are deleted in one transaction.
const BATCH: usize = 500;

/// What a pass has deleted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Deleted {
    pictures: usize,
    keys: usize,
    orphans: usize,
}

/// Deletes until the service stops.
pub async fn run(context: Arc<Context>) {
    loop {
        match pass(&context).await {
            Ok(deleted) if deleted == Deleted::default() => {}
            Ok(Deleted { pictures, keys, orphans }) => info!(pictures, keys, orphans, "deleted what had expired"),
            Err(error) => error!(%error, "what has expired could not be deleted; trying again later"),
        }
        expire_data_sets(&context).await;
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = context.stopping.cancelled() => return,
        }
    }
}

async fn pass(context: &Context) -> Result<Deleted, AssetError> {
    let now = context.clock.now();
    let mut deleted = Deleted::default();
    loop {
        let tokens = context.store.expired_assets(now, BATCH).await?;
        // The next start goes on with the rest.
        if tokens.is_empty() || context.stopping.is_cancelled() {
            break;
        }
        deleted.pictures += tokens.len();
        context.store.mark_assets_deleted(tokens.clone(), now).await?;
        context.assets.delete(&tokens).await?;
    }
    deleted.keys = context.store.forget_idempotency_keys(now).await?;
    deleted.orphans = sweep(context, Writers::Some).await?;
    Ok(deleted)
}

/// Data sets are kept as long as results, and forever if something was trained with them.
async fn expire_data_sets(context: &Context) {
    let Some(lifetime) = context.settings.assets.lifetime else { return };
    let data_dir = context.settings.data_dir.clone();
    match tokio::task::spawn_blocking(move || training::expire(&data_dir, lifetime)).await {
        Ok(Ok(0)) | Err(_) => {}
        Ok(Ok(data_sets)) => info!(data_sets, "deleted what had expired"),
        Ok(Err(error)) => error!(%error, "old data sets could not be deleted; trying again later"),
    }
}
