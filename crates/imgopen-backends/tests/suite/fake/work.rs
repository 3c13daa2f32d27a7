//! Makes pictures, replacing what the server does not know as Forge does.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::picture::{Made, draw, infotext};
use super::{Behaviour, Fault, Shared, State, members};
use crate::recordings::{info, recording};

/// Refuses what the server refuses. Returns status and answer.
pub fn refusal(path: &str, body: &Value, behaviour: &Behaviour) -> Option<(u16, Value)> {
    let recorded = |name: &str| {
        let recording = recording(&format!("webui/{name}"));
        Some((recording.status, recording.answer))
    };
    if !body.is_object() {
        return recorded("bad_list");
    }
    if body["width"].as_i64().is_none() && !body["width"].is_null() {
        return recorded("bad_width_text");
    }
    if body["steps"] == 0 {
        return recorded("bad_steps_zero");
    }
    if body["width"].as_i64().is_some_and(|width| width < 64) {
        return recorded("bad_width_tiny");
    }
    let scripts = recording("webui/scripts").answer;
    let known = scripts["txt2img"].as_array().unwrap();
    for script in body["alwayson_scripts"].as_object().into_iter().flatten() {
        if !known.iter().any(|known| known.as_str().unwrap().eq_ignore_ascii_case(script.0)) {
            return Some((422, json!({"detail": format!("Script '{}' not found", script.0)})));
        }
    }
    let options = recording("webui/options").answer;
    for (setting, _) in body["override_settings"].as_object().into_iter().flatten() {
        if options.get(setting).is_none() {
            let (status, mut answer) = recorded("bad_setting")?;
            answer["message"] = format!("'{setting}'").into();
            return Some((status, answer));
        }
    }
    if body["enable_hr"] == true
        && !is_listed("upscalers", &body["hr_upscaler"])
        && !is_listed("latent-upscale-modes", &body["hr_upscaler"])
    {
        return recorded("bad_upscaler");
    }
    // A1111's source; Forge takes another sampler.
    if behaviour.is_a1111 && !is_listed("samplers", &body["sampler_name"]) {
        return Some((404, json!({"detail": "Sampler not found"})));
    }
    if path.ends_with("img2img") {
        let Some(picture) = body["init_images"][0].as_str() else { return recorded("bad_img2img_none") };
        let file = BASE64_STANDARD.decode(picture).unwrap_or_default();
        if imgopen_picture::inspect(&file, &Default::default()).is_err() {
            return recorded("bad_img2img_image");
        }
    }
    None
}

fn is_listed(list: &str, name: &Value) -> bool {
    recording(&format!("webui/{list}")).answer.as_array().unwrap().iter().any(|known| known["name"] == *name)
}

/// Does a job to its end, whatever became of its caller, and returns the answer.
pub async fn job(shared: Arc<Shared>, path: String, body: Value) -> Value {
    let id = body["force_task_id"].as_str().unwrap_or("task(someone)").to_owned();
    shared.state().calls.push(body.clone());
    shared.state().pending.push(id.clone());
    let _running = shared.own.lock().await;
    let count = |name: &str| body[name].as_u64().unwrap_or(1);
    let (batches, size) = (count("n_iter"), count("batch_size"));
    let passes = if body["enable_hr"] == true { 2 } else { 1 };
    let made = {
        let mut state = shared.state();
        state.pending.retain(|waiting| *waiting != id);
        state.current = Some(id);
        state.jobs += 1;
        state.interrupted = false;
        state.job_count = batches * passes;
        // Those of another job, which stay until the first step.
        state.steps = body["steps"].as_u64().unwrap_or(50) + 3;
        (state.job_no, state.step) = (0, 0);
        if let Some(clip_skip) = body["override_settings"]["CLIP_stop_at_last_layers"].as_i64() {
            state.clip_skip = clip_skip;
        }
        made(&path, &body, &state, &shared.behaviour())
    };
    let mut pictures = 0;
    for batch in 0..batches {
        pictures += size;
        for pass in 0..passes {
            {
                let mut state = shared.state();
                (state.job_no, state.step) = (batch * passes + pass, 0);
            }
            for step in 0..made.steps as u64 {
                tokio::time::sleep(shared.behaviour().step).await;
                {
                    let mut state = shared.state();
                    (state.step, state.steps) = (step + 1, made.steps as u64);
                }
                if shared.state().interrupted {
                    break;
                }
            }
        }
        if shared.state().interrupted {
            break;
        }
    }
    let answer = answer(&path, &body, &made, pictures as usize, &shared.behaviour());
    let mut state = shared.state();
    (state.current, state.job_count, state.step) = (None, 0, 0);
    answer
}

