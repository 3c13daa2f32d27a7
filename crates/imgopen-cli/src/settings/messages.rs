//! Messages about settings: each names the setting, its source, and how to fix it.

use std::path::Path;

use figment::error::Kind;
use figment::{Metadata, Source};

use super::flags::Flags;

/// The names of settings whose values are secret.
pub const SECRETS: [&str; 3] = ["password", "secret_access_key", "session_token"];

/// Names a source: `default`, `environment`, `command line` or a file.
pub fn source(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(Source::File(path)) => format!("file {}", file_name(path)),
        _ if metadata.name == Flags::NAME => Flags::NAME.to_owned(),
        _ if metadata.name.contains("environment") => "environment".to_owned(),
        _ => "default".to_owned(),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Describes errors in one line each: the setting, its source and how to fix it.
pub fn describe(errors: figment::Error) -> String {
    let lines = errors.into_iter().map(|error| {
        let from = error.metadata.as_ref().map_or_else(String::new, |metadata| format!(" ({})", source(metadata)));
        let is_secret = error.path.last().is_some_and(|name| SECRETS.contains(&name.as_str()));
        let problem = if is_secret { secret_problem(&error.kind) } else { problem(&error.kind) };
        match error.path.is_empty() {
            true => format!("{problem}{from}"),
            false => format!("the setting `{}`{from}: {problem}", full_name(&error.path)),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Joins the parts of a name, such as `backends[1].url`.
fn full_name(path: &[String]) -> String {
    let mut name = String::new();
    for part in path {
        match part.parse::<usize>() {
            Ok(index) => name += &format!("[{index}]"),
            Err(_) if name.is_empty() => name += part,
            Err(_) => name += &format!(".{part}"),
        }
    }
    name
}

/// Describes a problem of a secret without its value.
fn secret_problem(kind: &Kind) -> String {
    match kind {
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => format!("{expected} expected"),
        other => problem(other),
    }
}

/// Describes a problem without naming Rust types.
fn problem(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(_, known) => {
            let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("unknown; the settings here are {}", known.join(", "))
        }
        Kind::UnknownVariant(given, known) => {
            let known: Vec<_> = known.iter().map(|name| format!("\"{name}\"")).collect();
            format!("\"{given}\" given; give one of {}", known.join(", "))
        }
        Kind::MissingField(name) => format!("`{name}` is missing"),
        Kind::InvalidValue(given, expected) if expected.starts_with("a nonzero") => {
            format!("{given} given, a whole number from 1 expected")
        }
        Kind::InvalidType(given, expected) if ["usize", "u64", "u32", "u8"].contains(&expected.as_str()) => {
            format!("{given} given, a whole number expected")
        }
        Kind::InvalidType(given, expected) if expected == "f64" => format!("{given} given, a number expected"),
        Kind::InvalidType(given, expected) if expected == "a boolean" => format!("{given} given; give true or false"),
        Kind::InvalidType(given, expected) => format!("{given} given, {expected} expected"),
        other => other.to_string(),
    }
}
