//! Callbacks: the messages that report the end of tasks to the addresses in their requests.

mod attempt;
mod in_progress;
pub(crate) mod push;
mod receipt;
mod sign;

use imgopen_fetch::Url;
use imgopen_store::{CallbackId, NewCallback, TaskRow};
use tracing::error;

use crate::answers::{operation, pushed};
use crate::urls::Urls;

/// Returns the callback that reports how a task ended, if its request names an address.
pub(crate) fn reporting(task: &TaskRow, urls: &Urls) -> Option<NewCallback> {
    let url = task.callback_url.as_deref()?;
    let body = pushed(operation(task)?, task, urls)?.to_string();
    let origin = Url::parse(url).ok()?.origin().ascii_serialization();
    let id = CallbackId::new().inspect_err(|error| error!(task = %task.id, %error, "no callback")).ok()?;
    Some(NewCallback { id, url: url.to_owned(), origin, body })
}
