//! Graphs are those that a real ComfyUI was seen to run.

use serde_json::{Value, json};

use crate::comfy_fake::{Behaviour, Year};
use crate::jobs::{controlnet, image_to_image, text_to_image};
use crate::recordings::recording;
use crate::targets::comfyui::comfy;

/// Returns what a node is made of, all the way back, without the numbers of nodes and the names of uploaded files.
fn tree(graph: &Value, node: &str) -> Value {
    let class = graph[node]["class_type"].as_str().unwrap();
    let inputs = graph[node]["inputs"].as_object().unwrap().iter().map(|(name, value)| {
        let value = match value.as_array() {
            Some(link) => json!([tree(graph, link[0].as_str().unwrap()), link[1]]),
            None if class.starts_with("LoadImage") && name == "image" => "a file".into(),
            None if name == "filename_prefix" => "a name".into(),
            None => value.clone(),
        };
        (name.clone(), value)
    });
    let inputs: std::collections::BTreeMap<String, Value> = inputs.collect();
    json!({"class": class, "inputs": inputs})
}

fn result(graph: &Value) -> Value {
    let nodes = graph.as_object().unwrap();
    let saving = nodes.iter().find(|(_, node)| node["class_type"] == "SaveImage").unwrap();
    tree(graph, saving.0)
}

#[tokio::test]
async fn graphs_are_those_that_were_run() {
    let target = comfy(Behaviour::default()).await;
    let common = json!({
        "prompt": "a (lighthouse:1.2), randemb", "steps": 1, "seed": "1", "sampler_index": "DPM++ 2M Karras", "cfg_scale": 7
    });
    let with = |changes: Value| {
        let mut body = common.clone();
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    let picture = "https://example.com/b.png";
    let unit = json!({"model": "random-cn", "weight": 0.9, "guidance_end": 0.8, "image_link": picture});
    let mask = json!({"image_link": "https://example.com/a.png", "mask_link": "https://example.com/m.png"});
    let hires = json!({
        "enable_hr": true, "hr_scale": 2, "hr_upscaler": "Latent (nearest-exact)", "denoising_strength": 0.5
    });
    let model = &target.model;
    for (name, request) in [
        (
            "graph_lora",
            text_to_image(model, with(json!({"prompt": "a (lighthouse:1.2), randemb<lora:random-lora:0.8>"}))),
        ),
        ("graph_hires", text_to_image(model, with(hires))),
        ("graph_img2img", image_to_image(model, with(json!({"denoising_strength": 0.75})))),
        ("graph_inpaint", image_to_image(model, with(json!({"denoising_strength": 0.75, "alwayson_scripts": mask})))),
        ("graph_controlnet", controlnet(model, unit, with(json!({})))),
    ] {
        let output = target.run(request).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(output.notes.iter().any(|note| note.contains("weights in parentheses")), "{:?}", output.notes);
        let recorded = recording(&format!("comfyui/{name}")).sent["prompt"].clone();
        let sent = target.comfy().posts().last().unwrap()["prompt"].clone();
        assert_eq!(result(&sent), result(&recorded), "{name}");
    }
}

#[tokio::test]
async fn what_a_version_does_not_know_is_not_sent() {
    let target = comfy(Behaviour { year: Year::Old, ..Behaviour::default() }).await;
    let unit = json!({"model": "random-cn", "image_link": "https://example.com/b.png"});
    target.run(controlnet(&target.model, unit, json!({}))).await.unwrap();
    let graph = target.comfy().posts()[0]["prompt"].clone();
    let apply = graph.as_object().unwrap().values().find(|node| node["class_type"] == "ControlNetApplyAdvanced");
    assert!(apply.unwrap()["inputs"].get("vae").is_none());
}

#[tokio::test]
async fn several_units_loras_a_vae_and_a_clip_skip_are_chained() {
    let target = comfy(Behaviour::default()).await;
    let unit =
        |strength: f64| json!({"model": "random-cn", "weight": strength, "image_link": "https://example.com/b.png"});
    let changes = json!({
        "prompt": "a <lora:random-lora:0.5> b <lora:random-lora:0.3:0.2>",
        "controlnet": {"args": [unit(0.4), {"enabled": false}, {"model": "random-cn", "weight": 0.6}]},
        "alwayson_scripts": {
            "sd_vae": "random-vae", "override_settings": {"CLIP_stop_at_last_layers": 2},
            "image_link": "https://example.com/a.png"
        }
    });
    target.run(controlnet(&target.model, unit(1.0), changes)).await.unwrap();
    let graph = result(&target.comfy().posts()[0]["prompt"]);
    let sampler = &graph["inputs"]["images"][0]["inputs"]["samples"][0];
    let second = &sampler["inputs"]["positive"][0];
    assert_eq!((&second["class"], &second["inputs"]["strength"]), (&json!("ControlNetApplyAdvanced"), &json!(0.6)));
    let first = &second["inputs"]["positive"][0];
    assert_eq!(first["inputs"]["strength"], 0.4);
    let encoder = &first["inputs"]["positive"][0]["inputs"]["clip"][0];
    assert_eq!((&encoder["class"], &encoder["inputs"]["stop_at_clip_layer"]), (&json!("CLIPSetLastLayer"), &json!(-2)));
    let lora = &sampler["inputs"]["model"][0];
    assert_eq!(lora["inputs"]["strength_model"], 0.2);
    assert_eq!(lora["inputs"]["strength_clip"], 0.3);
    assert_eq!(lora["inputs"]["model"][0]["inputs"]["strength_model"], 0.5);
    let vae = &graph["inputs"]["images"][0]["inputs"]["vae"][0];
    assert_eq!(vae["inputs"]["vae_name"], "random-vae.safetensors");
}
