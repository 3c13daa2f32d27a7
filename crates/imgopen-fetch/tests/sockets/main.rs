//! The fetcher on real sockets.

mod bounds;
mod bypasses;
#[cfg(test)]
mod host;
