//! Serves files at unguessable paths, and nothing else.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use imgopen_engine::{Format, PictureLimits};
use imgopen_picture::{FileFormat, convert, decode, with_description};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};

use super::local::{LocalFile, LocalNames};
use super::reach::{Place, network_of};
use crate::random::random_hex;

/// How long transfers in progress may take after the server was asked to stop.
const LAST_BYTES: Duration = Duration::from_secs(60);

/// The server. It stops on [`FileServer::stop`], or when it is dropped.
#[derive(Debug)]
pub struct FileServer {
    shared: Arc<Shared>,
    urls: Vec<String>,
    ip: IpAddr,
    running: JoinHandle<std::io::Result<()>>,
}

#[derive(Debug)]
struct Shared {
    files: Vec<Served>,
    fetched: Notify,
    stop: Notify,
}

#[derive(Debug)]
struct Served {
    name: String,
    path: PathBuf,
    format: FileFormat,
    caption: Option<String>,
    is_fetched: AtomicBool,
}

impl FileServer {
    /// Starts to serve.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes for the paths.
    pub fn start(place: Place, files: &[LocalFile]) -> anyhow::Result<Self> {
        let address = place.listener.local_addr()?;
        let served = |file: &LocalFile| {
            let name = format!("{}{}.{}", random_hex()?, random_hex()?, file.format.extension());
            anyhow::Ok(Served {
                name,
                path: file.path.clone(),
                format: file.format,
                caption: file.caption.clone(),
                is_fetched: AtomicBool::new(false),
            })
        };
        let files = files.iter().map(served).collect::<anyhow::Result<Vec<_>>>()?;
        let host = if place.host.contains(':') { format!("[{}]", place.host) } else { place.host };
        let urls = files.iter().map(|file| format!("http://{host}:{}/{}", address.port(), file.name)).collect();
        let shared = Arc::new(Shared { files, fetched: Notify::new(), stop: Notify::new() });
        let router = Router::new().route("/{name}", get(send)).with_state(shared.clone());
        let stopped = shared.clone();
        let serving =
            axum::serve(place.listener, router).with_graceful_shutdown(async move { stopped.stop.notified().await });
        let running = tokio::spawn(async move { serving.await });
        Ok(Self { shared, urls, ip: place.ip, running })
    }

    /// The URLs of the files, in the order of the files.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// The paths of the files, by their URLs.
    pub fn names(&self) -> LocalNames {
        let paths = self.shared.files.iter().map(|file| file.path.display().to_string());
        LocalNames(self.urls.iter().cloned().zip(paths).collect())
    }

    /// The network that the operator of the service must allow, as the value of `--allow-network`.
    pub fn network(&self) -> String {
        network_of(self.ip).to_string()
    }

    /// Returns once every file was fetched at least once.
    pub async fn all_fetched(&self) {
        loop {
            let notified = self.shared.fetched.notified();
            if self.unfetched() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// The number of files that were not fetched yet.
    pub fn unfetched(&self) -> usize {
        self.shared.files.iter().filter(|file| !file.is_fetched.load(Ordering::Acquire)).count()
    }

    /// Stops after the transfers in progress.
    pub async fn stop(mut self) {
        self.shared.stop.notify_one();
        // A client that has stopped reading must not block the command.
        let _ = tokio::time::timeout(LAST_BYTES, &mut self.running).await;
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn send(State(shared): State<Arc<Shared>>, method: Method, Path(name): Path<String>) -> Response {
    let Some(file) = shared.files.iter().find(|file| file.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Ok(bytes) = tokio::fs::read(&file.path).await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the file can no longer be read").into_response();
    };
    let bytes = Bytes::from(bytes);
    // The contract has no field for captions; a self-hosted service takes the picture's own description.
    let described = match file.caption.clone() {
        Some(caption) => describe(bytes.clone(), caption, file.format).await,
        None => None,
    };
    let (bytes, format) = described.unwrap_or((bytes, file.format));
    if method == Method::GET {
        file.is_fetched.store(true, Ordering::Release);
    }
    shared.fetched.notify_waiters();
    ([(header::CONTENT_TYPE, format.media_type())], bytes).into_response()
}

/// Returns a picture with a caption. A file of a format that has no place for it becomes a PNG file. `None` if that is not
/// possible: the service says what is wrong with the picture.
async fn describe(file: Bytes, caption: String, format: FileFormat) -> Option<(Bytes, FileFormat)> {
    let described = spawn_blocking(move || {
        if format.as_format().is_some() {
            return with_description(&file, &caption).map(|file| (file, format));
        }
        let limits = PictureLimits { bytes: u64::MAX, location: true, ..PictureLimits::default() };
        let written = convert(&decode(&file, &limits).ok()?, Format::Png).ok()?;
        with_description(&written, &caption).map(|file| (file, FileFormat::Png))
    });
    described.await.ok().flatten()
}
