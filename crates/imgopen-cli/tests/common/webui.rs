//! A web UI that makes one picture a call, by what Forge was recorded to answer.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::{Rgb, RgbImage};
use imgopen_picture::{Attached, Format, encode};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

/// A fake web UI. It answers until it is dropped.
pub struct WebUi {
    pub url: String,
    shared: Arc<Shared>,
    /// Its own, so that nothing of it is left when it is dropped.
    runtime: Option<Runtime>,
}

struct Shared {
    /// A picture is finished with each permit.
    permits: Semaphore,
    /// The bodies of calls that make pictures.
    calls: Mutex<Vec<Value>>,
    /// The directory of its LoRAs, in place of the recorded one.
    folder: Option<PathBuf>,
    /// The names of the LoRAs that it found there when it last looked: at its start, and whenever it is asked to.
    found: Mutex<Vec<String>>,
}

impl WebUi {
    /// Starts one that finishes its pictures at once.
    pub fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), Semaphore::MAX_PERMITS)
    }

    /// Starts one that finishes its pictures at once, and has the LoRAs of a directory, which need not exist yet.
    pub fn with_loras(folder: PathBuf) -> Self {
        Self::open("127.0.0.1:0".parse().unwrap(), Semaphore::MAX_PERMITS, Some(folder))
    }

    /// Starts one at an address that finishes so many pictures.
    pub fn at(address: SocketAddr, pictures: usize) -> Self {
        Self::open(address, pictures, None)
    }

    fn open(address: SocketAddr, pictures: usize, folder: Option<PathBuf>) -> Self {
        let listener = loop {
            match TcpListener::bind(address) {
                Ok(listener) => break listener,
                // An earlier one at the same address may take a moment to end.
                Err(error) if error.kind() == ErrorKind::AddrInUse => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => panic!("{error}"),
            }
        };
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (permits, calls, found) = (Semaphore::new(pictures), Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { permits, calls, folder, found });
        shared.look();
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await });
        Self { url, shared, runtime: Some(runtime) }
    }

    /// Returns its address, for the next one.
    pub fn address(&self) -> SocketAddr {
        self.url.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Returns the bodies of calls that make pictures.
    pub fn calls(&self) -> Vec<Value> {
        self.shared.calls.lock().unwrap().clone()
    }
}

/// A request of `text_to_image` that it carries out, with the caller's id.
pub fn request(id: &str) -> Value {
    json!({
        "prompt": "a lighthouse", "batch_size": 1, "width": 64, "height": 64, "steps": 1, "seed": "7", "sampler_index": "Euler",
        "alwayson_scripts": {"sd_model_checkpoint": "random-sd15.safetensors", "id_task": id},
    })
}

impl Shared {
    /// Looks for LoRAs.
    fn look(&self) {
        let files = self.folder.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let names = names.filter_map(|name| name.strip_suffix(".safetensors").map(str::to_owned));
        *self.found.lock().unwrap() = names.collect();
    }

    /// The list of LoRAs, if they are not the recorded ones.
    fn loras(&self) -> Option<Value> {
        self.folder.as_ref()?;
        let recorded = recording("loras")["answer"]["body"][0].clone();
        let row = |name: &String| {
            let mut row = recorded.clone();
            (row["name"], row["alias"]) = (name.as_str().into(), name.as_str().into());
            row["path"] = format!("forge/models/Lora/{name}.safetensors").into();
            row
        };
        Some(self.found.lock().unwrap().iter().map(row).collect())
    }
}

impl Drop for WebUi {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, method: Method, uri: Uri, body: Bytes) -> Response {
    match (method.as_str(), uri.path()) {
        ("POST", "/sdapi/v1/txt2img") => {
            let body: Value = serde_json::from_slice(&body).unwrap();
            shared.calls.lock().unwrap().push(body.clone());
            shared.permits.acquire().await.unwrap().forget();
            let found = shared.found.lock().unwrap().clone();
            Json(made(&body, &found)).into_response()
        }
        ("POST", "/sdapi/v1/refresh-loras") => {
            shared.look();
            recorded("refresh-loras")
        }
        ("GET", "/sdapi/v1/loras") => {
            shared.loras().map_or_else(|| recorded("loras"), |list| Json(list).into_response())
        }
        ("POST", "/internal/progress") => recorded("internal_progress"),
        ("GET", path) => match path.strip_prefix("/sdapi/v1/") {
            Some(list) if file(list).is_file() => recorded(list),
            _ => recorded("unknown"),
        },
        _ => recorded("unknown"),
    }
}

/// Makes a picture with those LoRAs that it has and the prompt names, and repeats in the answer what was sent.
fn made(body: &Value, loras: &[String]) -> Value {
    let mut answer = recording("txt2img")["answer"]["body"].clone();
    let known = answer["parameters"].as_object_mut().unwrap();
    for (name, value) in body.as_object().unwrap() {
        if let Some(known) = known.get_mut(name) {
            *known = value.clone();
        }
    }
    let number = |name: &str| body[name].as_i64().unwrap();
    let (width, height, seed) = (number("width"), number("height"), number("seed"));
    let prompt = body["prompt"].as_str().unwrap();
    let used = loras.iter().filter(|name| prompt.contains(&format!("<lora:{name}:")));
    let hashes = used.map(|name| format!("{name}: 1235fd58d87f")).collect::<Vec<_>>().join(", ");
    let hashes = if hashes.is_empty() { hashes } else { format!(", Lora hashes: \"{hashes}\"") };
    let text = format!(
        "{prompt}\nSteps: {}, Sampler: {}, Schedule type: {}, CFG scale: {:?}, Seed: {seed}, Size: {width}x{height}, Model hash: \
         860760b08a, Model: random-sd15{hashes}, Version: f2.0.1v1.10.1-1.10.1",
        number("steps"),
        body["sampler_name"].as_str().unwrap(),
        body["scheduler"].as_str().unwrap(),
        body["cfg_scale"].as_f64().unwrap(),
    );
    let picture = RgbImage::from_fn(width as u32, height as u32, |x, y| Rgb([x as u8, y as u8, seed as u8]));
    let attached = Attached { parameters: Some(&text), ..Attached::default() };
    let picture = encode(&picture.into(), Format::Png, &attached).unwrap();
    answer["images"] = json!([BASE64_STANDARD.encode(&picture[..])]);
    let mut info: Value = serde_json::from_str(answer["info"].as_str().unwrap()).unwrap();
    (info["all_seeds"], info["infotexts"]) = (json!([seed]), json!([text]));
    answer["info"] = info.to_string().into();
    answer
}

fn recorded(name: &str) -> Response {
    let recording = recording(name);
    let status = recording["answer"]["status"].as_u64().unwrap().try_into().unwrap();
    (StatusCode::from_u16(status).unwrap(), Json(recording["answer"]["body"].clone())).into_response()
}

fn recording(name: &str) -> Value {
    let text = std::fs::read_to_string(file(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The recordings are those of the driver's tests.
fn file(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../imgopen-backends/tests/recordings/webui");
    folder.join(format!("{name}.json"))
}
