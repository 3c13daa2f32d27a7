#![doc = include_str!("../README.md")]

mod asset;
mod callback;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod ids;
mod key;
mod output;
mod owner;
mod sqlite;
mod state;
mod store;
mod task;

pub use asset::{AssetRow, NewAsset};
pub use callback::{
    ATTEMPTS, CallbackFilter, CallbackRow, CallbackState, Delivery, DeliveryAttempt, NewCallback, UnderWay,
};
pub use clock::{Clock, Moment};
pub use error::StoreError;
pub use ids::{AssetToken, CallbackId, KeyId, NoRandomness, OwnerId, RunId, TaskId, key_secret, signing_secret};
pub use key::KeyRow;
pub use output::{StoredPicture, TaskOutput};
pub use owner::{OrphanedRun, Proof, Recovered, Recovery};
pub use sqlite::SqliteStore;
pub use state::{State, UnknownState};
pub use store::Store;
pub use task::{
    Claim, End, Ending, Find, Idempotency, Lane, NewTask, PAGE_BYTES, Page, Submitted, TaskFilter, TaskRow,
};
