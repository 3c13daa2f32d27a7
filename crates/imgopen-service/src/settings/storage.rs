//! Settings of a bucket that holds the pictures and other files of results in place of the data directory.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use super::addresses::base;
use super::invalid::InvalidSetting;
use crate::durations;

/// The scheme of the addresses of buckets.
const SCHEME: &str = "s3://";

/// What is shown in place of a secret.
const HIDDEN: &str = "(hidden)";

/// How long the address of a picture may be valid: a signature is valid for a week at most.
const VALID: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(7 * 24 * 60 * 60)];

/// Where the files of results are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSettings {
    /// The bucket, and the beginning of the names of all objects in it, such as `s3://bucket/prefix`. Unless set, files are in the
    /// data directory, and the other settings here do nothing.
    pub url: Option<String>,
    /// The address of the server, such as `https://s3.example.com`. Unless set, that of AWS.
    pub endpoint: Option<String>,
    /// The region. Unless set, `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket is named in the path of addresses rather than in their host. Unless set, only if `endpoint` is set.
    pub path_style: Option<bool>,
    /// The id of the access key. Unless set, the key is looked for in the environment as other programs for AWS do.
    pub access_key_id: Option<String>,
    /// The secret of the access key; one of this and the next two.
    pub secret_access_key: Option<Secret>,
    /// The file that holds the secret. It is read when the service starts.
    pub secret_access_key_file: Option<PathBuf>,
    /// The environment variable that holds the secret.
    pub secret_access_key_variable: Option<String>,
    /// The token of a temporary access key.
    pub session_token: Option<Secret>,
    /// How callers get files.
    pub serve: Serving,
    /// How long the address that a caller is redirected to is valid, from a minute to seven days.
    #[serde(with = "durations::required")]
    pub redirect_for: Duration,
    /// The address at which callers reach the server, which they are redirected to. Unless set, `endpoint`.
    pub public_endpoint: Option<String>,
}

/// How callers get files of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serving {
    /// From the service, which reads them from the bucket.
    #[default]
    Proxy,
    /// From the bucket, at a signed address that the service redirects to.
    Redirect,
}

/// A secret, which is never printed: it is written as `(hidden)`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// A place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub bucket: String,
    /// The beginning of the names of all objects, without slashes at its ends. Empty for the whole bucket.
    pub prefix: String,
}

/// An access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessKey {
    pub id: String,
    pub secret: Secret,
    pub token: Option<Secret>,
}

impl Secret {
    /// Keeps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, prefix } = self;
        if prefix.is_empty() { write!(f, "{SCHEME}{bucket}") } else { write!(f, "{SCHEME}{bucket}/{prefix}") }
    }
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            url: None,
            endpoint: None,
            region: None,
            path_style: None,
            access_key_id: None,
            secret_access_key: None,
            secret_access_key_file: None,
            secret_access_key_variable: None,
            session_token: None,
            serve: Serving::default(),
            redirect_for: Duration::from_secs(10 * 60),
            public_endpoint: None,
        }
    }
}

impl StorageSettings {
    /// Returns the bucket as messages name it, such as `s3://bucket/prefix`. `None` if files are in the data directory.
    ///
    /// # Errors
    ///
    /// When `url` is not the address of a bucket.
    pub fn shown(&self) -> Result<Option<String>, InvalidSetting> {
        Ok(self.location()?.map(|location| location.to_string()))
    }

    /// Returns the place of the files. `None` for the data directory.
    pub(crate) fn location(&self) -> Result<Option<Location>, InvalidSetting> {
        self.url.as_deref().map(location).transpose().map_err(|problem| invalid("url", problem))
    }

    /// Returns the access key of the settings. `None` if it is to be looked for in the environment.
    ///
    /// # Errors
    ///
    /// When the secret cannot be read.
    pub(crate) fn access_key(&self) -> Result<Option<AccessKey>, InvalidSetting> {
        let Some(id) = self.access_key_id.clone() else { return Ok(None) };
        let secret = match (&self.secret_access_key_file, &self.secret_access_key_variable, &self.secret_access_key) {
            (Some(file), ..) => {
                let text = std::fs::read_to_string(file);
                let text = text.map_err(|error| format!("{} cannot be read: {error}", file.display()));
                whole("secret_access_key_file", text)?
            }
            (None, Some(variable), _) => {
                let text = std::env::var(variable).map_err(|error| format!("{variable}: {error}"));
                whole("secret_access_key_variable", text)?
            }
            (None, None, Some(secret)) => secret.clone(),
            (None, None, None) => return Err(without_secret()),
        };
        Ok(Some(AccessKey { id, secret, token: self.session_token.clone() }))
    }

