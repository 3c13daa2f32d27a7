//! The paths of the fake.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::unbounded_channel;

use super::classes::class;
use super::validate::{Verdict, validate};
use super::{Fault, Prompt, Shared, Year};
use crate::recordings::recording;

type Server = State<Arc<Shared>>;
type Form = Query<HashMap<String, String>>;

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/object_info/{class}", get(object_info))
        .route("/system_stats", get(async |State(shared): Server| recorded(&shared, "system_stats")))
        .route("/embeddings", get(async || Json(json!(["randemb"]))))
        .route("/queue", get(queue).post(delete))
        .route("/prompt", post(prompt))
        .route("/history", get(history))
        .route("/history/{id}", get(history_of))
        .route("/interrupt", post(interrupt))
        .route("/free", post(free))
        .route("/upload/image", post(upload))
        .route("/view", get(view))
        .route("/ws", get(socket))
        .layer(DefaultBodyLimit::max(64 * 1024 * 1024))
        .layer(from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

async fn guard(State(shared): Server, request: Request, next: Next) -> Response {
    if shared.behaviour().fault == Fault::Hangs {
        std::future::pending::<()>().await;
    }
    next.run(request).await
}

fn answer(status: u16, body: Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    match body {
        // Recorded as text: nothing, or a page of text.
        Value::String(text) if text.starts_with('<') => status.into_response(),
        Value::String(text) => (status, text).into_response(),
        body => (status, Json(body)).into_response(),
    }
}

fn recorded(shared: &Shared, name: &str) -> Response {
    let recording = recording(&format!("{}/{name}", shared.behaviour().year.folder()));
    answer(recording.status, recording.answer)
}

async fn object_info(State(shared): Server, Path(name): Path<String>) -> Response {
    let described = class(&name, &shared.behaviour());
    answer(200, described.map_or_else(|| json!({}), |class| json!({ name: class })))
}

async fn queue(State(shared): Server) -> Response {
    if let Fault::Queues(status, text) = shared.behaviour().fault {
        return (StatusCode::from_u16(status).unwrap(), text).into_response();
    }
    let state = shared.state();
    let running: Vec<Value> = state.running.iter().map(Prompt::shown).collect();
    let pending: Vec<Value> = state.pending.iter().map(Prompt::shown).collect();
    Json(json!({"queue_running": running, "queue_pending": pending})).into_response()
}

/// Leaves no trace.
async fn delete(State(shared): Server, Json(body): Json<Value>) -> Response {
    let ids = body["delete"].as_array().cloned().unwrap_or_default();
    shared.state().pending.retain(|prompt| !ids.contains(&prompt.id.clone().into()));
    recorded(&shared, "queue_delete")
}

async fn prompt(State(shared): Server, body: Bytes) -> Response {
    let behaviour = shared.behaviour();
    if let Fault::Answers(status, text) = behaviour.fault {
        return (StatusCode::from_u16(status).unwrap(), text).into_response();
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return recorded(&shared, "prompt_bad_json") };
    let mut state = shared.state();
    let (outputs, mut errors) = match validate(&body["prompt"], &state, &behaviour) {
        Verdict::Refused(status, body) => return answer(status, body),
        Verdict::Accepted { outputs, errors } => (outputs, errors),
    };
    if behaviour.fault == Fault::TakesPartly {
        errors = recording(&format!("{}/prompt_bad_partly", behaviour.year.folder())).answer["node_errors"]
            .as_object()
            .unwrap()
            .clone();
    }
    state.posts.push(body.clone());
    let number = state.numbers;
    state.numbers += 1;
    let own = format!("{:08x}-0000-4000-8000-{number:012x}", std::process::id());
    let id = match (behaviour.year, body["prompt_id"].as_str()) {
        (Year::New, Some(id)) => id.to_owned(),
        _ => own,
    };
    let client = json!({"client_id": body["client_id"]});
    state.pending.push(Prompt { number, id: id.clone(), graph: body["prompt"].clone(), client, outputs });
    drop(state);
    shared.own.notify_one();
    answer(200, json!({"prompt_id": id, "number": number, "node_errors": errors}))
}

async fn history(State(shared): Server, Query(query): Form) -> Json<Value> {
    let state = shared.state();
    let most = query.get("max_items").map_or(usize::MAX, |most| most.parse().unwrap());
    let skipped = state.history.len().saturating_sub(most);
    Json(Value::Object(state.history.clone().into_iter().skip(skipped).collect()))
}

async fn history_of(State(shared): Server, Path(id): Path<String>) -> Json<Value> {
    let mut answer = Map::new();
    if let Some(entry) = shared.state().history.get(&id) {
        answer.insert(id, entry.clone());
    }
    Json(Value::Object(answer))
}

async fn interrupt(State(shared): Server, Json(body): Json<Value>) -> Response {
    let year = shared.behaviour().year;
    {
        let mut state = shared.state();
        let is_current = state.running.as_ref().is_some_and(|prompt| body["prompt_id"] == *prompt.id);
        if year == Year::Old || is_current {
            state.interrupted = true;
        }
    }
    recorded(&shared, "interrupt")
}

async fn free(State(shared): Server, Json(body): Json<Value>) -> Response {
    if body == json!({"unload_models": true, "free_memory": true}) {
        shared.state().frees += 1;
    }
    recorded(&shared, "free")
}

async fn upload(State(shared): Server, headers: HeaderMap, body: Bytes) -> Response {
    if shared.behaviour().fault == Fault::FullDisk {
        // The source of aiohttp, for any exception; not recorded.
        return answer(500, "500 Internal Server Error\n\nServer got itself in trouble".into());
    }
    let kind = headers[header::CONTENT_TYPE].to_str().unwrap();
    let boundary = format!("--{}", kind.split_once("boundary=").unwrap().1);
    let mut fields = HashMap::new();
    for part in split(&body, boundary.as_bytes()) {
        let Some(end) = find(part, b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&part[..end]).into_owned();
        let Some(value) = part.get(end + 4..part.len() - 2) else { continue };
        let of = |name: &str| {
            head.split_once(&format!("{name}=\"")).map(|(_, rest)| rest.split('"').next().unwrap().to_owned())
        };
        if let Some(name) = of("; name") {
            fields.insert(name, (of("filename"), value.to_vec()));
        }
    }
    let text =
        |name: &str| fields.get(name).map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default();
    let Some((Some(name), file)) = fields.get("image") else { return recorded(&shared, "upload_image_no_file") };
    let folder = text("subfolder");
    if folder.contains("..") {
        return recorded(&shared, "upload_image_outside");
    }
    let year = shared.behaviour().year;
    let mut state = shared.state();
    let (stem, extension) = name.rsplit_once('.').unwrap();
    let names = std::iter::once(name.clone()).chain((1..).map(|number| format!("{stem} ({number}).{extension}")));
    let overwrites = ["true", "1"].contains(&text("overwrite").as_str());
    // The older program renames the same file, too.
    let is_free = |name: &String| match state.uploads.get(&format!("{folder}/{name}")) {
        Some(known) => overwrites || year == Year::New && known == file,
        None => true,
    };
    let name = names.into_iter().find(is_free).unwrap();
    state.uploads.insert(format!("{folder}/{name}"), file.clone());
    answer(200, json!({"name": name, "subfolder": folder, "type": "input"}))
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

fn split<'a>(mut bytes: &'a [u8], pattern: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = find(bytes, pattern) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + pattern.len()..];
    }
    parts
}

async fn view(State(shared): Server, Query(query): Form) -> Response {
    let text = |name: &str| query.get(name).cloned().unwrap_or_default();
    if text("filename").contains("..") {
        return recorded(&shared, "view_outside");
    }
    match shared.state().files.get(&format!("{}/{}", text("subfolder"), text("filename"))) {
        Some(file) => ([(header::CONTENT_TYPE, "image/png")], file.clone()).into_response(),
        None => recorded(&shared, "view_unknown"),
    }
}

async fn socket(State(shared): Server, Query(query): Form, upgrade: WebSocketUpgrade) -> Response {
    let client = query.get("clientId").cloned().unwrap_or_default();
    upgrade.on_upgrade(async move |socket| listen(shared, client, socket).await)
}

async fn listen(shared: Arc<Shared>, client: String, mut socket: WebSocket) {
    let (sender, mut messages) = unbounded_channel();
    shared.state().sockets.insert(client, sender);
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => if socket.send(message).await.is_err() { break },
                None => break,
            },
            given = socket.recv() => if given.is_none_or(|given| given.is_err()) { break },
        }
    }
}
