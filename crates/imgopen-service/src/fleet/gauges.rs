//! Counts what the database has, for metrics.

use imgopen_store::{Note, OwnerRow, StoreError};

use super::counts::Numbers;
use crate::context::Context;

/// Returns what the database has: tasks, the bytes of their pictures, unknown files, processes. In a fleet the numbers are some seconds
/// old at most.
///
/// # Errors
///
/// When the database fails. In a fleet, only if it never answered.
pub async fn numbers(context: &Context) -> Result<Numbers, StoreError> {
    match &context.fleet {
        Some(fleet) => {
            let late = || {
                let path = context.settings.database.url.as_ref().map_or_else(String::new, ToString::to_string);
                StoreError::Unreachable { path, problem: "it does not answer".to_owned() }
            };
            fleet.counts.lately(context.clock.uptime(), count(context), late).await
        }
        None => {
            let (queued, running) = context.dispatch.counts();
            let (asset_bytes, unknown) = (context.store.asset_bytes().await?, unknown(context).await?);
            Ok(Numbers { queued, running, asset_bytes, unknown, processes: 1 })
        }
    }
}

async fn count(context: &Context) -> Result<Numbers, StoreError> {
    let (store, all) = (&context.store, u32::MAX as usize);
    let (queued, owners, asset_bytes) = tokio::try_join!(store.queue_length(all), store.owners(), store.asset_bytes())?;
    let lives = |owner: &&OwnerRow| owner.lease_left.is_none_or(|left| !left.is_zero());
    let (running, processes) = (owners.iter().map(|owner| owner.runs).sum(), owners.iter().filter(lives).count());
    Ok(Numbers { queued, running, asset_bytes, unknown: unknown(context).await?, processes })
}

async fn unknown(context: &Context) -> Result<i64, StoreError> {
    Ok(context.store.note(Note::Unknown).await?.unwrap_or(0))
}
