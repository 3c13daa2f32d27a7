//! `imgopen backends`.

mod child;

use std::sync::Arc;

use futures_util::future::join_all;
use imgopen_backends::{Backend, BackendSettings, ControlMaps, DiscoverError, Report};
use imgopen_engine::Library;
use imgopen_tools::Preprocessors;
use serde_json::{Value, json};

use crate::args::backends::Backends;
use crate::backends;
use crate::failure::{Exit, Failure};
use crate::output::{print, print_json};
use crate::settings::{self, Loaded};

/// How many models are listed for people.
const SHOWN: usize = 10;

/// What was found out about a back end.
#[derive(Debug)]
struct Checked {
    /// Its name, or its address if it has none.
    name: String,
    /// Its address, or the path of its program.
    place: String,
    /// What it says of itself, unless nothing that is known answers.
    report: Option<Report>,
    /// What the program says of its version, if it is started on demand.
    version: Option<String>,
    /// What is wrong, with how to fix it.
    problems: Vec<String>,
}

/// Runs the command.
pub fn run(command: Backends, as_json: bool) -> anyhow::Result<()> {
    let Backends::Check { serve } = command;
    let Loaded { service, backends } = settings::load(&serve)?;
    if backends.list.is_empty() {
        let fix = "name one with `--backend URL`, or in the settings file as `[[backends]]`";
        return Err(Failure::usage(format!("the settings name no back end; {fix}")).into());
    }
    // Without the cache of hashes, which is in the data directory.
    let library = Library::open(service.models_dir(), None);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let checked = runtime.block_on(async {
        // Nothing is made by them here.
        let control_maps = ControlMaps::new(Arc::new(Preprocessors::new()));
        let opened = backends::open(&backends.list, library.clone(), control_maps).await?;
        let checks = backends.list.iter().zip(opened).map(|(settings, opened)| check(settings, opened, &library));
        anyhow::Ok(join_all(checks).await)
    });
    runtime.shutdown_background();
    let checked = checked?;
    let bad = checked.iter().filter(|backend| !backend.is_usable()).count();
    if as_json {
        print_json(&json!({ "backends": checked.iter().map(Checked::json).collect::<Value>() }))?;
    } else {
        print(&checked.iter().map(Checked::text).collect::<Vec<_>>().join("\n\n"))?;
    }
    match bad {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Failed, "1 back end cannot be used").printed().into()),
        count => Err(Failure::new(Exit::Failed, format!("{count} back ends cannot be used")).printed().into()),
    }
}

async fn check(settings: &BackendSettings, opened: Result<Backend, DiscoverError>, library: &Library) -> Checked {
    let place = settings.place();
    let (report, mut problems) = match opened {
        Ok(backend) => (Some(backend.report()), Vec::new()),
        Err(error) => (None, vec![error.to_string()]),
    };
    let name = report.as_ref().map(|report| report.name.clone()).or_else(|| settings.name.clone());
    let mut version = None;
    if let Some(program) = &settings.program {
        problems.extend(child::missing_files(&settings.models, library.folder()));
        match child::version(program).await {
            Ok(said) => version = Some(said),
            Err(problem) => problems.push(problem),
        }
    }
    Checked { name: name.unwrap_or_else(|| place.clone()), place, report, version, problems }
}

impl Checked {
    /// Whether it answers, or could be started, and serves an operation.
    fn is_usable(&self) -> bool {
        let serves = |report: &Report| report.operations.iter().any(|operation| operation.missing.is_none());
        self.problems.is_empty() && self.report.as_ref().is_some_and(|report| report.away.is_none() && serves(report))
    }

    fn version(&self) -> Option<&String> {
        self.version.as_ref().or(self.report.as_ref().and_then(|report| report.version.as_ref()))
    }

    fn json(&self) -> Value {
        let report = self.report.as_ref();
        json!({
            "name": self.name,
            "place": self.place,
            "kind": report.map(|report| report.kind),
            "program": report.map(|report| report.program),
            "version": self.version(),
            "usable": self.is_usable(),
            "away": report.and_then(|report| report.away.as_ref()),
            "problems": self.problems,
            "models": report.map(|report| &report.models[..]).unwrap_or_default(),
            "operations": report.map(|report| &report.operations[..]).unwrap_or_default(),
        })
    }

    /// A line with the name, and one for each thing that is known or wrong.
    fn text(&self) -> String {
        let mut lines = Vec::new();
        match self.name == self.place {
            true => lines.push(self.place.clone()),
            false => lines.push(format!("{} at {}", self.name, self.place)),
        }
        lines.extend(self.problems.iter().map(|problem| format!("  {problem}")));
        let Some(report) = &self.report else { return lines.join("\n") };
        if let Some(away) = &report.away {
            lines.push(format!("  {away}"));
        }
        let version = self.version().map(|version| format!(" {version}")).unwrap_or_default();
        match report.away.is_some() && report.models.is_empty() {
            true => lines.push(format!("  {}{version}", report.program)),
            false => lines.push(format!("  {}{version}, {}", report.program, models(&report.models))),
        }
        lines.extend(report.operations.iter().map(|of| format!("  {:<20} {}", of.operation, of.summary())));
        lines.join("\n")
    }
}

/// Names the models, the first few of many.
fn models(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match (names.len(), names.len().saturating_sub(SHOWN)) {
        (0, _) => "no models".to_owned(),
        (1, _) => format!("1 model: {shown}"),
        (count, 0) => format!("{count} models: {shown}"),
        (count, more) => format!("{count} models: {shown} and {more} more"),
    }
}
