//! Fakes answer what was recorded to the requests that were recorded.

use serde_json::Value;

use crate::fake::{Behaviour, Fake};
use crate::recordings::{info, recording};
use crate::replay::{again, keys};
use crate::targets::until;

#[tokio::test]
async fn pictures_are_reported_as_recorded() {
    let fake = Fake::start(Behaviour::default()).await;
    for name in [
        "txt2img",
        "txt2img_batches",
        "txt2img_hires",
        "txt2img_lora",
        "txt2img_lora_unknown",
        "txt2img_sampler_index",
        "txt2img_sampler_with_scheduler",
        "bad_field",
        "bad_model",
        "bad_sampler",
        "bad_scheduler",
        "bad_vae",
        "bad_width_odd",
        "controlnet",
        "controlnet_unknown_model",
    ] {
        let recording = recording(&format!("webui/{name}"));
        let expected = info(&recording.answer);
        // What sticks from requests before.
        fake.stick(expected["clip_skip"].as_i64().unwrap());
        let (status, answer) = again(&fake.url, &recording).await;
        assert_eq!(status, recording.status, "{name}");
        assert_eq!(keys(&answer["parameters"]), keys(&recording.answer["parameters"]), "{name}");
        assert_eq!(
            answer["images"].as_array().unwrap().len(),
            recording.answer["images"].as_array().unwrap().len(),
            "{name}"
        );
        let said = info(&answer);
        assert_eq!(keys(&said), keys(&expected), "{name}");
        for member in [
            "infotexts",
            "all_prompts",
            "all_negative_prompts",
            "seed",
            "all_seeds",
            "width",
            "height",
            "sampler_name",
            "cfg_scale",
            "steps",
            "batch_size",
            "denoising_strength",
            "sd_model_name",
            "sd_vae_name",
            "clip_skip",
            "version",
            "index_of_first_image",
        ] {
            assert_eq!(said[member], expected[member], "`{member}` of {name}");
        }
    }
}

#[tokio::test]
async fn pictures_from_pictures_are_reported_as_recorded() {
    let fake = Fake::start(Behaviour::default()).await;
    let picture = {
        let file = imgopen_picture::encode(
            &image::DynamicImage::new_rgb8(64, 64),
            imgopen_picture::Format::Png,
            &Default::default(),
        );
        use base64::Engine as _;
        Value::from(base64::prelude::BASE64_STANDARD.encode(file.unwrap()))
    };
    for name in ["img2img", "inpaint"] {
        let mut recording = recording(&format!("webui/{name}"));
        recording.sent["init_images"][0] = picture.clone();
        let expected = info(&recording.answer);
        fake.stick(expected["clip_skip"].as_i64().unwrap());
        let (status, answer) = again(&fake.url, &recording).await;
        assert_eq!((status, &info(&answer)["infotexts"]), (recording.status, &expected["infotexts"]), "{name}");
        assert_eq!(keys(&answer["parameters"]), keys(&recording.answer["parameters"]), "{name}");
    }
}

#[tokio::test]
async fn refusals_are_those_recorded() {
    let fake = Fake::start(Behaviour::default()).await;
    for name in [
        "bad_json",
        "bad_list",
        "bad_script",
        "bad_setting",
        "bad_steps_zero",
        "bad_upscaler",
        "bad_width_text",
        "bad_width_tiny",
        "bad_img2img_none",
        "bad_img2img_image",
    ] {
        let recording = recording(&format!("webui/{name}"));
        // The list was recorded as the text "[]".
        assert_eq!(again(&fake.url, &recording).await, (recording.status, recording.answer), "{name}");
    }
}

#[tokio::test]
async fn an_interrupted_call_answers_with_fewer_pictures_as_recorded() {
    let recording = recording("webui/page_interrupted_first");
    let behaviour = Behaviour { step: std::time::Duration::from_millis(20), ..Behaviour::default() };
    let fake = std::sync::Arc::new(Fake::start(behaviour).await);
    fake.stick(1);
    let (other, expected) = (fake.clone(), info(&recording.answer));
    let images = recording.answer["images"].as_array().unwrap().len();
    let call = tokio::spawn(async move { again(&other.url, &recording).await });
    until("the job runs", async || fake.current().is_some()).await;
    fake.interrupt();
    let (status, answer) = call.await.unwrap();
    assert_eq!((status, answer["images"].as_array().unwrap().len()), (200, images));
    let said = info(&answer);
    assert_eq!((&said["all_seeds"], &said["infotexts"]), (&expected["all_seeds"], &expected["infotexts"]));
}
