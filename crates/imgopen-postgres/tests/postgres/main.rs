//! PostgreSQL passes the suite that every store must pass, and what several processes and a failing server need.
//!
//! The tests use the server that `IMGOPEN_TEST_POSTGRES` names, such as `postgres://postgres@127.0.0.1/postgres`, or start a
//! private one if PostgreSQL is installed. Otherwise they are skipped, unless that variable is `private`. Each makes databases
//! for itself.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

#[cfg(test)]
mod faults;
#[cfg(test)]
mod gathering;
#[cfg(test)]
mod installed;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod server;

imgopen_store::conformance!(super::server::empty);
