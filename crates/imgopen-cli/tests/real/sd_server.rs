//! A supervised sd-server.

use serde_json::Value;

use crate::common::pictures::seed;
use crate::common::until;
use crate::processes::{is_alive, painters};
use crate::studio::{Made, Studio, differ_below_the_mask, is_drawn, variable};

/// Starts a service with Stable Diffusion 1.5, FLUX.1 dev, and a FLUX.1 schnell without a text encoder, which crashes the program.
fn studio() -> Option<Studio> {
    let (program, models) = (variable("IMGOPEN_TEST_SD_SERVER")?, variable("IMGOPEN_TEST_SD_MODELS")?);
    Some(Studio::open(&format!(
        r#"
models = "{models}"

[[backends]]
name = "painter"
program = "{program}"

[[backends.models]]
model = "checkpoints/random-sd15.safetensors"
control-net = "controlnet/random-cn.safetensors"

[[backends.models]]
flux = "dev"
diffusion-model = "diffusion_models/random-flux-dev.safetensors"
vae = "vae/random-ae.safetensors"
clip-l = "text_encoders/random-clip-l.safetensors"

[[backends.models]]
name = "without-text"
flux = "schnell"
diffusion-model = "diffusion_models/random-flux-dev.safetensors"
vae = "vae/random-ae.safetensors"
"#
    )))
}

/// The only program that runs for the service.
fn painter(studio: &Studio) -> u32 {
    let painters = painters(studio.shell.program.pid());
    assert_eq!(painters.len(), 1, "{painters:?}");
    painters[0]
}

/// The arguments that make a small picture with FLUX.1.
fn flux(variant: &str) -> Vec<&str> {
    let run = ["run", "flux_text_to_image", "--json", "--prompt", "a lighthouse", "--comfy-task-type", variant];
    [&run[..], &["--width=64", "--height=64", "--steps=2"]].concat()
}

#[test]
fn stable_diffusion_makes_what_was_asked_for() {
    let Some(studio) = studio() else { return };
    let [first, second] = two_pictures(&studio);
    let repeated = studio.picture("text_to_image", "a lighthouse", &["--seed=8", "--negative-prompt=blurry"]);
    assert!(repeated.pixels == second.pixels && first.pixels != second.pixels);
    a_picture_is_changed(&studio);
    differ_below_the_mask(&studio.masked(&["--seed=1"]).pixels, &studio.masked(&["--seed=2"]).pixels);
    a_lora_has_an_effect(&studio, &first);
    a_control_net_has_an_effect(&studio, &first);
    the_hires_fix_enlarges(&studio);
}

fn two_pictures(studio: &Studio) -> [Made; 2] {
    let command = studio.command("text_to_image", "a lighthouse", &["--n-iter=2", "--negative-prompt=blurry"]);
    let pictures: [Made; 2] = studio.pictures(command).try_into().unwrap();
    for (made, number) in pictures.iter().zip([7, 8]) {
        assert_eq!((made.pixels.dimensions(), seed(&made.text)), ((64, 64), Some(number)), "{made:?}");
        assert!(made.text.starts_with("a lighthouse\nNegative prompt: blurry\nSteps: 2,"), "{}", made.text);
        assert_eq!((&made.outcome["engine"], &made.outcome["grade"]), (&"sd-server".into(), &"neural".into()));
        assert!(is_drawn(&made.pixels));
    }
    pictures
}

fn a_picture_is_changed(studio: &Studio) {
    studio.shell.picture("base.png");
    let changed = |strength: &str| {
        let strength = format!("--denoising-strength={strength}");
        let more = ["--image-link=base.png", "--resize-mode=1", "--steps=4", &strength];
        studio.picture("image_to_image", "a lighthouse", &more)
    };
    // At strength 1 it makes a step less, so that of two steps as many are made as at 0.5.
    let (little, much) = (changed("0.25"), changed("1"));
    assert!(little.pixels.dimensions() == (64, 64) && little.pixels != much.pixels);
}

