//! Several processes on one PostgreSQL database and one bucket: real processes of the binary, each with a proxy before both, and
//! everything that can go wrong between them.
//!
//! The tests are skipped unless `IMGOPEN_TEST_POSTGRES` is set; `.ci/fleet` sets it. They start servers of their own, because they
//! stop them. Each guards a rule, and fails if the rule is switched off as the table says. Paths are below `crates/`, where `…` is
//! `imgopen-postgres/src`.
//!
//! | test | rule | to see it fail |
//! |---|---|---|
//! | `a_worker_that_slept_past_its_lease…` | the end of a run is fenced by the run's id | `run IS NOT DISTINCT FROM $3` in `END` of `…/tasks.rs`: remove it |
//! | `what_a_killed_worker_ran_is_run_again…` | runs of owners without a lease go back to the queue | `REMOVE_EXPIRED` in `…/recovery.rs`: remove none |
//! | `a_task_during_which_every_worker_dies…` | a task that ends its process alone is not tried for ever | `crashes_alone + lost.alone` in `REQUEUE` of `…/recovery.rs`: add nothing |
//! | `a_worker_that_is_stopped_in_order…` | a stop hands runs back and gives the lease up | `RESIGN` in `…/owners.rs`: delete none |
//! | `a_worker_that_is_drained…` | a draining process claims nothing | `NOT draining` in `CLAIM` of `…/tasks.rs`, and `Fleet::is_draining` |
//! | `submits_that_are_repeated_at_another_process…`, `one_idempotency_key…` | an Idempotency-Key is unique in the database | the primary key of `idempotency` in `…/layout_1.sql` |
//! | `one_training_at_two_processes…` | the caller's id of a training is unique in the database | the index `tasks_unique` in `…/layout_1.sql` |
//! | `a_running_task_is_watched_and_cancelled…` | heartbeats carry progress up, and bring cancels | `send` in `imgopen-service/src/fleet/heart.rs`: report no progress; `alive`: cancel nothing |
//! | `keys_are_served_in_turn…` | keys take turns, whatever process takes them | `Dispatch::next` in `imgopen-service/src/dispatch.rs`: always the first key |
//! | `a_short_crash…`, `a_crash_of_the_database_of_two_leases…` | a process recovers others only after a lease of its own health | `healthy_for` in `imgopen-service/src/fleet/recovering.rs`: an hour |
//! | `while_the_database_is_silent…` | every call of the store ends in time | `call_timeout` in `…/connect.rs`: an hour |
//! | `what_is_committed_without_an_answer…` | ids are chosen before, and looked for when a call is repeated | `may_be_done` in `…/store.rs`: never |
//! | `a_worker_whose_answers_are_lost…`, `…does_not_reach…`, `…is_refused…` | an owner that was declared dead stops its runs and registers by a new id | `declared_dead` in `imgopen-service/src/fleet/heart.rs`: do nothing |
//! | `connections_that_the_server_ends…` | a call whose connection has ended is repeated | `TRIES` in `…/store.rs`: 1 |
//! | `a_task_waits_for_a_bucket…` | the row of a result is written after its pictures | `write` in `imgopen-service/src/tasks/run.rs`: go on when `assets.put` fails |
//! | `a_worker_with_a_wrong_secret…` | a fault of the machine costs no attempt | `attempt = attempt - 1` in `HAND_BACK` of `…/tasks.rs`: remove it |
//! | `processes_that_announce_nothing…`, `a_process_that_no_longer_hears…` | announcements only save time | look for work only when the bell rings |
//! | `an_idle_slot_begins…` | a task is announced with its key, and begins without a look | `TASKS` in `…/doorbell.rs`: 0 |
//! | `two_processes_push…` | an attempt to push is claimed | `claim` and `claimed_until` in `…/due.rs` |
//! | `a_push_of_a_process_that_is_killed…` | a claim of an attempt ends, and its callback keeps its id | `claimed_until` without an end |
//! | `callbacks_to_a_dead_receiver…` | origins take turns | push by `next_at` alone in `…/due.rs` |
//! | `clocks_that_differ…` | leases are judged by the database's clock | `now_ms()` in `…/owners.rs`: the process's clock |
//! | `a_run_is_handed_back_once…`, `a_cancel_is_answered_as_what_it_did…` | a call that is repeated answers what the lost try did | `WAS_HANDED_BACK` and `IS_OWN_END` in `…/tasks.rs`: never |
//! | `a_server_that_is_made_read_only…` | one that only reads is as good as away, for connections that are open, too | `25006` in `kind` of `…/problem.rs`: remove it |
//! | `a_failover_to_a_standby…` | processes use a server that accepts writes | `target_session_attrs` in `…/connect.rs`: remove it |
//! | `a_full_disk_of_the_database…` | what a full disk refuses is not done, and may be repeated | `Full` in `may_pass` of `imgopen-store/src/error.rs`: remove it |
//! | `a_password_that_was_replaced…` | a password is read for each connection | `with_password` in `…/connect.rs`: keep the URL's |
//! | `a_layout_is_upgraded…` | a layout says which layouts' programs may use it | `is_usable` in `…/open.rs`: always, or only what is known |
//! | `the_units_start…`, `the_compose_file_starts…` | the example in `docs/scale-out` starts a service | another name of a setting, a variable, a flag or a secret there |
//! | `a_host_that_is_cut_off…` | as for a worker that does not reach the database, with a real network | |
//! | `whatever_goes_wrong_with_a_fleet…` | all of them | each of the above, at some seed |
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod callers;
mod clocks;
#[path = "../common/mod.rs"]
mod common;
mod database;
mod doorbell;
mod examples;
mod failover;
mod messages;
mod namespaces;
mod nemesis;
mod operators;
mod processes;
mod proxy;
mod receivers;
/// A bucket in this process, which the tests of the service use, too.
#[path = "../../../imgopen-service/tests/common/s3.rs"]
mod s3;
mod storage;
mod upgrade;
mod workers;
