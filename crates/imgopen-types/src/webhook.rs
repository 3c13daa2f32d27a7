//! Signatures of pushed callbacks, by the rules of Standard Webhooks, <https://www.standardwebhooks.com>: how a sender
//! makes them and how a receiver checks them.
//!
//! The hosted API documents no signature; a self-hosted server can sign what it pushes. A push then carries three headers:
//! [`ID_HEADER`], the same for every attempt of one push; [`TIMESTAMP_HEADER`], when it was sent; and [`SIGNATURE_HEADER`], an
//! HMAC-SHA256 over both and the body.
//!
//! ```
//! use std::time::SystemTime;
//! use imgopen_types::webhook::{Claim, MessageId, SIGNATURE_HEADER, SigningSecret, sign};
//!
//! let secret: SigningSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
//! let id = MessageId::new("msg_p5jXN8AQM9LWM0D4loKWxJek")?;
//!
//! // The sender:
//! let headers = sign(&[secret.clone()], &id, SystemTime::now(), b"{}");
//! assert_eq!(headers[2].0, SIGNATURE_HEADER);
//!
//! // The receiver, before it reads the body and after:
//! let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes());
//! let claim = Claim::read(header, SystemTime::now())?;
//! assert_eq!(claim.verify(&[secret], b"{}")?, id);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

/// The header that names a push. Another try of the same push has the same value.
pub const ID_HEADER: &str = "webhook-id";

/// The header with the time at which a push was sent, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";

/// The header that holds the signatures, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// How far the time of a push may lie from the receiver's, both ways: an older push may be a recorded one.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// What every secret begins with.
const SECRET_PREFIX: &str = "whsec_";

/// What every signature begins with: the version of the scheme.
const SIGNATURE_PREFIX: &str = "v1,";

const ID_RULE: &str = "1 to 256 visible ASCII characters without a full stop";
const TIMESTAMP_RULE: &str = "the seconds since 1970";
const SIGNATURE_RULE: &str = "`v1,` and the signature in base64";

/// A secret that sender and receiver share, written as `whsec_` and base64. It never shows in `Debug` and is wiped from
/// memory when dropped.
///
/// ```
/// use imgopen_types::webhook::SigningSecret;
///
/// let secret: SigningSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// assert!(!format!("{secret:?}").contains("MfKQ"));
/// assert_eq!(secret.expose_secret(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
/// # Ok::<(), imgopen_types::webhook::InvalidSecret>(())
/// ```
#[derive(Clone)]
pub struct SigningSecret {
    bytes: SecretSlice<u8>,
    mac: Hmac<Sha256>,
}

/// Why a text or some bytes are not a secret. Does not show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSecret {
    /// The text does not begin with `whsec_`.
    #[error("the signing secret does not begin with `whsec_`; copy all of it")]
    Prefix,
    /// What follows is not base64.
    #[error("the signing secret is not base64 after `whsec_`; copy it again")]
    Base64,
    /// It is too short to be safe, or longer than the scheme allows.
    #[error("the signing secret has {0} bytes; make one of 24 to 64 random bytes, 32 are good")]
    Length(usize),
}

impl SigningSecret {
    /// A secret of these bytes, 24 to 64 of them, which should be random.
    ///
    /// # Errors
    ///
    /// When there are fewer or more.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, InvalidSecret> {
        let bytes = SecretSlice::from(bytes);
        let length = bytes.expose_secret().len();
        match Hmac::new_from_slice(bytes.expose_secret()) {
            Ok(mac) if (24..=64).contains(&length) => Ok(Self { bytes, mac }),
            _ => Err(InvalidSecret::Length(length)),
        }
    }

    /// The secret as it is written, to give it to the other side. It must not be logged.
    pub fn expose_secret(&self) -> String {
        SECRET_PREFIX.to_owned() + &STANDARD.encode(self.bytes.expose_secret())
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecret").finish_non_exhaustive()
    }
}

