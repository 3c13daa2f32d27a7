//! Errors of PostgreSQL, before the address is added to them.

use std::error::Error as _;
use std::io;

use deadpool_postgres::{PoolError, TimeoutType};
use imgopen_store::StoreError;

/// An error of a statement or of a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Problem {
    kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The server does not answer, or has closed the connection.
    Unreachable,
    /// A lock was not free in time.
    Busy,
    /// The transaction was undone because of another one, and may be tried again at once.
    Undone,
    Full,
    Unusable,
    /// A unique value is there already.
    Taken,
    /// What an operator can change, and how.
    Access(&'static str),
    Failed,
    Closed,
}

impl Problem {
    /// A bug in the program.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, text: text.into() }
    }

    /// The server did not answer.
    pub fn unreachable(text: impl Into<String>) -> Self {
        Self { kind: Kind::Unreachable, text: text.into() }
    }

    /// Something that the operator can change, in the way that `fix` says.
    pub fn access(text: impl Into<String>, fix: &'static str) -> Self {
        Self { kind: Kind::Access(fix), text: text.into() }
    }

    /// Other processes changed the same rows in between, time and again.
    pub fn contended(text: impl Into<String>) -> Self {
        Self { kind: Kind::Busy, text: text.into() }
    }

    /// Whether the connection is of no further use.
    pub fn is_unreachable(&self) -> bool {
        self.kind == Kind::Unreachable
    }

    /// Whether nothing was done, and the same may succeed at once.
    pub fn is_undone(&self) -> bool {
        self.kind == Kind::Undone
    }

    /// The same problem of a call that may have been carried out by an earlier try.
    #[must_use]
    pub fn in_doubt(self) -> Self {
        match self.kind {
            Kind::Busy | Kind::Undone | Kind::Full => Self { kind: Kind::Unreachable, ..self },
            _ => self,
        }
    }

    /// Whether the server refused what was to be written, as it is.
    pub fn is_refused(&self) -> bool {
        matches!(self.kind, Kind::Taken | Kind::Failed)
    }

    /// Whether a unique value is there already.
    pub fn is_taken(&self) -> bool {
        self.kind == Kind::Taken
    }

    /// Adds the address.
    pub fn at(self, path: &str) -> StoreError {
        let (path, problem) = (path.to_owned(), self.text);
        match self.kind {
            Kind::Unreachable => StoreError::Unreachable { path, problem },
            Kind::Busy | Kind::Undone => StoreError::Busy { path, problem },
            Kind::Full => StoreError::Full { path, problem },
            Kind::Unusable => StoreError::Unusable { path, problem },
            Kind::Access(fix) => StoreError::Access { path, problem, fix },
            Kind::Taken | Kind::Failed => StoreError::Failed { path, problem },
            Kind::Closed => StoreError::Closed { path },
        }
    }

    /// An error of connecting. What neither the server nor the network says is that the two do not agree on TLS or on how to log
    /// in.
    pub fn of_connecting(error: &tokio_postgres::Error) -> Self {
        if error.as_db_error().is_some() {
            return Self::of(error);
        }
        let text = chain(error);
        let Some(source) = error.source() else { return Self::unreachable(text) };
        match source.downcast_ref::<io::Error>() {
            Some(error) if is_of_tls(error) => Self::access(text, TLS),
            Some(_) => Self::unreachable(text),
            None => Self::access(text, LOGIN),
        }
    }

    fn of(error: &tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            let is_io = error.source().is_some_and(|source| source.is::<io::Error>());
            let kind = if error.is_closed() || is_io { Kind::Unreachable } else { Kind::Failed };
            return Self { kind, text: chain(error) };
        };
        let code = answer.code().code();
        Self { kind: kind(code), text: format!("{} ({code})", answer.message()) }
    }
}

/// What to do about a certificate that is not trusted.
const TLS: &str = "have this machine trust the certificate of its server, name it in the variable `SSL_CERT_FILE`, or add \
                   `sslmode=disable` to its URL";

/// What to do if the server asks for something that the URL does not have.
const LOGIN: &str = "check the user, the password and `sslmode` in its URL";

/// Whether TLS failed, rather than the network.
fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>())
}

/// What can be done about an error with this SQLSTATE.
fn kind(code: &str) -> Kind {
    match code {
        // The server is stopping, starting, or a standby; or it has no connection left.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25006" | "53300" => Kind::Unreachable,
        "40001" | "40P01" => Kind::Undone,
        "23505" => Kind::Taken,
        // A lock or a statement that took too long.
        "55P03" | "57014" => Kind::Busy,
        "53100" => Kind::Full,
        "3D000" => Kind::Access("create it with `createdb`, or correct the name in its URL"),
        "42501" => {
            Kind::Access("make the user the owner of the database, or grant it all privileges on it and its schema")
        }
        "42P01" | "3F000" => Kind::Access("restore a backup with `pg_restore`"),
        _ => match code.get(..2) {
            Some("08") => Kind::Unreachable,
            Some("28") => Kind::Access("check the user and the password in its URL, and `pg_hba.conf` of the server"),
            // Resources, the system, and damaged data.
            Some("53" | "58" | "XX") => Kind::Unusable,
            _ => Kind::Failed,
        },
    }
}

/// An error with what caused it.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::of(&error)
    }
}

impl From<PoolError> for Problem {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::unreachable("no connection was free in time"),
            PoolError::Timeout(_) => Self::unreachable("the server did not answer in time"),
            PoolError::Backend(error) => Self::of_connecting(&error),
            PoolError::Closed => Self { kind: Kind::Closed, text: "closed".to_owned() },
            other => Self::failed(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_not_the_network() {
        assert!(is_of_tls(&io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError)));
        assert!(!is_of_tls(&io::Error::new(io::ErrorKind::InvalidData, "out of paper")));
        assert!(!is_of_tls(&io::ErrorKind::ConnectionRefused.into()));
    }

    #[test]
    fn errors_say_what_can_be_done() {
        let error = |code| Problem { kind: kind(code), text: "out of paper".to_owned() }.at("postgres://db/imgopen");
        for code in ["57P01", "57P03", "08006", "53300", "25006"] {
            assert!(matches!(error(code), StoreError::Unreachable { .. }), "{code}");
            assert!(error(code).may_pass() && error(code).may_be_done(), "{code}");
        }
        for code in ["55P03", "57014", "40001", "40P01"] {
            assert!(matches!(error(code), StoreError::Busy { .. }), "{code}");
        }
        assert!(matches!(error("53100"), StoreError::Full { .. }));
        for code in ["58030", "XX001", "53200"] {
            assert!(matches!(error(code), StoreError::Unusable { .. }), "{code}");
        }
        for (code, fix) in [("28P01", "password"), ("3D000", "createdb"), ("42501", "privileges"), ("42P01", "backup")]
        {
            let error = error(code);
            assert!(matches!(&error, StoreError::Access { fix: found, .. } if found.contains(fix)), "{error}");
        }
        for code in ["23505", "42703", "22021"] {
            assert!(matches!(error(code), StoreError::Failed { .. }), "{code}");
        }
    }
}
