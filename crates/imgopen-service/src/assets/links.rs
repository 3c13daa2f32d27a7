//! Signed addresses at which callers get files from a bucket.
//!
//! Each signature makes another address, and caches know a file by its address. So one is handed out for half the time that it is
//! valid, and is then still valid for the other half.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imgopen_store::AssetToken;
use object_store::signer::{Method, Signer};
use tokio::time::Instant;

use super::error::AssetError;
use super::requests::Bucket;

/// How many addresses are kept. With more, the oldest are made again.
const MOST: usize = 20_000;

/// The addresses.
#[derive(Debug)]
pub struct Links {
    /// The bucket at the address by which callers reach it.
    bucket: Arc<Bucket>,
    valid: Duration,
    kept: Mutex<HashMap<AssetToken, (String, Instant)>>,
}

impl Links {
    /// Makes addresses that are valid for that long.
    pub fn new(bucket: Arc<Bucket>, valid: Duration) -> Self {
        Self { bucket, valid, kept: Mutex::default() }
    }

    /// How long an answer with an address may be kept.
    pub fn fresh_for(&self) -> Duration {
        self.valid / 2
    }

    /// Returns the address of a file that was signed lately.
    pub fn kept(&self, token: &AssetToken) -> Option<String> {
        let kept = self.lock();
        kept.get(token).filter(|(_, signed)| signed.elapsed() < self.fresh_for()).map(|(url, _)| url.clone())
    }

    /// Signs the address of a file.
    pub async fn sign(&self, token: &AssetToken) -> Result<String, AssetError> {
        let (place, signed) = (self.bucket.place(token), Instant::now());
        let url = self.bucket.answered(self.bucket.files.signed_url(Method::GET, &place, self.valid)).await?;
        let mut kept = self.lock();
        if kept.len() >= MOST {
            kept.retain(|_, (_, signed)| signed.elapsed() < self.fresh_for());
        }
        // All of them are asked for at once: some more signatures cost little.
        if kept.len() >= MOST {
            kept.clear();
        }
        // Two that were asked for at the same moment get the same.
        let (url, _) = kept
            .entry(token.clone())
            .and_modify(|kept| {
                if kept.1.elapsed() >= self.fresh_for() {
                    *kept = (url.to_string(), signed);
                }
            })
            .or_insert_with(|| (url.to_string(), signed))
            .clone();
        Ok(url)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AssetToken, (String, Instant)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
