//! Settings of a database of PostgreSQL, which several processes of a service share, and what each of them does.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize, Serializer};

use super::invalid::InvalidSetting;
use crate::durations;

/// What is shown in place of a user with a password.
const HIDDEN: &str = "(hidden)";

/// The schemes of the addresses of databases.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// What to give.
pub(super) const EXAMPLE: &str = "give one such as `postgres://imgopen@db.example.com/imgopen`";

/// The variable with the password of a database, as for other programs of PostgreSQL.
const PASSWORD: &str = "PGPASSWORD";

/// How long a lease may be: heartbeats need some tries in it, and a dead process's tasks wait for its end.
const LEASES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10 * 60)];

/// The database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSettings {
    /// A database of PostgreSQL, such as `postgres://imgopen@db.example.com/imgopen`, which any number of processes may use. Unless
    /// set, the database is in the data directory, one process uses it, and the other settings here do nothing.
    pub url: Option<DatabaseUrl>,
    /// The file with its password, which is read for each connection, so that the password can be replaced while processes run. Unless
    /// set, that in the URL, or else in the variable `PGPASSWORD`.
    pub password_file: Option<PathBuf>,
    /// How many connections each process opens at most, at least 1, beside two for its heartbeats and to listen.
    pub connections: usize,
    /// Whether processes announce to each other what they have done, by `NOTIFY` and `LISTEN`. Poolers in transaction mode do not pass
    /// that on; processes then look four times a second.
    pub notify: bool,
    /// How long the tasks of a process that gives no sign of life are left to it, from a second to ten minutes. Then others run them
    /// again.
    #[serde(with = "durations::required")]
    pub lease: Duration,
}

/// The URL of a database. A password in it is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

/// What a process does of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It answers calls and runs tasks.
    #[default]
    All,
    /// It answers calls and pushes callbacks.
    Api,
    /// It runs tasks, and answers only `/healthz`, `/readyz` and `/metrics`.
    Worker,
}

impl Role {
    /// Its name in settings and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }

    /// Whether it runs tasks.
    pub const fn runs_tasks(self) -> bool {
        !matches!(self, Self::Api)
    }

    /// Whether it answers calls.
    pub const fn answers_calls(self) -> bool {
        !matches!(self, Self::Worker)
    }
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self { url: None, password_file: None, connections: 16, notify: true, lease: Duration::from_secs(15) }
    }
}

impl DatabaseUrl {
    /// Keeps a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// Returns the URL with the password in it, if it has one.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The scheme, the user with a password, and the rest. `None` if it is not the URL of a database.
    fn parts(&self) -> Option<(&str, Option<&str>, &str)> {
        let begins = |scheme: &&str| self.0.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        let scheme = SCHEMES.into_iter().find(begins)?;
        let rest = self.0.get(scheme.len()..)?;
        // A password may contain an `@`.
        Some(match rest.rsplit_once('@') {
            Some((user, rest)) => (scheme, Some(user), rest),
            None => (scheme, None, rest),
        })
    }

    fn has_password(&self) -> bool {
        let Some((_, user, rest)) = self.parts() else { return false };
        user.is_some_and(|user| user.contains(':')) || parameters(rest).1.any(|(name, _)| name == "password")
    }

    /// Returns the URL with its scheme in small letters: the library that connects does not know it otherwise.
    fn whole(&self) -> String {
        match self.parts().and_then(|(scheme, ..)| Some((scheme, self.0.get(scheme.len()..)?))) {
            Some((scheme, rest)) => format!("{scheme}{rest}"),
            None => self.0.clone(),
        }
    }

    /// Returns the URL with a password.
    fn with_password(&self, password: &str) -> String {
        let joined = if self.0.contains('?') { '&' } else { '?' };
        format!("{}{joined}password={}", self.whole(), utf8_percent_encode(password, NON_ALPHANUMERIC))
    }
}

/// What is before the parameters of a URL, and these.
fn parameters(rest: &str) -> (&str, impl Iterator<Item = (&str, &str)>) {
    let (before, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let pairs = parameters.split('&').filter(|pair| !pair.is_empty());
    (before, pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))))
}

/// Without the user, and without a password among the parameters.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, user, rest)) = self.parts() else { return f.write_str(HIDDEN) };
        let (before, parameters) = parameters(rest);
        f.write_str(scheme)?;
        if user.is_some() {
            write!(f, "{HIDDEN}@")?;
        }
        f.write_str(before)?;
        for (index, (name, value)) in parameters.enumerate() {
            let value = if name == "password" { HIDDEN } else { value };
            write!(f, "{}{name}={value}", if index == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatabaseUrl").field(&self.to_string()).finish()
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl DatabaseSettings {
    /// Returns the address to connect to, with the password from wherever it is. `None` if the database is in the data directory.
    ///
    /// # Errors
    ///
    /// When the file with the password cannot be read.
    pub fn address(&self) -> Result<Option<String>, InvalidSetting> {
        let Some(url) = &self.url else { return Ok(None) };
        let password = match &self.password_file {
            _ if url.has_password() => None,
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| invalid("password_file", format!("{} cannot be read: {error}", file.display())))?;
                let password = text.trim_end_matches(['\r', '\n']).to_owned();
                if password.is_empty() {
                    let problem = format!("there is no password in {}; write it there", file.display());
                    return Err(invalid("password_file", problem));
                }
                Some(password)
            }
            None => std::env::var(PASSWORD).ok().filter(|password| !password.is_empty()),
        };
        Ok(Some(password.map_or_else(|| url.whole(), |password| url.with_password(&password))))
    }

    /// Checks the settings against each other, without reading any password.
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        let Some(url) = &self.url else { return Ok(()) };
        if url.parts().is_none_or(|(_, _, rest)| rest.is_empty()) {
            return Err(invalid("url", format!("not the URL of a database of PostgreSQL; {EXAMPLE}")));
        }
        if cfg!(not(feature = "postgres")) {
            let problem =
                "this program was built without PostgreSQL; build it with the feature `postgres`, or leave it out";
            return Err(invalid("url", problem.to_owned()));
        }
        if url.has_password() && self.password_file.is_some() {
            return Err(invalid("password_file", "`database.url` has a password, too; give one of them".to_owned()));
        }
        if self.connections == 0 {
            return Err(invalid("connections", "0 given; give at least 1".to_owned()));
        }
        let [least, most] = LEASES;
        if !(least..=most).contains(&self.lease) {
            let given = durations::text(self.lease);
            return Err(invalid("lease", format!("{given} given; give a time from \"1s\" to \"10m\"")));
        }
        Ok(())
    }
}

