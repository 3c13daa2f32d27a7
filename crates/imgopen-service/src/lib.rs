#![doc = include_str!("../README.md")]

mod absences;
mod answers;
mod api;
mod app;
mod assets;
pub mod backups;
mod callbacks;
mod context;
pub mod data_dir;
mod database;
mod disk;
mod dispatch;
pub mod doctor;
pub mod durations;
mod fault_time;
mod fleet;
mod health;
mod home;
mod jumps;
mod keys;
mod live;
mod loras;
mod memory;
mod metrics;
mod moved;
pub mod moves;
pub mod plurals;
mod results;
mod settings;
mod shared;
mod stop_times;
mod tasks;
mod upkeep;
mod urls;

pub use app::{ServeError, Service, StartError};
pub use assets::AssetError;
pub use imgopen_engine as engine;
pub use imgopen_store as store;
pub use imgopen_store::{
    CallbackFilter, CallbackId, CallbackRow, CallbackState, Clock, KeyId, KeyRow, Moment, State, Store, StoreError,
    TaskId,
};
pub use keys::{KeyError, Keys, NewKey};
pub use settings::{
    AssetSettings, CallbackSettings, ConnectionSettings, DatabaseSettings, DatabaseUrl, DiskSettings, FaultSettings,
    InvalidSetting, KeySafety, Limit, LogForm, NetSettings, PictureSettings, QueueSettings, RequestSettings,
    RevokedCallbacks, Role, SafetyAction, SafetySettings, Secret, Serving, Settings, StorageSettings, TaskSettings,
    TimeLimits, TrainingSettings, network,
};
pub use shared::open_database;
pub use tasks::submit::{IDEMPOTENCY_KEY, SANDBOX};
