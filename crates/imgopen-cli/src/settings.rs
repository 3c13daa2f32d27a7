//! The settings of a service, from flags, environment variables, a file and defaults; the first source wins.

mod flags;

use std::path::{Path, PathBuf};

use anyhow::Context;
use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::{Figment, Metadata, Source};
use imgopen_service::Settings;

use crate::args::data::Data;
use crate::args::serve::Serve;
use crate::failure::Failure;
use flags::Flags;

/// The prefix of the environment variables.
const PREFIX: &str = "IMGOPEN_SERVE_";

/// The replacement for secrets in output.
const HIDDEN: &str = "(hidden)";

/// Loads the settings.
///
/// # Errors
///
/// If a setting is unknown or invalid, or the file cannot be read.
pub fn load(flags: &Serve) -> anyhow::Result<Settings> {
    extract(&figment(flags)?)
}

/// Returns the data directory of a service that is started with the same flags.
pub fn data_dir(data: &Data) -> anyhow::Result<PathBuf> {
    let serve = Serve { data_dir: data.data_dir.clone(), config: data.config.clone(), ..Serve::default() };
    Ok(load(&serve)?.data_dir)
}

fn extract(figment: &Figment) -> anyhow::Result<Settings> {
    let settings: Settings = figment.extract().map_err(|error| Failure::usage(describe(error)))?;
    settings.check().map_err(|error| Failure::usage(error.to_string()))?;
    Ok(settings)
}

fn figment(flags: &Serve) -> anyhow::Result<Figment> {
    let mut figment = Figment::from(Serialized::defaults(Settings::default()));
    if let Some(file) = &flags.config {
        let cannot = || format!("--config: cannot read {}", file.display());
        let text = std::fs::read_to_string(file).with_context(cannot)?;
        let invalid = |error| Failure::usage(format!("--config: {} is not TOML: {error}", file.display()));
        text.parse::<toml::Table>().map_err(invalid)?;
        figment = figment.merge(Toml::file_exact(file));
    }
    let environment = Env::prefixed(PREFIX).split("__");
    Ok(figment.merge(environment).merge(Flags::read(flags)?))
}

/// A setting in force.
#[derive(Debug)]
pub struct Setting {
    /// The full name, such as `queue.length`.
    pub name: String,
    /// The value, without secrets; none if the setting is unset.
    pub value: Option<toml::Value>,
    /// The source: `default`, `unset`, `environment`, `command line` or a file.
    pub source: String,
}

/// Returns all settings: those with a value first.
pub fn list(args: &Serve) -> anyhow::Result<Vec<Setting>> {
    let figment = figment(args)?;
    let settings = extract(&figment)?;
    let table = toml::Table::try_from(&settings).context("cannot print the settings")?;
    let mut lines = Vec::new();
    flatten(&table, "", &mut lines);
    let set = lines.into_iter().map(|(name, value)| {
        let source = figment.find_metadata(&name).map_or_else(|| "default".to_owned(), source);
        Setting { name, value: Some(hide(value)), source }
    });
    let mut settings: Vec<_> = set.collect();
    let unset = UNSET.iter().filter(|name| settings.iter().all(|setting| setting.name != **name));
    let unset: Vec<_> =
        unset.map(|name| Setting { name: (*name).to_owned(), value: None, source: "unset".to_owned() }).collect();
    settings.extend(unset);
    Ok(settings)
}

/// The settings without a default.
const UNSET: &[&str] =
    &["models", "public_url", "connections.at_most", "queue.running_per_key", "assets.lifetime", "requests.per_minute"];

/// Lists every setting under its full name.
fn flatten(table: &toml::Table, prefix: &str, lines: &mut Vec<(String, toml::Value)>) {
    for (name, value) in table {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => flatten(inner, &name, lines),
            value => lines.push((name, value.clone())),
        }
    }
}

/// Hides the user name and password of a URL, the only place for a secret. A password may contain an `@`, so everything before
/// the last one is hidden.
fn hide(value: toml::Value) -> toml::Value {
    match &value {
        toml::Value::String(text) => {
            match text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
                Some((scheme, (_, rest))) => format!("{scheme}://{HIDDEN}@{rest}").into(),
                None => value,
            }
        }
        _ => value,
    }
}

