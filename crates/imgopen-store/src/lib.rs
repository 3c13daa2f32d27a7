#![doc = include_str!("../README.md")]

mod asset;
mod callback;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod doorbell;
mod error;
mod export;
mod ids;
mod key;
mod output;
mod owner;
mod slots;
mod sqlite;
mod state;
mod store;
mod task;

pub use asset::{AssetFile, AssetRow, NewAsset};
pub use callback::{
    ATTEMPTS, CallbackFilter, CallbackRow, CallbackState, ClaimCallbacks, Deferral, Delivery, DeliveryAttempt,
    InProgress, NewCallback, NextAttempt, Turn, UnderWay,
};
pub use clock::{Clock, Moment, Reading};
pub use doorbell::{Doorbell, Ring};
pub use error::StoreError;
pub use export::{
    Begun, Counts, Cursor, ExpiredFile, Exported, ExportedAnswer, ExportedAsset, ExportedAttempt, ExportedCallback,
    ExportedTask, Import, LastPlaces, MoveAbout, RowKind, Rows,
};
pub use ids::{
    AssetToken, CallbackId, ClaimId, KeyId, NoRandomness, OwnerId, RunId, TaskId, key_secret, number, signing_secret,
};
pub use key::{KeyRow, PreviousSecret};
pub use output::{StoredFile, StoredLabel, StoredPicture, TaskOutput};
pub use owner::{
    Attempts, Beat, Duty, Heartbeat, LiveProgress, OrphanedRun, OwnerAbout, OwnerRow, Proof, Recovered, Recovery,
    RunProgress, RunningTask,
};
pub use slots::Slots;
pub use sqlite::{Inspection, SqliteStore};
pub use state::{State, UnknownState};
pub use store::{Note, Store};
pub use task::{
    Asked, COUNTED, Claim, Deletable, End, Ending, Find, HandBack, Idempotency, KeyShare, Lane, NewTask, PAGE_BYTES,
    Page, Submitted, TaskFilter, TaskRow,
};
