//! What the fake does with finished pictures.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::picture::draw;
use super::server::{answer, recorded};
use super::{Fault, Shared};
use crate::recordings::recording;

fn size(picture: &Value) -> Option<(u32, u32)> {
    let file = BASE64_STANDARD.decode(picture.as_str()?).ok()?;
    let header = imgopen_picture::inspect(&file, &Default::default()).ok()?;
    Some((header.width, header.height))
}

/// Recorded for an upscaler; for face restorers, the source of the web UI.
pub async fn extra(State(shared): State<Arc<Shared>>, Json(body): Json<Value>) -> Response {
    let Some((width, height)) = size(&body["image"]) else { return recorded("bad_img2img_image") };
    let upscaler = body["upscaler_1"].as_str().unwrap_or("None");
    let listed = recording("webui/upscalers").answer;
    if !listed.as_array().unwrap().iter().any(|known| known["name"] == upscaler) {
        return recorded("extras_unknown");
    }
    let scale = body["upscaling_resize"].as_u64().unwrap_or(4) as u32;
    let said = match body["codeformer_visibility"].as_f64().unwrap_or(0.0) {
        0.0 => format!("Postprocess upscale by: {scale}.0, Postprocess upscaler: {upscaler}"),
        visibility => {
            format!("CodeFormer visibility: {visibility:?}, CodeFormer weight: {}", body["codeformer_weight"])
        }
    };
    let (size, said) = match shared.behaviour().fault {
        Fault::Makes(width, height) => ((width, height), said),
        Fault::Writes(wrong, right) => ((width * scale, height * scale), said.replace(right, wrong)),
        _ => ((width * scale, height * scale), said),
    };
    let mut done = recording("webui/extras").answer;
    done["html_info"] = format!("<p>{said}</p>").into();
    done["image"] = BASE64_STANDARD.encode(draw(size, &said)).into();
    answer(200, done)
}

/// The source of the web UI: a failure is a caption.
pub async fn interrogate(Json(body): Json<Value>) -> Response {
    match body["model"].as_str() {
        Some("clip") => answer(200, json!({"caption": "a lighthouse, a painting"})),
        Some("deepdanbooru") => answer(200, json!({"caption": "<error>"})),
        _ => answer(404, json!({"detail": "Model not found"})),
    }
}

pub async fn detect(Json(body): Json<Value>) -> Response {
    let mut done = recording("webui/controlnet_detect").answer;
    let pictures = body["controlnet_input_images"].as_array().unwrap().iter().filter_map(size);
    let drawn = pictures.map(|size| BASE64_STANDARD.encode(draw(size, "edges")));
    done["images"] = drawn.collect::<Vec<_>>().into();
    answer(200, done)
}
