//! Settings out of flags, environment, file and defaults, in that order; and `imgopen config show`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};
use imgopen_service::{LogForm, Settings};
use serde_json::json;

use crate::args;
use crate::failure::Failure;
use crate::output::{print, print_json};

/// What the names of environment variables begin with.
const PREFIX: &str = "IMGOPEN_SERVE_";

/// What stands for a secret.
const HIDDEN: &str = "(hidden)";

/// The settings that flags, environment and file give.
pub fn load(flags: &args::Serve) -> anyhow::Result<Settings> {
    extract(&figment(flags)?)
}

/// The data folder that the service works in when it is started with the same flags.
pub fn data_dir(data: &args::Data) -> anyhow::Result<PathBuf> {
    let serve = args::Serve { data_dir: data.data_dir.clone(), config: data.config.clone(), ..args::Serve::default() };
    Ok(load(&serve)?.data_dir)
}

fn extract(figment: &Figment) -> anyhow::Result<Settings> {
    let settings: Settings = figment.extract().map_err(|error| Failure::usage(told(error)))?;
    settings.check().map_err(|error| Failure::usage(error.to_string()))?;
    Ok(settings)
}

fn figment(flags: &args::Serve) -> anyhow::Result<Figment> {
    let mut figment = Figment::from(Serialized::defaults(Settings::default()));
    if let Some(file) = &flags.config {
        // The file was named, so it must be there.
        let text =
            std::fs::read_to_string(file).with_context(|| format!("the file {} cannot be read", file.display()))?;
        let wrong = |error| Failure::usage(format!("the file {} is no TOML: {error}", file.display()));
        text.parse::<toml::Table>().map_err(wrong)?;
        figment = figment.merge(Toml::file_exact(file));
    }
    let environment = Env::prefixed(PREFIX).split("__");
    Ok(figment.merge(environment).merge(Flags::read(flags)?))
}

/// Carries the command out.
pub fn run(command: args::Config) -> anyhow::Result<()> {
    let args::Config::Show { serve, json } = command;
    let figment = figment(&serve)?;
    let settings = extract(&figment)?;
    let table = toml::Table::try_from(&settings).context("the settings cannot be shown")?;
    let mut lines = Vec::new();
    flatten(&table, "", &mut lines);
    let set = lines.into_iter().map(|(name, value)| {
        let source = figment.find_metadata(&name).map_or_else(|| "default".to_owned(), source);
        (name, Some(hide(value)), source)
    });
    let mut lines: Vec<_> = set.collect();
    let unset = UNSET.iter().filter(|name| lines.iter().all(|(known, ..)| known != *name));
    let unset: Vec<_> = unset.map(|name| ((*name).to_owned(), None, "unset".to_owned())).collect();
    lines.extend(unset);
    if json {
        let told = |(name, value, source)| json!({"setting": name, "value": value, "source": source});
        return print_json(&lines.into_iter().map(told).collect());
    }
    let lines = lines.into_iter().map(|(name, value, source)| {
        let setting = value.map_or_else(|| format!("# {name} ="), |value| format!("{name} = {value}"));
        format!("{setting:<60} # {source}")
    });
    print(&lines.collect::<Vec<_>>().join("\n"))
}

/// The settings that have no value unless they are given one.
const UNSET: &[&str] = &["models", "public_url", "queue.running_per_key", "assets.lifetime", "requests.per_minute"];

/// Every setting under its whole name.
fn flatten(table: &toml::Table, prefix: &str, lines: &mut Vec<(String, toml::Value)>) {
    for (name, value) in table {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => flatten(inner, &name, lines),
            value => lines.push((name, value.clone())),
        }
    }
}

/// The only place for a secret is an address with a user name and password in it. A password may hold an `@` itself, so
/// all before the last one is hidden.
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
        Some(Source::File(path)) => format!("file {}", shown(path)),
        _ if metadata.name == Flags::NAME => Flags::NAME.to_owned(),
        _ if metadata.name.contains("environment") => "environment".to_owned(),
        _ => "default".to_owned(),
    }
}

