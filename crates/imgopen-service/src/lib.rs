#![doc = include_str!("../README.md")]

mod answers;
mod api;
mod assets;
mod callbacks;
mod clock;
mod extras;
mod friendly;
mod http;
mod ids;
mod inputs;
mod keys;
mod live;
mod metrics;
mod output;
mod queue;
mod retention;
mod run;
mod service;
mod settings;
mod signing;
mod state;
mod store;
mod submit;
mod training;
mod worker;

pub use assets::AssetError;
pub use clock::{Clock, Moment};
pub use ids::{AssetToken, CallbackId, KeyId, NoRandomness, TaskId};
pub use imgopen_engine as engine;
pub use keys::{KeyError, Keys, NewKey};
pub use output::{StoredPicture, TaskOutput};
pub use run::ServeError;
pub use service::{Service, StartError};
pub use settings::{
    Assets, Callbacks, InvalidSetting, Limit, LogForm, Pictures, Queue, Requests, Settings, TimeLimits,
};
pub use state::{State, UnknownState};
pub use store::{CallbackRow, CallbackState, KeyRow, Page, Store, StoreError, TaskRow, Try};
pub use submit::{IDEMPOTENCY_KEY, SANDBOX};
pub use training::TrainingPlan;
