//! `imgopen move`.

use std::time::Duration;

use imgopen_service::moves::{MoveOptions, MoveProgress, MoveTarget, Moved, move_data};
use imgopen_service::plurals::counted;
use imgopen_service::{Clock, Settings};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};

use super::data;
use crate::args::moves::Move;
use crate::args::serve::Serve;
use crate::failure::Failure;
use crate::output::{note, print, print_json};
use crate::settings;

/// Runs the command.
pub fn run(args: Move, as_json: bool) -> anyhow::Result<()> {
    let Move { from, database, storage, dry_run, incomplete, set, config } = args;
    let flags = Serve { data_dir: Some(from.clone()), database, storage, set, config, ..Serve::default() };
    let settings = settings::load(&flags)?.service;
    if !settings.is_in_fleet() {
        let fix = "give the address of an empty one, such as postgres://imgopen@db.example.com/imgopen";
        return Err(Failure::usage(format!("--database: no database to move into is named; {fix}")).into());
    }
    data::keep_private();
    let bar = bar(as_json);
    let report = |progress: MoveProgress| {
        bar.set_length(progress.of);
        bar.set_position(progress.done);
        bar.set_message(progress.what);
    };
    let options = MoveOptions { incomplete, is_trial: dry_run };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let target = MoveTarget::open(&settings, dry_run).await?;
        let to = target.address.clone();
        let moved = move_data(&from, target, options, &Clock::system(), &report).await?;
        anyhow::Ok((moved, to))
    });
    bar.finish_and_clear();
    let (moved, to) = outcome?;
    if as_json {
        return print_json(&json_of(&moved, &from.display().to_string(), &to, dry_run));
    }
    show(&moved, &settings, &to, dry_run)
}

/// A bar on standard error; invisible unless that is a terminal.
fn bar(quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let style = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {pos}/{len} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn show(moved: &Moved, settings: &Settings, to: &str, dry_run: bool) -> anyhow::Result<()> {
    if !moved.missing.is_empty() {
        let missing = counted(moved.missing.len() as u64, "picture");
        note(&format!("{missing} of the database are not there; --json lists them"));
    }
    let rows = moved.rows.iter().filter(|(_, count)| *count > 0).map(|(kind, count)| format!("  {count:>12}  {kind}"));
    let rows: String = rows.map(|line| line + "\n").collect();
    let pictures = format!("{} of {}", counted(moved.pictures, "picture"), counted(moved.picture_bytes, "byte"));
    let place = match (&moved.bucket, dry_run) {
        (Some(bucket), true) => format!("{pictures} would be copied to {bucket}"),
        (Some(bucket), false) => format!("{pictures} are in {bucket}"),
        (None, _) => format!("{pictures} stay in {}, for processes on this machine", settings.data_dir.display()),
    };
    let (from, verb) = (settings.data_dir.display(), if dry_run { "can be" } else { "is" });
    let next = if dry_run {
        "Nothing was changed.".to_owned()
    } else {
        format!("No service starts in {from} any more. Start processes with `imgopen serve --database`.")
    };
    print(&format!("{from} {verb} moved to {to}:\n{rows}{place}. {next}"))
}

fn json_of(moved: &Moved, from: &str, to: &str, dry_run: bool) -> Value {
    let rows: Map<String, Value> =
        moved.rows.iter().map(|(kind, count)| (kind.as_str().replace(' ', "_"), json!(count))).collect();
    json!({
        "from": from,
        "to": to,
        "bucket": moved.bucket,
        "dry_run": dry_run,
        "resumed": moved.is_resumed,
        "rows": rows,
        "pictures": moved.pictures,
        "picture_bytes": moved.picture_bytes,
        "missing": moved.missing,
    })
}