    /// Checks the settings against each other, without reading any secret.
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        self.location()?;
        for (name, address) in [("endpoint", &self.endpoint), ("public_endpoint", &self.public_endpoint)] {
            if let Some(address) = address {
                base(address)
                    .map_err(|problem| invalid(name, problem.replace("images.example.com", "s3.example.com")))?;
            }
        }
        let is_region =
            |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if let Some(region) = self.region.as_ref().filter(|text| !is_region(text)) {
            return Err(invalid("region", format!("{region:?} is not a region; give one such as \"eu-central-1\"")));
        }
        let [least, most] = VALID;
        if !(least..=most).contains(&self.redirect_for) {
            let given = durations::text(self.redirect_for);
            return Err(invalid("redirect_for", format!("{given} given; give a time from \"1m\" to \"7d\"")));
        }
        self.check_key()
    }

    fn check_key(&self) -> Result<(), InvalidSetting> {
        let secrets = [
            ("secret_access_key", self.secret_access_key.is_some()),
            ("secret_access_key_file", self.secret_access_key_file.is_some()),
            ("secret_access_key_variable", self.secret_access_key_variable.is_some()),
        ];
        let given: Vec<_> = secrets.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect();
        match (&self.access_key_id, &given[..]) {
            (Some(id), _) if id.trim().is_empty() => {
                Err(invalid("access_key_id", "empty; give the id of an access key, or leave it out".to_owned()))
            }
            (Some(_), []) => Err(without_secret()),
            (_, [first, second, ..]) => {
                Err(invalid(first, format!("`storage.{second}` is given, too; give one of them")))
            }
            (None, [name]) => Err(invalid(name, "given without `storage.access_key_id`; give both".to_owned())),
            (None, []) if self.session_token.is_some() => {
                Err(invalid("session_token", "given without `storage.access_key_id`; give both".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

fn invalid(name: &str, problem: String) -> InvalidSetting {
    InvalidSetting { setting: format!("storage.{name}"), problem }
}

fn without_secret() -> InvalidSetting {
    let problem = "given without a secret; give `storage.secret_access_key_file`, `storage.secret_access_key_variable` or \
                   `storage.secret_access_key`";
    invalid("access_key_id", problem.to_owned())
}

/// A secret as it stands in a file or a variable, which may end with the end of a line.
fn whole(name: &str, text: Result<String, String>) -> Result<Secret, InvalidSetting> {
    let text = text.map_err(|problem| invalid(name, problem))?;
    match text.trim() {
        "" => Err(invalid(name, "there is no secret in it".to_owned())),
        secret => Ok(Secret::new(secret)),
    }
}

/// Reads the address of a bucket.
fn location(text: &str) -> Result<Location, String> {
    const EXAMPLE: &str = "give one such as `s3://bucket/prefix`";
    // A password may stand before an `@`.
    if text.contains('@') {
        return Err(format!("not the address of a bucket, which has no user and no password; {EXAMPLE}"));
    }
    let (scheme, rest) = text.split_at_checked(SCHEME.len()).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(format!("{text:?} is not the address of a bucket; {EXAMPLE}"));
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(is_plain) || bucket.contains("..") {
        let rule = "it has 3 to 63 small letters, digits, dots and hyphens";
        return Err(format!("{bucket:?} is not the name of a bucket; {rule}; {EXAMPLE}"));
    }
    let prefix = prefix.trim_end_matches('/');
    let is_part = |part: &str| {
        !["", ".", ".."].contains(&part)
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if !prefix.is_empty() && !prefix.split('/').all(is_part) {
        let rule = "between slashes, it has letters, digits, hyphens, underscores and dots";
        return Err(format!("{prefix:?} cannot be a prefix; {rule}; {EXAMPLE}"));
    }
    Ok(Location { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// Returns the address of a server with the bucket in its host. `None` if its host is an IP address.
pub(crate) fn with_bucket(endpoint: &str, bucket: &str) -> Option<String> {
    let mut url = Url::parse(endpoint).ok()?;
    let host = format!("{bucket}.{}", url.domain()?);
    url.set_host(Some(&host)).ok()?;
    Some(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_bucket_and_a_prefix() {
        for (text, bucket, prefix) in [
            ("s3://pictures", "pictures", ""),
            ("s3://pictures/", "pictures", ""),
            ("s3://my.pictures/imgopen/", "my.pictures", "imgopen"),
            ("s3://p1-2/a_b/C.d", "p1-2", "a_b/C.d"),
            ("S3://pictures", "pictures", ""),
        ] {
            let expected = Location { bucket: bucket.to_owned(), prefix: prefix.to_owned() };
            assert_eq!(location(text), Ok(expected.clone()), "{text}");
            assert_eq!(location(&expected.to_string()), Ok(expected));
        }
        for (text, problem) in [
            ("pictures", "\"pictures\" is not the address of a bucket; give one such as `s3://bucket/prefix`"),
            ("https://s3.example.com/pictures", "is not the address of a bucket"),
            ("s3://", "\"\" is not the name of a bucket; it has 3 to 63"),
            ("s3://ab", "\"ab\" is not the name of a bucket"),
            ("s3://Pictures", "is not the name of a bucket"),
            ("s3://pic..tures", "is not the name of a bucket"),
            ("s3://pictures//a", "\"/a\" cannot be a prefix; between slashes"),
            ("s3://pictures/a/../b", "cannot be a prefix"),
            ("s3://pictures/a b", "cannot be a prefix"),
            ("s3://me:hush@pictures", "has no user and no password"),
        ] {
            let error = location(text).unwrap_err();
            assert!(error.contains(problem) && !error.contains("hush"), "{text}: {error}");
        }
    }

    fn checked(text: &str) -> Result<(), String> {
        serde_json::from_str::<StorageSettings>(text).unwrap().check().map_err(|error| error.to_string())
    }

    #[test]
    fn settings_are_checked_by_name() {
        assert_eq!(checked("{}"), Ok(()));
        let all = r#"{"url": "s3://pictures", "endpoint": "http://10.0.0.1:9000", "region": "garage", "path_style": true,
            "access_key_id": "me", "secret_access_key": "hush", "session_token": "t", "serve": "redirect",
            "redirect_for": "1m", "public_endpoint": "https://s3.example.com"}"#;
        assert_eq!(checked(all), Ok(()));
        for (text, problem) in [
            (r#"{"url": "pictures"}"#, "`storage.url`: \"pictures\" is not the address"),
            (
                r#"{"endpoint": "10.0.0.1:9000"}"#,
                "`storage.endpoint`: \"10.0.0.1:9000\" is not a URL; give one such as `https://s3.",
            ),
            (r#"{"endpoint": "http://me:hush@a.example"}"#, "`storage.endpoint`: the URL has a user name or password"),
            (r#"{"public_endpoint": "https://a.example/?b"}"#, "`storage.public_endpoint`: the URL has a query"),
            (r#"{"region": "eu central"}"#, "`storage.region`: \"eu central\" is not a region"),
            (r#"{"redirect_for": "59s"}"#, "`storage.redirect_for`: 59s given; give a time from \"1m\" to \"7d\""),
            (r#"{"redirect_for": "8d"}"#, "`storage.redirect_for`: "),
            (r#"{"access_key_id": "me"}"#, "`storage.access_key_id`: given without a secret"),
            (r#"{"access_key_id": " ", "secret_access_key": "hush"}"#, "`storage.access_key_id`: empty"),
            (r#"{"secret_access_key": "hush"}"#, "`storage.secret_access_key`: given without `storage.access_key_id`"),
            (r#"{"session_token": "hush"}"#, "`storage.session_token`: given without `storage.access_key_id`"),
            (
                r#"{"access_key_id": "me", "secret_access_key": "hush", "secret_access_key_file": "a"}"#,
                "`storage.secret_access_key`: `storage.secret_access_key_file` is given, too",
            ),
        ] {
            let error = checked(text).unwrap_err();
            assert!(error.starts_with(problem) && !error.contains("hush"), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_are_read_from_where_they_are_and_never_printed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush\n").unwrap();
        let id = Some("me".to_owned());
        let named = StorageSettings {
            access_key_id: id.clone(),
            secret_access_key_file: Some(file.path().to_owned()),
            ..StorageSettings::default()
        };
        let key = named.access_key().unwrap().unwrap();
        assert_eq!((key.id.as_str(), key.secret.expose(), &key.token), ("me", "hush", &None));
        let (secret, token) = (Some(Secret::new("hush")), Some(Secret::new("hush")));
        let given = StorageSettings {
            access_key_id: id,
            secret_access_key: secret,
            session_token: token,
            ..StorageSettings::default()
        };
        assert_eq!(given.access_key().unwrap().unwrap().token, Some(Secret::new("hush")));
        let printed = format!("{given:?} {key:?} {}", serde_json::to_string(&given).unwrap());
        assert!(!printed.contains("hush") && printed.contains("\"(hidden)\""), "{printed}");
        std::fs::write(file.path(), "\n").unwrap();
        let error = named.access_key().unwrap_err().to_string();
        assert_eq!(error, "`storage.secret_access_key_file`: there is no secret in it");
        assert_eq!(StorageSettings::default().access_key(), Ok(None));
    }

    #[test]
    fn a_bucket_stands_before_a_host_with_a_name() {
        let with = |endpoint: &str| with_bucket(endpoint, "pictures");
        assert_eq!(with("https://s3.example.com").as_deref(), Some("https://pictures.s3.example.com"));
        assert_eq!(with("http://localhost:9000/").as_deref(), Some("http://pictures.localhost:9000"));
        assert_eq!(with("http://10.0.0.1:9000"), None);
    }
}
