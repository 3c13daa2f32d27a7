//! The progress bar of a job.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use imgopen_client::Error;
use imgopen_types::{JobReport, JobState};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::note;

/// A bar on standard error; invisible unless that is a terminal.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    name: String,
    quiet: bool,
    /// Whether the last query failed.
    in_trouble: AtomicBool,
}

impl Bar {
    /// Shows a bar, labelled with the name of an operation.
    pub fn new(name: &str, quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(100), target);
        let style = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {percent:>3}% {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar.set_message(name.to_owned());
        Self { bar, name: name.to_owned(), quiet, in_trouble: AtomicBool::new(false) }
    }

    /// Shows the state and percentage of a report.
    pub fn show(&self, report: &(dyn JobReport + Send)) {
        self.in_trouble.store(false, Ordering::Relaxed);
        let state = match report.state() {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Succeeded => "succeeded",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
            JobState::Unknown(_) => "in an unknown state",
        };
        self.say(state);
        if let Some(percent) = report.progress() {
            self.bar.set_position(percent.clamp(0.0, 100.0) as u64);
        }
    }

    /// Prints why the state is not known, once until it is known again.
    pub fn trouble(&self, error: &Error) {
        self.say("in a state that is not known now");
        if !self.quiet && !self.in_trouble.swap(true, Ordering::Relaxed) {
            self.bar.suspend(|| note(&format!("a query failed, and is repeated until the timeout: {error}")));
        }
    }

    /// Shows what the command is doing.
    pub fn say(&self, what: &str) {
        self.bar.set_message(format!("{} {what}", self.name));
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
