//! The suite that every store must pass.
//!
//! ```
//! use std::sync::Arc;
//!
//! use imgopen_store::conformance::{Database, async_trait};
//! use imgopen_store::{SqliteStore, Store};
//!
//! struct Directory(tempfile::TempDir);
//!
//! #[async_trait]
//! impl Database for Directory {
//!     async fn open(&self) -> Arc<dyn Store> {
//!         Arc::new(SqliteStore::open(self.0.path()).unwrap())
//!     }
//! }
//!
//! // `None` where there is no such database; the tests are then skipped.
//! async fn empty() -> Option<Directory> {
//!     Some(Directory(tempfile::tempdir().unwrap()))
//! }
//!
//! // A test for each case.
//! imgopen_store::conformance!(super::empty);
//! ```
#![allow(missing_docs, clippy::unwrap_used)]

pub mod cases;
pub mod deliveries;
pub mod files;
pub mod lifetimes;
pub mod model;
pub mod owners;
pub mod pages;

use std::sync::Arc;
use std::time::Duration;

pub use async_trait::async_trait;

use crate::{
    Asked, Beat, CallbackFilter, CallbackId, CallbackRow, Claim, End, Ending, HandBack, Heartbeat, Idempotency, KeyId,
    Moment, NewAsset, NewCallback, NewTask, OwnerAbout, OwnerId, Proof, Recovered, Recovery, RunId, RunProgress, State,
    Store, TaskId, TaskRow,
};

/// An empty database for each test.
#[async_trait]
pub trait Database: Send + Sync {
    /// Opens the database, as a process does at its start. Several may have it open at once.
    async fn open(&self) -> Arc<dyn Store>;
}

/// Runs a test on a new runtime.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.unwrap().block_on(test);
}

