//! `imgopen doctor`.

use imgopen_service::Clock;
use imgopen_service::doctor::{Report, examine, examine_shared};
use serde_json::{Value, json};

use super::packs;
use crate::args::doctor::Doctor;
use crate::failure::{Exit, Failure};
use crate::output::{print, print_json};
use crate::settings;

/// Runs the command.
pub fn run(args: &Doctor, as_json: bool) -> anyhow::Result<()> {
    let settings = settings::read(&args.serve)?;
    let clock = Clock::system();
    let mut report =
        if settings.is_in_fleet() { examine_shared(&settings, &clock) } else { examine(&settings, &clock) };
    report.checks.extend(packs::examined(&settings).into_iter().chain(packs::examined_own(&settings)?));
    report.checks.extend(packs::audits(&settings));
    if as_json {
        print_json(&json!({
            "data_dir": settings.data_dir.display().to_string(),
            "findings": findings(&report),
            "checks": report.checks.iter().map(|(check, _)| *check).collect::<Vec<_>>(),
            "pictures": report.pictures,
        }))?;
    } else {
        print(&text(&report))?;
    }
    match report.count() {
        0 => Ok(()),
        count => {
            let what = if count == 1 { "1 thing is wrong".to_owned() } else { format!("{count} things are wrong") };
            Err(Failure::new(Exit::Failed, what).printed().into())
        }
    }
}

fn findings(report: &Report) -> Value {
    let all = report.checks.iter().flat_map(|(check, findings)| findings.iter().map(move |finding| (check, finding)));
    all.map(|(check, finding)| json!({ "check": check, "problem": finding.problem, "fix": finding.fix })).collect()
}

/// A line for each check, and for each finding what is wrong and what to do.
fn text(report: &Report) -> String {
    let mut lines = Vec::new();
    for (check, findings) in &report.checks {
        if findings.is_empty() {
            lines.push(format!("{check:<16} ok"));
        }
        for finding in findings {
            lines.push(format!("{check:<16} {}\n{:<16} fix: {}", finding.problem, "", finding.fix));
        }
    }
    lines.join("\n")
}
