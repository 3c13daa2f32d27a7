//! The heartbeats of this process, on a thread and a connection of their own: neither engines at work nor a busy pool delay them.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use imgopen_store::{Beat, Heartbeat, OwnerId, Store, StoreError};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::DropGuard;
use tracing::{error, info, warn};

use super::watching::WATCHED;
use super::{APART, Fleet};
use crate::context::Context;
use crate::database::{self, Use};
use crate::health::Problem;
use crate::live::{self, Reported};

/// The part of the service that heartbeats belong to.
const LEASE: &str = "lease";

/// The part that is counted if heartbeats end, which is a bug.
const PART: &str = "heartbeat";

/// The pause before they are started again then.
const AGAIN: Duration = Duration::from_millis(100);

/// What callers learn while no heartbeat succeeds.
const SILENT: &str = "the database does not take this process's signs of life";

/// The beating heart. It stops when this is dropped.
#[derive(Debug)]
#[must_use = "heartbeats end once this is dropped"]
pub struct Heart {
    _stop: DropGuard,
    ended: oneshot::Receiver<()>,
}

impl Heart {
    /// Waits until the last heartbeat is over and the process has resigned.
    pub async fn stop(self) {
        let Self { _stop: stop, ended } = self;
        drop(stop);
        // An error means that the thread has ended.
        let _ = ended.await;
    }
}

/// Starts the heartbeats of a process that is registered.
///
/// # Errors
///
/// When the system gives no thread.
pub fn start(context: &Arc<Context>, fleet: &Fleet) -> io::Result<Heart> {
    let (has_ended, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let context = context.clone();
    std::thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
        runtime.block_on(run(context));
        // Nobody waits for it if this fails.
        let _ = has_ended.send(());
    })?;
    Ok(Heart { _stop: fleet.stop.clone().drop_guard(), ended })
}

/// Sends heartbeats until they are stopped, whatever happens to one.
async fn run(context: Arc<Context>) {
    while AssertUnwindSafe(beat_until_stopped(&context)).catch_unwind().await.is_err() {
        context.metrics.restarted(PART);
        error!("heartbeats ended, which is a bug; they are started again");
        sleep(AGAIN).await;
    }
}

/// Sends heartbeats until they are stopped, then resigns.
async fn beat_until_stopped(context: &Context) {
    let Some(fleet) = &context.fleet else { return };
    let mut store = None;
    let mut ticks = interval(fleet.beat());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = fleet.stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            biased;
            () = fleet.stop.cancelled() => break,
            () = beat(context, fleet, &mut store) => {}
        }
    }
    let Some(store) = store else { return };
    match timeout(fleet.longest_beat(), store.resign(fleet.owner())).await {
        Ok(Ok(())) => info!("this process has resigned from its service"),
        Ok(Err(error)) => {
            warn!(%error, "this process could not resign; others take over what it runs when its lease ends")
        }
        Err(_) => warn!("this process could not resign in time; others take over what it runs when its lease ends"),
    }
}

/// Sends one heartbeat, on a connection that is made if there is none.
async fn beat(context: &Context, fleet: &Fleet, store: &mut Option<Arc<dyn Store>>) {
    let longest = fleet.longest_beat();
    let open = match store.clone() {
        Some(open) => open,
        None => {
            let opening = database::open(&context.settings.database, Use::Heartbeats(longest));
            // It makes the tables if they are gone, which takes as long as it takes.
            match timeout(2 * longest, opening).await {
                Ok(Ok(opened)) => store.insert(opened).clone(),
                Ok(Err(error)) => return failed(context, fleet, &error.to_string()),
                Err(_) => return failed(context, fleet, "the database does not answer"),
            }
        }
    };
    send(context, fleet, &*open).await;
}

/// Sends a heartbeat and does what its answer says.
pub(super) async fn send(context: &Context, fleet: &Fleet, store: &dyn Store) {
    let (sent, owner) = (context.clock.uptime(), fleet.owner());
    let (reported, offers) = (context.running.report(), fleet.take_offers());
    let runs = reported.iter().map(|reported| reported.progress.clone()).collect();
    let has_offers = offers.is_some();
    let heartbeat = Heartbeat { offers, ..Heartbeat::new(owner, fleet.lease(), runs) };
    match store.heartbeat(heartbeat).await {
        Ok(answer) if answer.alive => alive(context, fleet, &reported, sent, answer),
        Ok(_) => declared_dead(context, fleet, store).await,
        Err(error) => {
            fleet.lock().has_new_offers |= has_offers;
            failed(context, fleet, &error.to_string());
        }
    }
}

/// Notes a heartbeat that failed. Work goes on: whether it may still be this process's is seen when its end is written.
fn failed(context: &Context, fleet: &Fleet, problem: &str) {
    fleet.lock().pulse.failed();
    context.metrics.heartbeat_failed();
    let detail = format!("{problem}; no work begins until a heartbeat succeeds, and others take over after the lease");
    context.health.fault(LEASE, Problem { public: SILENT.to_owned(), detail });
}

/// Does what the answer to a heartbeat says.
fn alive(context: &Context, fleet: &Fleet, reported: &[Reported], sent: Duration, answer: Beat) {
    let uptime = context.clock.uptime();
    let way = uptime.saturating_sub(sent) / 2;
    context.clock.follow(answer.now.plus(way), APART);
    fleet.lock().pulse.succeeded(sent);
    context.health.well(LEASE);
    for run in live::lost(reported, &answer.runs) {
        context.running.cancel(&run);
    }
    context.running.watched(&answer.watched, uptime + WATCHED);
    if answer.strays > 0 {
        warn!(runs = answer.strays, "claims whose answers were lost went back to the queue");
        context.metrics.strayed(answer.strays);
        fleet.work.notify_one();
    }
    if answer.draining && !fleet.is_draining() {
        fleet.is_draining.store(true, Ordering::Relaxed);
        info!("an operator drains this process; it begins no further task");
    }
}

/// Stops all runs, which others may run again by now, and registers under a new id.
async fn declared_dead(context: &Context, fleet: &Fleet, store: &dyn Store) {
    fleet.lock().pulse.ended(context.clock.uptime());
    context.running.cancel_all();
    let lost = context.running.report().len();
    error!(
        runs = lost,
        "this process was declared dead, because its heartbeats were missing for longer than its lease; its runs end"
    );
    if let Err(problem) = register(fleet, store).await {
        failed(context, fleet, &problem);
        return;
    }
    info!("this process takes part again, under a new id");
}

/// Registers this process under a new id.
async fn register(fleet: &Fleet, store: &dyn Store) -> Result<(), String> {
    let owner = OwnerId::new().map_err(|error| error.to_string())?;
    let to_problem = |error: StoreError| error.to_string();
    store.register_owner(owner.clone(), Some(fleet.lease()), fleet.about()).await.map_err(to_problem)?;
    if fleet.is_draining() {
        store.drain(owner.clone()).await.map_err(to_problem)?;
    }
    // Heartbeats begin to count with the next one.
    let mut state = fleet.lock();
    state.owner = owner;
    state.has_new_offers = false;
    Ok(())
}
