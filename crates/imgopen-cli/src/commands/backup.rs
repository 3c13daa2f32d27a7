//! `imgopen backup`.

use imgopen_service::Clock;
use imgopen_service::backups::{BackupOptions, backup};
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
        return print_json(&json!({ "backup": args.target, "manifest": made }));
    }
    let (path, missing) = (args.target.display(), made.missing.len());
    if missing > 0 {
        note(&format!("{missing} pictures of the database have no file; `imgopen doctor --json` lists them"));
    }
    let (pictures, bytes, data_sets) = (made.pictures, made.picture_bytes, made.data_sets);
    let word = if missing > 0 { "incomplete" } else { "complete" };
    print(&format!("{path} is {word}: the database, {pictures} pictures of {bytes} bytes, {data_sets} data sets"))
}
