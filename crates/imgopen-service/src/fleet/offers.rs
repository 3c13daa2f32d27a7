//! Publishes what this process offers, and reads what the others offer, so that each accepts what any can run.

use std::sync::Arc;
use std::time::Duration;

use imgopen_engine::{Registry, RemoteOffers};
use imgopen_store::{OwnerId, OwnerRow, StoreError};
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{error, warn};

use super::jitter;
use crate::context::Context;
use crate::settings::Role;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// The shortest pause between two looks at what this process offers.
const SELDOM: Duration = Duration::from_secs(4);

/// The pause while no other process is known that runs tasks, or one has not said yet what it offers.
const SOON: Duration = Duration::from_millis(500);

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

/// Reads what other processes offer. Returns whether there are any that run tasks, and all of them have said it.
///
/// # Errors
///
/// When the database fails.
pub async fn read(context: &Context) -> Result<bool, StoreError> {
    let owners = context.store.owners().await?;
    let others = others(owners, &context.owner());
    let known: Vec<_> = others.iter().filter_map(offers).collect();
    let is_complete = !others.is_empty() && known.len() == others.len();
    context.engines.set_others(&known);
    Ok(is_complete)
}

/// Returns the other processes that begin runs.
fn others(mut owners: Vec<OwnerRow>, me: &OwnerId) -> Vec<OwnerRow> {
    owners.retain(|owner| {
        let lives = owner.lease_left.is_none_or(|left| !left.is_zero());
        owner.id != *me && lives && !owner.draining && owner.about.role != Role::Api.as_str()
    });
    owners
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
    use imgopen_store::{Moment, OwnerAbout};
    use serde_json::json;

    use super::*;

    fn owner(id: &str, role: &str, lease_left: Option<u64>, draining: bool) -> OwnerRow {
        let about = OwnerAbout { role: role.to_owned(), started_at: Moment(1), ..OwnerAbout::default() };
        let lease_left = lease_left.map(Duration::from_secs);
        OwnerRow { id: OwnerId(id.to_owned()), about, lease_left, draining, runs: 0 }
    }

    #[test]
    fn only_processes_that_begin_runs_count() {
        let owners = vec![
            owner("me", "all", Some(9), false),
            owner("worker", "worker", Some(9), false),
            owner("unleased", "all", None, false),
            owner("api", "api", Some(9), false),
            owner("dead", "worker", Some(0), false),
            owner("draining", "worker", Some(9), true),
        ];
        let found = others(owners, &OwnerId("me".to_owned()));
        assert_eq!(found.iter().map(|owner| owner.id.as_str()).collect::<Vec<_>>(), ["worker", "unleased"]);
    }

    #[test]
    fn offers_that_cannot_be_read_are_none() {
        let mut found = owner("worker", "worker", None, false);
        for (value, is_read) in [(Value::Null, false), (json!([1]), false), (json!({}), true)] {
            found.about.offers = value;
            assert_eq!(offers(&found).is_some(), is_read);
        }
    }
}
