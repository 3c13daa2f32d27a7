//! The values that a job uses in place of those that were sent, and the text about each picture. Both follow the source of
//! sd-server; a test compares the size of the text with recorded pictures, byte for byte.

use serde_json::{Map, Value, json};

use super::SdBehaviour;
use crate::recordings::recording;

/// What a job uses, after everything that the server does not know was replaced.
#[derive(Clone, Debug)]
pub struct Used {
    pub body: Value,
    pub asked: (i64, i64),
    pub size: (u32, u32),
    pub steps: i64,
    pub count: i64,
    pub seed: i64,
    pub hires: Option<Value>,
    pub loras: Vec<Value>,
    sampler: Option<String>,
    schedule: Option<String>,
}

/// The list of a member of the capabilities.
pub fn listed(member: &str) -> Vec<String> {
    let capabilities = recording("sd-server/capabilities").answer;
    let items = capabilities[member].as_array().unwrap().iter();
    let text = |item: &Value| item.as_str().or(item["name"].as_str()).unwrap().to_owned();
    items.map(text).collect()
}

/// The paths of the LoRAs.
pub fn loras(behaviour: &SdBehaviour) -> Vec<String> {
    let Some(folder) = &behaviour.lora_folder else {
        let capabilities = recording("sd-server/capabilities").answer;
        let loras = capabilities["loras"].as_array().unwrap().iter();
        return loras.map(|lora| lora["path"].as_str().unwrap().to_owned()).collect();
    };
    let files = folder.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut loras: Vec<String> = names.filter(|name| name.ends_with(".safetensors")).collect();
    loras.sort();
    loras
}

fn rounded(side: i64, multiple: i64) -> u32 {
    ((side + multiple - 1) / multiple * multiple) as u32
}