/// Makes a module with a test for each case. Takes the path of an async function, as seen from that module, which makes an
/// empty [`Database`](crate::conformance::Database), or returns `None` to skip the test.
#[macro_export]
macro_rules! conformance {
    ($empty:path) => {
        $crate::conformance! {
            $empty:
            concurrent_writes_are_all_stored
            the_oldest_task_of_the_lane_is_claimed
            concurrent_claims_take_different_tasks
            a_stale_run_changes_nothing
            a_stale_hand_back_does_not_take_the_task_from_the_next_run
            an_end_is_written_whole_or_not_at_all
            a_task_ends_once_with_what_belongs_to_its_end
            a_task_is_cancelled_until_it_has_ended
            a_run_that_is_handed_back_does_not_count
            the_sole_owner_takes_over_at_once
            a_task_with_all_its_attempts_is_returned_until_it_ends
            only_a_task_that_ran_alone_has_used_its_attempts
            an_operation_may_have_attempts_of_its_own
            a_run_that_met_a_fault_queues_behind_the_others
            a_claim_may_name_its_task
            a_claim_that_was_carried_out_is_found_by_its_run
            a_lease_protects_runs_until_it_ends
            only_a_registered_owner_claims
            a_lease_that_lasts_longer_than_the_callers_health_is_not_judged
            several_recoveries_share_the_runs
            owners_are_listed_until_they_resign
            what_runs_is_listed_by_owner
            a_heartbeat_returns_the_runs_that_are_still_the_owners
            a_run_whose_claim_was_not_answered_is_given_back
            progress_is_that_of_the_current_run
            what_waits_is_listed_in_parts
            the_queue_is_counted_up_to_a_number
            an_owner_that_drains_claims_nothing
            tasks_that_have_ended_are_found
            runs_are_orphaned_until_they_are_forgotten
            orphaned_runs_of_one_moment_are_listed_in_parts
            assets_with_a_file_are_listed_in_parts
            an_idempotency_key_holds_until_it_expires
            one_of_many_concurrent_repetitions_is_new
            an_id_that_is_taken_is_not_taken_again
            a_unique_id_is_unique_among_its_operation_and_key
            a_name_is_reserved_until_its_task_has_ended
            a_name_that_was_made_is_taken_where_that_matters
            options_and_plan_are_returned
            queued_tasks_are_counted_by_lane
            tasks_are_found_by_either_id
            tasks_are_listed_in_pages
            assets_live_until_they_are_deleted
            several_processes_share_what_has_expired
            a_file_is_deleted_for_lack_of_a_row_only_with_proof
            a_duty_is_one_owners_while_it_lives
            bytes_of_assets_are_counted_by_key
            expired_files_are_listed_until_they_are_forgotten
            files_are_accounted_for_by_assets_deletions_and_runs
            the_last_place_is_that_of_the_newest_task
            a_closed_store_keeps_what_was_acknowledged_and_takes_nothing
            keys_are_kept_until_they_are_revoked
            a_signing_secret_is_replaced_with_an_overlap
            ended_tasks_are_deleted_with_what_belongs_to_them
            a_task_is_kept_as_long_as_something_needs_it
            notes_are_overwritten
            a_note_is_replaced_by_one_of_those_who_read_it
            callbacks_are_due_at_their_time
            callbacks_under_way_are_not_due
            a_key_takes_as_many_slots_as_it_leaves_free
            first_attempts_precede_repeated_ones
            keys_and_their_origins_take_turns
            an_attempt_that_was_put_off_does_not_count
            a_clock_that_was_put_back_does_not_prolong_a_pause
            a_redelivery_survives_the_attempt_in_progress
            a_claimed_callback_is_no_others_while_the_claim_holds
            an_owner_that_resigns_gives_up_its_claims
            a_claim_that_ended_is_not_taken_again_beside_its_attempt
            processes_share_what_a_host_is_pushed_at_once
            a_redelivery_during_a_claimed_attempt_ends_the_claim
            concurrent_claims_take_different_callbacks
            callbacks_are_listed_in_pages
            a_page_of_tasks_is_bounded_in_bytes
            a_page_of_callbacks_is_bounded_in_bytes
        }
    };
    ($empty:path: $($case:ident)+) => {
        #[cfg(test)]
        mod conformance {
            $(
                #[test]
                fn $case() {
                    $crate::conformance::run(async {
                        if let Some(database) = $empty().await {
                            $crate::conformance::cases::$case(&database).await;
                        }
                    });
                }
            )+

            #[test]
            fn a_task_ends_once_in_any_sequence_of_events() {
                $crate::conformance::model::a_task_ends_once_in_any_sequence_of_events(|| async { $empty().await });
            }

            #[test]
            fn callbacks_take_turns_in_any_situation() {
                $crate::conformance::deliveries::callbacks_take_turns_in_any_situation(|| async { $empty().await });
            }

            #[test]
            fn claimed_callbacks_take_turns_in_any_situation() {
                $crate::conformance::deliveries::claimed_callbacks_take_turns_in_any_situation(|| async { $empty().await });
            }
        }
    };
}

const NOW: Moment = Moment(1_769_904_000_000);

const NEEDS: &str = "enlarge_image";

/// Longer than a test.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Every lease is judged.
const LEASES: Proof = Proof::Lease { healthy_for: HOUR };

fn later(ms: i64) -> Moment {
    Moment(NOW.0 + ms)
}

fn key(name: &str) -> KeyId {
    KeyId(name.to_owned())
}

fn owner(name: &str) -> OwnerId {
    OwnerId(name.to_owned())
}

fn id(name: &str) -> TaskId {
    TaskId(name.to_owned())
}

fn task(key_name: &str, name: &str) -> NewTask {
    let (caller_id, callback_url) = (format!("caller-{name}"), Some("http://127.0.0.1:9/done".to_owned()));
    NewTask { caller_id, callback_url, ..NewTask::new(id(name), key(key_name), NEEDS, "{}", NOW) }
}

fn training(name: &str, caller_id: &str, request: &str) -> NewTask {
    let (caller_id, request) = (caller_id.to_owned(), request.to_owned());
    NewTask { operation: "submit_training", caller_id, request, unique_id: true, ..task("a", name) }
}

