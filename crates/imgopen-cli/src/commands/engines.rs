//! The engines of a service that this program runs.

use imgopen_engine::Registry;
use imgopen_tools::Sandbox;

/// Returns the engines. The order decides between engines of the same grade only.
pub fn engines(sandbox: bool) -> Registry {
    let classical = imgopen_tools::classical();
    if sandbox { classical.with(Sandbox::new()) } else { classical }
}
