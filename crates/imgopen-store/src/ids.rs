//! Ids and secrets of tasks, runs, owners, keys, callbacks, claims and assets.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// The operating system gave no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random numbers: {0}")]
pub struct NoRandomness(getrandom::Error);

macro_rules! ids {
    ($($(#[$about:meta])* $name:ident)+) => {
        $(
            $(#[$about])*
            #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
            #[serde(transparent)]
            pub struct $name(pub String);

            impl $name {
                /// The id as text.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }
        )+
    };
}

ids! {
    /// The platform's id of a task. It is never used again.
    TaskId
    /// The id of an access key.
    KeyId
    /// The id of a callback, sent as `webhook-id`; the same in every delivery attempt.
    CallbackId
    /// The id of a claim of callbacks: the fence against records of attempts whose callback was claimed again.
    ClaimId
    /// The unguessable part of an asset's URL, and the name of its file.
    AssetToken
    /// The id of one run of a task: the fence against writes of runs that are over. Made at the claim.
    RunId
    /// The id of a process that runs tasks. Made at its start, so that a restarted process is another owner.
    OwnerId
}

impl TaskId {
    /// Makes an id in the vendor's form: a word, 13 digits of epoch milliseconds and 9 random digits.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn new(now: Moment) -> Result<Self, NoRandomness> {
        let number = u64::from_le_bytes(random::<8>()?) % 1_000_000_000;
        Ok(Self(format!("img{:013}{number:09}", now.0.max(0))))
    }
}

impl KeyId {
    /// The id of the key that stands for callers without one, where a service is open to them.
    pub const OPEN: &'static str = "open";

    /// Makes an id of 16 random hexadecimal digits.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self(format!("ak_{}", hex(&random::<8>()?))))
    }
}

impl CallbackId {
    /// Makes an id in the form of Standard Webhooks.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self(format!("msg_{}", hex(&random::<16>()?))))
    }
}

impl ClaimId {
    /// Makes an id of 128 random bits, as 32 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self(hex(&random::<16>()?)))
    }
}

impl AssetToken {
    /// Makes a token: the run that the asset is written in, 128 random bits, and the file's extension.
    ///
    /// Because of the run, the files of a run that did not end can be found by their names.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn new(run: &RunId, extension: &str) -> Result<Self, NoRandomness> {
        Ok(Self(format!("{run}{}.{extension}", hex(&random::<16>()?))))
    }

    /// Returns the run that the asset was written in. Unlike the token it is no secret. `None` for tokens of version 0.1.0.
    pub fn run(&self) -> Option<&str> {
        let (stem, _) = self.0.split_once('.')?;
        stem.get(..32).filter(|_| stem.len() == 64)
    }
}

impl RunId {
    /// Makes an id of 128 random bits, as 32 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self(hex(&random::<16>()?)))
    }
}

impl OwnerId {
    /// Makes an id of 128 random bits, as 32 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self(hex(&random::<16>()?)))
    }
}

/// Makes the secret of an access key: 256 random bits.
///
/// # Errors
///
/// When the system gives no random numbers.
pub fn key_secret() -> Result<String, NoRandomness> {
    Ok(format!("sk_{}", URL_SAFE_NO_PAD.encode(random::<32>()?)))
}

/// Makes a secret to sign callbacks with, in the form of Standard Webhooks.
///
/// # Errors
///
/// When the system gives no random numbers.
pub fn signing_secret() -> Result<String, NoRandomness> {
    Ok(format!("whsec_{}", STANDARD.encode(random::<32>()?)))
}

/// Makes a random number that is not negative, which identifies something.
///
/// # Errors
///
/// When the system gives no random numbers.
pub fn number() -> Result<i64, NoRandomness> {
    Ok(i64::from_be_bytes(random()?) & i64::MAX)
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_form_and_are_random() {
        let id = TaskId::new(Moment(1_718_697_515_338)).unwrap();
        assert!(id.0.starts_with("img1718697515338") && id.0.len() == 3 + 13 + 9, "{id}");
        assert_ne!(KeyId::new().unwrap(), KeyId::new().unwrap());
        assert_ne!(key_secret().unwrap(), key_secret().unwrap());
        let run = RunId::new().unwrap();
        let token = AssetToken::new(&run, "png").unwrap();
        assert!(run.0.len() == 32 && token.0.len() == 68 && token.0.starts_with(run.as_str()), "{token}");
        assert_ne!(token, AssetToken::new(&run, "png").unwrap());
        assert_eq!(token.run(), Some(run.as_str()));
        for other in ["", "x.png", "0123456789abcdef0123456789abcdef.png"] {
            assert_eq!(AssetToken(other.to_owned()).run(), None, "{other}");
        }
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
    }
}
