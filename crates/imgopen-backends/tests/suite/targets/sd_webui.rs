//! Web UIs to test against: fakes, and a real one if `IMGOPEN_TEST_SDWEBUI` is its address.

use std::time::Duration;

use imgopen_backends::Kind;

use super::{AnyFake, PATIENT, QUICK, Target, driver, settings};
use crate::fake::{Behaviour, Fake};

/// The address of a real one.
const REAL: &str = "IMGOPEN_TEST_SDWEBUI";

/// All targets.
pub async fn targets(step: Duration) -> Vec<Target> {
    let plain = Behaviour { step, ..Behaviour::default() };
    let page = Behaviour { has_page: true, ..plain.clone() };
    let old = Behaviour { is_a1111: true, ..plain.clone() };
    let mut targets = Vec::new();
    for (name, behaviour) in [("Forge without a page", plain), ("Forge", page), ("A1111", old)] {
        let fake = Fake::start(behaviour).await;
        let target = open(name, &fake).await;
        targets.push(Target { fake: Some(AnyFake::SdWebui(fake)), ..target });
    }
    if let Ok(url) = std::env::var(REAL) {
        targets.push(Target::real(|| driver(Kind::SdWebui, settings(&url), PATIENT)).await);
    }
    targets
}

/// A fake, which the test may stop, and an engine that drives it.
pub async fn faked(behaviour: Behaviour) -> (Target, Fake) {
    let fake = Fake::start(behaviour).await;
    (open("a fake", &fake).await, fake)
}

async fn open(name: &'static str, fake: &Fake) -> Target {
    Target::open(name, driver(Kind::SdWebui, settings(&fake.url), QUICK)).await
}
