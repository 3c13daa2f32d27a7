//! The fake sd-server answers what was recorded to the requests that were recorded.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::recordings::recording;
use crate::replay::{self, keys};
use crate::sd_fake::{SdBehaviour, SdFake};
use crate::targets::until;

/// How much of each picture was recorded, in characters: the size of the picture, and the length of its text.
const RECORDED: usize = 60;

/// Sends what was recorded to a fake, and returns the answer with the recorded one.
async fn again(fake: &SdFake, name: &str) -> (u16, Value, u16, Value) {
    let recording = recording(&format!("sd-server/{name}"));
    let (status, answer) = replay::again(&fake.url, &recording).await;
    (status, answer, recording.status, recording.answer)
}

async fn check(fake: &SdFake, names: &[&str]) {
    for name in names {
        let (status, submitted, expected_status, expected) = again(fake, &format!("{name}_submit")).await;
        assert_eq!((status, keys(&submitted)), (expected_status, keys(&expected)), "{name}");
        let url = format!("{}{}", fake.url, submitted["poll_url"].as_str().unwrap());
        let state = async || reqwest::get(&url).await.unwrap().json::<Value>().await.unwrap();
        until("the job ends", async || state().await["status"] == "completed").await;
        let (ended, expected) = (state().await, recording(&format!("sd-server/{name}_end")).answer);
        assert_eq!(keys(&ended), keys(&expected), "{name}");
        let images = |answer: &Value| {
            let images = answer["result"]["images"].as_array().unwrap().iter();
            let start =
                |image: &Value| BASE64_STANDARD.decode(&image["b64_json"].as_str().unwrap()[..RECORDED]).unwrap();
            images.map(start).collect::<Vec<_>>()
        };
        assert_eq!(images(&ended), images(&expected), "{name}: sizes, or lengths of texts");
    }
}

#[tokio::test]
async fn pictures_are_made_and_described_as_recorded() {
    let plain = SdFake::start(SdBehaviour::default()).await;
    check(
        &plain,
        &[
            "txt2img",
            "img2img",
            "inpaint",
            "hires",
            "lora",
            "lora_deep",
            "lora_in_prompt",
            "embedding",
            "controlnet",
            "bad_batch_zero",
            "bad_cfg_zero",
            "bad_empty_prompt",
            "bad_model_field",
            "bad_no_prompt",
            "bad_sampler",
            "bad_scheduler",
            "bad_steps_zero",
            "bad_unknown_field",
            "bad_width_big",
            "bad_width_odd",
            "bad_width_small",
            "bad_width_text",
            "bad_width_zero",
        ],
    )
    .await;
    let flux = SdFake::start(SdBehaviour { is_flux: true, ..SdBehaviour::default() }).await;
    check(&flux, &["flux", "flux_odd", "flux_512"]).await;
}

#[tokio::test]
async fn refusals_are_those_recorded() {
    let fake = SdFake::start(SdBehaviour::default()).await;
    for name in [
        "bad_json",
        "bad_no_body",
        "bad_list_submit",
        "bad_format_submit",
        "bad_image_submit",
        "bad_strength_submit",
        "bad_lora_unknown_submit",
        "bad_upscaler_submit",
        "cancel_unknown",
    ] {
        let (status, answer, expected_status, expected) = again(&fake, name).await;
        assert_eq!((status, answer), (expected_status, expected), "{name}");
    }
    fake.set(|behaviour| behaviour.queue = 0);
    let (status, answer, expected_status, expected) = again(&fake, "queue_full").await;
    assert_eq!((status, answer), (expected_status, expected));
}

#[tokio::test]
async fn jobs_are_cancelled_as_recorded() {
    let behaviour = SdBehaviour { step: std::time::Duration::from_millis(100), ..SdBehaviour::default() };
    let fake = SdFake::start(behaviour).await;
    let mut ids = Vec::new();
    for name in ["cancel_submit_0", "cancel_submit_1", "cancel_submit_2"] {
        let (status, submitted, expected_status, expected) = again(&fake, name).await;
        assert_eq!((status, keys(&submitted)), (expected_status, keys(&expected)), "{name}");
        ids.push(submitted["id"].as_str().unwrap().to_owned());
    }
    until("the first runs", async || fake.count("generating") == 1).await;
    for (id, name) in [(&ids[0], "cancel_generating"), (&ids[1], "cancel_queued")] {
        let url = format!("{}/sdcpp/v1/jobs/{id}/cancel", fake.url);
        let response = reqwest::Client::new().post(url).send().await.unwrap();
        let expected = recording(&format!("sd-server/{name}"));
        assert_eq!(response.status().as_u16(), expected.status, "{name}");
        let mut answer: Value = response.json().await.unwrap();
        if let Some(id) = answer.get_mut("id") {
            *id = expected.answer["id"].clone();
        }
        for time in ["created", "completed"] {
            assert_eq!(answer.get(time).is_some(), expected.answer.get(time).is_some());
        }
        assert_eq!(
            (&answer["error"], &answer["status"]),
            (&expected.answer["error"], &expected.answer["status"]),
            "{name}"
        );
    }
    let waiting = reqwest::get(format!("{}/sdcpp/v1/jobs/{}", fake.url, ids[2])).await.unwrap();
    assert_eq!(waiting.json::<Value>().await.unwrap()["queue_position"], 1);
}

#[tokio::test]
async fn capabilities_are_those_recorded() {
    for (is_flux, name) in [(false, "capabilities"), (true, "flux_capabilities")] {
        let fake = SdFake::start(SdBehaviour { is_flux, ..SdBehaviour::default() }).await;
        let answer = reqwest::get(format!("{}/sdcpp/v1/capabilities", fake.url)).await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap(), recording(&format!("sd-server/{name}")).answer);
    }
}
