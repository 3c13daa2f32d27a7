//! Runs a target: under AFL++ if `cargo afl` built it, otherwise once on each given file.

/// Gives the target the inputs of AFL++, until AFL++ ends the process.
#[cfg(fuzzing)]
pub fn start(target: fn(&[u8])) {
    // A panic ends the program at once, even one that the router would have caught.
    afl::fuzz(true, target);
}

/// Gives the target every file named on the command line, to reproduce findings.
///
/// # Panics
///
/// When a file cannot be read or the target finds something.
#[cfg(not(fuzzing))]
pub fn start(target: fn(&[u8])) {
    for path in std::env::args_os().skip(1) {
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        target(&bytes);
        println!("nothing wrong with {}", path.display());
    }
}
