//! A web UI that waits in place of working: it learns what a fake answers, and repeats it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::{Rgb, RgbImage};
use imgopen_picture::{Attached, Format, PictureLimits, encode, inspect, parameters};
use imgopen_tests::load::serve;
use serde_json::Value;

use crate::suite::fake::{Behaviour, Fake};

/// The paths that make pictures begin with this.
const WORK: &str = "/sdapi/v1/txt2img";

/// The server.
pub struct Waiting {
    pub url: String,
    shared: Arc<Shared>,
}

/// A path and a body.
type Asked = (String, Vec<u8>);
/// The status and body of an answer.
type Answer = (StatusCode, Bytes);

struct Shared {
    /// How long it waits for each call that makes pictures.
    time: Duration,
    fake: Fake,
    http: reqwest::Client,
    /// What was answered to each path and body.
    learned: Mutex<HashMap<Asked, Answer>>,
    /// One call works at a time, as in a real one.
    running: tokio::sync::Mutex<()>,
}

impl Waiting {
    /// Starts a server.
    pub fn start(time: Duration) -> Self {
        let fake = imgopen_tests::load::runtime().block_on(Fake::start(Behaviour::default()));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let shared = Arc::new(Shared { time, fake, http, learned: Mutex::default(), running: Default::default() });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let [address] = serve([router]);
        Self { url: format!("http://{address}"), shared }
    }

    /// Returns the body of the first call that made pictures.
    pub fn call(&self) -> Value {
        self.shared.fake.calls().first().cloned().expect("a call was made")
    }

    /// Returns the size of the largest answer in bytes.
    pub fn answer_size(&self) -> usize {
        self.shared.learned.lock().unwrap().values().map(|(_, body)| body.len()).max().unwrap_or_default()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let path = head.uri.path().to_owned();
    let is_work = path == WORK;
    let _running = if is_work { Some(shared.running.lock().await) } else { None };
    let key = (path, without_id(&body));
    let known = shared.learned.lock().unwrap().get(&key).cloned();
    let (status, answer) = match known {
        Some(known) => {
            if is_work {
                tokio::time::sleep(shared.time).await;
            }
            known
        }
        None => {
            let mut forwarded = shared.http.request(head.method, format!("{}{}", shared.fake.url, key.0));
            if let Some(kind) = head.headers.get("content-type") {
                forwarded = forwarded.header("content-type", kind);
            }
            let answered = forwarded.body(body).send().await.unwrap();
            let status = answered.status();
            let answer = answered.bytes().await.unwrap();
            let answer = if is_work { photographed(&answer) } else { answer };
            shared.learned.lock().unwrap().insert(key, (status, answer.clone()));
            (status, answer)
        }
    };
    (status, [("content-type", "application/json")], answer).into_response()
}

/// The body of a call without what differs from task to task.
fn without_id(body: &[u8]) -> Vec<u8> {
    let Ok(mut call) = serde_json::from_slice::<Value>(body) else { return body.to_vec() };
    for id in ["force_task_id", "id_task"] {
        call.as_object_mut().and_then(|members| members.remove(id));
    }
    call.to_string().into_bytes()
}

/// Puts pictures into an answer that take as much room as photographs, with the texts of those that were there.
fn photographed(answer: &[u8]) -> Bytes {
    let mut answer: Value = serde_json::from_slice(answer).unwrap();
    for picture in answer["images"].as_array_mut().unwrap() {
        let file = BASE64_STANDARD.decode(picture.as_str().unwrap()).unwrap();
        let header = inspect(&file, &PictureLimits::default()).unwrap();
        let text = parameters(&file).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        let image = RgbImage::from_fn(header.width, header.height, |x, y| {
            let base = ((x / 16) ^ (y / 16)) as u8;
            Rgb([base, base / 2, 255 - base].map(|channel| channel.wrapping_add(random.u8(..8))))
        });
        let attached = Attached { parameters: Some(&text), ..Attached::default() };
        *picture = BASE64_STANDARD.encode(encode(&image.into(), Format::Png, &attached).unwrap()).into();
    }
    answer.to_string().into()
}
