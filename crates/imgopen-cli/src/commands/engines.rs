//! The engines of a service that this program runs.

use imgopen_service::engines::{Registry, Sandbox};

/// Returns the engines, better ones first.
pub fn engines(sandbox: bool) -> Registry {
    let classical = Registry::classical();
    if sandbox { classical.with(Sandbox::new()) } else { classical }
}
