//! Runs prompts one after the other, and says so on the sockets.

use std::sync::Arc;

use axum::extract::ws::Message;
use serde_json::{Map, Value, json};

use super::classes::class;
use super::validate::needed;
use super::{Fault, Prompt, Shared, Year};
use crate::fake::picture::draw;

/// Why a prompt ends without results: the last message.
type Broken = (&'static str, Value);

/// Works until the fake is dropped.
pub async fn work(shared: Arc<Shared>) {
    loop {
        let next = {
            let mut state = shared.state();
            let next = (!state.pending.is_empty()).then(|| state.pending.remove(0));
            state.running = next.clone();
            state.interrupted = false;
            next
        };
        match next {
            Some(prompt) => run(&shared, prompt).await,
            None => shared.own.notified().await,
        }
    }
}

async fn run(shared: &Arc<Shared>, prompt: Prompt) {
    let id = prompt.id.clone();
    say(shared, &prompt, "execution_start", json!({"prompt_id": id}));
    let known =
        shared.state().cache.iter().find(|(graph, _)| *graph == prompt.graph).map(|(_, outputs)| outputs.clone());
    let nodes: Vec<String> = prompt.graph.as_object().unwrap().keys().cloned().collect();
    let cached = if known.is_some() { nodes } else { Vec::new() };
    say(shared, &prompt, "execution_cached", json!({"nodes": cached, "prompt_id": id}));
    let result = match known {
        Some(outputs) => Ok(outputs),
        None => execute(shared, &prompt).await,
    };
    let mut messages =
        vec![json!(["execution_start", {"prompt_id": id}]), json!(["execution_cached", {"nodes": cached}])];
    let (outputs, status) = match result {
        Ok(outputs) => {
            shared.state().cache.push((prompt.graph.clone(), outputs.clone()));
            if shared.behaviour().year == Year::New {
                messages.push(json!(["execution_success", {"prompt_id": id}]));
                say(shared, &prompt, "execution_success", json!({"prompt_id": id}));
            }
            (outputs, "success")
        }
        Err((kind, details)) => {
            say(shared, &prompt, kind, details.clone());
            messages.push(json!([kind, details]));
            (Map::new(), "error")
        }
    };
    {
        let mut state = shared.state();
        // A program that was restarted knows nothing of it.
        if state.running.take().is_some() {
            let status = json!({"status_str": status, "completed": status == "success", "messages": messages});
            let mut entry = json!({"prompt": prompt.shown(), "outputs": outputs, "status": status});
            if shared.behaviour().year == Year::New {
                entry["meta"] = outputs.keys().map(|node| (node.clone(), meta(node))).collect();
            }
            state.history.insert(id.clone(), entry);
        }
    }
    say(shared, &prompt, "executing", json!({"node": null, "prompt_id": id}));
}

/// What newer programs say of a node with results.
fn meta(node: &str) -> Value {
    json!({"node_id": node, "display_node": node, "parent_node": null, "real_node_id": node})
}

async fn execute(shared: &Arc<Shared>, prompt: &Prompt) -> Result<Map<String, Value>, Broken> {
    let mut outputs = Map::new();
    let (mut done, id) = (Vec::new(), &prompt.id);
    for output in &prompt.outputs {
        for node in needed(&prompt.graph, output) {
            if done.contains(&node) {
                continue;
            }
            let kind = prompt.graph[&node]["class_type"].as_str().unwrap().to_owned();
            say(shared, prompt, "executing", json!({"node": node, "prompt_id": id}));
            check(shared, prompt, &node)?;
            if kind == "KSampler" {
                sample(shared, prompt, &node).await?;
            }
            if kind == "SaveImage" && shared.behaviour().fault == Fault::FullDisk {
                let message = "[Errno 28] No space left on device: '/srv/comfyui/output/imgopen/task-1_0_00001_.png'";
                return Err(failed(prompt, &node, "OSError", message));
            }
            if kind == "SaveImage" {
                let count = if let Fault::Saves(count) = shared.behaviour().fault { count } else { 1 };
                let saved: Vec<Value> = (0..count).map(|_| save(shared, prompt, &node)).collect();
                let images = json!({ "images": saved });
                say(shared, prompt, "executed", json!({"node": node, "output": images, "prompt_id": id}));
                outputs.insert(node.clone(), images);
            }
            done.push(node);
        }
    }
    Ok(outputs)
}

/// Ends a prompt that is interrupted, or whose node gets an input that it does not have.
fn check(shared: &Arc<Shared>, prompt: &Prompt, node: &str) -> Result<(), Broken> {
    let kind = &prompt.graph[node]["class_type"];
    if shared.state().interrupted {
        let details = json!({"prompt_id": prompt.id, "node_id": node, "node_type": kind, "executed": []});
        return Err(("execution_interrupted", details));
    }
    let class = class(kind.as_str().unwrap(), &shared.behaviour()).unwrap();
    let has = |input: &String| ["required", "optional"].iter().any(|group| class["input"][group].get(input).is_some());
    match prompt.graph[node]["inputs"].as_object().unwrap().keys().find(|input| !has(input)) {
        Some(input) => Err(failed(prompt, node, "TypeError", &format!("got an unexpected keyword argument '{input}'"))),
        None => Ok(()),
    }
}

fn failed(prompt: &Prompt, node: &str, kind: &str, message: &str) -> Broken {
    let details = json!({
        "prompt_id": prompt.id, "node_id": node, "node_type": prompt.graph[node]["class_type"], "executed": [],
        "exception_message": message, "exception_type": kind, "traceback": [], "current_inputs": {}, "current_outputs": []
    });
    ("execution_error", details)
}

async fn sample(shared: &Arc<Shared>, prompt: &Prompt, node: &str) -> Result<(), Broken> {
    let steps = prompt.graph[node]["inputs"]["steps"].as_u64().unwrap();
    for step in 1..=steps {
        tokio::time::sleep(shared.behaviour().step).await;
        check(shared, prompt, node)?;
        if let Fault::Fails(kind, message) = shared.behaviour().fault {
            return Err(failed(prompt, node, kind, message));
        }
        let progress = json!({"value": step, "max": steps, "prompt_id": prompt.id, "node": node});
        say(shared, prompt, "progress", progress);
        preview(shared, prompt, node);
    }
    Ok(())
}

/// Writes a result, and returns where it is.
fn save(shared: &Arc<Shared>, prompt: &Prompt, node: &str) -> Value {
    let inputs = &prompt.graph[node]["inputs"];
    let size = match shared.behaviour().fault {
        Fault::Makes(width, height) => (width, height),
        _ => size(shared, &prompt.graph, &inputs["images"]),
    };
    // All that the picture depends on, which the name of its file is not.
    let mut seen: Vec<Value> = needed(&prompt.graph, node).iter().map(|id| prompt.graph[id].clone()).collect();
    seen.retain(|node| node["class_type"] != "SaveImage");
    let file = draw(size, &Value::from(seen).to_string());
    let prefix = inputs["filename_prefix"].as_str().unwrap();
    let (folder, name) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    let mut state = shared.state();
    let count = state.counts.entry(prefix.to_owned()).or_default();
    *count += 1;
    let name = format!("{name}_{count:05}_.png");
    state.files.insert(format!("{folder}/{name}"), file);
    json!({"filename": name, "subfolder": folder, "type": "output"})
}

/// Returns the size of what a node makes.
fn size(shared: &Arc<Shared>, graph: &Value, link: &Value) -> (u32, u32) {
    let node = &graph[link[0].as_str().unwrap()];
    let inputs = &node["inputs"];
    let number = |name: &str| inputs[name].as_u64().unwrap() as u32;
    let of = |name: &str| size(shared, graph, &inputs[name]);
    match node["class_type"].as_str().unwrap() {
        "EmptyLatentImage" | "EmptySD3LatentImage" => (number("width") / 8 * 8, number("height") / 8 * 8),
        "EmptyImage" | "ImageScale" | "LatentUpscale" => (number("width"), number("height")),
        "LatentUpscaleBy" => {
            let ((width, height), scale) = (of("samples"), inputs["scale_by"].as_f64().unwrap());
            ((f64::from(width) * scale) as u32, (f64::from(height) * scale) as u32)
        }
        "ImageUpscaleWithModel" => {
            let (width, height) = of("image");
            (width * 4, height * 4)
        }
        "LoadImage" => {
            let file = shared.state().uploads[inputs["image"].as_str().unwrap()].clone();
            let header = imgopen_picture::inspect(&file, &Default::default()).unwrap();
            (header.width, header.height)
        }
        "KSampler" => of("latent_image"),
        "VAEDecode" | "SetLatentNoiseMask" => of("samples"),
        "VAEEncode" => of("pixels"),
        other => panic!("the size of {other} is not known"),
    }
}

/// Says something to the client of a prompt.
fn say(shared: &Arc<Shared>, prompt: &Prompt, kind: &str, data: Value) {
    send(shared, prompt, Message::text(json!({"type": kind, "data": data}).to_string()));
}

fn preview(shared: &Arc<Shared>, prompt: &Prompt, node: &str) {
    let file = draw((8, 8), "a preview");
    let head = match shared.behaviour().year {
        Year::Old => [1_u32.to_be_bytes(), 2_u32.to_be_bytes()].concat(),
        Year::New => {
            let description = json!({"node_id": node, "prompt_id": prompt.id, "image_type": "image/png"}).to_string();
            let length = description.len() as u32;
            [&4_u32.to_be_bytes()[..], &length.to_be_bytes(), description.as_bytes()].concat()
        }
    };
    send(shared, prompt, Message::binary([head, file].concat()));
}

fn send(shared: &Arc<Shared>, prompt: &Prompt, message: Message) {
    if shared.behaviour().is_deaf {
        return;
    }
    let client = prompt.client["client_id"].as_str().unwrap_or_default();
    if let Some(socket) = shared.state().sockets.get(client) {
        let _ = socket.send(message);
    }
}