/// Replaces what the server does not know.
fn made(path: &str, body: &Value, state: &State, behaviour: &Behaviour) -> Made {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let asked = (body["width"].as_i64().unwrap_or(512), body["height"].as_i64().unwrap_or(512));
    let (sampler, schedule) = sampling(body);
    let hires = hires(body, asked, behaviour.is_a1111);
    // The source of the web UI: the masked part is put back into the picture that was given. Not recorded.
    let partial = (body["inpaint_full_res"] == true && body["mask"].is_string()).then(|| {
        let file = BASE64_STANDARD.decode(body["init_images"][0].as_str().unwrap()).unwrap();
        let header = imgopen_picture::inspect(&file, &Default::default()).unwrap();
        (header.width, header.height)
    });
    let size = match (&behaviour.fault, &hires) {
        (Fault::None, _) if partial.is_some() => partial.unwrap(),
        (Fault::Makes(width, height), _) => (*width, *height),
        (_, Some((size, _))) => *size,
        _ => (asked.0 as u32 / 8 * 8, asked.1 as u32 / 8 * 8),
    };
    let mut extra = hires.map(|(_, text)| text).unwrap_or_default();
    if body.get("mask").is_some_and(Value::is_string) {
        extra.push_str(&format!(", Mask blur: {}", body["mask_blur"].as_i64().unwrap_or(4)));
    }
    let loras = super::loras(state);
    let prompt = text("prompt");
    let loras = loras.as_array().unwrap().iter().filter_map(|lora| lora["name"].as_str());
    let loras = loras.filter(|name| prompt.contains(&format!("<lora:{name}:")));
    let has_strength = path.ends_with("img2img") || body["enable_hr"] == true;
    Made {
        negative_prompt: text("negative_prompt"),
        steps: body["steps"].as_i64().unwrap_or(50),
        sampler,
        schedule,
        cfg_scale: body["cfg_scale"].as_f64().unwrap_or(7.0),
        distilled: body["distilled_cfg_scale"].as_f64(),
        asked,
        size,
        strength: has_strength.then(|| body["denoising_strength"].as_f64().unwrap_or(0.75)),
        clip_skip: state.clip_skip,
        loras: loras.map(str::to_owned).collect(),
        vae: body["override_settings"]["sd_vae"].as_str().filter(|_| behaviour.is_a1111).map(str::to_owned),
        extra,
        control: control(body),
        prompt,
    }
}

/// Forge replaces an unknown sampler by "DPM++ 2M Karras", and an unknown schedule by the automatic one.
fn sampling(body: &Value) -> (String, String) {
    let samplers = recording("webui/samplers").answer;
    let schedulers = recording("webui/schedulers").answer;
    let asked = body["sampler_name"].as_str().or_else(|| body["sampler_index"].as_str()).unwrap_or("Euler");
    let is_sampler = |name: &str| samplers.as_array().unwrap().iter().any(|sampler| sampler["name"] == name);
    let label = |name: &str| {
        let known = schedulers.as_array().unwrap().iter();
        let mut known = known.filter_map(|known| Some((known["name"].as_str()?, known["label"].as_str()?)));
        known.find(|(known, label)| *known == name || *label == name).map(|(_, label)| label.to_owned())
    };
    let automatic = || "Automatic".to_owned();
    if is_sampler(asked) {
        let schedule = body["scheduler"].as_str().map(|name| label(name).unwrap_or_else(automatic));
        return (asked.to_owned(), schedule.unwrap_or_else(automatic));
    }
    match asked.strip_suffix(" Karras") {
        Some(method) if is_sampler(method) => (method.to_owned(), "Karras".to_owned()),
        _ => ("DPM++ 2M".to_owned(), "Karras".to_owned()),
    }
}

fn hires(body: &Value, (width, height): (i64, i64), is_a1111: bool) -> Option<((u32, u32), String)> {
    if body["enable_hr"] != true {
        return None;
    }
    let number = |name: &str| body[name].as_i64().unwrap_or(0);
    let (x, y) = (number("hr_resize_x"), number("hr_resize_y"));
    let (size, how) = match (x, y) {
        (0, 0) => {
            let scale = body["hr_scale"].as_f64().unwrap_or(2.0);
            ((width as f64 * scale, height as f64 * scale), format!("Hires upscale: {scale:?}"))
        }
        _ => ((x as f64, y as f64), format!("Hires resize: {x}x{y}")),
    };
    let steps = body["hr_second_pass_steps"].as_i64().unwrap_or(0);
    let cfg = body["hr_cfg"].as_f64().unwrap_or(1.0);
    let upscaler = body["hr_upscaler"].as_str().unwrap_or("Latent");
    let own = match is_a1111 {
        true => String::new(),
        false => format!(", Hires Module 1: Use same choices, Hires CFG Scale: {cfg:?}"),
    };
    let text = format!("{own}, {how}, Hires steps: {steps}, Hires upscaler: {upscaler}");
    Some(((size.0 as u32, size.1 as u32), text))
}

