//! `imgopen callbacks listen`: takes pushes, and shows each with whether it can be trusted.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use imgopen_client::callback::{Push, SigningSecret, receiver, signed_receiver};
use imgopen_types::{Callback, Envelope, read};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::args::Listen;
use crate::failure::Failure;
use crate::output::{note, print, print_line};
use crate::run::state_name;

/// The most bytes of a push, those of the receiver.
const LIMIT: usize = 4 * 1024 * 1024;

/// What all pushes share.
#[derive(Debug)]
struct Watch {
    is_json: bool,
    is_signed: bool,
    /// Told when a push was taken.
    taken: Notify,
}

fn secrets(flags: &Listen) -> Result<Vec<SigningSecret>, Failure> {
    let read = |text: &String| {
        let fix = "it is the IMGOPEN_SIGNING_SECRET that is shown when a key is made";
        text.parse().map_err(|error| Failure::usage(format!("--secret: {error}; {fix}")))
    };
    flags.secret.iter().filter(|text| !text.is_empty()).map(read).collect()
}

/// Carries the command out.
pub async fn run(flags: &Listen) -> anyhow::Result<()> {
    let secrets = secrets(flags)?;
    let cannot = || format!("cannot listen on {}; give another address or port with --listen", flags.listen);
    let listener = TcpListener::bind(flags.listen).await.with_context(cannot)?;
    let address = listener.local_addr()?;
    note(&format!(
        "listening; give tasks --callback-url http://{address}/OPERATION, with the operation's name at the end"
    ));
    if secrets.is_empty() {
        note("anybody can push: give the key's signing secret with --secret or IMGOPEN_SIGNING_SECRET");
    }
    if address.ip().is_loopback() {
        note(&format!("a service pushes here only if it is started with `--allow-network {}/32`", address.ip()));
    }
    let watch = Arc::new(Watch { is_json: flags.json, is_signed: !secrets.is_empty(), taken: Notify::new() });
    let (router, once) = (router(&watch, secrets), flags.once);
    let ended = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = watch.taken.notified(), if once => {}
        }
    };
    Ok(axum::serve(listener, router).with_graceful_shutdown(ended).await?)
}

/// The receiver of the client crate decides; all around it only looks.
fn router(watch: &Arc<Watch>, secrets: Vec<SigningSecret>) -> Router {
    let router = match secrets.is_empty() {
        true => receiver(|_: Callback| async { Ok::<(), String>(()) }),
        false => signed_receiver(secrets, |_: Push| async { Ok::<(), String>(()) }),
    };
    router.layer(from_fn_with_state(watch.clone(), observe))
}

async fn observe(State(watch): State<Arc<Watch>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LIMIT).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let (path, headers) = (head.uri.path().to_owned(), head.headers.clone());
    let response = next.run(Request::from_parts(head, Body::from(body.clone()))).await;
    if response.status() == StatusCode::OK {
        watch.show(path.trim_matches('/'), &headers, &body);
        watch.taken.notify_one();
        return response;
    }
    let (head, answer) = response.into_parts();
    let answer = to_bytes(answer, LIMIT).await.unwrap_or_default();
    watch.refused(&path, head.status, &answer);
    Response::from_parts(head, Body::from(answer))
}

impl Watch {
    /// Shows a push that was taken.
    fn show(&self, operation: &str, headers: &HeaderMap, body: &Bytes) {
        // An id that is not signed says nothing.
        let id = headers.get("webhook-id").filter(|_| self.is_signed).and_then(|id| id.to_str().ok());
        let state = Callback::read(operation, body).and_then(Result::ok).map(|callback| state_name(callback.state()));
        let state = state.unwrap_or_default();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let trust = if self.is_signed { "verified" } else { "unsigned" };
        self.say(
            &json!({"verified": self.is_signed, "id": id, "operation": operation, "state": state, "body": body}),
            &format!("{trust}  {operation} {state} {}\n{body:#}", id.unwrap_or_default()),
        );
    }

    /// Shows why one was not.
    fn refused(&self, path: &str, status: StatusCode, answer: &[u8]) {
        let why = read::<Envelope>(answer).map_or_else(|_| status.to_string(), |envelope| envelope.msg);
        self.say(
            &json!({"verified": false, "path": path, "http_status": status.as_u16(), "reason": why}),
            &format!("refused   {path}: {why}"),
        );
    }

    fn say(&self, json: &Value, text: &str) {
        let said = if self.is_json { print_line(json) } else { print(text) };
        if let Err(error) = said {
            note(&format!("a push cannot be shown: {error}"));
        }
    }
}
