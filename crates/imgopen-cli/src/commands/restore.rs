//! `imgopen restore`.

use std::path::PathBuf;

use imgopen_service::Clock;
use imgopen_service::backups::{RestoreOptions, restore};
use imgopen_service::plurals::counted;
use serde_json::json;

use super::data;
use crate::args::backup::Restore;
use crate::output::{note, print, print_json};
use crate::settings;

/// What puts a database of PostgreSQL back.
const INSTEAD: &str = "stop all its processes, and put a copy back with `pg_restore --clean --if-exists`, or have the server return to \
                       a moment from its archive; then restore the pictures that are missing from earlier versions of the bucket";

/// Runs the command.
pub fn run(args: &Restore, as_json: bool) -> anyhow::Result<()> {
    data::refuse_shared(&args.data, args.database.as_ref(), INSTEAD)?;
    data::keep_private();
    let directory = settings::data_dir(&args.data)?;
    let options = RestoreOptions { replace: args.replace, incomplete: args.incomplete };
    let restored = restore(&args.backup, &directory, options, &Clock::system())?;
    let (manifest, missing) = (&restored.manifest, restored.missing);
    if as_json {
        let shown = |path: &PathBuf| path.display().to_string();
        let (data_dir, kept) = (shown(&directory), restored.kept.as_ref().map(shown));
        return print_json(&json!({ "data_dir": data_dir, "kept": kept, "missing": missing, "manifest": manifest }));
    }
    if missing > 0 {
        let missing = counted(missing as u64, "picture");
        note(&format!("the backup lacked {missing}; `imgopen doctor --json` lists them"));
    }
    if let Some(bucket) = &manifest.bucket {
        note(&format!(
            "the pictures are not in the backup, but in {bucket}; start the service with the same `storage.url`"
        ));
    }
    if let Some(kept) = &restored.kept {
        note(&format!("what was there before is in {}; delete it once it is not needed", kept.display()));
    }
    let (path, made_at) = (directory.display(), &manifest.made_at);
    print(&format!(
        "{path} is as it was at {made_at}. When the service starts, tasks that had not ended then run again, and callbacks \
         that were pending are pushed again"
    ))
}
