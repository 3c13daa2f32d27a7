//! Backups of a data directory: made while a service runs, checked, and restored.
//!
//! A backup is a directory: the database as it was at one moment, the pictures that it refers to, the data sets of trainings,
//! and [`Manifest`] in `backup.json`. It gets its name when it is complete. Models and files that the service did not make
//! are not in it.

mod files;
mod make;
mod manifest;
mod restore;

pub use make::{BackupOptions, backup};
pub use manifest::{BackupError, Manifest};
pub use restore::{RestoreOptions, Restored, restore};
