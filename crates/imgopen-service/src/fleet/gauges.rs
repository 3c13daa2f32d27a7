//! Counts what the database has, for metrics.

use imgopen_store::StoreError;

use super::counts::Numbers;
use crate::context::Context;

/// Returns the numbers of queued and running tasks and the bytes of their pictures. In a fleet they are some seconds old at most.
///
/// # Errors
///
/// When the database fails. In a fleet, only if it never answered.
pub async fn numbers(context: &Context) -> Result<Numbers, StoreError> {
    match &context.fleet {
        Some(fleet) => fleet.counts.lately(context.clock.uptime(), count(context)).await,
        None => {
            let (queued, running) = context.dispatch.counts();
            Ok(Numbers { queued, running, asset_bytes: context.store.asset_bytes().await? })
        }
    }
}

async fn count(context: &Context) -> Result<Numbers, StoreError> {
    let (store, all) = (&context.store, u32::MAX as usize);
    let (queued, owners, asset_bytes) = tokio::try_join!(store.queue_length(all), store.owners(), store.asset_bytes())?;
    Ok(Numbers { queued, running: owners.iter().map(|owner| owner.runs).sum(), asset_bytes })
}