fn a_lora_has_an_effect(studio: &Studio, without: &Made) {
    let with = studio.picture("text_to_image", "a lighthouse <lora:random-lora:0.8>", &["--negative-prompt=blurry"]);
    assert!(with.pixels != without.pixels && with.text.contains("random-lora"), "{with:?}");
    // One for another base model would abort the program.
    let id = painter(studio);
    let command = studio.command("text_to_image", "a lighthouse <lora:random-lora-sdxl:1>", &[]);
    let (code, refused) = studio.run(command);
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(code == 3 && message.contains("`prompt`") && message.contains("random-lora-sdxl"), "{refused:#}");
    assert_eq!(painter(studio), id);
}

fn a_control_net_has_an_effect(studio: &Studio, without: &Made) {
    let controlled = |weight: f64| {
        let unit = serde_json::json!({
            "module": "none", "model": "random-cn.safetensors", "weight": weight, "image_link": "base.png",
        });
        let unit = unit.to_string();
        let more = ["--resize-mode=1", "--negative-prompt=blurry", "--controlnet.args", &unit];
        studio.picture("controlnet", "a lighthouse", &more).pixels
    };
    let (weak, strong) = (controlled(0.5), controlled(2.0));
    assert!(weak.dimensions() == (64, 64) && weak != strong && weak != without.pixels);
}

fn the_hires_fix_enlarges(studio: &Studio) {
    let more = ["--enable-hr", "--hr-scale=2", "--hr-second-pass-steps=2", "--denoising-strength=0.6"];
    let made = studio.picture("text_to_image", "a lighthouse", &more);
    assert!(made.pixels.dimensions() == (128, 128) && is_drawn(&made.pixels), "{made:?}");
}

/// One process at a time, each for its model.
#[test]
fn another_model_takes_the_place_of_the_last() {
    let Some(studio) = studio() else { return };
    studio.picture("text_to_image", "a lighthouse", &[]);
    let first = painter(&studio);
    let made = studio.one(studio.shell.command(&flux("Flux1DevFP8")));
    assert!(made.pixels.dimensions() == (64, 64) && is_drawn(&made.pixels), "{made:?}");
    let second = painter(&studio);
    assert!(first != second && !is_alive(first));
    studio.picture("text_to_image", "a lighthouse", &[]);
    assert!(painter(&studio) != second && !is_alive(second));
}

#[tokio::test]
async fn a_cancel_in_mid_run_ends_the_program_and_nothing_else() {
    let Some(studio) = studio() else { return };
    let id = studio.begin("--steps=100").await;
    let program = painter(&studio);
    assert_eq!(studio.shell.json(&["tasks", "cancel", &id]).0, 0);
    until("the program has ended", async || (!is_alive(program)).then_some(())).await;
    assert_eq!(studio.row(&id)["state"], "cancelled");
    // Otherwise it would wait for the hundred steps.
    studio.picture("text_to_image", "a lighthouse", &[]);
}

/// FLUX.1 without a text encoder ends the program by a segmentation fault.
#[test]
fn a_crash_costs_one_task() {
    let Some(studio) = studio() else { return };
    let before = studio.picture("text_to_image", "a lighthouse", &[]);
    let (code, outcome) = studio.run(studio.shell.command(&flux("Flux1SchnellFP8")));
    assert_eq!((code, &outcome["state"]), (4, &Value::from("failed")), "{outcome:#}");
    let message = outcome["error"]["message"].as_str().unwrap();
    assert!(message.contains("painter") && !message.contains('/'), "{message}");
    assert!(painters(studio.shell.program.pid()).is_empty());
    assert_eq!(studio.picture("text_to_image", "a lighthouse", &[]).pixels, before.pixels);
}

#[tokio::test]
async fn the_program_dies_with_a_killed_service_and_the_task_is_done_later() {
    let Some(mut studio) = studio() else { return };
    let id = studio.begin("--steps=24").await;
    let program = painter(&studio);
    studio.shell.kill_and_restart();
    until("the program has ended", async || (!is_alive(program)).then_some(())).await;
    let made = studio.wait(&id);
    assert!(made.pixels.dimensions() == (64, 64) && is_drawn(&made.pixels), "{made:?}");
    let row = studio.row(&id);
    assert_eq!((&row["state"], &row["attempts"]), (&"succeeded".into(), &2.into()), "{row:#}");
    assert_eq!(studio.shell.json(&["tasks", "list"]).1["tasks"].as_array().unwrap().len(), 1);
}
