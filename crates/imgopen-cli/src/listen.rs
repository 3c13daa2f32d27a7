//! `imgopen callbacks listen`: takes pushes, and shows each with whether it can be trusted.

use std::net::SocketAddr;
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
use tokio::sync::{Notify, oneshot};

use crate::args::Listen;
use crate::failure::Failure;
use crate::files::only;
use crate::interrupt::Interrupt;
use crate::output::{note, print, print_line};
use crate::run::state_name;

/// The environment variable of the secret, which must not stand on a command line, where every user of the machine sees it.
const SECRET: &str = "IMGOPEN_SIGNING_SECRET";

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

/// The secrets: those of the files, each on a line of its own, or else the one of the environment.
fn secrets(flags: &Listen) -> anyhow::Result<Vec<SigningSecret>> {
    let mut texts = Vec::new();
    for file in &flags.secret_file {
        let cannot = || format!("the secret's file {} cannot be read", file.display());
        let lines = std::fs::read_to_string(file).with_context(cannot)?;
        texts.extend(lines.lines().map(|line| (line.trim().to_owned(), file.display().to_string())));
    }
    if flags.secret_file.is_empty() {
        texts.extend(std::env::var(SECRET).ok().map(|secret| (secret.trim().to_owned(), SECRET.to_owned())));
    }
    let read = |(text, from): &(String, String)| {
        let fix = format!("it is the {SECRET} that is shown when a key is made");
        text.parse().map_err(|error| Failure::usage(format!("{from}: {error}; {fix}")).into())
    };
    let secrets: Vec<_> = texts.iter().filter(|(text, _)| !text.is_empty()).map(read).collect::<anyhow::Result<_>>()?;
    // Whoever names a file does not want pushes of anybody.
    match secrets.is_empty() && !flags.secret_file.is_empty() {
        true => Err(Failure::usage("--secret-file: there is no secret in it").into()),
        false => Ok(secrets),
    }
}

/// Carries the command out.
pub async fn run(flags: &Listen) -> anyhow::Result<()> {
    let secrets = secrets(flags)?;
    let cannot = || format!("cannot listen on {}; give another address or port with --listen", flags.listen);
    let listener = TcpListener::bind(flags.listen).await.with_context(cannot)?;
    let address = listener.local_addr()?;
    note(&welcome(address));
    if secrets.is_empty() {
        note(&format!("anybody can push: give the key's signing secret in {SECRET}, or its file with --secret-file"));
    }
    if address.ip().is_loopback() {
        note(&format!("a service pushes here only if it is started with `--allow-network {}`", only(address.ip())));
    }
    let watch = Arc::new(Watch { is_json: flags.json, is_signed: !secrets.is_empty(), taken: Notify::new() });
    let mut interrupt = Interrupt::listen()?;
    let (stop, stopped) = oneshot::channel::<()>();
    // It stops also when nobody tells it to any more.
    let serving = axum::serve(listener, router(&watch, secrets)).with_graceful_shutdown(async { drop(stopped.await) });
    let mut serving = tokio::spawn(serving.into_future());
    let ended = async {
        tokio::select! {
            served = &mut serving => Some(served),
            () = watch.taken.notified(), if flags.once => None,
        }
    };
    if let Some(Some(served)) = interrupt.unless(ended).await {
        return Ok(served??);
    }
    drop(stop);
    // Another Ctrl-C does not wait for what is under way.
    match interrupt.unless(serving).await {
        Some(served) => Ok(served??),
        None => Ok(()),
    }
}

/// What a task is to be given as its callback's address.
fn welcome(address: SocketAddr) -> String {
    let operation = "with the operation's name at the end";
    match address.ip().is_unspecified() {
        true => format!(
            "listening on port {port}; give tasks --callback-url http://ADDR:{port}/OPERATION, with an address of this machine \
             for ADDR and {operation}",
            port = address.port()
        ),
        false => format!("listening; give tasks --callback-url http://{address}/OPERATION, {operation}"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_never_pushed_to_an_address_that_nobody_has() {
        let told = |address: &str| welcome(address.parse().unwrap());
        assert!(told("127.0.0.1:9000").contains("http://127.0.0.1:9000/OPERATION"));
        assert!(told("[::1]:9000").contains("http://[::1]:9000/OPERATION"));
        for everywhere in ["0.0.0.0:9000", "[::]:9000"] {
            assert!(told(everywhere).contains("http://ADDR:9000/OPERATION"), "{}", told(everywhere));
        }
    }
}
