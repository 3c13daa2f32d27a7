//! How a target is run: by AFL++ where `cargo afl` built it, otherwise once on each file that is named.

/// Gives the target what AFL++ makes up, until AFL++ ends it.
#[cfg(fuzzing)]
pub fn start(target: fn(&[u8])) {
    // A panic ends the program at once, even one that the router would have caught.
    afl::fuzz(true, target);
}

/// Gives the target every file that is named on the command line: a finding is looked at in this way.
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
