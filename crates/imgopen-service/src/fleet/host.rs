//! The name of the machine, for operators who look at a list of processes.

/// Returns the name of this machine; empty if the system does not say.
#[cfg(unix)]
pub fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns the name of this machine; empty if the system does not say.
#[cfg(not(unix))]
pub fn name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}
