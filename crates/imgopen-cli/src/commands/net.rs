//! `imgopen net`, by which the service runs each net of the operator's own in a process of its own: nobody has proven the file, and
//! one that takes all memory, or brings its runtime down, is to end nothing else.
//!
//! The process serves its standard input, and ends with it. It takes no more memory than what comes with the net allows, and is the
//! first that the system ends where memory is short. Signals by which a service is stopped do not reach it, or are ignored: the
//! service, which lets runs end, ends it.

use std::io;
use std::process;

use imgopen_neural::{Provider, RuntimeSettings, serve};
use imgopen_service::NetSettings;

use crate::args::net::Net;
use crate::settings;

/// Serves a net.
pub fn run(args: Net) -> anyhow::Result<()> {
    ignore_stops()?;
    let Net { threads, library, providers } = args;
    let settings = NetSettings { threads: Some(threads.get()), library, providers, ..NetSettings::default() };
    let settings = settings::runtime(&settings)?;
    let is_limited = takes_memory_alone(&settings);
    let runtime = settings.open()?;
    yield_memory();
    let limit = |bytes| {
        if is_limited {
            limit_memory(bytes);
        }
    };
    Ok(serve(&*runtime, io::stdin(), io::stdout(), limit, || process::exit(0))?)
}

/// Whether what a process takes is memory of its own. Drivers of GPUs set address space aside by the terabyte.
fn takes_memory_alone(settings: &RuntimeSettings) -> bool {
    settings.providers.iter().all(|provider| *provider == Provider::Cpu)
}

/// Ignores what stops a service, which systems and terminals send to all of its processes.
fn ignore_stops() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let _within = runtime.enter();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            // What it installs stays until the process ends.
            drop(signal(kind)?);
        }
    }
    Ok(())
}

/// Has the system end this process before others where memory is short, and write no image of its memory.
fn yield_memory() {
    // Without it, the limit remains.
    #[cfg(target_os = "linux")]
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

/// Has the system refuse more memory than that.
fn limit_memory(bytes: u64) {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::As);
        let bytes = maximum.map_or(bytes, |maximum| maximum.min(bytes));
        // The process is still one of its own.
        let _ = setrlimit(Resource::As, Rlimit { current: Some(bytes), maximum: Some(bytes) });
    }
    #[cfg(not(unix))]
    let _ = bytes;
}