fn invalid(name: &str, problem: String) -> InvalidSetting {
    InvalidSetting { setting: format!("database.{name}"), problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_password_is_never_printed() {
        for (url, shown) in [
            ("postgres://me:hush@db.example.com:5433/imgopen", "postgres://(hidden)@db.example.com:5433/imgopen"),
            ("postgresql://me:hu@sh@a,b/imgopen?sslmode=require", "postgresql://(hidden)@a,b/imgopen?sslmode=require"),
            ("postgres://db/x?password=hush&sslmode=disable", "postgres://db/x?password=(hidden)&sslmode=disable"),
            ("postgres://db/x", "postgres://db/x"),
            ("POSTGRESQL://me:hush@db/x", "postgresql://(hidden)@db/x"),
            ("host=db password=hush", "(hidden)"),
        ] {
            let settings = DatabaseSettings { url: Some(DatabaseUrl::new(url)), ..DatabaseSettings::default() };
            let url = settings.url.as_ref().unwrap();
            assert_eq!(url.to_string(), shown);
            let printed = format!("{settings:?} {}", serde_json::to_string(&settings).unwrap());
            assert!(printed.contains(shown) && !printed.contains("hush") && !printed.contains("sh@"), "{printed}");
        }
    }

    #[test]
    fn a_password_is_read_from_where_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "p @ss\n").unwrap();
        let with = |url: &str, password_file: Option<PathBuf>| {
            let settings =
                DatabaseSettings { url: Some(DatabaseUrl::new(url)), password_file, ..DatabaseSettings::default() };
            settings.address().map_err(|error| error.to_string())
        };
        let own = Some(file.path().to_owned());
        let joined = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(with("postgres://me@db/x", own.clone()), joined("postgres://me@db/x?password=p%20%40ss"));
        let url = "postgres://me@db/x?sslmode=require";
        assert_eq!(with(url, own.clone()), joined("postgres://me@db/x?sslmode=require&password=p%20%40ss"));
        assert_eq!(with("postgres://me:own@db/x", None), joined("postgres://me:own@db/x"));
        assert_eq!(with("Postgres://Me:Own@db/x", None), joined("postgres://Me:Own@db/x"));
        assert_eq!(DatabaseSettings::default().address(), Ok(None));
        std::fs::write(file.path(), "\n").unwrap();
        let error = with("postgres://me@db/x", own).unwrap_err();
        assert!(error.starts_with("`database.password_file`: there is no password in "), "{error}");
    }

    #[test]
    fn settings_are_checked_by_name() {
        let check = |change: &dyn Fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check_database().map_err(|error| error.to_string())
        };
        assert_eq!(check(&|_| {}), Ok(()));
        let rejected = |change: &dyn Fn(&mut Settings), problem: &str| {
            let error = check(change).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        };
        rejected(&|settings| settings.role = Role::Worker, "`role`: \"worker\" given without `database.url`");
        let at = |settings: &mut Settings, url: &str| settings.database.url = Some(DatabaseUrl::new(url));
        for url in ["mysql://db/x", "postgres://", "host=db"] {
            rejected(&|settings| at(settings, url), "`database.url`: not the URL of a database of PostgreSQL");
        }
        if cfg!(not(feature = "postgres")) {
            rejected(&|settings| at(settings, "postgres://db/x"), "`database.url`: this program was built without");
            return;
        }
        let good = |settings: &mut Settings| at(settings, "postgres://me:hush@db/x");
        assert_eq!(check(&good), Ok(()));
        let with = |settings: &mut Settings, lease: u64| {
            good(settings);
            settings.database.lease = Duration::from_millis(lease);
        };
        assert_eq!(check(&|settings| with(settings, 1000)), Ok(()));
        rejected(&|settings| with(settings, 999), "`database.lease`: 0s given; give a time from \"1s\"");
        rejected(&|settings| with(settings, 600_001), "`database.lease`: ");
        rejected(
            &|settings| {
                good(settings);
                settings.database.connections = 0;
            },
            "`database.connections`: 0 given",
        );
        rejected(
            &|settings| {
                good(settings);
                settings.database.password_file = Some("x".into());
            },
            "`database.password_file`: `database.url` has a password, too",
        );
        let api = |settings: &mut Settings| {
            good(settings);
            settings.role = Role::Api;
        };
        rejected(&api, "`public_url`: missing; the role is \"api\"");
        let public = |settings: &mut Settings| {
            api(settings);
            settings.public_url = Some("https://images.example.com".to_owned());
        };
        assert_eq!(check(&public), Ok(()));
    }

    #[test]
    fn a_role_answers_calls_or_runs_tasks() {
        let does = |role: Role| (role.answers_calls(), role.runs_tasks());
        assert_eq!([Role::All, Role::Api, Role::Worker].map(does), [(true, true), (true, false), (false, true)]);
    }
}
