//! The settings of a service, from flags, environment variables, a file and defaults; the first source wins.

mod flags;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::{Figment, Metadata, Source};
use imgopen_service::Settings;
use serde::Serialize;

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

/// Reads the settings without checking whether they fit each other.
///
/// # Errors
///
/// If a setting is unknown or of the wrong kind, or the file cannot be read.
pub fn read(flags: &Serve) -> anyhow::Result<Settings> {
    Ok(figment(flags)?.extract().map_err(|error| Failure::usage(describe(error)))?)
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
    let (mut set, mut unset) = (Vec::new(), Vec::new());
    for (name, value) in by_name(&settings).context("cannot print the settings")? {
        if value.is_null() {
            unset.push(Setting { name, value: None, source: "unset".to_owned() });
            continue;
        }
        let value = toml::Value::try_from(value).context("cannot print the settings")?;
        let source = figment.find_metadata(&name).map_or_else(|| "default".to_owned(), source);
        set.push(Setting { name, value: Some(hide(value)), source });
    }
    set.extend(unset);
    Ok(set)
}

/// Returns every setting by its full name. As JSON, because TOML leaves out what is unset; here it is null.
fn by_name(settings: &impl Serialize) -> serde_json::Result<BTreeMap<String, serde_json::Value>> {
    let mut values = BTreeMap::new();
    flatten(String::new(), serde_json::to_value(settings)?, &mut values);
    Ok(values)
}

/// Adds every value inside a value, by the path to it.
fn flatten(path: String, value: serde_json::Value, values: &mut BTreeMap<String, serde_json::Value>) {
    match value {
        serde_json::Value::Object(members) => {
            for (member, value) in members {
                let path = if path.is_empty() { member } else { format!("{path}.{member}") };
                flatten(path, value, values);
            }
        }
        value => {
            values.insert(path, value);
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

    /// A setting without a default, or whose default depends on the machine, is a line in a comment, such as
    /// `# workers = 2`.
    #[test]
    fn the_sample_file_has_every_setting_with_its_default() {
        let sample = include_str!("../imgopen.toml");
        assert_eq!(toml::from_str::<Settings>(sample).unwrap(), Settings::default());
        let uncommented =
            |line: &'static str| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line);
        let full = sample.lines().map(uncommented).collect::<Vec<_>>().join("\n");
        toml::from_str::<Settings>(&full).unwrap();
        let lines = by_name(&full.parse::<toml::Table>().unwrap()).unwrap();
        for name in by_name(&Settings::default()).unwrap().keys() {
            assert!(lines.contains_key(name), "`{name}` is not in the sample");
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
