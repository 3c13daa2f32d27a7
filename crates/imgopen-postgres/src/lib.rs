#![doc = include_str!("../README.md")]

mod assets;
mod callbacks;
mod connect;
mod doorbell;
mod due;
mod gathering;
mod import;
mod keys;
mod lifetimes;
mod notes;
mod open;
mod orphans;
mod owners;
mod problem;
mod recovery;
mod statement;
mod store;
mod submit;
mod tasks;
mod values;
mod waiting;

pub use connect::PostgresOptions;
pub use store::PostgresStore;
pub use store::moving::PostgresImport;