fn source(metadata: &Metadata) -> String {
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
fn describe(errors: figment::Error) -> String {
    let lines = errors.into_iter().map(|error| {
        let from = error.metadata.as_ref().map_or_else(String::new, |metadata| format!(" ({})", source(metadata)));
        let problem = problem(&error.kind);
        match error.path.is_empty() {
            true => format!("{problem}{from}"),
            false => format!("the setting `{}`{from}: {problem}", error.path.join(".")),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Describes a problem without naming Rust types.
fn problem(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(_, known) => {
            let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("unknown; the settings here are {}", known.join(", "))
        }
        Kind::InvalidType(given, expected) if ["usize", "u64", "u32", "u8"].contains(&expected.as_str()) => {
            format!("{given} given, a whole number expected")
        }
        Kind::InvalidType(given, expected) => format!("{given} given, {expected} expected"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn flags(line: &str) -> Serve {
        match Args::parse_from(format!("imgopen serve {line}").split_whitespace()).command {
            Command::Serve(serve) => serve,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_override_a_file_and_a_file_overrides_defaults() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "workers = 7\nsandbox = true\n[queue]\nlength = 9\n").unwrap();
        let settings =
            load(&flags(&format!("--config {} --workers 3 --set queue.running_per_key=2", file.path().display())))
                .unwrap();
        assert_eq!((settings.workers, settings.sandbox), (3, true));
        assert_eq!((settings.queue.length, settings.queue.running_per_key), (9, Some(2)));
        assert_eq!(settings.callbacks, Settings::default().callbacks);
    }

    /// The sample file names every setting, as a value or in a comment, with its default.
    #[test]
    fn the_sample_file_matches_the_defaults() {
        let sample = include_str!("../imgopen.toml");
        let settings: Settings = toml::from_str(sample).unwrap();
        assert_eq!(settings, Settings::default());
        let spelled: String =
            sample.lines().map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line))).collect();
        let names = [
            "listen",
            "data_dir",
            "models",
            "public_url",
            "sandbox",
            "open",
            "allow_network",
            "workers",
            "attempts",
            "shutdown",
            "log",
            "at_most",
            "idle",
            "stall",
            "length",
            "running_per_key",
            "default",
            "bytes",
            "pixels",
            "frames",
            "time",
            "redirects",
            "lifetime",
            "pauses",
            "tries",
            "at_once",
            "at_once_per_host",
            "body_bytes",
            "body_time",
            "per_minute",
            "idempotency",
            "answer_time",
        ];
        for name in names {
            assert!(spelled.contains(&format!("\n{name} = ")), "{name} is not in the sample");
        }
        for name in UNSET {
            let last = name.rsplit('.').next().unwrap();
            assert!(sample.contains(&format!("\n# {last} = ")), "{name} is not unset in the sample");
        }
        let mut lines = Vec::new();
        flatten(&toml::Table::try_from(Settings::default()).unwrap(), "", &mut lines);
        for (name, _) in lines {
            let last = name.rsplit('.').next().unwrap();
            assert!(names.contains(&last), "{name} is missing from this test");
        }
    }

    #[test]
    fn durations_are_accepted_with_and_without_quotes() {
        for value in ["assets.lifetime=30d", "assets.lifetime=\"30d\""] {
            let settings = load(&flags(&format!("--set {value}"))).unwrap();
            assert_eq!(settings.assets.lifetime, Some(std::time::Duration::from_secs(30 * 86400)));
        }
    }

    #[test]
    fn an_invalid_setting_is_reported_with_its_source() {
        let error = load(&flags("--set queue.lenght=5")).unwrap_err().to_string();
        let expected = "the setting `queue.lenght` (command line): unknown; the settings here are `length`";
        assert!(error.starts_with(expected), "{error}");
        let error = load(&flags("--set queue.length=many")).unwrap_err().to_string();
        assert!(error.starts_with("the setting `queue.length` (command line): string \"many\" given"), "{error}");
        let error = load(&flags("--config /nowhere.toml")).unwrap_err().to_string();
        assert_eq!(error, "--config: cannot read /nowhere.toml");
    }

    #[test]
    fn secrets_are_hidden() {
        assert_eq!(hide("https://me:secret@host/x".into()), "https://(hidden)@host/x".into());
        assert_eq!(hide("https://me:sec@ret@host/x".into()), "https://(hidden)@host/x".into());
        assert_eq!(hide("https://host/a@b".into()), "https://(hidden)@b".into());
        assert_eq!(hide(7.into()), 7.into());
    }
}
