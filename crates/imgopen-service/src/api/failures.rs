//! Turns errors into answers. Errors of the server itself are logged here, because callers do not see them.

use std::time::Duration;

use imgopen_server::Failure;
use imgopen_store::StoreError;
use tracing::{error, warn};

use crate::context::Context;
use crate::tasks::submit::Rejected;

/// What callers see of an error of the server.
const FAILED: &str = "the server failed on this request; see its log";

/// When a caller is to try again what the server could not do for a reason that may pass.
const AGAIN: Duration = Duration::from_secs(5);

/// Answers what is not possible now, in words for callers.
pub fn not_now(problem: &str) -> Failure {
    Failure::unavailable(format!("{problem}; try again later")).retry_after(AGAIN)
}

/// Rejects a call while the database that several processes share is away, so that no caller waits for it.
pub fn check_database(context: &Context) -> Result<(), Failure> {
    match &context.fleet {
        Some(fleet) if fleet.is_database_away() => Err(not_now("the database cannot be reached")),
        _ => Ok(()),
    }
}

/// Answers an error of the store.
pub fn of_store(error: StoreError) -> Failure {
    match error {
        StoreError::Closed { .. } => not_now("the database is closed; the service is stopping"),
        error if error.may_pass() => {
            warn!(%error, "a request was rejected because of the database");
            not_now(error.summary())
        }
        error => {
            error!(%error, "the database failed on a request");
            Failure::internal("the server's database failed on this request; see the server's log")
        }
    }
}

/// Answers when a request or an answer breaks the contract although it was already checked against it or built from it,
/// which is a bug.
pub fn of_answer(error: &serde_json::Error) -> Failure {
    error!(%error, "an answer does not fit the contract");
    Failure::internal(FAILED)
}

/// Answers the panic of a spawned part of a call.
pub fn of_panic(what: &str, error: &tokio::task::JoinError) -> Failure {
    error!(what, %error, "a call panicked");
    Failure::internal(FAILED)
}

impl From<Rejected> for Failure {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Header(msg) => Failure::bad_request(msg),
            Rejected::Request(msg) => Failure::unprocessable(msg),
            Rejected::Conflict(msg) => Failure::conflict(msg),
            Rejected::Full(msg, wait) => Failure::too_many_requests(msg, wait),
            Rejected::Unavailable(msg) => Failure::unavailable(msg),
            Rejected::Away(msg, wait) => Failure::unavailable(msg).retry_after(wait),
            Rejected::NotNow(problem) => not_now(&problem),
            Rejected::Failed(msg) => Failure::internal(msg),
            Rejected::Store(error) => of_store(error),
            Rejected::Broken => Failure::internal(FAILED),
        }
    }
}
