//! How far a job is, on the terminal.

use std::time::Duration;

use imgopen_types::{JobReport, JobState};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Job;

/// A bar on standard error; nothing where that is no terminal.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    name: String,
}

impl Bar {
    /// Begins it.
    pub fn new(job: &Job, quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(100), target);
        let style = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {percent:>3}% {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(100));
        let this = Self { bar, name: job.operation.id.to_owned() };
        this.bar.set_message(this.name.clone());
        this
    }

    /// Shows what a query tells.
    pub fn show(&self, report: &(dyn JobReport + Send)) {
        let state = match report.state() {
            JobState::Queued => "waits",
            JobState::Running => "runs",
            JobState::Succeeded => "done",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
            JobState::Unknown(_) => "in an unknown state",
        };
        self.say(state);
        if let Some(percent) = report.progress() {
            self.bar.set_position(percent.clamp(0.0, 100.0) as u64);
        }
    }

    /// Says what goes on.
    pub fn say(&self, what: &str) {
        self.bar.set_message(format!("{} {what}", self.name));
    }

    /// Takes it away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
