//! Every seed and every finding through the readers, and the memory that the costliest bodies take.

use imgopen_fuzz::{readers, seeds};

/// One test, because memory is measured for the whole program.
#[test]
fn the_readers_pass_with_every_seed_and_finding() {
    let large = seeds::costly(1_000);
    for seed in seeds::readers().iter().chain(&seeds::found("readers")).chain(&large) {
        println!("{}", seed.name);
        readers(&seed.bytes);
    }
}
