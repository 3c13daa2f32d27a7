//! What processes announce to each other, so that they need not look for it all the time.

use futures_util::stream::BoxStream;

use crate::ids::{KeyId, RunId};

/// The announcements that a process hears. It ends when it is dropped.
pub type Doorbell = BoxStream<'static, Ring>;

/// An announcement. It may be lost or repeated, so a process that hears it looks into the database, and looks from time to time all
/// the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ring {
    /// A task of this operation was queued, or any if it is `None`.
    Work(Option<String>),
    /// A task of this key with these needs was queued.
    Task {
        /// The operation's id.
        operation: String,
        /// The access key.
        key: KeyId,
        /// What a process must be able to do.
        needs: String,
    },
    /// The task of this run was cancelled.
    Cancelled(RunId),
    /// A task has ended, or a callback was started again.
    Ended,
}
