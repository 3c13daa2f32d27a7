//! The log of the service, on standard error.
//!
//! A thread of its own writes it. If nobody reads it any more, or the disk that it goes to is full, lines are lost, but
//! nothing waits for them.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic;

use imgopen_service::LogForm;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Starts the log. Lines are written until the guard is dropped, which waits a second at most for the last of them.
#[must_use = "the log ends when the guard is dropped"]
pub fn start(form: LogForm) -> WorkerGuard {
    let writer = NonBlockingBuilder::default().lossy(true).thread_name("imgopen-log");
    let (writer, guard) = writer.finish(io::stderr());
    let chosen = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|filter| !filter.is_empty());
    let filter = chosen.and_then(|filter| filter.parse().ok()).unwrap_or_else(|| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match form {
        LogForm::Human => log.with_ansi(io::stderr().is_terminal()).init(),
        LogForm::Json => log.json().init(),
    }
    // The standard library's own hook waits until its message is written.
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        match backtrace.status() {
            BacktraceStatus::Captured => tracing::error!(%backtrace, "{panic}"),
            _ => tracing::error!("{panic}"),
        }
    }));
    guard
}
