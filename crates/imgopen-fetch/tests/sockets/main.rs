//! The fetcher on real sockets of this machine.

mod bounds;
#[cfg(test)]
mod host;
mod ways_round;
