//! Servers that never come, go, or stop answering, and what becomes of a job then.

use std::time::Duration;

use imgopen_backends::Kind;
use imgopen_engine::{EngineError, Monitor};
use imgopen_types::operations::TEXT_TO_IMAGE;
use serde_json::json;

use crate::fake::hosting::ANYWHERE;
use crate::jobs::{job, text_to_image};
use crate::targets::{AnyFake, QUICK, Target, driver, settings, until};

/// Makes a test of each case for each kind, such as `absences::a_job_for_a_server_that_is_gone_waits::comfyui`.
macro_rules! on_every_kind {
    ($($case:ident)+) => {$(
        mod $case {
            use imgopen_backends::Kind;

            #[tokio::test]
            async fn sd_server() {
                super::cases::$case(Kind::SdServer).await;
            }

            #[tokio::test]
            async fn comfyui() {
                super::cases::$case(Kind::ComfyUi).await;
            }

            #[tokio::test]
            async fn sd_webui() {
                super::cases::$case(Kind::SdWebui).await;
            }
        }
    )+};
}

on_every_kind! {
    a_server_that_never_answered_is_named_and_found_when_it_comes
    a_job_for_a_server_that_is_gone_waits
    a_server_that_is_killed_is_away_until_it_is_back
    a_server_that_hangs_is_away_until_it_answers
}

/// A fake that takes its time, and an engine that drives it.
async fn slow(kind: Kind) -> (Target, AnyFake) {
    let fake = AnyFake::start(kind, ANYWHERE, Duration::from_millis(20)).await;
    (Target::open("a fake", driver(kind, settings(fake.url()), QUICK)).await, fake)
}

fn address(fake: &AnyFake) -> String {
    fake.url().trim_start_matches("http://").to_owned()
}

/// Checks that a job waits for the back end, and that its reason shows no address.
fn check_away(error: &EngineError) {
    assert!(matches!(error, EngineError::Unavailable { reason, .. } if reason.contains("`mine` is away")), "{error:?}");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
}

fn is_away(target: &Target) -> bool {
    target.engine.offers().iter().all(|offer| offer.away.is_some()) && target.engine.report().away.is_some()
}

/// Has a fake stop while it works, and again work.
async fn stopped(kind: Kind, stop: impl FnOnce(AnyFake) -> Option<AnyFake>) {
    let (target, fake) = slow(kind).await;
    // It takes longer than the silence that ends it.
    let steps = if kind == Kind::SdServer { 100 } else { 1000 };
    let request = text_to_image(&target.model, json!({ "steps": steps }));
    let run = tokio::spawn(target.engine.run(job(request), Monitor::new().0));
    until("the job runs", async || fake.works()).await;
    let place = address(&fake);
    let kept = stop(fake);
    check_away(&run.await.unwrap().unwrap_err());
    assert!(is_away(&target));
    let _back = match kept {
        Some(fake) => {
            fake.recover();
            fake
        }
        None => AnyFake::start(kind, &place, Duration::ZERO).await,
    };
    until("the server is back", async || target.engine.offers().iter().any(|offer| offer.away.is_none())).await;
    assert!(target.run(text_to_image(&target.model, json!({}))).await.is_ok());
}

mod cases {
    use super::*;

    pub async fn a_server_that_never_answered_is_named_and_found_when_it_comes(kind: Kind) {
        let place = address(&AnyFake::start(kind, ANYWHERE, Duration::ZERO).await);
        let engine = driver(kind, settings(&format!("http://{place}")), QUICK);
        assert!(!engine.refresh().await);
        let offers = engine.offers();
        assert!(offers.iter().any(|offer| *offer.operation == TEXT_TO_IMAGE), "{offers:?}");
        assert!(offers.iter().all(|offer| offer.away.is_some() && !offer.is_known), "{offers:?}");
        let request = text_to_image("any.safetensors", json!({}));
        assert_eq!(engine.check(&request), Ok(()));
        check_away(&engine.run(job(request), Monitor::new().0).await.unwrap_err());
        let _back = AnyFake::start(kind, &place, Duration::ZERO).await;
        let is_found = || engine.offers().iter().all(|offer| offer.away.is_none() && offer.is_known);
        until("it is found", async || is_found()).await;
        // At an address, sd-server says which model it has.
        let says_loaded = kind == Kind::SdServer;
        assert_eq!(engine.has_loaded(Some("random-sd15.safetensors")), says_loaded);
        assert!(!engine.has_loaded(Some("other.safetensors")));
    }

    pub async fn a_job_for_a_server_that_is_gone_waits(kind: Kind) {
        let (target, fake) = slow(kind).await;
        drop(fake);
        let run = target.engine.run(job(text_to_image(&target.model, json!({}))), Monitor::new().0);
        check_away(&run.await.unwrap_err());
    }

    pub async fn a_server_that_is_killed_is_away_until_it_is_back(kind: Kind) {
        // A connection that is open stays open when the listener goes, so that silence may end the job, too.
        stopped(kind, |_| None).await;
    }

    pub async fn a_server_that_hangs_is_away_until_it_answers(kind: Kind) {
        stopped(kind, |fake| {
            fake.hang();
            Some(fake)
        })
        .await;
    }
}