impl FromStr for SigningSecret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.trim().strip_prefix(SECRET_PREFIX).ok_or(InvalidSecret::Prefix)?;
        Self::from_bytes(STANDARD.decode(encoded).map_err(|_| InvalidSecret::Base64)?)
    }
}

/// The id of a push, the same for every attempt: 1 to 256 visible ASCII characters without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(String);

/// Why a text does not name a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a push is 1 to 256 visible ASCII characters without a full stop")]
pub struct InvalidId;

impl MessageId {
    /// That text as the name of a push.
    ///
    /// # Errors
    ///
    /// When it is empty, too long, or holds other characters. A full stop separates the signed parts, so that one in an id
    /// could pass for the end of it.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
        let text = text.into();
        let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'.';
        if (1..=256).contains(&text.len()) && text.bytes().all(fits) { Ok(Self(text)) } else { Err(InvalidId) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The three headers of a push, each by name and value. A push is signed by every secret that its receiver may know: while
/// one is replaced, by the old and the new.
pub fn sign(secrets: &[SigningSecret], id: &MessageId, at: SystemTime, body: &[u8]) -> [(&'static str, String); 3] {
    let timestamp = seconds(at).to_string();
    let signature = |secret: &SigningSecret| {
        let code = secret.mac(id.as_str(), &timestamp, body).finalize().into_bytes();
        SIGNATURE_PREFIX.to_owned() + &STANDARD.encode(code)
    };
    let signatures = secrets.iter().map(signature).collect::<Vec<_>>().join(" ");
    [(ID_HEADER, id.to_string()), (TIMESTAMP_HEADER, timestamp), (SIGNATURE_HEADER, signatures)]
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Why a push is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untrusted {
    /// A header is missing.
    #[error("the header `{header}` is missing; sign the push by the rules of Standard Webhooks")]
    Missing {
        /// The header's name, such as `webhook-id`.
        header: &'static str,
    },
    /// A header does not hold what it should.
    #[error("the header `{header}` is wrong; give {expected}")]
    Malformed {
        /// The header's name, such as `webhook-id`.
        header: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// The push was sent too long ago.
    #[error("the header `webhook-timestamp` is more than 5 minutes old; sign each attempt again, and check the clocks")]
    TooOld,
    /// The push was sent in the future.
    #[error("the header `webhook-timestamp` is more than 5 minutes ahead; check the clocks")]
    TooNew,
    /// No signature fits.
    #[error(
        "the header `webhook-signature` holds no signature that fits the body and a known secret; check the secret"
    )]
    Signature,
}

/// What the headers of a push say of it, not to be believed before [`Claim::verify`].
#[derive(Debug, Clone)]
pub struct Claim {
    id: MessageId,
    timestamp: String,
    signatures: String,
}

impl Claim {
    /// Reads the headers, which needs no body: a push without them, or of another time, can be refused before its body is
    /// taken in. `header` gives a header's value by its name.
    ///
    /// # Errors
    ///
    /// Names the header that is missing or wrong.
    pub fn read<'h>(header: impl Fn(&'static str) -> Option<&'h [u8]>, now: SystemTime) -> Result<Self, Untrusted> {
        let id = text(&header, ID_HEADER, ID_RULE)?;
        let timestamp = text(&header, TIMESTAMP_HEADER, TIMESTAMP_RULE)?;
        let signatures = text(&header, SIGNATURE_HEADER, SIGNATURE_RULE)?;
        check_time(timestamp, seconds(now))?;
        let malformed = |InvalidId| Untrusted::Malformed { header: ID_HEADER, expected: ID_RULE };
        let id = MessageId::new(id).map_err(malformed)?;
        Ok(Self { id, timestamp: timestamp.to_owned(), signatures: signatures.to_owned() })
    }

    /// The push's id, if one of the signatures was made with one of the secrets over id, time and body.
    ///
    /// # Errors
    ///
    /// When no signature fits.
    pub fn verify(self, secrets: &[SigningSecret], body: &[u8]) -> Result<MessageId, Untrusted> {
        let given: Vec<Vec<u8>> = self
            .signatures
            .split(' ')
            .filter_map(|signature| STANDARD.decode(signature.strip_prefix(SIGNATURE_PREFIX)?).ok())
            .collect();
        let fits = |secret: &SigningSecret| {
            let mac = secret.mac(self.id.as_str(), &self.timestamp, body);
            // Compares in constant time.
            given.iter().any(|code| mac.clone().verify_slice(code).is_ok())
        };
        if secrets.iter().any(fits) { Ok(self.id) } else { Err(Untrusted::Signature) }
    }
}

fn text<'h>(
    header: &impl Fn(&'static str) -> Option<&'h [u8]>,
    name: &'static str,
    expected: &'static str,
) -> Result<&'h str, Untrusted> {
    let value = header(name).ok_or(Untrusted::Missing { header: name })?;
    std::str::from_utf8(value).map_err(|_| Untrusted::Malformed { header: name, expected })
}

