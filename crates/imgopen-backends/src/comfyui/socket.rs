//! The WebSocket of the server, which brings progress and previews. Nothing depends on it: sockets go deaf, and what
//! counts is what the queue and the history say.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use imgopen_engine::{Picture, PictureLimits};
use imgopen_picture::inspect;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::debug;

use crate::http::{CallError, Http};

/// The longest message that is read, in bytes: previews are small.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// How many events wait for the job that they are about.
const WAITING: usize = 64;

/// What the socket says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    /// A node of a prompt has begun.
    Node { prompt: String, node: String },
    /// A node has made so many of its steps.
    Steps { prompt: String, node: String, done: f64, all: f64 },
    /// An intermediate picture. Older programs do not say of which prompt.
    Preview { prompt: Option<String>, picture: Picture },
    /// A prompt has ended, in whatever way.
    End { prompt: String },
}

/// A socket that is kept open until this is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    pub events: Receiver<Event>,
    task: AbortHandle,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Socket {
    /// Opens a socket under the id of a client, and opens it again after `pause` whenever it closes.
    pub(super) fn open(http: Http, client: String, pause: Duration) -> Self {
        let (sender, events) = channel(WAITING);
        let task = tokio::spawn(async move {
            loop {
                if let Err(problem) = listen(&http, &client, &sender).await {
                    debug!(%problem, "the socket of a back end is closed");
                }
                tokio::time::sleep(pause).await;
            }
        });
        Self { events, task: task.abort_handle() }
    }
}

async fn listen(http: &Http, client: &str, events: &Sender<Event>) -> Result<(), CallError> {
    let key = BASE64_STANDARD.encode(fastrand::u128(..).to_be_bytes());
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("clientId", client).finish();
    let connection = http.socket(&format!("ws?{query}"), &key).await?;
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let mut socket = WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await;
    let broken = |error: tokio_tungstenite::tungstenite::Error| CallError::Away(error.to_string());
    let features = json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}});
    socket.send(Message::text(features.to_string())).await.map_err(broken)?;
    while let Some(message) = socket.next().await {
        let event = match message.map_err(broken)? {
            Message::Text(text) => serde_json::from_str(&text).ok().and_then(|message| event(&message)),
            Message::Binary(bytes) => preview(&bytes),
            _ => None,
        };
        if let Some(event) = event {
            // Late events are worth nothing.
            let _ = events.try_send(event);
        }
    }
    Ok(())
}

/// Reads a message.
fn event(message: &Value) -> Option<Event> {
    let data = &message["data"];
    let text = |name: &str| data[name].as_str().map(str::to_owned);
    let prompt = text("prompt_id")?;
    match message["type"].as_str()? {
        "executing" => Some(match text("node") {
            Some(node) => Event::Node { prompt, node },
            None => Event::End { prompt },
        }),
        "progress" => {
            let (done, all) = (data["value"].as_f64()?, data["max"].as_f64()?);
            Some(Event::Steps { prompt, node: text("node")?, done, all })
        }
        "execution_success" | "execution_error" | "execution_interrupted" => Some(Event::End { prompt }),
        _ => None,
    }
}

/// Reads a binary message: its kind, then the format and a picture, or the length of a description, the description and
/// a picture.
fn preview(bytes: &Bytes) -> Option<Event> {
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (prompt, from) = match number(0)? {
        1 => (None, 8),
        4 => {
            let end = 8_usize.checked_add(usize::try_from(number(4)?).ok()?)?;
            let description: Value = serde_json::from_slice(bytes.get(8..end)?).ok()?;
            (Some(description["prompt_id"].as_str()?.to_owned()), end)
        }
        _ => return None,
    };
    let file = bytes.get(from..)?;
    let header = inspect(file, &PictureLimits::default()).ok()?;
    let (format, width, height) = (header.format.as_format()?, header.width, header.height);
    let picture = Picture { bytes: bytes.slice(from..), format, width, height, seed: None };
    Some(Event::Preview { prompt, picture })
}

#[cfg(test)]
mod tests {
    use image::DynamicImage;
    use imgopen_picture::{Attached, Format, encode};

    use super::*;

    #[test]
    fn messages_about_a_prompt_are_read() {
        let node = |node: Value| json!({"type": "executing", "data": {"node": node, "prompt_id": "p"}});
        let prompt = || "p".to_owned();
        let steps = json!({"type": "progress", "data": {"value": 1, "max": 4, "prompt_id": "p", "node": "5"}});
        for (message, expected) in [
            (node(json!("5")), Some(Event::Node { prompt: prompt(), node: "5".to_owned() })),
            (node(Value::Null), Some(Event::End { prompt: prompt() })),
            (steps, Some(Event::Steps { prompt: prompt(), node: "5".to_owned(), done: 1.0, all: 4.0 })),
            (json!({"type": "status", "data": {"status": {}}}), None),
            (json!({"type": "progress", "data": {"prompt_id": "p"}}), None),
            (json!(3), None),
        ] {
            assert_eq!(event(&message), expected);
        }
    }

    #[test]
    fn previews_come_with_the_id_of_their_prompt_or_without() {
        let file = encode(&DynamicImage::new_rgb8(8, 6), Format::Jpeg, &Attached::default()).unwrap();
        let with = |head: &[&[u8]]| Bytes::from([&head.concat()[..], &file].concat());
        let description = br#"{"node_id": "5", "prompt_id": "p"}"#;
        let length = (description.len() as u32).to_be_bytes();
        for (message, id) in [
            (with(&[&[0, 0, 0, 1], &[0, 0, 0, 1]]), None),
            (with(&[&[0, 0, 0, 4], &length, description]), Some("p".to_owned())),
        ] {
            let Some(Event::Preview { prompt, picture }) = preview(&message) else { panic!("no preview") };
            assert_eq!((prompt, picture.width, picture.height, picture.bytes), (id, 8, 6, file.clone()));
        }
        for broken in [&[][..], &[0, 0, 0, 9], &[0, 0, 0, 4, 255, 255, 255, 255], &[0, 0, 0, 1, 0, 0, 0, 1, 7]] {
            assert_eq!(preview(&Bytes::copy_from_slice(broken)), None);
        }
    }
}
