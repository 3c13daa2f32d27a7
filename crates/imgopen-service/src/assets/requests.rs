//! Requests to a bucket: each has a limit, and an error that says what is wrong with the bucket.
//!
//! The library repeats what failed for a reason that may pass, within these limits. Only what all servers of this kind have is
//! used: no conditional requests, no tags, no checksums beside the signature.

use std::ffi::OsString;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{BoxStream, try_unfold};
use futures_util::{StreamExt, TryStreamExt};
use imgopen_store::AssetToken;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::path::Path as Place;
use object_store::{
    BackoffConfig, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig, StaticCredentialProvider,
};
use tokio::time::timeout;

use super::error::AssetError;
use super::faults::{self, Fault};
use super::tokens::{is_shelf, is_token, shelf};
use crate::settings::storage::{AccessKey, Location, with_bucket};
use crate::settings::{InvalidSetting, StorageSettings};

/// How long a short request may take, its repetitions included: callers wait for it.
pub const ANSWER: Duration = Duration::from_secs(10);

/// How long it may take to list what is directly below the prefix.
const LISTING: Duration = Duration::from_secs(60);

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The slowest upload that is waited for, in bytes a second, beside [`ANSWER`].
const SLOWEST: u64 = 128 << 10;

/// How long a server may keep silent in any case. What is waited for has shorter limits.
const SILENCE: Duration = Duration::from_secs(5 * 60);

/// A bucket, with the beginning of the names of all objects that are ours.
#[derive(Debug)]
pub struct Bucket {
    pub files: AmazonS3,
    location: Location,
    prefix: Place,
    /// Whether no access key is set, so that the machine is asked for one, as on AWS.
    is_keyless: bool,
}

/// The variables with an access key, or with the way to one.
const KEY_VARIABLES: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// The beginning of addresses without TLS.
const HTTP: &str = "http://";

/// Whether a variable is not set or empty: a compose file makes an empty one of what is not set outside.
fn is_unset(name: &str) -> bool {
    std::env::var_os(name).is_none_or(|value| value.is_empty())
}

/// Starts with what the variables of AWS say. Empty ones count as unset.
fn of_environment(variables: impl Iterator<Item = (OsString, OsString)>) -> AmazonS3Builder {
    variables.fold(AmazonS3Builder::new(), |builder, (name, value)| {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { return builder };
        match name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            Ok(key) if name.starts_with("AWS_") && !value.is_empty() => builder.with_config(key, value),
            _ => builder,
        }
    })
}

