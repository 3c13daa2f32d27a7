//! The paths of the fake.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use serde_json::{Value, json};

use super::picture::draw;
use super::{Behaviour, Fault, Shared, extras, loras, members, work};
use crate::recordings::recording;

/// The lists that are answered as recorded.
const LISTS: [&str; 12] = [
    "sd-models",
    "samplers",
    "schedulers",
    "upscalers",
    "latent-upscale-modes",
    "embeddings",
    "face-restorers",
    "scripts",
    "options",
    "sd-vae",
    "sd-modules",
    "nope",
];

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/sdapi/v1/progress", get(progress))
        .route("/sdapi/v1/interrupt", post(interrupt))
        .route("/sdapi/v1/unload-checkpoint", post(unload))
        .route("/sdapi/v1/txt2img", post(|state, body| make(state, "/sdapi/v1/txt2img", body)))
        .route("/sdapi/v1/img2img", post(|state, body| make(state, "/sdapi/v1/img2img", body)))
        .route("/sdapi/v1/extra-single-image", post(extras::extra))
        .route("/sdapi/v1/interrogate", post(extras::interrogate))
        .route("/controlnet/detect", post(extras::detect))
        .route("/sdapi/v1/refresh-loras", post(refresh_loras))
        .route("/sdapi/v1/{list}", get(list))
        .route("/controlnet/{list}", get(control))
        .route("/internal/progress", post(own_progress))
        .route("/openapi.json", get(description))
        .fallback(not_found)
        .layer(from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

/// The login, and hanging.
async fn guard(State(shared): State<Arc<Shared>>, headers: HeaderMap, request: Request, next: Next) -> Response {
    let behaviour = shared.behaviour();
    if behaviour.fault == Fault::Hangs {
        std::future::pending::<()>().await;
    }
    let Some((user, password)) = behaviour.login else { return next.run(request).await };
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    match headers.get(header::AUTHORIZATION).and_then(|given| given.to_str().ok()) == Some(expected.as_str()) {
        true => next.run(request).await,
        // A1111's source; not recorded.
        false => answer(401, json!({"detail": "Incorrect username or password"})),
    }
}

pub fn answer(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

pub fn recorded(name: &str) -> Response {
    let recording = recording(&format!("webui/{name}"));
    answer(recording.status, recording.answer)
}

async fn not_found() -> Response {
    recorded("unknown")
}

async fn list(State(shared): State<Arc<Shared>>, Path(list): Path<String>) -> Response {
    // A1111's source: VAEs in place of modules.
    match (shared.behaviour().is_a1111, list.as_str()) {
        (true, "sd-modules") => recorded("unknown"),
        (true, "sd-vae") => answer(200, json!([{"model_name": "kl-f8.ckpt", "filename": "models/VAE/kl-f8.ckpt"}])),
        (_, "loras") => answer(200, loras(&shared.state())),
        (_, list) if LISTS.contains(&list) && list != "nope" => recorded(list),
        _ => recorded("unknown"),
    }
}

async fn refresh_loras(State(shared): State<Arc<Shared>>) -> Response {
    let Behaviour { added_loras: added, fault, .. } = shared.behaviour();
    match fault {
        Fault::LooksForever => std::future::pending::<()>().await,
        // The form of its exceptions; not recorded.
        Fault::LooksNot(status) => {
            return answer(status, json!({"error": "OSError", "detail": "", "errors": "it broke"}));
        }
        _ => {}
    }
    shared.state().found_loras = added;
    recorded("refresh-loras")
}

async fn control(Path(list): Path<String>) -> Response {
    match list.as_str() {
        "model_list" | "module_list" | "settings" => recorded(&format!("controlnet_{list}")),
        _ => recorded("unknown"),
    }
}

/// In the form of FastAPI, with the members that recorded answers repeat.
async fn description() -> Response {
    let schema = |path: &str| {
        let properties: serde_json::Map<String, Value> =
            members(path).into_iter().map(|name| (name, json!({}))).collect();
        json!({"properties": properties})
    };
    let operation = |name: &str| {
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        json!({"post": {"requestBody": {"content": {"application/json": {"schema": reference}}}}})
    };
    answer(
        200,
        json!({
            "paths": {
                "/sdapi/v1/txt2img": operation("StableDiffusionTxt2ImgProcessingApi"),
                "/sdapi/v1/img2img": operation("StableDiffusionImg2ImgProcessingApi"),
            },
            "components": {"schemas": {
                "StableDiffusionTxt2ImgProcessingApi": schema("txt2img"),
                "StableDiffusionImg2ImgProcessingApi": schema("img2img"),
            }},
        }),
    )
}

async fn progress(State(shared): State<Arc<Shared>>) -> Response {
    if let Fault::States(status, text) = shared.behaviour().fault {
        return (StatusCode::from_u16(status).unwrap(), text).into_response();
    }
    let state = shared.state();
    let mut body = recording("webui/progress_running").answer;
    let done = (state.job_no * state.steps + state.step) as f64 / (state.job_count * state.steps).max(1) as f64;
    body["progress"] = if state.job_count == 0 { 0.0.into() } else { (0.01 + done * 0.99).min(1.0).into() };
    let members = body["state"].as_object_mut().unwrap();
    for (name, value) in [
        ("interrupted", json!(state.interrupted)),
        ("job", json!(if state.job_count == 0 { "" } else { "Batch 1 out of 2" })),
        ("job_count", json!(state.job_count)),
        ("job_timestamp", json!(format!("202601010{:05}", state.jobs))),
        ("job_no", json!(state.job_no)),
        ("sampling_step", json!(state.step)),
        ("sampling_steps", json!(state.steps)),
    ] {
        assert!(members.insert(name.to_owned(), value).is_some(), "`{name}` is not in the recording");
    }
    answer(200, body)
}

async fn own_progress(State(shared): State<Arc<Shared>>, Json(body): Json<Value>) -> Response {
    if !shared.behaviour().has_page {
        return recorded("internal_progress");
    }
    let state = shared.state();
    let id = body["id_task"].as_str().unwrap();
    if state.pending.iter().any(|waiting| waiting == id) {
        return recorded("page_internal_progress_queued");
    }
    let mut own = recording("webui/page_internal_progress").answer;
    own["active"] = (state.current.as_deref() == Some(id)).into();
    // The source of the web UI; recordings have no picture.
    if own["active"] == true && body["live_preview"] == true {
        let picture = BASE64_STANDARD.encode(draw((16, 8), "Steps: 1"));
        own["live_preview"] = format!("data:image/png;base64,{picture}").into();
        own["id_live_preview"] = state.step.into();
    }
    answer(200, own)
}

/// Hits whatever runs.
async fn interrupt(State(shared): State<Arc<Shared>>) -> Response {
    shared.state().interrupted = true;
    recorded("interrupt")
}

/// The source of the web UI; not recorded.
async fn unload(State(shared): State<Arc<Shared>>) -> Response {
    shared.state().unloads += 1;
    answer(200, json!({}))
}

async fn make(State(shared): State<Arc<Shared>>, path: &'static str, body: Bytes) -> Response {
    let behaviour = shared.behaviour();
    if let Fault::Answers(status, text) = behaviour.fault {
        return (StatusCode::from_u16(status).unwrap(), text).into_response();
    }
    if behaviour.fault == Fault::Streams {
        let endless = std::iter::repeat_with(|| Ok::<_, Infallible>(" ".repeat(65_536)));
        return Body::from_stream(stream::iter(endless)).into_response();
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return recorded("bad_json") };
    if let Some((status, body)) = work::refusal(path, &body, &behaviour) {
        return answer(status, body);
    }
    // By itself, because it works on when its caller hangs up.
    let made = tokio::spawn(work::job(shared, path.to_owned(), body)).await.unwrap();
    tokio::time::sleep(behaviour.delivery).await;
    answer(200, made)
}
