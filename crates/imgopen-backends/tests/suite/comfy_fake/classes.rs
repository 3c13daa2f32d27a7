//! Classes of nodes.

use serde_json::{Value, json};

use super::{Behaviour, Year};
use crate::recordings::recording;

/// Classes that were recorded.
const RECORDED: [&str; 19] = [
    "CLIPSetLastLayer",
    "CheckpointLoaderSimple",
    "ControlNetApplyAdvanced",
    "ControlNetLoader",
    "DualCLIPLoader",
    "FluxGuidance",
    "ImageScale",
    "KSampler",
    "KSamplerAdvanced",
    "LatentUpscaleBy",
    "LoadImage",
    "LoadImageMask",
    "LoraLoader",
    "SaveImage",
    "SetLatentNoiseMask",
    "UNETLoader",
    "UpscaleModelLoader",
    "VAEEncodeForInpaint",
    "VAELoader",
];

/// Returns the description of a class as `/object_info` answers it, with the files that the fake has.
pub fn class(name: &str, behaviour: &Behaviour) -> Option<Value> {
    let mut class = match RECORDED.contains(&name) {
        true => recording(&format!("{}/object_info_{name}", behaviour.year.folder())).answer[name].take(),
        false => source(name, behaviour.year)?,
    };
    if class.is_null() {
        return None;
    }
    let added = [
        ("LoraLoader", "lora_name", vec!["random-lora.safetensors"]),
        ("ControlNetLoader", "control_net_name", vec!["random-cn.safetensors"]),
        ("VAELoader", "vae_name", vec!["random-vae.safetensors"]),
        ("UpscaleModelLoader", "model_name", vec!["random-upscaler.pth"]),
    ];
    for (_, input, files) in added.iter().chain(&behaviour.files).filter(|(class, ..)| *class == name) {
        let spec = &mut class["input"]["required"][input];
        // Newer classes have their lists among the options.
        let list = if spec[0] == "COMBO" { &mut spec[1]["options"] } else { &mut spec[0] };
        list.as_array_mut().unwrap().extend(files.iter().map(|file| Value::from(*file)));
    }
    Some(class)
}

/// Classes as the program's source has them; not recorded.
fn source(name: &str, year: Year) -> Option<Value> {
    let most = if year == Year::Old { 8192 } else { 16384 };
    let size = |least: u32| json!(["INT", {"default": 512, "min": least, "max": most, "step": 8}]);
    let scaling = json!([["nearest-exact", "bilinear", "area", "bicubic", "bislerp"]]);
    let required = match name {
        "CLIPTextEncode" => json!({"text": ["STRING", {"multiline": true}], "clip": ["CLIP"]}),
        "EmptyLatentImage" => {
            json!({"width": size(16), "height": size(16), "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}]})
        }
        "EmptySD3LatentImage" if year == Year::New => {
            json!({"width": size(16), "height": size(16), "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}]})
        }
        "VAEDecode" => json!({"samples": ["LATENT"], "vae": ["VAE"]}),
        "VAEEncode" => json!({"pixels": ["IMAGE"], "vae": ["VAE"]}),
        "LatentUpscale" => json!({
            "samples": ["LATENT"], "upscale_method": scaling, "width": size(0), "height": size(0),
            "crop": [["disabled", "center"]]
        }),
        "ImageUpscaleWithModel" => json!({"upscale_model": ["UPSCALE_MODEL"], "image": ["IMAGE"]}),
        "ControlNetApply" => json!({
            "conditioning": ["CONDITIONING"], "control_net": ["CONTROL_NET"], "image": ["IMAGE"],
            "strength": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 10.0, "step": 0.01}]
        }),
        "PreviewImage" => json!({"images": ["IMAGE"]}),
        "EmptyImage" => json!({
            "width": ["INT", {"default": 512, "min": 1, "max": most, "step": 1}],
            "height": ["INT", {"default": 512, "min": 1, "max": most, "step": 1}],
            "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
            "color": ["INT", {"default": 0, "min": 0, "max": 16777215, "step": 1, "display": "color"}]
        }),
        _ => return None,
    };
    Some(json!({"input": {"required": required}, "name": name, "output_node": name == "PreviewImage"}))
}
