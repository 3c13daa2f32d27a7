//! Whether programs still answer in the shape that was recorded. What fakes make up is compared, too.

use std::process::Stdio;
use std::time::Duration;

use imgopen_backends::Kind;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::recordings::{Recording, info, recording};
use crate::replay::again;
use crate::sd_fake::SdBehaviour;
use crate::shape::drift;
use crate::targets::sd_server::{Installed, sd_faked};
use crate::targets::{Target, Turn, targets, turn, until_within};

/// How long a real program may take for a picture, or to start.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// The answers of web UIs that the engine reads, and that every version has.
const SD_WEBUI: [&str; 9] = [
    "sd-models",
    "samplers",
    "upscalers",
    "latent-upscale-modes",
    "loras",
    "embeddings",
    "face-restorers",
    "scripts",
    "progress",
];

/// The answers of ComfyUI that the engine reads.
const COMFYUI: [&str; 21] = [
    "system_stats",
    "embeddings",
    "queue_idle",
    "history_unknown",
    "object_info_CLIPSetLastLayer",
    "object_info_CheckpointLoaderSimple",
    "object_info_ControlNetApplyAdvanced",
    "object_info_ControlNetLoader",
    "object_info_DualCLIPLoader",
    "object_info_FluxGuidance",
    "object_info_ImageScale",
    "object_info_KSampler",
    "object_info_LatentUpscaleBy",
    "object_info_LoadImage",
    "object_info_LoadImageMask",
    "object_info_LoraLoader",
    "object_info_SaveImage",
    "object_info_SetLatentNoiseMask",
    "object_info_UNETLoader",
    "object_info_UpscaleModelLoader",
    "object_info_VAELoader",
];

/// The answers of sd-server that the engine reads, beside those to a job.
const SD_SERVER: [&str; 4] = ["capabilities", "job_unknown", "cancel_unknown", "bad_json"];

/// Sends what was recorded, and compares the answer, which is returned.
async fn compare(url: &str, recorded: &Recording, whose: &str) -> Value {
    let (status, now) = again(url, recorded).await;
    assert_eq!(status, recorded.status, "{} of {whose}", recorded.path);
    assert_eq!(drift(&recorded.answer, &now), [""; 0], "{} of {whose}", recorded.path);
    now
}

#[tokio::test]
async fn web_uis_answer_in_the_recorded_shape() {
    for target in targets(Kind::SdWebui, Duration::ZERO).await {
        for name in SD_WEBUI {
            let mut recorded = recording(&format!("webui/{name}"));
            if name == "progress" {
                // Newer versions leave it out while nothing runs.
                recorded.answer.as_object_mut().unwrap().remove("textinfo");
            }
            if name == "samplers" {
                // Each sampler has options of its own, and the first is not the same in all versions.
                recorded.answer[0]["options"] = json!({});
            }
            compare(target.url(), &recorded, target.name).await;
        }
        let mut recorded = recording("webui/txt2img");
        recorded.sent["override_settings"] = json!({"sd_model_checkpoint": target.model});
        let (status, answer) = again(target.url(), &recorded).await;
        assert_eq!(status, recorded.status, "{answer}");
        assert_eq!(drift(&said(recorded.answer), &said(answer)), [""; 0], "a job of {}", target.name);
    }
}

/// What an answer with pictures says of them. Versions differ in the members of requests, which it repeats.
fn said(mut answer: Value) -> Value {
    answer["info"] = info(&answer);
    answer["parameters"] = json!({});
    answer
}

#[tokio::test]
async fn comfyuis_answer_in_the_recorded_shape() {
    for target in targets(Kind::ComfyUi, Duration::ZERO).await {
        // Only newer programs say their version.
        let folder = if target.engine.report().version.is_some() { "comfyui" } else { "comfyui-2024" };
        for name in COMFYUI {
            compare(target.url(), &recording(&format!("{folder}/{name}")), target.name).await;
        }
        a_prompt_is_reported_as_recorded(&target, folder).await;
    }
}

async fn a_prompt_is_reported_as_recorded(target: &Target, folder: &str) {
    let mut recorded = recording(&format!("{folder}/prompt_accepted"));
    let graph = &mut recorded.sent["prompt"];
    graph["1"]["inputs"]["ckpt_name"] = target.model.as_str().into();
    // It does not make again what it has made for an earlier test.
    graph["5"]["inputs"]["seed"] = fastrand::u32(..).into();
    let accepted = compare(target.url(), &recorded, target.name).await;
    let id = accepted["prompt_id"].as_str().unwrap();
    let url = format!("{}history/{id}", target.url());
    let entry = async || -> Value { reqwest::get(&url).await.unwrap().json::<Value>().await.unwrap()[id].take() };
    until_within(PATIENCE, "the prompt has ended", async || !entry().await.is_null()).await;
    let expected = recording(&format!("{folder}/history_success")).answer;
    let expected = expected.as_object().unwrap().values().next().unwrap();
    assert_eq!(drift(expected, &entry().await), [""; 0], "the history of {}", target.name);
}

#[tokio::test]
async fn sd_servers_answer_in_the_recorded_shape() {
    let (_engine, fake) = sd_faked(SdBehaviour::default()).await;
    of_sd_server(&fake.url, "a fake").await;
    if let Some(started) = Started::real().await {
        of_sd_server(&started.url, "the real program").await;
    }
}

async fn of_sd_server(url: &str, whose: &str) {
    for name in SD_SERVER {
        compare(url, &recording(&format!("sd-server/{name}")), whose).await;
    }
    let submitted = compare(url, &recording("sd-server/txt2img_submit"), whose).await;
    let url = format!("{url}{}", submitted["poll_url"].as_str().unwrap());
    let state = async || reqwest::get(&url).await.unwrap().json::<Value>().await.unwrap();
    until_within(PATIENCE, "the job ends", async || state().await["status"] == "completed").await;
    let ended = state().await;
    assert_eq!(drift(&recording("sd-server/txt2img_end").answer, &ended), [""; 0], "a job of {whose}");
}

/// A real sd-server, which ends when this is dropped.
struct Started {
    url: String,
    _program: Child,
    _turn: Turn,
}

impl Started {
    /// Starts it with the first model, if variables name it, and waits until it answers.
    async fn real() -> Option<Self> {
        let installed = Installed::find()?;
        let turn = turn().await;
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let program = Command::new(&installed.program)
            .arg("--model")
            .arg(installed.first("checkpoints").expect("a checkpoint is there"))
            .args(["--listen-ip", "127.0.0.1", "--listen-port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let path = format!("{url}/sdcpp/v1/capabilities");
        let answers = async || reqwest::get(&path).await.is_ok_and(|answer| answer.status().is_success());
        until_within(PATIENCE, "sd-server answers", answers).await;
        Some(Self { url, _program: program, _turn: turn })
    }
}

#[test]
fn a_change_of_shape_is_found() {
    let recorded = json!({"a": [{"b": 1}], "c": null, "d": "x"});
    assert_eq!(drift(&recorded, &json!({"a": [], "c": 1, "d": "y", "e": 2})), [""; 0]);
    assert_eq!(drift(&json!({"a": [{"b": 1}]}), &json!({"a": [{"c": 1}]})), ["`.a[].b` was a number, and is None"]);
    assert_eq!(drift(&json!({"a": [{"b": [{"c": 1}]}]}), &json!({"a": [{"b": []}]})), [""; 0]);
    let drifted = drift(&recorded, &json!({"a": [{"b": "1"}], "c": null}));
    assert_eq!(drifted, ["`.a[].b` was a number, and is Some(\"text\")", "`.d` was a text, and is None"]);
}
