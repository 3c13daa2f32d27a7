//! Tests at random: how long they go on, and the seed that repeats one.

use std::time::Duration;

/// Returns how long things go wrong: `usual`, or as many minutes as a variable says.
pub fn duration(variable: &str, usual: Duration) -> Duration {
    let minutes = std::env::var(variable).ok();
    minutes.map_or(usual, |minutes| {
        let minutes = minutes.parse().unwrap_or_else(|_| panic!("{variable} is not a number"));
        Duration::from_secs(60).mul_f64(minutes)
    })
}

/// Returns a random seed, or the one that a variable gives to repeat a failure.
pub fn seed(variable: &str) -> u64 {
    let given = std::env::var(variable).ok();
    let given = given.map(|seed| seed.parse().unwrap_or_else(|_| panic!("{variable} is not a number")));
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    // Printed only if the test fails, or with --nocapture.
    println!("repeat with {variable}={seed}");
    seed
}
