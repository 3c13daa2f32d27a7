//! The service over HTTP, each test with its own data directory.

#[cfg(test)]
mod common;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "../../imgopen-trainer/tests/fake/mod.rs"]
mod fake_trainer;

// The databases of the tests of `imgopen-postgres`.
#[cfg(test)]
#[cfg(all(unix, feature = "postgres"))]
#[path = "../../imgopen-postgres/tests/postgres/installed.rs"]
mod installed;
#[cfg(test)]
#[cfg(all(unix, feature = "postgres"))]
#[path = "../../imgopen-postgres/tests/postgres/server.rs"]
#[allow(dead_code, reason = "the tests of the store need more of it")]
mod server;

#[cfg(test)]
mod access;
#[cfg(test)]
mod assets;
#[cfg(test)]
mod backends;
#[cfg(test)]
mod bucket;
#[cfg(test)]
mod callbacks;
#[cfg(test)]
mod cancel;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod deliveries;
#[cfg(test)]
mod describe;
#[cfg(test)]
mod enlarge;
#[cfg(test)]
mod faults;
#[cfg(test)]
#[cfg(all(unix, feature = "postgres"))]
mod fleet;
#[cfg(test)]
mod ids;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod models;
#[cfg(test)]
mod months;
#[cfg(test)]
#[cfg(all(unix, feature = "postgres"))]
mod objects;
#[cfg(test)]
#[cfg(all(unix, feature = "postgres"))]
mod offers;
#[cfg(test)]
mod prompts;
#[cfg(test)]
mod readiness;
#[cfg(test)]
mod safety;
#[cfg(test)]
mod stop;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod trained;
#[cfg(test)]
mod training;
#[cfg(test)]
mod upgrade;
