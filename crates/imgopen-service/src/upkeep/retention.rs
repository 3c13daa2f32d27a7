//! Deletes what has expired: pictures, what engines keep of past tasks, and idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use super::sweep::{Writers, sweep};
use crate::assets::AssetError;
use crate::context::Context;

/// The pause between two passes.
const PAUSE: Duration = Duration::from_secs(60);

/// How many pictures are deleted in one transaction.
const BATCH: usize = 500;

/// How many of each a pass has deleted.
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
            Ok(Deleted { pictures, keys, orphans }) => info!(pictures, keys, orphans, "expired data deleted"),
            Err(error) => error!(%error, "expired data could not be deleted; trying again later"),
        }
        expire_in_engines(&context).await;
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
        // The next start deletes the rest.
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

/// Has every engine delete what it keeps of tasks whose results have expired.
async fn expire_in_engines(context: &Context) {
    let Some(lifetime) = context.settings.assets.lifetime else { return };
    for engine in context.engines.engines() {
        match engine.expire(lifetime).await {
            Ok(0) => {}
            Ok(deleted) => info!(engine = engine.name(), deleted, "expired data deleted"),
            Err(error) => {
                error!(engine = engine.name(), %error, "expired data could not be deleted; trying again later");
            }
        }
    }
}
