//! Access keys: each has a secret that is shown once, kept as a hash and compared in constant time.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use imgopen_store::{Clock, KeyId, KeyRow, Moment, NoRandomness, Store, StoreError, key_secret, signing_secret};
use imgopen_types::Credentials;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How long a cached key is trusted, which is how long a revoked one may still be used.
const TRUST: Duration = Duration::from_secs(1);

/// A new access key. Its secret cannot be read again.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The id and the secret, which callers send.
    pub credentials: Credentials,
    /// What the callbacks of its tasks are signed with, such as `whsec_…`.
    pub signing_secret: String,
    /// The row that is stored.
    pub row: KeyRow,
}

/// An error of creating or finding a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No key has that id.
    #[error("no access key has the id {0}; `imgopen keys list` shows all")]
    Unknown(KeyId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl NewKey {
    /// Makes a key without storing it.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn make(name: &str, now: Moment) -> Result<Self, NoRandomness> {
        Self::with_id(KeyId::new()?, name, now)
    }

    fn with_id(id: KeyId, name: &str, now: Moment) -> Result<Self, NoRandomness> {
        let (secret, signing_secret) = (key_secret()?, signing_secret()?);
        let row = KeyRow {
            id: id.clone(),
            name: name.to_owned(),
            secret_hash: hash(&secret).to_vec(),
            signing_secret: signing_secret.clone(),
            previous_secrets: Vec::new(),
            created_at: now,
            revoked_at: None,
        };
        Ok(Self { credentials: Credentials::new(id.0, secret), signing_secret, row })
    }
}

/// The access keys in a store. Clones share a cache.
#[derive(Debug, Clone)]
pub struct Keys {
    store: Arc<dyn Store>,
    clock: Clock,
    cache: Arc<RwLock<HashMap<KeyId, Cached>>>,
}

#[derive(Debug, Clone)]
struct Cached {
    row: Arc<KeyRow>,
    /// By the uptime, because a clock that is put back must not keep a revoked key alive.
    read_at: Duration,
}

/// What the callbacks of a key's tasks are signed with.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    /// The current secret, and those that it replaced lately.
    pub secrets: Vec<String>,
    /// Whether the key is revoked.
    pub is_revoked: bool,
}