fn check_time(timestamp: &str, now: u64) -> Result<(), Untrusted> {
    let malformed = Untrusted::Malformed { header: TIMESTAMP_HEADER, expected: TIMESTAMP_RULE };
    if !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed);
    }
    let sent: u64 = timestamp.parse().map_err(|_| malformed)?;
    match (now.saturating_sub(sent) > TOLERANCE.as_secs(), sent.saturating_sub(now) > TOLERANCE.as_secs()) {
        (true, _) => Err(Untrusted::TooOld),
        (_, true) => Err(Untrusted::TooNew),
        (false, false) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SENT: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn secret(text: &str) -> SigningSecret {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn signed(secrets: &[&str]) -> [(&'static str, String); 3] {
        let secrets: Vec<_> = secrets.iter().map(|text| secret(text)).collect();
        sign(&secrets, &MessageId::new(ID).unwrap(), at(SENT), BODY)
    }

    fn check(
        headers: &[(&'static str, String)],
        secrets: &[&str],
        body: &[u8],
        now: u64,
    ) -> Result<MessageId, Untrusted> {
        let secrets: Vec<_> = secrets.iter().map(|text| secret(text)).collect();
        let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes());
        Claim::read(header, at(now))?.verify(&secrets, body)
    }

    /// The two vectors that the specification's libraries are tested with.
    #[test]
    fn the_published_signatures_are_made_and_taken() {
        let headers = signed(&[SECRET]);
        assert_eq!(headers.clone().map(|(name, _)| name), ["webhook-id", "webhook-timestamp", "webhook-signature"]);
        assert_eq!(headers[1].1, "1614265330");
        assert_eq!(headers[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(check(&headers, &[SECRET], BODY, SENT).unwrap().as_str(), ID);

        let id = MessageId::new("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk").unwrap();
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let headers = sign(&[secret(OTHER)], &id, at(1_649_367_553), body);
        assert_eq!(headers[2].1, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn what_was_changed_is_not_trusted() {
        let good = signed(&[SECRET]);
        assert_eq!(check(&good, &[SECRET], b"{\"test\": 2432232315}", SENT), Err(Untrusted::Signature));
        assert_eq!(check(&good, &[OTHER], BODY, SENT), Err(Untrusted::Signature));
        assert_eq!(check(&good, &[], BODY, SENT), Err(Untrusted::Signature));
        for (index, value) in
            [(0, "msg_other"), (1, "1614265331"), (1, "01614265330"), (2, "v1,"), (2, ""), (2, "v1,!")]
        {
            let mut changed = good.clone();
            changed[index].1 = value.to_owned();
            assert_eq!(check(&changed, &[SECRET], BODY, SENT), Err(Untrusted::Signature), "{value}");
        }
        let mut version = good.clone();
        version[2].1 = version[2].1.replace("v1,", "v1a,");
        assert_eq!(check(&version, &[SECRET], BODY, SENT), Err(Untrusted::Signature));
        let mut short = good.clone();
        short[2].1.truncate(23);
        assert_eq!(check(&short, &[SECRET], BODY, SENT), Err(Untrusted::Signature));
    }

    #[test]
    fn the_parts_cannot_be_shifted() {
        let id = MessageId::new("msg").unwrap();
        let [_, _, signature] = sign(&[secret(SECRET)], &id, at(1), b"1614265330.{}");
        let moved = [(ID_HEADER, "msg.1".to_owned()), (TIMESTAMP_HEADER, SENT.to_string()), signature];
        assert!(matches!(check(&moved, &[SECRET], b"{}", SENT), Err(Untrusted::Malformed { header: ID_HEADER, .. })));
    }

    #[test]
    fn a_secret_can_be_replaced() {
        let both = signed(&[SECRET, OTHER]);
        let mixed = [both[0].clone(), both[1].clone(), (SIGNATURE_HEADER, format!("v1a,xxx v2,yyy {}", both[2].1))];
        for known in [&[SECRET][..], &[OTHER], &[OTHER, SECRET]] {
            assert!(check(&both, known, BODY, SENT).is_ok());
            assert!(check(&mixed, known, BODY, SENT).is_ok());
            assert_eq!(check(&signed(&[SECRET]), known, BODY, SENT).is_ok(), known.contains(&SECRET));
        }
    }

    #[test]
    fn the_time_may_differ_by_five_minutes() {
        let headers = signed(&[SECRET]);
        for now in [SENT - 300, SENT, SENT + 300] {
            assert!(check(&headers, &[SECRET], BODY, now).is_ok(), "{now}");
        }
        assert_eq!(check(&headers, &[SECRET], BODY, SENT + 301), Err(Untrusted::TooOld));
        assert_eq!(check(&headers, &[SECRET], BODY, SENT - 301), Err(Untrusted::TooNew));
    }

    #[test]
    fn a_missing_or_wrong_header_is_named() {
        let good = signed(&[SECRET]);
        for (index, (name, _)) in good.iter().enumerate() {
            let mut without = good.to_vec();
            without.remove(index);
            let error = check(&without, &[SECRET], BODY, SENT).unwrap_err();
            assert_eq!(error, Untrusted::Missing { header: name });
            assert!(error.to_string().starts_with(&format!("the header `{name}` is missing")));
        }
        for (index, value) in [(0, ""), (0, "a b"), (0, "a.b"), (1, "+1614265330"), (1, "-5"), (1, ""), (1, "now")] {
            let mut wrong = good.clone();
            wrong[index].1 = value.to_owned();
            let error = check(&wrong, &[SECRET], BODY, SENT).unwrap_err();
            assert!(
                matches!(error, Untrusted::Malformed { header, .. } if header == good[index].0),
                "{value}: {error}"
            );
        }
        let binary = |_| Some(&b"\xff"[..]);
        assert!(matches!(Claim::read(binary, at(SENT)), Err(Untrusted::Malformed { .. })));
    }

    #[test]
    fn an_invalid_secret_is_rejected_without_being_shown() {
        for (text, error) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidSecret::Prefix),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!", InvalidSecret::Base64),
            ("whsec_MfKQ", InvalidSecret::Length(3)),
            ("whsec_", InvalidSecret::Length(0)),
        ] {
            assert_eq!(text.parse::<SigningSecret>().unwrap_err(), error);
        }
        assert!(SigningSecret::from_bytes(vec![7; 65]).is_err());
        assert_eq!(secret(&format!(" {SECRET}\n")).expose_secret(), SECRET);
        assert!(!format!("{:?}", secret(SECRET)).contains("MfKQ"));
    }
}
