//! Environment variables as a source of settings.

use std::ffi::OsString;
use std::path::PathBuf;

use figment::providers::Env;
use imgopen_service::Settings;

use crate::args::serve::Serve;

/// The prefix of the environment variables.
const PREFIX: &str = "IMGOPEN_SERVE_";

/// Returns the variables as settings. Empty ones count as unset: a compose file makes them of what is not set outside.
pub fn variables() -> Env {
    let empty: Vec<_> = named().filter(|(_, value)| value.is_empty()).map(|(name, _)| name).collect();
    let is_set =
        move |name: &figment::value::UncasedStr| !empty.iter().any(|empty| name.as_str().eq_ignore_ascii_case(empty));
    Env::prefixed(PREFIX).filter(is_set).split("__")
}

/// Returns the variables with their names after the prefix.
fn named() -> impl Iterator<Item = (String, OsString)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let (prefix, rest) = name.to_str()?.trim().split_at_checked(PREFIX.len())?;
        prefix.eq_ignore_ascii_case(PREFIX).then(|| (rest.to_owned(), value))
    })
}

/// Puts directories in their place whose names are not UTF-8: sources of settings hold them only as texts that resemble them.
pub fn put_exact_directories(settings: &mut Settings, flags: &Serve) {
    let flags = [&flags.data_dir, &flags.models].into_iter().flatten().cloned();
    let exact: Vec<PathBuf> = flags.chain(named().map(|(_, value)| value.into())).collect();
    let put = |directory: &mut PathBuf| {
        let shown = directory.as_os_str().to_owned();
        let is_meant = |exact: &&PathBuf| exact.to_str().is_none() && *exact.to_string_lossy() == *shown;
        if let Some(exact) = exact.iter().find(is_meant) {
            *directory = exact.clone();
        }
    };
    put(&mut settings.data_dir);
    settings.models.iter_mut().for_each(put);
}