impl Keys {
    /// Manages the keys in a store.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock, cache: Arc::default() }
    }

    /// Creates a key and stores it.
    ///
    /// # Errors
    ///
    /// When the store or the system fails.
    pub async fn create(&self, name: &str) -> Result<NewKey, KeyError> {
        let key = NewKey::make(name, self.clock.now())?;
        self.store.add_key(key.row.clone()).await?;
        Ok(key)
    }

    /// Creates a key if there is none.
    ///
    /// # Errors
    ///
    /// When the store or the system fails.
    pub async fn create_first(&self, name: &str) -> Result<Option<NewKey>, KeyError> {
        let key = NewKey::make(name, self.clock.now())?;
        Ok(self.add_first(&key).await?.then_some(key))
    }

    /// Stores a key if there is none, and returns whether it did. Its secrets can be kept somewhere before.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn add_first(&self, key: &NewKey) -> Result<bool, KeyError> {
        Ok(self.store.add_first_key(key.row.clone()).await?)
    }

    /// Lists the keys, the oldest first.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn list(&self) -> Result<Vec<KeyRow>, KeyError> {
        Ok(self.store.keys().await?)
    }

    /// Revokes a key for good. A running service rejects it within a second.
    ///
    /// # Errors
    ///
    /// When there is no such key, or the store fails.
    pub async fn revoke(&self, id: KeyId) -> Result<(), KeyError> {
        match self.store.revoke_key(id.clone(), self.clock.now()).await? {
            true => Ok(()),
            false => Err(KeyError::Unknown(id)),
        }
    }

    /// Replaces the signing secret of a key, and returns the new one, which cannot be read again. Callbacks are signed with
    /// both until the overlap ends, so that receivers can change over without rejecting one. A running service takes the new
    /// one within a second.
    ///
    /// # Errors
    ///
    /// When there is no such key, or the store or the system fails.
    pub async fn rotate_signing_secret(&self, id: KeyId, overlap: Duration) -> Result<String, KeyError> {
        let (secret, now) = (signing_secret()?, self.clock.now());
        match self.store.rotate_signing_secret(id.clone(), secret.clone(), now.plus(overlap), now).await? {
            true => Ok(secret),
            false => Err(KeyError::Unknown(id)),
        }
    }

    /// Creates the key that stands for callers without one, unless it exists, so that their callbacks can be signed. Its
    /// secret is discarded.
    pub(crate) async fn make_open(&self) -> Result<(), KeyError> {
        let id = KeyId(KeyId::OPEN.to_owned());
        if self.store.key(id.clone()).await?.is_some() {
            return Ok(());
        }
        let key = NewKey::with_id(id.clone(), "callers without a key", self.clock.now())?;
        match self.store.add_key(key.row).await {
            // Another process may have made it at the same moment.
            Err(error) if self.store.key(id).await?.is_none() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether there is a key with that id, active or revoked.
    pub(crate) async fn knows(&self, id: &KeyId) -> Result<bool, StoreError> {
        Ok(self.find(id).await?.is_some())
    }

    /// Whether these are the id and the secret of an active key.
    pub(crate) async fn admits(&self, credentials: &Credentials) -> Result<bool, StoreError> {
        let given = hash(credentials.expose_secret());
        let row = self.find(&KeyId(credentials.access_key_id().to_owned())).await?;
        // Of no secret. Only the comparison of secrets must take constant time, because ids are not secret.
        let unknown = [0; 32];
        let expected = row.as_ref().map_or(unknown.as_slice(), |row| &row.secret_hash);
        let fits = bool::from(expected.ct_eq(given.as_slice()));
        Ok(fits && row.is_some_and(|row| row.revoked_at.is_none()))
    }

    /// Returns what the callbacks of a key's tasks are signed with.
    pub(crate) async fn signer(&self, id: &KeyId) -> Result<Option<Signer>, StoreError> {
        let now = self.clock.now();
        let signer = |row: Arc<KeyRow>| Signer {
            secrets: row.signing_secrets(now).into_iter().map(str::to_owned).collect(),
            is_revoked: row.revoked_at.is_some(),
        };
        Ok(self.find(id).await?.map(signer))
    }

    async fn find(&self, id: &KeyId) -> Result<Option<Arc<KeyRow>>, StoreError> {
        let now = self.clock.uptime();
        let cached = self.cache.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some(cached) = cached.filter(|cached| now.saturating_sub(cached.read_at) < TRUST) {
            return Ok(Some(cached.row));
        }
        let row = self.store.key(id.clone()).await?.map(Arc::new);
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        match &row {
            Some(row) => cache.insert(id.clone(), Cached { row: row.clone(), read_at: now }),
            None => cache.remove(id),
        };
        Ok(row)
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use imgopen_store::SqliteStore;

    use super::*;

    fn keys(directory: &std::path::Path) -> (Keys, Clock) {
        let clock = Clock::fixed(Moment(1_000_000));
        (Keys::new(Arc::new(SqliteStore::open(directory).unwrap()), clock.clone()), clock)
    }

    #[tokio::test]
    async fn a_key_is_admitted_until_it_is_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let (keys, clock) = keys(directory.path());
        let key = keys.create("mine").await.unwrap();
        let id = key.credentials.access_key_id().to_owned();
        assert!(keys.admits(&key.credentials).await.unwrap());
        for secret in ["", "guess", &format!("{} ", key.credentials.expose_secret())] {
            assert!(!keys.admits(&Credentials::new(&id, secret)).await.unwrap(), "{secret:?}");
        }
        assert!(!keys.admits(&Credentials::new("nobody", "")).await.unwrap());
        keys.revoke(KeyId(id)).await.unwrap();
        clock.set(Moment(1_000_000).plus(TRUST));
        assert!(!keys.admits(&key.credentials).await.unwrap());
        let error = keys.revoke(KeyId("nobody".into())).await.unwrap_err();
        assert_eq!(error.to_string(), "no access key has the id nobody; `imgopen keys list` shows all");
    }

    #[tokio::test]
    async fn the_secret_is_not_in_the_database() {
        let directory = tempfile::tempdir().unwrap();
        let (keys, _) = keys(directory.path());
        let key = keys.create_first("first").await.unwrap().unwrap();
        assert!(keys.create_first("second").await.unwrap().is_none());
        let secret = key.credentials.expose_secret().as_bytes();
        for file in std::fs::read_dir(directory.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }

    #[tokio::test]
    async fn the_open_key_has_no_usable_secret() {
        let directory = tempfile::tempdir().unwrap();
        let (keys, _) = keys(directory.path());
        keys.make_open().await.unwrap();
        keys.make_open().await.unwrap();
        assert!(!keys.admits(&Credentials::new(KeyId::OPEN, "")).await.unwrap());
        // It is not listed, cannot be revoked, and does not count as the first key.
        assert_eq!(keys.list().await.unwrap(), []);
        assert!(keys.revoke(KeyId(KeyId::OPEN.into())).await.is_err());
        assert!(keys.create_first("first").await.unwrap().is_some());
        let signer = keys.signer(&KeyId(KeyId::OPEN.into())).await.unwrap().unwrap();
        assert!(signer.secrets.len() == 1 && signer.secrets[0].starts_with("whsec_"));
    }

    #[tokio::test]
    async fn a_clock_that_is_put_back_keeps_no_revoked_key_alive() {
        let directory = tempfile::tempdir().unwrap();
        let (keys, clock) = keys(directory.path());
        let key = keys.create("mine").await.unwrap();
        assert!(keys.admits(&key.credentials).await.unwrap());
        clock.jump(Moment(10));
        keys.revoke(key.row.id.clone()).await.unwrap();
        clock.set(Moment(10).plus(TRUST));
        assert!(!keys.admits(&key.credentials).await.unwrap());
        // Nor does one that is put forward expire what was just read.
        let second = keys.create("second").await.unwrap();
        assert!(keys.admits(&second.credentials).await.unwrap());
        clock.jump(Moment(1_000_000_000));
        keys.revoke(second.row.id.clone()).await.unwrap();
        assert!(keys.admits(&second.credentials).await.unwrap());
    }

    #[tokio::test]
    async fn a_replaced_signing_secret_is_in_use_until_the_overlap_ends() {
        let directory = tempfile::tempdir().unwrap();
        let (keys, clock) = keys(directory.path());
        let key = keys.create("mine").await.unwrap();
        let id = key.row.id.clone();
        let secrets = async || keys.signer(&id).await.unwrap().unwrap().secrets;
        assert_eq!(secrets().await, std::slice::from_ref(&key.signing_secret));
        let hour = Duration::from_secs(3600);
        let new = keys.rotate_signing_secret(id.clone(), hour).await.unwrap();
        assert!(new.starts_with("whsec_") && new != key.signing_secret);
        // A running service has it within a second.
        clock.set(clock.now().plus(TRUST));
        assert_eq!(secrets().await, [new.clone(), key.signing_secret]);
        clock.set(clock.now().plus(hour));
        assert_eq!(secrets().await, [new]);
        let error = keys.rotate_signing_secret(KeyId("nobody".into()), hour).await.unwrap_err();
        assert!(matches!(error, KeyError::Unknown(_)), "{error}");
    }
}
