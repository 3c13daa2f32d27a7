//! Ids and secrets: what names a task, a callback, a picture, and what nobody may guess.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// The system gave no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
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

            impl rusqlite::ToSql for $name {
                fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
                    self.0.to_sql()
                }
            }

            impl rusqlite::types::FromSql for $name {
                fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
                    String::column_result(value).map(Self)
                }
            }
        )+
    };
}

ids! {
    /// The platform's id of a task: unique for ever.
    TaskId
    /// The id of an access key.
    KeyId
    /// The id of a callback, sent as `webhook-id`; the same in every try.
    CallbackId
    /// The unguessable part of an asset's URL.
    AssetToken
}

impl TaskId {
    /// A new id, in the vendor's way: a word, 13 digits of epoch milliseconds and 9 random digits.
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
    /// A new id: 16 random hexadecimal digits.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self(format!("ak_{}", hex(&random::<8>()?))))
    }
}

impl CallbackId {
    /// A new id, in the way of Standard Webhooks.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self(format!("msg_{}", hex(&random::<16>()?))))
    }
}

impl AssetToken {
    /// A new token of 160 random bits, with the file's extension.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn new(extension: &str) -> Result<Self, NoRandomness> {
        Ok(Self(format!("{}.{extension}", hex(&random::<20>()?))))
    }
}

/// A new secret of an access key: 256 random bits.
pub(crate) fn key_secret() -> Result<String, NoRandomness> {
    Ok(format!("sk_{}", URL_SAFE_NO_PAD.encode(random::<32>()?)))
}

/// A new secret to sign callbacks with, in the form of Standard Webhooks.
pub(crate) fn signing_secret() -> Result<String, NoRandomness> {
    Ok(format!("whsec_{}", STANDARD.encode(random::<32>()?)))
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// The bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_form_and_do_not_repeat() {
        let id = TaskId::new(Moment(1_718_697_515_338)).unwrap();
        assert!(id.0.starts_with("img1718697515338") && id.0.len() == 3 + 13 + 9, "{id}");
        assert_ne!(KeyId::new().unwrap(), KeyId::new().unwrap());
        assert_ne!(key_secret().unwrap(), key_secret().unwrap());
        assert_eq!(AssetToken::new("png").unwrap().0.len(), 44);
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
    }
}
