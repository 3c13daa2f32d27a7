//! Publishes what this process offers, and reads what the others offer, so that each accepts what any can run.

use std::sync::Arc;
use std::time::Duration;

use imgopen_engine::{Registry, RemoteOffers};
use imgopen_store::{OwnerRow, StoreError};
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{error, warn};

use super::agreement::Difference;
use super::jitter;
use super::known::begins_runs;
use crate::context::Context;
use crate::settings::Role;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// The shortest pause between two looks at what this process offers.
const SELDOM: Duration = Duration::from_secs(4);

/// The pause while no other process is known that runs tasks, or one has not said yet what it offers.
const SOON: Duration = Duration::from_millis(500);

/// What the log says of a setting.
const DIFFER: &str = "another process has another value of a setting of which all must have the same; correct it and restart that \
                      process; while `tasks.lifetime` differs, no ended tasks are deleted";

/// Publishes and reads offers until the service stops.
pub async fn run(context: Arc<Context>) {
    let Some(fleet) = &context.fleet else { return context.stopping.cancelled().await };
    let (mut is_well, mut published): (bool, Option<Instant>) = (true, None);
    loop {
        // Reading the models directory takes longer than reading what others offer.
        if published.is_none_or(|at| at.elapsed() >= SELDOM) {
            fleet.set_offers(own(&context.engines).await);
            published = Some(Instant::now());
        }
        let outcome = read(&context).await;
        if let Err(error) = &outcome
            && is_well
        {
            warn!(%error, "what other processes offer cannot be read; what was read last goes on");
        }
        is_well = outcome.is_ok();
        let pause = if outcome.unwrap_or(true) { PAUSE } else { SOON };
        tokio::select! {
            () = tokio::time::sleep(jitter(pause * 4 / 5, pause)) => {}
            () = context.stopping.cancelled() => return,
        }
    }
}

/// Returns what this process offers. If its lists panic, nothing.
pub async fn own(engines: &Registry) -> Value {
    let engines = engines.clone();
    let offers = spawn_blocking(move || serde_json::to_value(engines.own_offers())).await;
    match offers {
        Ok(Ok(offers)) => return offers,
        Ok(Err(error)) => error!(%error, "the offers of this process cannot be written, which is a bug"),
        Err(error) => error!(%error, "the list of the offers of this process panicked, which is a bug"),
    }
    Value::Null
}

/// Publishes at once what has just changed here.
pub async fn publish(context: &Context) {
    if let Some(fleet) = &context.fleet {
        fleet.set_offers(own(&context.engines).await);
    }
}

/// Reads what other processes offer, and compares their settings. Returns whether there are any that begin runs, and all of them have
/// said what they offer.
///
/// # Errors
///
/// When the database fails.
pub async fn read(context: &Context) -> Result<bool, StoreError> {
    let Some(fleet) = &context.fleet else { return Ok(true) };
    let (mut others, me) = (context.store.owners().await?, fleet.owner());
    others.retain(|owner| owner.id != me);
    for Difference { setting, here, there, host } in fleet.compare(&others) {
        warn!(setting, here, there, host, "{DIFFER}");
    }
    others.retain(|owner| owner.about.role != Role::Api.as_str());
    let expected = others.iter().filter(|owner| begins_runs(owner)).count();
    let there: Vec<_> = others.into_iter().filter_map(|owner| offers(&owner).map(|offers| (owner, offers))).collect();
    let is_complete = expected > 0 && there.iter().filter(|(owner, _)| begins_runs(owner)).count() == expected;
    let offered = fleet.known.update(there, context.clock.uptime(), context.settings.faults.away);
    context.engines.set_others(&offered);
    Ok(is_complete)
}

fn offers(owner: &OwnerRow) -> Option<RemoteOffers> {
    let offers = owner.about.offers.clone();
    if offers.is_null() {
        return None;
    }
    match serde_json::from_value(offers) {
        Ok(offers) => Some(offers),
        Err(error) => {
            warn!(owner = owner.id.as_str(), host = owner.about.host, %error, "the offers of a process cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use imgopen_store::{OwnerAbout, OwnerId};
    use serde_json::json;

    use super::*;

    #[test]
    fn offers_that_cannot_be_read_are_none() {
        let (id, about) = (OwnerId("worker".to_owned()), OwnerAbout::default());
        let mut found = OwnerRow { id, about, lease_left: None, draining: false, runs: 0 };
        for (value, is_read) in [(Value::Null, false), (json!([1]), false), (json!({}), true)] {
            found.about.offers = value;
            assert_eq!(offers(&found).is_some(), is_read);
        }
    }
}
