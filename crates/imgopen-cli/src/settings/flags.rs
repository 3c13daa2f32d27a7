//! The flags of `imgopen serve` as a source of settings.

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use imgopen_service::LogForm;

use crate::args::serve::{Log, Role, Serve};
use crate::failure::Failure;

/// The setting with the back ends.
pub const BACKENDS: &str = "backends";

/// The flags as settings.
pub struct Flags(Dict);

impl Flags {
    /// The source that `imgopen config show` prints.
    pub const NAME: &'static str = "command line";

    /// Reads the flags.
    ///
    /// # Errors
    ///
    /// If `--set` is not given as `SETTING=VALUE`, or its value begins like a table and is none.
    pub fn read(flags: &Serve) -> anyhow::Result<Self> {
        let mut dict = Dict::new();
        let mut set = |name: &str, value: Value| drop(dict.insert(name.to_owned(), value));
        let text = |value: String| Value::from(value);
        if let Some(listen) = flags.listen {
            set("listen", text(listen.to_string()));
        }
        if let Some(directory) = &flags.data_dir {
            set("data_dir", text(directory.display().to_string()));
        }
        if let Some(url) = &flags.database {
            set("database", Value::from(Dict::from([("url".to_owned(), text(url.clone()))])));
        }
        if let Some(role) = flags.role {
            set(
                "role",
                Value::serialize(match role {
                    Role::All => imgopen_service::Role::All,
                    Role::Api => imgopen_service::Role::Api,
                    Role::Worker => imgopen_service::Role::Worker,
                })?,
            );
        }
        if let Some(directory) = &flags.models {
            set("models", text(directory.display().to_string()));
        }
        if let Some(url) = &flags.storage {
            set("storage", Value::from(Dict::from([("url".to_owned(), text(url.clone()))])));
        }
        if !flags.backends.is_empty() {
            let backends = flags.backends.iter().map(|url| Dict::from([("url".to_owned(), text(url.to_string()))]));
            set(BACKENDS, Value::from(backends.collect::<Vec<_>>()));
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
        if !flags.allow_origin.is_empty() {
            set("allow_origin", Value::serialize(&flags.allow_origin)?);
        }
        if flags.keep_location {
            set("pictures", Value::from(Dict::from([("keep_location".to_owned(), Value::from(true))])));
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
                    Log::Human => LogForm::Human,
                    Log::Json => LogForm::Json,
                })?,
            );
        }
        for setting in &flags.set {
            let invalid = || Failure::usage(format!("--set {setting}: give SETTING=VALUE, such as queue.length=500"));
            let (name, value) = setting.split_once('=').ok_or_else(invalid)?;
            let name = name.trim();
            insert(&mut dict, name, value_of(name, value)?);
        }
        Ok(Self(dict))
    }
}

/// Parses a value as TOML. Anything else is a string, so that strings need no quotes inside the shell's. What was meant as a table
/// is an error, which does not repeat it, because there may be passwords in it.
fn value_of(name: &str, text: &str) -> anyhow::Result<Value> {
    let value = match format!("value = {text}").parse::<toml::Table>() {
        Ok(mut table) => table.remove("value"),
        Err(error) if text.trim_start().starts_with(['[', '{']) && text.contains('{') => {
            return Err(Failure::usage(format!("--set {name}: not a value of TOML: {}", error.message().trim())).into());
        }
        Err(_) => None,
    };
    let value = value.unwrap_or_else(|| toml::Value::from(text));
    Ok(Value::serialize(value).unwrap_or_else(|_| Value::from(text)))
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
