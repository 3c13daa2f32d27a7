//! Examines a data directory and its machine: what is wrong, and what to do about it. Changes nothing, but for files that it
//! writes and deletes to try the disks.

mod bucket;
mod finding;
mod machine;
mod rows;
mod shared;

pub use finding::{Finding, PictureCounts, Pictures, Report};
pub use shared::examine_shared;

use imgopen_store::{Clock, Inspection};

use crate::assets::Examined;
use crate::data_dir::{self, RESTORING};
use crate::settings::Settings;

/// Examines the data directory of a service, the machine, the settings, and the bucket if they name one. A service may be
/// running. Blocks, and must not be called in an asynchronous task; reads the whole database and lists all pictures.
pub fn examine(settings: &Settings, clock: &Clock) -> Report {
    let mut report = Report::default();
    report.add("settings", machine::settings(settings));
    report.add("limits", machine::limits());
    let directory = &settings.data_dir;
    if !data_dir::exists(directory) {
        let problem = format!("{} does not hold a database", directory.display());
        let fix = "name the service's data directory with --data-dir; if it was there before, restore it with `imgopen restore`";
        report.add("data directory", vec![Finding::new(problem, fix)]);
        return report;
    }
    report.add("data directory", machine::permissions(directory));
    report.add("disk", machine::disk(directory, settings.disk.reserve));
    if directory.join(RESTORING).exists() {
        let problem = "a restore was interrupted";
        let fix = format!(
            "repeat it with `imgopen restore --replace`; what was there before is in a directory `{}…`; or delete `{RESTORING}`",
            data_dir::BEFORE_RESTORE
        );
        report.add("restore", vec![Finding::new(problem, fix)]);
    }
    let rows = match Inspection::open(directory) {
        Ok(rows) => rows,
        Err(error) => {
            report.add("database", vec![Finding::of(&error)]);
            return report;
        }
    };
    report.add("database", rows::database(&rows, directory));
    report.add("clock", rows::clock(&rows, clock.now()));
    let compared = match Examined::open(&settings.storage) {
        Ok(None) => rows::pictures(&rows, directory, clock.now()),
        Ok(Some(bucket)) => {
            let findings = bucket::reached(&rows, &bucket);
            let is_reached = findings.is_empty();
            report.add("bucket", findings);
            if !is_reached {
                return report;
            }
            bucket::pictures(&rows, &bucket, clock.now())
        }
        Err(error) => Err(Finding::split(&error.to_string(), "correct the setting")),
    };
    report.compared(compared);
    report
}