impl Used {
    /// Reads a body. Returns the name of the recorded refusal if the server refuses it.
    pub fn read(body: &Value, behaviour: &SdBehaviour) -> Result<Self, &'static str> {
        let whole = |value: &Value, default: i64| value.as_i64().unwrap_or(default);
        let is_png =
            |value: &Value| value.is_null() || value.as_str().is_some_and(|text| text.starts_with("iVBORw0KGgo"));
        if !["init_image", "mask_image", "control_image"].iter().all(|name| is_png(&body[*name])) {
            return Err("bad_image_submit");
        }
        let known = loras(behaviour);
        let loras = body["lora"].as_array().cloned().unwrap_or_default();
        if loras.iter().any(|lora| !known.iter().any(|known| lora["path"] == known.as_str())) {
            return Err("bad_lora_unknown_submit");
        }
        let formats = listed("output_formats");
        if body["output_format"].as_str().is_some_and(|format| !formats.iter().any(|known| known == format)) {
            return Err("bad_format_submit");
        }
        if !(0.0..=1.0).contains(&body["strength"].as_f64().unwrap_or(0.75)) {
            return Err("bad_strength_submit");
        }
        let hires =
            Some(&body["hires"]).filter(|hires| hires["enabled"] == true && hires["upscaler"] != "None").cloned();
        if let Some(hires) = &hires {
            let upscaler = hires["upscaler"].as_str().unwrap_or("Latent");
            if !listed("upscalers").iter().any(|known| known == upscaler) || hires["denoising_strength"] == 0.0 {
                return Err("bad_upscaler_submit");
            }
        }
        let side = |name: &str| match whole(&body[name], 512) {
            0 => 512,
            side => side,
        };
        let asked = (side("width"), side("height"));
        let multiple = if behaviour.is_flux { 8 } else { 64 };
        let final_size = hires.as_ref().map_or(asked, |hires| {
            match (whole(&hires["target_width"], 0), whole(&hires["target_height"], 0)) {
                (0, 0) => {
                    let scale = hires["scale"].as_f64().unwrap_or(2.0);
                    ((asked.0 as f64 * scale).round() as i64, (asked.1 as f64 * scale).round() as i64)
                }
                (width, 0) => (width, width),
                (0, height) => (height, height),
                size => size,
            }
        });
        let known = |name: &str, member: &str| {
            let asked = body["sample_params"][name].as_str()?;
            listed(member).into_iter().find(|known| known == asked)
        };
        Ok(Self {
            asked,
            size: (rounded(final_size.0, multiple), rounded(final_size.1, multiple)),
            steps: whole(&body["sample_params"]["sample_steps"], 20).clamp(1, 100),
            count: whole(&body["batch_count"], 1).clamp(1, 8),
            seed: whole(&body["seed"], behaviour.seed),
            hires,
            loras,
            sampler: known("sample_method", "samplers"),
            schedule: known("scheduler", "schedulers"),
            body: body.clone(),
        })
    }

    fn text_of(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// The text about a picture.
    pub fn text(&self, seed: i64, behaviour: &SdBehaviour) -> String {
        let single = |value: &Value, default: f64| value.as_f64().unwrap_or(default) as f32;
        let guidance = &self.body["sample_params"]["guidance"];
        let (cfg, distilled) = (single(&guidance["txt_cfg"], 7.0), single(&guidance["distilled_guidance"], 3.5));
        let clip_skip = self.body["clip_skip"].as_i64().unwrap_or(-1);
        let model = model(behaviour);
        let (width, height) = self.asked;
        let mut text = format!("{}\n", self.text_of("prompt"));
        if !self.text_of("negative_prompt").is_empty() {
            text += &format!("Negative prompt: {}\n", self.text_of("negative_prompt"));
        }
        text += &format!(
            "Steps: {}, CFG scale: {cfg:.6}, Guidance: {distilled:.6}, Eta: inf, Seed: {seed}, Size: {width}x{height}, Model: {}, \
             RNG: cuda, Sampler: {}",
            self.steps,
            if behaviour.is_flux { "" } else { &model },
            self.sampler.as_deref().unwrap_or("NONE"),
        );
        if let Some(schedule) = &self.schedule {
            text += &format!(" {schedule}");
        }
        text += ", ";
        if behaviour.is_flux {
            text += &format!("TE: clip_l.safetensors, Unet: {model}, VAE: ae.safetensors, ");
        }
        if clip_skip != -1 {
            text += &format!("Clip skip: {clip_skip}, ");
        }
        if let Some(hires) = &self.hires {
            text += &format!(
                "Hires upscale: {}, Hires scale: {:.6}, Hires resize: {}x{}, Hires steps: {}, Denoising strength: {:.6}, ",
                hires["upscaler"].as_str().unwrap_or("Latent"),
                single(&hires["scale"], 2.0),
                hires["target_width"].as_i64().unwrap_or(0),
                hires["target_height"].as_i64().unwrap_or(0),
                hires["steps"].as_i64().unwrap_or(0),
                single(&hires["denoising_strength"], 0.7),
            );
        }
        let used = self.json(seed, behaviour, (cfg, distilled, clip_skip));
        text + "Version: stable-diffusion.cpp, SDCPP: " + &used.to_string()
    }

    fn json(&self, seed: i64, behaviour: &SdBehaviour, (cfg, distilled, clip_skip): (f32, f32, i64)) -> Value {
        let single = |value: &Value, default: f64| f64::from(value.as_f64().unwrap_or(default) as f32);
        let img_cfg = self.body["sample_params"]["guidance"]["img_cfg"].as_f64().map(|cfg| f64::from(cfg as f32));
        let mut sampling = json!({
            "steps": self.steps, "eta": null, "shifted_timestep": 0, "flow_shift": null, "custom_sigmas": [],
            "guidance": {
                "txt_cfg": cfg, "img_cfg": img_cfg, "distilled_guidance": distilled,
                "slg": {"scale": 0.0, "layers": [7, 8, 9], "start": 0.01_f32, "end": 0.2_f32},
            },
        });
        for (name, value) in [("method", &self.sampler), ("scheduler", &self.schedule)] {
            if let Some(value) = value {
                sampling[name] = value.as_str().into();
            }
        }
        let mut models = match behaviour.is_flux {
            true => {
                json!({"clip_l": "clip_l.safetensors", "diffusion_model": model(behaviour), "vae": "ae.safetensors"})
            }
            false => json!({"model": model(behaviour)}),
        };
        if behaviour.has_control_net && !behaviour.is_flux {
            models["control_net"] = "random-cn.safetensors".into();
        }
        let mut used = json!({
            "schema": "sdcpp.image.params/v1", "mode": "img_gen", "seed": seed,
            "generator": {"name": "stable-diffusion.cpp", "version": "unknown", "commit": "unknown"},
            "width": self.asked.0, "height": self.asked.1,
            "prompt": {"positive": self.text_of("prompt"), "negative": self.text_of("negative_prompt")},
            "sampling": sampling, "models": models, "clip_skip": clip_skip,
            "strength": single(&self.body["strength"], 0.75),
            "control_strength": single(&self.body["control_strength"], 0.9),
            "auto_resize_ref_image": true, "increase_ref_index": false, "rng": "cuda",
        });
        let loras = self.loras.iter().map(|lora| {
            let name = lora["path"].as_str().unwrap().rsplit('/').next();
            json!({"name": name, "multiplier": single(&lora["multiplier"], 1.0), "is_high_noise": false})
        });
        let loras: Vec<Value> = loras.collect();
        if !loras.is_empty() {
            used["loras"] = loras.into();
        }
        if let Some(hires) = &self.hires {
            used["hires"] = json!({
                "enabled": true, "upscaler": hires["upscaler"], "model": "", "scale": single(&hires["scale"], 2.0),
                "target_width": hires["target_width"].as_i64().unwrap_or(0),
                "target_height": hires["target_height"].as_i64().unwrap_or(0),
                "steps": hires["steps"].as_i64().unwrap_or(0),
                "denoising_strength": single(&hires["denoising_strength"], 0.7), "upscale_tile_size": 128,
            });
        }
        sorted(used)
    }
}

/// The name of the model's file.
pub fn model(behaviour: &SdBehaviour) -> String {
    match (&behaviour.model, behaviour.is_flux) {
        (Some(path), _) => path.rsplit('/').next().unwrap().to_owned(),
        (None, true) => "flux-dev.safetensors".to_owned(),
        (None, false) => "random-sd15.safetensors".to_owned(),
    }
}

/// The server writes members in the order of their names.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect::<Map<_, _>>())
        }
        other => other,
    }
}
