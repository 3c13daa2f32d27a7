//! The API over HTTP, the only part of the service that serves it.

mod cors;
mod counting;
mod extras;
mod failures;
pub(crate) mod front;
mod hosts;
pub(crate) mod http;
mod open;
mod vendor;
mod waiting;

use std::sync::Arc;

use governor::clock::{Clock as _, DefaultClock};
use imgopen_server::{Credentials, Failure};
use imgopen_store::KeyId;

use crate::context::Context;
use waiting::Waiting;

/// Implements the traits of the contract.
pub(crate) struct Api {
    context: Arc<Context>,
    /// Calls that wait for the result of their task.
    waiting: Waiting,
}

impl Api {
    /// Checks a key, and counts the call against its limit.
    async fn admit(&self, credentials: &Credentials) -> Result<(), Failure> {
        failures::check_database(&self.context)?;
        let id = KeyId(credentials.access_key_id().to_owned());
        let is_open =
            self.context.settings.open && id.as_str() == KeyId::OPEN && credentials.expose_secret().is_empty();
        if !is_open && !self.context.keys.admits(credentials).await.map_err(failures::of_store)? {
            let msg = "the access key is wrong or revoked; make one with `imgopen keys create`";
            return Err(Failure::unauthorized(msg));
        }
        self.count(&id)
    }

    fn count(&self, key: &KeyId) -> Result<(), Failure> {
        let Some(limiter) = &self.context.limiter else { return Ok(()) };
        limiter.check_key(key).map_err(|again| {
            let wait = again.wait_time_from(DefaultClock::default().now());
            let most = self.context.settings.requests.per_minute.map_or(0, u32::from);
            Failure::too_many_requests(
                format!("the key `{key}` may make {most} calls a minute; wait and try again"),
                wait,
            )
        })
    }
}
