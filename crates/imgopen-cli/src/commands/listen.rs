//! `imgopen callbacks listen`: receives pushes, and prints each with whether its signature is valid.

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

use crate::args::callbacks::Listen;
use crate::failure::Failure;
use crate::files::reach::network_of;
use crate::interrupt::Interrupt;
use crate::job::answer::state_name;
use crate::output::{note, print, print_line};
use crate::text;

/// The environment variable of the secret. There is no flag for it, because every user of a machine can read its command
/// lines.
const SECRET: &str = "IMGOPEN_SIGNING_SECRET";

/// The most bytes of a push, the same as the receiver's.
const LIMIT: usize = 4 * 1024 * 1024;

/// Prints pushes.
#[derive(Debug)]
struct Printer {
    as_json: bool,
    is_signed: bool,
    /// Notified of each accepted push.
    accepted: Notify,
}

/// Reads the secrets from the files, one on each line, or else from the environment.
fn secrets(args: &Listen) -> anyhow::Result<Vec<SigningSecret>> {
    let mut texts = Vec::new();
    for file in &args.secret_file {
        let cannot = || format!("--secret-file: cannot read {}", file.display());
        let lines = text::read(file).with_context(cannot)?;
        texts.extend(lines.lines().map(|line| (line.trim().to_owned(), file.display().to_string())));
    }
    if args.secret_file.is_empty() {
        texts.extend(std::env::var(SECRET).ok().map(|secret| (secret.trim().to_owned(), SECRET.to_owned())));
    }
    let read = |(text, from): &(String, String)| {
        let fix = format!("give the {SECRET} that is shown when a key is created");
        text.parse().map_err(|error| Failure::usage(format!("{from}: {error}; {fix}")).into())
    };
    let secrets: Vec<_> = texts.iter().filter(|(text, _)| !text.is_empty()).map(read).collect::<anyhow::Result<_>>()?;
    // Without a secret, pushes from anyone would be accepted, which is not what `--secret-file` asks for.
    match secrets.is_empty() && !args.secret_file.is_empty() {
        true => Err(Failure::usage("--secret-file: the file holds no secret").into()),
        false => Ok(secrets),
    }
}

/// Runs the command.
pub async fn run(args: &Listen, as_json: bool) -> anyhow::Result<()> {
    let secrets = secrets(args)?;
    let cannot = || format!("cannot listen on {}; give another address or port with --listen", args.listen);
    let listener = TcpListener::bind(args.listen).await.with_context(cannot)?;
    let address = listener.local_addr()?;
    note(&instructions(address));
    if secrets.is_empty() {
        note(&format!(
            "pushes are accepted from anyone; give the key's signing secret in {SECRET} or in a file with --secret-file"
        ));
    }
    if address.ip().is_loopback() {
        note(&format!(
            "a service pushes here only if it is started with `--allow-network {}`",
            network_of(address.ip())
        ));
    }
    let printer = Printer { as_json, is_signed: !secrets.is_empty(), accepted: Notify::new() };
    let printer = Arc::new(printer);
    let mut interrupt = Interrupt::listen()?;
    let (stop, stopped) = oneshot::channel::<()>();
    // Dropping the sender stops the server too.
    let serving =
        axum::serve(listener, router(&printer, secrets)).with_graceful_shutdown(async { drop(stopped.await) });
    let mut serving = tokio::spawn(serving.into_future());
    let ended = async {
        tokio::select! {
            served = &mut serving => Some(served),
            () = printer.accepted.notified(), if args.once => None,
        }
    };
    if let Some(Some(served)) = interrupt.unless(ended).await {
        return Ok(served??);
    }
    drop(stop);
    // A second Ctrl-C does not wait for pushes in progress.
    match interrupt.unless(serving).await {
        Some(served) => Ok(served??),
        None => Ok(()),
    }
}

/// Returns the callback URL to give to tasks.
fn instructions(address: SocketAddr) -> String {
    let operation = "with the operation's name at the end";
    match address.ip().is_unspecified() {
        true => format!(
            "listening on port {port}; give tasks --callback-url http://ADDR:{port}/OPERATION, with an address of this machine \
             as ADDR and {operation}",
            port = address.port()
        ),
        false => format!("listening; give tasks --callback-url http://{address}/OPERATION, {operation}"),
    }
}

/// Returns the receiver of the client crate, which accepts or rejects pushes, with a layer that prints them.
fn router(printer: &Arc<Printer>, secrets: Vec<SigningSecret>) -> Router {
    let router = match secrets.is_empty() {
        true => receiver(|_: Callback| async { Ok::<(), String>(()) }),
        false => signed_receiver(secrets, |_: Push| async { Ok::<(), String>(()) }),
    };
    router.layer(from_fn_with_state(printer.clone(), observe))
}

async fn observe(State(printer): State<Arc<Printer>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LIMIT).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let (path, headers) = (head.uri.path().to_owned(), head.headers.clone());
    let response = next.run(Request::from_parts(head, Body::from(body.clone()))).await;
    if response.status() == StatusCode::OK {
        // What is not printed would be lost, so it must be pushed again.
        if let Err(error) = printer.accepted(path.trim_matches('/'), &headers, &body) {
            note(&format!("cannot print a push, and did not acknowledge it: {error:#}"));
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        printer.accepted.notify_one();
        return response;
    }
    let (head, answer) = response.into_parts();
    let answer = to_bytes(answer, LIMIT).await.unwrap_or_default();
    printer.rejected(&path, head.status, &answer);
    Response::from_parts(head, Body::from(answer))
}

impl Printer {
    /// Prints an accepted push.
    fn accepted(&self, operation: &str, headers: &HeaderMap, body: &Bytes) -> anyhow::Result<()> {
        // An unsigned id is not evidence of anything.
        let id = headers.get("webhook-id").filter(|_| self.is_signed).and_then(|id| id.to_str().ok());
        let state = Callback::read(operation, body).and_then(Result::ok).map(|callback| state_name(callback.state()));
        let state = state.unwrap_or_default();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let trust = if self.is_signed { "verified" } else { "unsigned" };
        self.print(
            &json!({"verified": self.is_signed, "id": id, "operation": operation, "state": state, "body": body}),
            &format!("{trust}  {operation} {state} {}\n{body:#}", id.unwrap_or_default()),
        )
    }

    /// Prints why a push was rejected.
    fn rejected(&self, path: &str, status: StatusCode, answer: &[u8]) {
        let reason = read::<Envelope>(answer).map_or_else(|_| status.to_string(), |envelope| envelope.msg);
        let printed = self.print(
            &json!({"verified": false, "path": path, "http_status": status.as_u16(), "reason": reason}),
            &format!("rejected  {path}: {reason}"),
        );
        if let Err(error) = printed {
            note(&format!("cannot print a push that was rejected: {error:#}"));
        }
    }

    fn print(&self, json: &Value, text: &str) -> anyhow::Result<()> {
        if self.as_json { print_line(json) } else { print(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_never_a_callback_url() {
        let text = |address: &str| instructions(address.parse().unwrap());
        assert!(text("127.0.0.1:9000").contains("http://127.0.0.1:9000/OPERATION"));
        assert!(text("[::1]:9000").contains("http://[::1]:9000/OPERATION"));
        for everywhere in ["0.0.0.0:9000", "[::]:9000"] {
            assert!(text(everywhere).contains("http://ADDR:9000/OPERATION"), "{}", text(everywhere));
        }
    }
}
