//! `imgopen backup`.

use imgopen_service::Clock;
use imgopen_service::backups::{BackupOptions, backup};
use imgopen_service::plurals::{counted, have};
use serde_json::json;

use super::data;
use crate::args::backup::Backup;
use crate::args::data::Data;
use crate::args::serve::Serve;
use crate::output::{note, print, print_json};
use crate::settings;

/// What copies a database of PostgreSQL.
const INSTEAD: &str = "copy it with `pg_dump --format=custom`, or with `pg_basebackup` and continuous archiving, which can return to \
                       any moment; have the bucket of the pictures keep earlier versions";

/// Runs the command.
pub fn run(args: &Backup, as_json: bool) -> anyhow::Result<()> {
    data::refuse_shared(&args.data, args.database.as_ref(), INSTEAD)?;
    data::keep_private();
    let Data { data_dir, config } = args.data.clone();
    let flags = Serve { data_dir, config, storage: args.storage.clone(), ..Serve::default() };
    let settings = settings::load(&flags)?.service;
    let options = BackupOptions { link: args.link, incomplete: args.incomplete, bucket: settings.storage.shown()? };
    let made = backup(&settings.data_dir, &args.target, options, &Clock::system())?;
    if as_json {
        return print_json(&json!({ "backup": args.target.display().to_string(), "manifest": made }));
    }
    let (path, missing) = (args.target.display(), made.missing.len());
    if missing > 0 {
        let (pictures, have) = (counted(missing as u64, "picture"), have(missing as u64));
        note(&format!("{pictures} of the database {have} no file; `imgopen doctor --json` lists them"));
    }
    if let Some(bucket) = &made.bucket {
        let data_sets = counted(made.data_sets, "data set");
        note(&format!(
            "the pictures stay in {bucket} and are not in it; have the bucket keep earlier versions for a while"
        ));
        return print(&format!("{path} is complete: the database, {data_sets}"));
    }
    let (pictures, data_sets) = (counted(made.pictures, "picture"), counted(made.data_sets, "data set"));
    let bytes = counted(made.picture_bytes, "byte");
    let word = if missing > 0 { "incomplete" } else { "complete" };
    print(&format!("{path} is {word}: the database, {pictures} of {bytes}, {data_sets}"))
}
