#![doc = include_str!("../README.md")]

mod answers;
mod api;
mod app;
mod assets;
mod callbacks;
mod context;
pub mod data_dir;
mod dispatch;
mod durations;
mod keys;
mod live;
mod metrics;
mod settings;
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
    AssetSettings, CallbackSettings, ConnectionSettings, InvalidSetting, Limit, LogForm, PictureSettings,
    QueueSettings, RequestSettings, Settings, TimeLimits,
};
pub use tasks::submit::{IDEMPOTENCY_KEY, SANDBOX};
