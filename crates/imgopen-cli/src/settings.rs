//! The settings of a service, from flags, environment variables, a file and defaults; the first source wins.

mod backends;
mod file;
mod flags;
mod messages;
mod nets;
mod service;
mod shown;
mod variables;

use std::path::{Path, PathBuf};

use anyhow::Context;
use figment::providers::Serialized;
use figment::{Figment, Provider};
use imgopen_service::Settings;

use crate::args::data::{Data, Rows};
use crate::args::packs::Place;
use crate::args::serve::Serve;
use crate::failure::Failure;
pub use backends::Backends;
use file::SettingsFile;
use flags::Flags;
use messages::{describe, source};
pub use nets::{catalogue, named as named_catalogue, runtime};
use service::{OfService, check_listen};
pub use shown::Setting;
use shown::{by_name, hide};
use variables::{put_exact_directories, variables};

/// The settings of a service and of its back ends.
#[derive(Debug)]
pub struct Loaded {
    /// Those of the service.
    pub service: Settings,
    /// Those of its back ends.
    pub backends: Backends,
}

/// Loads the settings.
///
/// # Errors
///
/// If a setting is unknown or invalid, or the file cannot be read.
pub fn load(flags: &Serve) -> anyhow::Result<Loaded> {
    let mut loaded = Sources::read(flags)?.checked()?;
    put_exact_directories(&mut loaded.service, flags);
    Ok(loaded)
}

/// Reads the settings without checking whether they fit each other.
///
/// # Errors
///
/// If a setting is unknown or of the wrong kind, or the file cannot be read.
pub fn read(flags: &Serve) -> anyhow::Result<Settings> {
    let mut settings = Sources::read(flags)?.extract()?.service;
    put_exact_directories(&mut settings, flags);
    Ok(settings)
}

/// Returns the data directory of a service that is started with the same flags.
pub fn data_dir(data: &Data) -> anyhow::Result<PathBuf> {
    Ok(of(data, None)?.data_dir)
}

/// Returns the settings of a service that is started with the same flags.
pub fn of(data: &Data, models: Option<PathBuf>) -> anyhow::Result<Settings> {
    let Data { data_dir, config } = data.clone();
    Ok(load(&Serve { data_dir, config, models, ..Serve::default() })?.service)
}

/// Returns the settings of a service whose rows a command works on.
pub fn of_rows(rows: &Rows) -> anyhow::Result<Settings> {
    let Rows { data: Data { data_dir, config }, database } = rows.clone();
    Ok(load(&Serve { data_dir, config, database, ..Serve::default() })?.service)
}

/// Returns the models directory of a service that is started with the same flags. It need not exist, unless it was named.
pub fn models_dir(place: &Place) -> anyhow::Result<PathBuf> {
    let settings = of(&place.data, place.models.clone())?;
    let directory = settings.models_dir();
    if settings.models.is_some() && !directory.is_dir() {
        Err(not_a_directory(&directory).into())
    } else {
        Ok(directory)
    }
}

/// As [`models_dir`], for commands that make the directory if there is nothing with its name.
pub fn models_dir_to_be(place: &Place) -> anyhow::Result<PathBuf> {
    let directory = of(&place.data, place.models.clone())?.models_dir();
    if directory.exists() && !directory.is_dir() { Err(not_a_directory(&directory).into()) } else { Ok(directory) }
}

fn not_a_directory(models: &Path) -> Failure {
    let fix = "give the directory that holds the models";
    Failure::usage(format!("`models`: {} is not a directory; {fix}", models.display()))
}

/// The sources of the settings.
struct Sources {
    service: Figment,
    /// All settings, of which those of back ends are read: the service does not know them.
    backends: Figment,
}

impl Sources {
    fn read(flags: &Serve) -> anyhow::Result<Self> {
        let none = Self { service: Figment::new(), backends: Figment::new() };
        let mut sources = none.merge(Serialized::defaults(Settings::default()));
        if let Some(file) = &flags.config {
            sources = sources.merge(SettingsFile::read(file)?);
        }
        Ok(sources.merge(variables()).merge(Flags::read(flags)?))
    }

    fn merge(self, source: impl Provider) -> Self {
        Self { service: self.service.merge(OfService(&source)), backends: self.backends.merge(&source) }
    }

    fn extract(&self) -> anyhow::Result<Loaded> {
        check_listen(&self.service)?;
        let service = self.service.extract().map_err(|error| Failure::usage(describe(error)))?;
        Ok(Loaded { service, backends: Backends::read(&self.backends)? })
    }