/// Units are reported as they were sent, also those whose model is unknown and that had no effect.
fn control(body: &Value) -> String {
    let units = units(body).enumerate().map(|(index, unit)| {
        let text = |name: &str| unit[name].as_str().unwrap_or("None").to_owned();
        let number = |name: &str, default: f64| unit[name].as_f64().unwrap_or(default);
        let perfect = if unit["pixel_perfect"] == true { "True" } else { "False" };
        format!(
            ", ControlNet {index}: \"Module: {}, Model: {}, Weight: {:?}, Resize Mode: {}, Guidance Start: {:?}, Guidance End: \
             {:?}, Pixel Perfect: {perfect}, Control Mode: {}, Hr Option: HiResFixOption.BOTH\"",
            text("module"),
            text("model"),
            number("weight", 1.0),
            text("resize_mode"),
            number("guidance_start", 0.0),
            number("guidance_end", 1.0),
            text("control_mode")
        )
    });
    units.collect()
}

fn units(body: &Value) -> impl Iterator<Item = &Value> {
    body["alwayson_scripts"]["ControlNet"]["args"].as_array().into_iter().flatten()
}

/// The answer: a recorded one, in which what was asked for and made is put.
fn answer(path: &str, body: &Value, made: &Made, pictures: usize, behaviour: &Behaviour) -> Value {
    let base = if path.ends_with("img2img") { "webui/img2img" } else { "webui/txt2img" };
    let mut answer = recording(base).answer;
    let known = members(path);
    for (name, value) in body.as_object().unwrap() {
        // What is not known is ignored.
        if known.contains(name) && !["init_images", "mask"].contains(&name.as_str()) {
            answer["parameters"][name] = value.clone();
        }
    }
    let asked = body["n_iter"].as_i64().unwrap_or(1) * body["batch_size"].as_i64().unwrap_or(1);
    let first = body["seed"].as_i64().filter(|seed| *seed >= 0).unwrap_or(1_463_172_980);
    let seeds: Vec<i64> = (first..first + asked).collect();
    let mut texts: Vec<String> = seeds.iter().take(pictures).map(|seed| infotext(made, *seed)).collect();
    if let Fault::Writes(wrong, right) = &behaviour.fault {
        texts.iter_mut().for_each(|text| *text = text.replace(right, wrong));
    }
    let drawn = |text: &String| BASE64_STANDARD.encode(draw(made.size, text));
    let mut images: Vec<String> = texts.iter().map(drawn).collect();
    images.extend(units(body).map(|_| BASE64_STANDARD.encode(draw(made.size, "Steps: 1"))));
    let mut info = info(&answer);
    let all = |text: &str| vec![text.to_owned(); asked as usize];
    for (name, value) in [
        ("prompt", json!(made.prompt)),
        ("all_prompts", json!(all(&made.prompt))),
        ("negative_prompt", json!(made.negative_prompt)),
        ("all_negative_prompts", json!(all(&made.negative_prompt))),
        ("seed", json!(first)),
        ("all_seeds", json!(seeds)),
        ("width", json!(made.asked.0)),
        ("height", json!(made.asked.1)),
        ("sampler_name", json!(made.sampler)),
        ("cfg_scale", json!(made.cfg_scale)),
        ("steps", json!(made.steps)),
        ("batch_size", json!(body["batch_size"].as_i64().unwrap_or(1))),
        ("denoising_strength", json!(made.strength)),
        ("clip_skip", json!(made.clip_skip)),
        ("sd_vae_name", json!(made.vae)),
        ("infotexts", json!(texts)),
    ] {
        info[name] = value;
    }
    match &behaviour.fault {
        Fault::Reports(name, value) => info[*name] = value.clone(),
        Fault::Forgets(name) => {
            answer["parameters"].as_object_mut().unwrap().remove(*name);
        }
        _ => {}
    }
    answer["images"] = images.into();
    answer["info"] = info.to_string().into();
    answer
}
