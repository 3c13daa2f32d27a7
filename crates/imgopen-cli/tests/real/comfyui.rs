//! A ComfyUI of 2024 that someone has started. It is slow, so there are few pictures.

use serde_json::Value;

use crate::common::pictures::seed;
use crate::common::until;
use crate::studio::{Studio, differ_below_the_mask, is_drawn, variable};

/// Starts a service that drives it.
fn studio() -> Option<(Studio, ComfyUi)> {
    let url = variable("IMGOPEN_TEST_COMFYUI")?;
    let studio = Studio::open(&format!("[[backends]]\nname = \"comfy\"\nurl = \"{url}\"\n"));
    Some((studio, ComfyUi { url, http: reqwest::Client::new() }))
}

/// The program itself.
struct ComfyUi {
    url: String,
    http: reqwest::Client,
}

impl ComfyUi {
    async fn get(&self, path: &str) -> Value {
        self.http.get(format!("{}/{path}", self.url)).send().await.unwrap().json().await.unwrap()
    }

    async fn is_idle(&self) -> bool {
        let queue = self.get("queue").await;
        ["queue_running", "queue_pending"].iter().all(|list| queue[list].as_array().unwrap().is_empty())
    }

    /// How many prompts it has finished.
    async fn finished(&self) -> usize {
        self.get("history").await.as_object().unwrap().len()
    }
}

/// From noise, from a picture below a mask, and with a LoRA.
#[test]
fn pictures_are_made_as_asked_for() {
    let Some((studio, _)) = studio() else { return };
    let first = studio.picture("text_to_image", "a lighthouse", &["--negative-prompt=blurry"]);
    assert_eq!((first.pixels.dimensions(), seed(&first.text)), ((64, 64), Some(7)), "{first:?}");
    assert_eq!((&first.outcome["engine"], &first.outcome["grade"]), (&"comfyui".into(), &"neural".into()));
    assert!(is_drawn(&first.pixels));

    let with_lora = "a lighthouse <lora:random-lora:0.8>";
    let with = studio.picture("text_to_image", with_lora, &["--negative-prompt=blurry"]);
    assert!(with.pixels != first.pixels, "the LoRA has no effect");

    differ_below_the_mask(&studio.masked(&["--seed=1"]).pixels, &studio.masked(&["--seed=2"]).pixels);
}

#[tokio::test]
async fn a_cancel_in_mid_run_frees_it() {
    let Some((studio, comfy)) = studio() else { return };
    let id = studio.begin("--steps=100").await;
    assert_eq!(studio.shell.json(&["tasks", "cancel", &id]).0, 0);
    until("it is idle", async || comfy.is_idle().await.then_some(())).await;
    assert_eq!(studio.row(&id)["state"], "cancelled");
}

/// The service that comes next finds the prompt of the one that was killed, and takes its picture.
#[tokio::test]
async fn a_killed_service_makes_no_picture_twice() {
    let Some((mut studio, comfy)) = studio() else { return };
    let before = comfy.finished().await;
    let id = studio.begin("--steps=8").await;
    studio.shell.kill_and_restart();
    let made = studio.wait(&id);
    assert!(made.pixels.dimensions() == (64, 64) && is_drawn(&made.pixels), "{made:?}");
    let row = studio.row(&id);
    assert_eq!((&row["state"], &row["attempts"]), (&"succeeded".into(), &2.into()), "{row:#}");
    until("it is idle", async || comfy.is_idle().await.then_some(())).await;
    assert_eq!(comfy.finished().await, before + 1);
}
