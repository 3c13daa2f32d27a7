//! `imgopen backup`.

use imgopen_service::Clock;
use imgopen_service::backups::{BackupOptions, backup};
use imgopen_service::plurals::{counted, have};
use serde_json::json;

use super::data;
use crate::args::backup::Backup;
use crate::output::{note, print, print_json};
use crate::settings;

/// Runs the command.
pub fn run(args: &Backup, as_json: bool) -> anyhow::Result<()> {
    data::keep_private();
    let directory = settings::data_dir(&args.data)?;
    let made = backup(
        &directory,
        &args.target,
        BackupOptions { link: args.link, incomplete: args.incomplete },
        &Clock::system(),
    )?;
    if as_json {
        return print_json(&json!({ "backup": args.target.display().to_string(), "manifest": made }));
    }
    let (path, missing) = (args.target.display(), made.missing.len());
    if missing > 0 {
        let (pictures, have) = (counted(missing as u64, "picture"), have(missing as u64));
        note(&format!("{pictures} of the database {have} no file; `imgopen doctor --json` lists them"));
    }
    let (pictures, data_sets) = (counted(made.pictures, "picture"), counted(made.data_sets, "data set"));
    let bytes = counted(made.picture_bytes, "byte");
    let word = if missing > 0 { "incomplete" } else { "complete" };
    print(&format!("{path} is {word}: the database, {pictures} of {bytes}, {data_sets}"))
}
