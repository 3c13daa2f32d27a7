//! How to wait for a job, and where its results go.

use std::path::PathBuf;
use std::time::Duration;

/// The default of `--timeout` for trainings.
pub const TRAINING_TIMEOUT: &str = "24h";

/// The flags of an operation that starts a job.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Result")]
pub struct JobOptions {
    #[command(flatten)]
    pub waiting: Waiting,
    /// Print the ids and exit, as soon as the server has fetched all local pictures.
    #[arg(long)]
    pub no_wait: bool,
    /// The address of this machine at which the server fetches local pictures; detected by default.
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub serve_files: Option<String>,
}

/// The flags of a command that waits for a job.
#[derive(Debug, Clone, clap::Args)]
pub struct Waiting {
    /// Where to save the results: a directory, or a file that does not exist yet. A name without an extension, such as
    /// `results`, is a directory, which is created if needed; `-` writes a single result to standard output [default: the
    /// current directory].
    #[arg(long, short, value_name = "DIR|FILE")]
    pub output: Option<PathBuf>,
    /// How long to wait for the result, such as 90s or 1h; the task continues afterwards.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10m")]
    pub timeout: Duration,
    /// Print no progress and no notes.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Reads a duration such as `30s`, `10m` or `1h 30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let read = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    read.ok_or_else(|| "give a duration such as 30s, 10m or 1h".to_owned())
}
