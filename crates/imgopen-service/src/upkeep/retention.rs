//! Deletes what has expired: pictures, what engines keep of past tasks, and idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use imgopen_store::StoreError;
use tracing::{error, info, warn};

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
    loop {
        let tokens = context.store.expired_assets(now, BATCH).await?;
        // The next start marks the rest.
        if tokens.is_empty() || context.stopping.is_cancelled() {
            break;
        }
        context.store.mark_assets_deleted(tokens, now).await?;
    }
    let pictures = delete_expired(context).await?;
    let keys = context.store.forget_idempotency_keys(now).await?;
    let orphans = sweep(context, Writers::Some).await?;
    Ok(Deleted { pictures, keys, orphans })
}

/// Deletes the files of expired pictures, also those that an earlier pass did not get to. One that cannot be deleted stays
/// listed and does not affect the others.
async fn delete_expired(context: &Context) -> Result<usize, StoreError> {
    let (mut deleted, mut kept, mut first) = (0, 0, None);
    let mut after = None;
    while !context.stopping.is_cancelled() {
        let tokens = context.store.expired_files(after, BATCH).await?;
        let Some(last) = tokens.last().cloned() else { break };
        after = Some(last);
        let (gone, error) = context.assets.delete_each(&tokens).await;
        deleted += gone.len();
        kept += tokens.len() - gone.len();
        first = first.or(error);
        context.store.forget_expired_files(gone).await?;
    }
    if let Some(error) = first {
        warn!(kept, %error, "expired pictures could not be deleted; trying again later");
    }
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
