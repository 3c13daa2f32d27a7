//! Every seed and every finding through the router.

use imgopen_fuzz::{router, seeds};

/// One test, because memory is measured for the whole program.
#[test]
fn the_router_passes_with_every_seed_and_finding() {
    for seed in seeds::router().iter().chain(&seeds::found("router")) {
        println!("{}", seed.name);
        router(&seed.bytes);
    }
}