fn with_key(name: &str, idempotency_key: &str, now: Moment, expires_at: Moment) -> NewTask {
    let idempotency = Some(Idempotency { key: idempotency_key.to_owned(), expires_at });
    NewTask { idempotency, created_at: now, ..task("a", name) }
}

fn picture(token: &str) -> NewAsset {
    NewAsset {
        token: crate::AssetToken(token.to_owned()),
        media_type: "image/png",
        bytes: 7,
        expires_at: None,
        name: None,
    }
}

fn callback(task: &TaskRow) -> Option<NewCallback> {
    let url = task.callback_url.clone()?;
    let id = CallbackId(format!("msg-{}", task.id));
    Some(NewCallback { id, url, origin: "http://127.0.0.1:9".to_owned(), body: "{}".to_owned() })
}

/// Opens the database as the owner `me`.
async fn open(database: &impl Database) -> Arc<dyn Store> {
    let store = database.open().await;
    register(&*store, "me", None).await;
    store
}

async fn register(store: &dyn Store, owner_name: &str, lease: Option<Duration>) {
    store.register_owner(owner(owner_name), lease, OwnerAbout::default()).await.unwrap();
}

/// A sign of life of an owner that knows of these runs.
async fn beat(store: &dyn Store, owner_name: &str, lease: Duration, runs: &[&TaskRow]) -> Beat {
    let runs = runs.iter().map(|run| RunProgress::new(run.run.clone().unwrap())).collect();
    store.heartbeat(Heartbeat::new(owner(owner_name), lease, runs)).await.unwrap()
}

async fn try_claim(store: &dyn Store, owner_name: &str, key_name: &str) -> Option<TaskRow> {
    let (run, needs) = (RunId::new().unwrap(), NEEDS.to_owned());
    let claim = Claim { key: key(key_name), needs, run, owner: owner(owner_name), now: NOW, only: None };
    store.claim(claim).await.unwrap()
}

fn asked(needs: &str, after: Option<&str>, most: usize) -> Asked {
    Asked { needs: needs.to_owned(), after: after.map(key), most }
}

async fn claim(store: &dyn Store, key_name: &str) -> TaskRow {
    try_claim(store, "me", key_name).await.expect("a task is queued")
}

fn back(run: &TaskRow, is_fault: bool) -> HandBack {
    let (task, run, deferred_for) = (run.id.clone(), run.run.clone().unwrap(), Duration::ZERO);
    HandBack { task, run, is_fault, deferred_for, now: NOW }
}

fn end(run: &TaskRow, ending: Ending, assets: Vec<NewAsset>) -> End {
    let task = run.clone().ended(ending, Some(("lanczos".to_owned(), "classical".to_owned())), NOW);
    End { before: State::Running, callback: callback(&task), task, assets, orphans_run: false }
}

fn failed(run: &TaskRow) -> End {
    end(run, Ending::Failed("no".to_owned()), Vec::new())
}

fn succeeded(run: &TaskRow, token: &str) -> End {
    end(run, Ending::Succeeded(crate::TaskOutput::default()), vec![picture(token)])
}

fn cancelled(seen: &TaskRow) -> End {
    let orphans_run = seen.state == State::Running;
    End { before: seen.state, orphans_run, ..end(seen, Ending::Cancelled, Vec::new()) }
}

async fn row(store: &dyn Store, name: &str) -> TaskRow {
    store.task(id(name)).await.unwrap().expect("the task exists")
}

async fn callbacks_of(store: &dyn Store, name: &str) -> Vec<CallbackRow> {
    let filter = CallbackFilter { task: Some(id(name)), ..CallbackFilter::default() };
    store.list_callbacks(filter, None, 10).await.unwrap().rows
}

async fn recover(store: &dyn Store, me: &str, proof: Proof) -> Recovered {
    store.recover(Recovery { me: owner(me), proof, attempts: 3.into(), now: NOW }).await.unwrap()
}

fn names(rows: &[TaskRow]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}