impl Bucket {
    /// Opens the bucket of the settings at an address: that of the settings, or the one by which callers reach it. Connects to
    /// nothing.
    ///
    /// # Errors
    ///
    /// When the settings do not fit each other, or a secret cannot be read.
    pub fn open(
        settings: &StorageSettings,
        location: Location,
        endpoint: Option<&str>,
    ) -> Result<Self, InvalidSetting> {
        let invalid = |name: &str, problem: String| InvalidSetting { setting: format!("storage.{name}"), problem };
        let mut builder = of_environment(std::env::vars_os()).with_bucket_name(&location.bucket);
        let given = |key| builder.get_config_value(&key);
        let endpoint = endpoint.map(str::to_owned);
        let endpoint =
            endpoint.or_else(|| given(AmazonS3ConfigKey::S3Endpoint)).or_else(|| given(AmazonS3ConfigKey::Endpoint));
        if let Some(region) = &settings.region {
            builder = builder.with_region(region);
        }
        let key = settings.access_key()?;
        let is_keyless = key.is_none() && KEY_VARIABLES.iter().all(|name| is_unset(name));
        if let Some(AccessKey { id, secret, token }) = key {
            let (secret_key, token) = (secret.expose().to_owned(), token.map(|token| token.expose().to_owned()));
            let key = AwsCredential { key_id: id, secret_key, token };
            builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(key)));
        }
        // Certificates of AWS do not cover a dot in the name of a bucket.
        let is_path_style = settings.path_style.unwrap_or(endpoint.is_some() || location.bucket.contains('.'));
        let is_http = endpoint
            .as_ref()
            .is_some_and(|endpoint| endpoint.get(..HTTP.len()).is_some_and(|start| start.eq_ignore_ascii_case(HTTP)));
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT)
            .with_timeout_disabled()
            .with_read_timeout(SILENCE)
            .with_allow_http(is_http);
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(2),
            ..BackoffConfig::default()
        };
        builder = builder
            .with_virtual_hosted_style_request(!is_path_style)
            .with_disable_bulk_delete(true)
            .with_disable_tagging(true)
            .with_client_options(options)
            .with_retry(RetryConfig { backoff, max_retries: 3, retry_timeout: ANSWER });
        if let Some(endpoint) = endpoint {
            let problem =
                || format!("false given, but the host of {endpoint} has no name; leave `storage.path_style` out");
            let at = match is_path_style {
                true => endpoint.trim_end_matches('/').to_owned(),
                false => with_bucket(&endpoint, &location.bucket).ok_or_else(|| invalid("path_style", problem()))?,
            };
            // It counts more than the other one, which may come from the environment.
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, at);
        }
        let files = builder.build().map_err(|error| invalid("url", format!("the bucket cannot be opened: {error}")))?;
        let prefix = Place::from(location.prefix.as_str());
        Ok(Self { files, location, prefix, is_keyless })
    }

    /// Returns the address of an object beside the pictures, such as `s3://bucket/prefix/imgopen-mark`.
    pub fn shown_object(&self, name: &str) -> String {
        format!("{}/{name}", self.location)
    }

    /// Returns the address, such as `s3://bucket/prefix`.
    pub fn shown(&self) -> String {
        self.location.to_string()
    }

    /// Returns the place of an object beside the pictures.
    pub fn named(&self, name: &str) -> Place {
        self.prefix.clone().join(name)
    }

    /// Returns the place of a file. As in a directory, so that files can be copied from one to the other.
    pub fn place(&self, token: &AssetToken) -> Place {
        self.named(shelf(token.as_str())).join(token.as_str())
    }

    /// Waits for a request that sends that many bytes.
    ///
    /// # Errors
    ///
    /// When it fails, or takes too long. [`AssetError::Files`] only if it is about the object alone.
    pub async fn sent<T>(
        &self,
        bytes: u64,
        request: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<T, AssetError> {
        self.within(ANSWER + Duration::from_secs(bytes / SLOWEST), request).await
    }

    /// Waits for a short request, in the same way.
    pub async fn answered<T>(
        &self,
        request: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<T, AssetError> {
        self.within(ANSWER, request).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<T, AssetError> {
        match timeout(limit, request).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => match faults::of(&error) {
                Fault::NoObject | Fault::NoRange => Err(AssetError::Files(error)),
                Fault::Bucket(problem) => Err(self.unusable(problem)),
            },
            Err(_) => {
                let seconds = limit.as_secs();
                Err(self.unusable(format!(
                    "the server does not answer within {seconds} s; check the server at `storage.endpoint`, and the network"
                )))
            }
        }
    }

    /// The error that the bucket cannot be used.
    pub fn unusable(&self, mut problem: String) -> AssetError {
        if self.is_keyless {
            problem += "; neither the settings nor the environment have an access key, so the machine was asked for one, as on \
                        AWS; elsewhere, give `storage.access_key_id` and its secret";
        }
        AssetError::Bucket { bucket: self.shown(), problem }
    }

    /// Returns the size of a file. `None` if there is none.
    pub async fn size(&self, token: &AssetToken) -> Result<Option<u64>, AssetError> {
        let place = self.place(token);
        match self.answered(self.files.head(&place)).await {
            Ok(object) => Ok(Some(object.size)),
            Err(AssetError::Files(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the names of what is directly below the prefix like a directory and may hold pictures.
    pub async fn shelves(&self) -> Result<Vec<String>, AssetError> {
        let listed = self.within(LISTING, self.files.list_with_delimiter(Some(&self.prefix))).await?;
        let names = listed.common_prefixes.iter().filter_map(Place::filename).filter(|name| is_shelf(name));
        Ok(names.map(str::to_owned).collect())
    }

    /// Streams the files of a shelf with their sizes, in the order of their names; those after a name, if one is given.
    pub fn on_shelf(
        self: &Arc<Self>,
        shelf: &str,
        after: Option<&str>,
    ) -> BoxStream<'static, Result<(AssetToken, u64), AssetError>> {
        let place = self.named(shelf);
        let listed = match after {
            Some(name) => self.files.list_with_offset(Some(&place), &place.clone().join(name)),
            None => self.files.list(Some(&place)),
        };
        let depth = place.parts_count() + 1;
        let files = self.in_time(listed).try_filter_map(move |object| async move {
            // Another service may use a longer prefix.
            if object.location.parts_count() != depth {
                return Ok(None);
            }
            let token = object.location.filename().map(|name| AssetToken(name.to_owned()));
            Ok(token.filter(is_token).map(|token| (token, object.size)))
        });
        files.boxed()
    }

    /// Returns files of a shelf with their sizes, in the order of their names, from after that one, at most so many.
    pub async fn page(
        self: &Arc<Self>,
        shelf: &str,
        after: Option<&AssetToken>,
        most: usize,
    ) -> Result<Vec<(AssetToken, u64)>, AssetError> {
        self.on_shelf(shelf, after.map(AssetToken::as_str)).take(most).try_collect().await
    }

    /// Whether there is any object below the prefix, but for those directly below it whose names begin so.
    pub async fn has_more_than(self: &Arc<Self>, own: &str) -> Result<bool, AssetError> {
        let depth = self.prefix.parts_count() + 1;
        let mut listed = self.in_time(self.files.list(Some(&self.prefix)));
        while let Some(object) = listed.try_next().await? {
            let name = object.location.filename().unwrap_or_default();
            if object.location.parts_count() != depth || !name.starts_with(own) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the places of the objects directly below the prefix whose names begin so and are longer.
    pub async fn begin_with(self: &Arc<Self>, start: &str) -> Result<Vec<Place>, AssetError> {
        let (first, depth) = (self.named(start), self.prefix.parts_count() + 1);
        let mut listed = self.in_time(self.files.list_with_offset(Some(&self.prefix), &first));
        let mut found = Vec::new();
        while let Some(ObjectMeta { location, .. }) = listed.try_next().await? {
            // In the order of names, they come first.
            let (name, first): (&str, &str) = (location.as_ref(), first.as_ref());
            if !name.starts_with(first) {
                break;
            }
            if location.parts_count() == depth {
                found.push(location);
            }
        }
        Ok(found)
    }

    /// Waits for each part of a list for as long as for a short request.
    fn in_time(
        self: &Arc<Self>,
        listed: BoxStream<'static, Result<ObjectMeta, object_store::Error>>,
    ) -> BoxStream<'static, Result<ObjectMeta, AssetError>> {
        let bucket = self.clone();
        let listed = try_unfold(listed, move |mut listed| {
            let bucket = bucket.clone();
            async move {
                let next = bucket.answered(async { listed.next().await.transpose() }).await?;
                Ok::<_, AssetError>(next.map(|object| (object, listed)))
            }
        });
        listed.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_variables_count_as_unset() {
        let given = [
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ENDPOINT", "http://10.0.0.1:9000"),
            ("AWS_NOTHING", "x"),
            ("BUCKET", "pictures"),
        ];
        let builder = of_environment(given.into_iter().map(|(name, value)| (name.into(), value.into())));
        let value = |key| builder.get_config_value(&key);
        assert_eq!(value(AmazonS3ConfigKey::AccessKeyId), None);
        assert_eq!(value(AmazonS3ConfigKey::SecretAccessKey), None);
        assert_eq!(value(AmazonS3ConfigKey::Region).as_deref(), Some("eu-central-1"));
        assert_eq!(value(AmazonS3ConfigKey::Endpoint).as_deref(), Some("http://10.0.0.1:9000"));
        assert_eq!(value(AmazonS3ConfigKey::Bucket), None);
    }
}