fn shown(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// One line for each thing that is wrong: which setting, from where, and what to do.
fn told(errors: figment::Error) -> String {
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

/// What is wrong, without the names of Rust's types.
fn problem(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(_, known) => {
            let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("there is none of that name; there are {}", known.join(", "))
        }
        Kind::InvalidType(given, expected) if ["usize", "u64", "u32", "u8"].contains(&expected.as_str()) => {
            format!("{given} given, a whole number expected")
        }
        Kind::InvalidType(given, expected) => format!("{given} given, {expected} expected"),
        other => other.to_string(),
    }
}

/// The flags as settings.
struct Flags(Dict);

impl Flags {
    const NAME: &'static str = "command line";

    fn read(flags: &args::Serve) -> anyhow::Result<Self> {
        let mut dict = Dict::new();
        let mut set = |name: &str, value: Value| drop(dict.insert(name.to_owned(), value));
        let text = |value: String| Value::from(value);
        if let Some(listen) = flags.listen {
            set("listen", text(listen.to_string()));
        }
        if let Some(folder) = &flags.data_dir {
            set("data_dir", Value::serialize(folder)?);
        }
        if let Some(folder) = &flags.models {
            set("models", Value::serialize(folder)?);
        }
        if flags.sandbox {
            set("sandbox", Value::from(true));
        }
        if flags.open {
            set("open", Value::from(true));
        }
        if !flags.allow_network.is_empty() {
            set("allow_network", Value::serialize(&flags.allow_network)?);
        }
        if let Some(url) = &flags.public_url {
            set("public_url", text(url.clone()));
        }
        if let Some(workers) = flags.workers {
            set("workers", Value::serialize(workers)?);
        }
        if let Some(log) = flags.log {
            set(
                "log",
                Value::serialize(match log {
                    args::Log::Human => LogForm::Human,
                    args::Log::Json => LogForm::Json,
                })?,
            );
        }
        for setting in &flags.set {
            let wrong =
                || Failure::usage(format!("--set {setting}: give a setting and its value, such as queue.length=500"));
            let (name, value) = setting.split_once('=').ok_or_else(wrong)?;
            insert(&mut dict, name.trim(), value_of(value));
        }
        Ok(Self(dict))
    }
}

/// A value as in a TOML file; what is none is a text, so that no shell needs two layers of quotes.
fn value_of(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<toml::Table>().ok();
    let value = parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| toml::Value::from(text));
    Value::serialize(value).unwrap_or_else(|_| Value::from(text))
}

fn insert(dict: &mut Dict, name: &str, value: Value) {
    match name.split_once('.') {
        None => drop(dict.insert(name.to_owned(), value)),
        Some((first, rest)) => {
            let mut inner = match dict.remove(first) {
                Some(Value::Dict(_, inner)) => inner,
                _ => Dict::new(),
            };
            insert(&mut inner, rest, value);
            dict.insert(first.to_owned(), Value::from(inner));
        }
    }
}

impl Provider for Flags {
    fn metadata(&self) -> Metadata {
        Metadata::named(Self::NAME)
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn flags(line: &str) -> args::Serve {
        match args::Args::parse_from(format!("imgopen serve {line}").split_whitespace()).command {
            args::Command::Serve(serve) => serve,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_win_over_a_file_and_a_file_over_defaults() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "workers = 7\nsandbox = true\n[queue]\nlength = 9\n").unwrap();
        let settings =
            load(&flags(&format!("--config {} --workers 3 --set queue.running_per_key=2", file.path().display())))
                .unwrap();
        assert_eq!((settings.workers, settings.sandbox), (3, true));
        assert_eq!((settings.queue.length, settings.queue.running_per_key), (9, Some(2)));
        assert_eq!(settings.callbacks, Settings::default().callbacks);
    }

    /// The sample names every setting, as a value or in a comment, and gives the defaults.
    #[test]
    fn the_sample_file_is_true() {
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
            assert!(names.contains(&last), "{name} is not looked for");
        }
    }

    #[test]
    fn durations_are_set_with_and_without_quotes() {
        for value in ["assets.lifetime=30d", "assets.lifetime=\"30d\""] {
            let settings = load(&flags(&format!("--set {value}"))).unwrap();
            assert_eq!(settings.assets.lifetime, Some(std::time::Duration::from_secs(30 * 86400)));
        }
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_source() {
        let error = load(&flags("--set queue.lenght=5")).unwrap_err().to_string();
        let told = "the setting `queue.lenght` (command line): there is none of that name; there are `length`";
        assert!(error.starts_with(told), "{error}");
        let error = load(&flags("--set queue.length=many")).unwrap_err().to_string();
        assert!(error.starts_with("the setting `queue.length` (command line): string \"many\" given"), "{error}");
        let error = load(&flags("--config /nowhere.toml")).unwrap_err().to_string();
        assert_eq!(error, "the file /nowhere.toml cannot be read");
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(hide("https://me:secret@host/x".into()), "https://(hidden)@host/x".into());
        assert_eq!(hide("https://me:sec@ret@host/x".into()), "https://(hidden)@host/x".into());
        assert_eq!(hide("https://host/a@b".into()), "https://(hidden)@b".into());
        assert_eq!(hide(7.into()), 7.into());
    }
}