    fn checked(&self) -> anyhow::Result<Loaded> {
        let loaded = self.extract()?;
        loaded.service.check().map_err(|error| Failure::usage(error.to_string()))?;
        nets::runtime(&loaded.service.nets)?;
        loaded.backends.check()?;
        Ok(loaded)
    }
}

/// All settings in force.
#[derive(Debug)]
pub struct Listed {
    /// Those of the service, those with a value first.
    pub service: Vec<Setting>,
    /// Those of each back end that have a value.
    pub backends: Vec<Vec<Setting>>,
}

/// Returns all settings.
pub fn list(args: &Serve) -> anyhow::Result<Listed> {
    let sources = Sources::read(args)?;
    let Loaded { service, backends } = sources.checked()?;
    let (mut set, mut unset) = (Vec::new(), Vec::new());
    for (name, value) in by_name(&service).context("cannot print the settings")? {
        if value.is_null() {
            unset.push(Setting { name, value: None, source: "unset".to_owned() });
            continue;
        }
        let value = toml::Value::try_from(value).context("cannot print the settings")?;
        let source = sources.service.find_metadata(&name).map_or_else(|| "default".to_owned(), source);
        set.push(Setting { name, value: Some(hide(value)), source });
    }
    set.extend(unset);
    let backends = backends.settings(&sources.backends).context("cannot print the settings of back ends")?;
    Ok(Listed { service: set, backends })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use imgopen_service::{SafetyAction, Serving};

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
                .unwrap()
                .service;
        assert_eq!((settings.workers, settings.sandbox), (3, true));
        assert_eq!((settings.queue.length, settings.queue.running_per_key), (9, Some(2)));
        assert_eq!(settings.callbacks, Settings::default().callbacks);
    }

    /// Windows editors begin a file with a byte order mark; TOML 1.1 lets a table in braces span lines, and end with a comma.
    #[test]
    fn a_file_may_have_a_byte_order_mark_and_be_toml_1_1() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "\u{feff}workers = 7\nqueue = {\n    length = 9,\n    running_per_key = 2,\n}\n";
        std::fs::write(file.path(), text).unwrap();
        let settings = load(&flags(&format!("--config {}", file.path().display()))).unwrap().service;
        assert_eq!((settings.workers, settings.queue.length, settings.queue.running_per_key), (7, 9, Some(2)));
    }

    /// A setting without a default, or whose default depends on the machine, is a line in a comment, such as
    /// `# workers = 2`; so are all back ends.
    #[test]
    fn the_sample_file_has_every_setting_with_its_default() {
        let sample = include_str!("../imgopen.toml");
        assert_eq!(toml::from_str::<Settings>(sample).unwrap(), Settings::default());
        let is_setting = |rest: &&str| rest.contains(" = ") || rest.starts_with("[[");
        let uncommented = |line: &'static str| line.strip_prefix("# ").filter(is_setting).unwrap_or(line);
        let full = sample.lines().map(uncommented).collect::<Vec<_>>().join("\n");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &full).unwrap();
        // Every line is valid, and so is every back end.
        load(&flags(&format!("--config {}", file.path().display()))).unwrap();
        let mut table = full.parse::<toml::Table>().unwrap();
        let Some(toml::Value::Array(backends)) = table.remove("backends") else { panic!("no back ends") };
        let lines = by_name(&table).unwrap();
        // Of these, only one may be given.
        let instead = ["storage.secret_access_key", "storage.secret_access_key_file"];
        assert!(sample.contains("; or secret_access_key_file, or secret_access_key\n"));
        for name in by_name(&Settings::default()).unwrap().keys() {
            assert!(lines.contains_key(name) || instead.contains(&name.as_str()), "`{name}` is not in the sample");
        }
        backends::tests::all_are_in(&backends);
    }

    #[test]
    fn durations_are_accepted_with_and_without_quotes() {
        for value in ["assets.lifetime=30d", "assets.lifetime=\"30d\""] {
            let settings = load(&flags(&format!("--set {value}"))).unwrap().service;
            assert_eq!(settings.assets.lifetime, Some(std::time::Duration::from_secs(30 * 86400)));
        }
    }

    #[test]
    fn a_bucket_is_named_by_a_flag_and_its_secret_is_in_no_message() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = format!("--config {}", file.path().display());
        let text = "[storage]\nurl = \"s3://other\"\nendpoint = \"http://10.0.0.1:9000\"\naccess_key_id = \"me\"\n";
        std::fs::write(file.path(), format!("{text}secret_access_key = \"hush\"\n")).unwrap();
        let line =
            format!("{config} --storage s3://pictures/a --set storage.serve=redirect --set storage.redirect_for=5m");
        let storage = load(&flags(&line)).unwrap().service.storage;
        assert_eq!(storage.shown().unwrap().as_deref(), Some("s3://pictures/a"));
        assert_eq!((storage.serve, storage.redirect_for.as_secs()), (Serving::Redirect, 300));
        let listed = list(&flags(&line)).unwrap();
        let secret = listed.service.iter().find(|setting| setting.name == "storage.secret_access_key").unwrap();
        assert_eq!(secret.value, Some("(hidden)".into()));
        assert!(!format!("{listed:?}").contains("hush"));
        for given in ["12345", "12345x", "[\"12345\"]"] {
            std::fs::write(file.path(), format!("{text}secret_access_key = {given}\n")).unwrap();
            let error = load(&flags(&config)).unwrap_err().to_string();
            assert!(!error.contains("12345"), "{error}");
        }
        let error = load(&flags("--storage pictures")).unwrap_err().to_string();
        assert!(error.starts_with("`storage.url`: \"pictures\" is not the address of a bucket; give one"), "{error}");
    }

    #[test]
    fn audits_are_set_for_all_keys_and_for_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[safety]\naction = \"blur\"\n[safety.keys.ak_1]\nthreshold = 1\n").unwrap();
        let line =
            format!("--config {} --set safety.threshold=0.7 --set safety.keys.ak_2.action=off", file.path().display());
        let safety = load(&flags(&line)).unwrap().service.safety;
        assert_eq!((safety.action, safety.threshold), (SafetyAction::Blur, 0.7));
        let keys: Vec<_> = safety.keys.iter().map(|(id, key)| (id.as_str(), key.action, key.threshold)).collect();
        assert_eq!(keys, [("ak_1", None, Some(1.0)), ("ak_2", Some(SafetyAction::Off), None)]);
        for (set, problem) in [
            (
                "safety.action=hide",
                "the setting `safety.action` (command line): \"hide\" given; give one of \"off\", \"mark\"",
            ),
            (
                "safety.threshold=high",
                "the setting `safety.threshold` (command line): string \"high\" given, a number expected",
            ),
            ("safety.threshold=1.5", "`safety.threshold`: 1.5 given; give a number from 0 to 1"),
            (
                "safety.keys.ak_1.label=nsfw",
                "the setting `safety.keys.ak_1.label` (command line): unknown; the settings here are",
            ),
        ] {
            let error = load(&flags(&format!("--set {set}"))).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
    }

    #[test]
    fn an_invalid_setting_is_reported_with_its_source() {
        let error = load(&flags("--set queue.lenght=5")).unwrap_err().to_string();
        let expected = "the setting `queue.lenght` (command line): unknown; the settings here are `length`";
        assert!(error.starts_with(expected), "{error}");
        let error = load(&flags("--set queue.length=many")).unwrap_err().to_string();
        assert!(error.starts_with("the setting `queue.length` (command line): string \"many\" given"), "{error}");
        let error = load(&flags("--set sandbox=yes")).unwrap_err().to_string();
        assert_eq!(error, "the setting `sandbox` (command line): string \"yes\" given; give true or false");
        assert!(load(&flags("--set listen=[::1]:8080")).is_ok(), "an address is not a list");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[queue]\nlength = 5\n\nlength = 6\n").unwrap();
        let error = load(&flags(&format!("--config {}", file.path().display()))).unwrap_err().to_string();
        let expected =
            format!("--config: {} is not TOML: TOML parse error at line 4, column 1\n", file.path().display());
        assert!(error.starts_with(&expected), "{error}");
        let error = load(&flags("--config /nowhere.toml")).unwrap_err().to_string();
        assert_eq!(error, "--config: cannot read /nowhere.toml");
    }

    #[test]
    fn a_database_and_a_role_are_flags_and_no_password_is_shown() {
        let place = "--database postgres://me:hush@db/imgopen --public-url https://images.example.com";
        let line = format!("{place} --role worker --set database.lease=5s");
        let settings = load(&flags(&line)).unwrap().service;
        let (role, lease) = (settings.role, settings.database.lease.as_secs());
        assert_eq!((role, lease, settings.is_in_fleet()), (imgopen_service::Role::Worker, 5, true));
        let listed = list(&flags(&line)).unwrap();
        let url = listed.service.iter().find(|setting| setting.name == "database.url").unwrap();
        assert_eq!(url.value, Some("postgres://(hidden)@db/imgopen".into()));
        assert!(!format!("{listed:?}{settings:?}").contains("hush"));
        let error = load(&flags("--role worker")).unwrap_err().to_string();
        assert!(error.starts_with("`role`: \"worker\" given without `database.url`"), "{error}");
    }
}
