//! Access keys as rows.

use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::ids::KeyId;

/// An access key. Its secret is kept only as a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The id that callers send.
    pub id: KeyId,
    /// The operator's name for it.
    pub name: String,
    /// SHA-256 of its secret, 32 bytes.
    pub secret_hash: Vec<u8>,
    /// What the callbacks of its tasks are signed with, such as `whsec_…`.
    pub signing_secret: String,
    /// The secrets that it replaced. Callbacks are signed with these too until each expires.
    pub previous_secrets: Vec<PreviousSecret>,
    /// When it was made.
    pub created_at: Moment,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Moment>,
}

/// A signing secret that was replaced and is still in use, so that receivers can change over without rejecting a callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// The secret, such as `whsec_…`.
    pub secret: String,
    /// When it is no longer signed with.
    pub until: Moment,
}

impl KeyRow {
    /// Returns the secrets that callbacks are signed with at a moment, the current one first.
    pub fn signing_secrets(&self, now: Moment) -> Vec<&str> {
        let previous = self.previous_secrets.iter().filter(|previous| previous.until > now);
        std::iter::once(self.signing_secret.as_str()).chain(previous.map(|previous| previous.secret.as_str())).collect()
    }
}
