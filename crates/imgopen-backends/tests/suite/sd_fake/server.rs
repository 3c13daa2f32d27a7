//! The paths of the fake.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::metadata::{Used, loras, model};
use super::{FakeJob, SdFault, Shared};
use crate::recordings::recording;

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/sdcpp/v1/capabilities", get(capabilities))
        .route("/sdcpp/v1/img_gen", post(submit))
        .route("/sdcpp/v1/jobs/{id}", get(state))
        .route("/sdcpp/v1/jobs/{id}/cancel", post(cancel))
        .layer(from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if shared.behaviour().fault == SdFault::Hangs {
        std::future::pending::<()>().await;
    }
    next.run(request).await
}

fn answer(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

fn recorded(name: &str) -> Response {
    let recording = recording(&format!("sd-server/{name}"));
    answer(recording.status, recording.answer)
}

async fn capabilities(State(shared): State<Arc<Shared>>) -> Response {
    let behaviour = shared.behaviour();
    let name = if behaviour.is_flux { "sd-server/flux_capabilities" } else { "sd-server/capabilities" };
    let mut body = recording(name).answer;
    body["defaults"]["seed"] = behaviour.seed.into();
    body["defaults_by_mode"]["img_gen"]["seed"] = behaviour.seed.into();
    if let Some(path) = &behaviour.model {
        let file = model(&behaviour);
        let stem = file.rsplit_once('.').map_or(file.as_str(), |(stem, _)| stem);
        body["model"] = json!({"name": file, "path": path, "stem": stem});
    }
    let loras = loras(&behaviour).into_iter().map(|path| {
        let file = path.rsplit('/').next().unwrap();
        json!({"name": file.rsplit_once('.').map_or(file, |(stem, _)| stem), "path": path})
    });
    body["loras"] = loras.collect();
    answer(200, body)
}

async fn submit(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let behaviour = shared.behaviour();
    if let SdFault::Answers(status, text) = behaviour.fault {
        return (StatusCode::from_u16(status).unwrap(), text).into_response();
    }
    if body.is_empty() {
        return recorded("bad_no_body");
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return recorded("bad_json") };
    if body.is_array() {
        return recorded("bad_list_submit");
    }
    let used = match Used::read(&body, &behaviour) {
        Ok(used) => used,
        Err(refusal) => return recorded(refusal),
    };
    let mut state = shared.state();
    let pending = state.jobs.values().filter(|job| ["queued", "generating"].contains(&job.status)).count();
    if pending >= behaviour.queue {
        return recorded("queue_full");
    }
    let id = format!("job_6b0afa98_{:08x}", state.next);
    state.next += 1;
    state.calls.push(body);
    state.jobs.insert(id.clone(), FakeJob { used, status: "queued", images: Vec::new(), error: None });
    state.queue.push_back(id.clone());
    drop(state);
    shared.own.submitted.notify_one();
    let mut answered = recording("sd-server/txt2img_submit").answer;
    answered["poll_url"] = format!("/sdcpp/v1/jobs/{id}").into();
    answered["id"] = id.into();
    answer(202, answered)
}

/// A job as it was recorded with the same status. That of a failed one follows the source; it was not recorded.
fn shown(id: &str, job: &FakeJob, position: usize) -> Value {
    let name = match job.status {
        "queued" => "cancel_queued_state",
        "generating" => "txt2img_generating",
        "completed" => "txt2img_end",
        _ => "cancel_queued_end",
    };
    let mut body = recording(&format!("sd-server/{name}")).answer;
    (body["id"], body["status"]) = (id.into(), job.status.into());
    match job.status {
        "queued" => body["queue_position"] = position.into(),
        "completed" => {
            let images = job.images.iter().enumerate().map(|(index, image)| json!({"b64_json": image, "index": index}));
            body["result"]["images"] = images.collect();
        }
        "failed" => body["error"] = json!({"code": "generation_failed", "message": job.error}),
        _ => {}
    }
    body
}

async fn state(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    if let SdFault::States(status, text) = shared.behaviour().fault {
        return (StatusCode::from_u16(status).unwrap(), text).into_response();
    }
    let state = shared.state();
    let position = state.queue.iter().position(|waiting| *waiting == id).map_or(0, |at| at + 1);
    match state.jobs.get(&id) {
        Some(job) => answer(200, shown(&id, job, position)),
        None => recorded("job_unknown"),
    }
}

async fn cancel(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let mut state = shared.state();
    state.queue.retain(|waiting| *waiting != id);
    match state.jobs.get_mut(&id) {
        None => recorded("cancel_unknown"),
        Some(job) if job.status == "generating" => recorded("cancel_generating"),
        Some(job) => {
            if job.status == "queued" {
                job.status = "cancelled";
            }
            answer(200, shown(&id, job, 0))
        }
    }
}
