//! Access keys as rows.

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
    /// When it was made.
    pub created_at: Moment,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Moment>,
}
