//! A server of S3 in this process, behind a proxy that a test can have fail. Two test programs use it, each in part.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{RwLock, oneshot, watch};

/// The bucket, which exists unless a test removes it.
pub const BUCKET: &str = "pictures";

/// The access key and its secret.
pub const KEY: (&str, &str) = ("the-key", "the-secret");

/// What the proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Passes everything on.
    Pass,
    /// Passes nothing on, and keeps silent.
    Stall,
    /// Closes every connection on its first byte.
    Drop,
    /// Closes each connection after so many bytes of its answers.
    Cut(usize),
}

/// What the address of each copy ends with, for refusals.
pub const COPIES: &str = " (a copy)";

/// What the server does with requests whose address contains a text.
#[derive(Debug, Clone, Copy)]
pub enum Refusal {
    /// Answers with this status, and with this code in the body.
    Status(StatusCode, &'static str),
    /// Never answers.
    Silence,
    /// Answers that it is done, and does nothing.
    Nothing,
}

/// A request that the server holds back, as if what sent it stood still: for ever if this is dropped once it is there.
pub struct Held {
    reached: oneshot::Receiver<()>,
    go: oneshot::Sender<()>,
}

impl Held {
    /// Waits until the request is there.
    pub async fn reached(&mut self) {
        (&mut self.reached).await.unwrap();
    }

    /// Lets it go on.
    pub fn release(self) {
        self.go.send(()).unwrap();
    }
}

/// The server. It ends with the runtime.
pub struct Server {
    /// The address of the proxy, such as `http://127.0.0.1:1234`.
    pub endpoint: String,
    /// The address of the server itself.
    pub direct: String,
    way: watch::Sender<Way>,
    refusal: Refusals,
    hold: Holds,
    root: TempDir,
}

/// What is refused at the moment.
type Refusals = Arc<Mutex<Option<(&'static str, Refusal)>>>;

/// Which request is to be held back.
struct Hold {
    /// How many others come before it.
    left: usize,
    /// Whether it is carried out before, so that its answer is held back.
    is_done: bool,
    reached: oneshot::Sender<()>,
    go: oneshot::Receiver<()>,
}

type Holds = Arc<Mutex<Option<Hold>>>;

/// Held alone for copies, and by all others for marks: the server copies into a file in place, which others would see half written.
type Copying = Arc<RwLock<()>>;

impl Server {
    pub async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY.0, KEY.1));
        let (service, refusal, hold) = (builder.build(), Refusals::default(), Holds::default());
        let (refusals, holds, copying) = (refusal.clone(), hold.clone(), Copying::default());
        let app = Router::new().fallback(move |request: Request| {
            let answered = answer(service.clone(), refusals.clone(), copying.clone(), request);
            held_back(holds.clone(), answered)
        });
        let (listener, direct) = listen().await;
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let way = watch::Sender::new(Way::Pass);
        let (listener, proxy) = listen().await;
        tokio::spawn(pass_on(listener, direct, way.subscribe()));
        let [endpoint, direct] = [proxy, direct].map(|address| format!("http://{address}"));
        Self { endpoint, direct, way, refusal, hold, root }
    }

    /// Has the proxy do this from now on, also with connections that are open.
    pub fn go(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Refuses requests whose address contains the text from now on.
    pub fn refuse(&self, text: &'static str, refusal: Refusal) {
        *self.refusal.lock().unwrap() = Some((text, refusal));
    }

    /// Refuses none from now on.
    pub fn accept(&self) {
        *self.refusal.lock().unwrap() = None;
    }

    /// Holds back the request after so many others from now on, or its answer.
    pub fn hold(&self, others: usize, is_done: bool) -> Held {
        let ((reached, is_reached), (go, goes)) = (oneshot::channel(), oneshot::channel());
        *self.hold.lock().unwrap() = Some(Hold { left: others, is_done, reached, go: goes });
        Held { reached: is_reached, go }
    }

    /// Returns the path of the bucket.
    pub fn bucket(&self) -> PathBuf {
        self.root.path().join(BUCKET)
    }

    /// Returns the paths of all objects below a prefix that are named like pictures.
    pub fn objects(&self, prefix: &str) -> Vec<PathBuf> {
        let mut objects = Vec::new();
        for shelf in list(&self.bucket().join(prefix)) {
            if shelf.is_dir() && shelf.file_name().unwrap().len() == 2 {
                objects.extend(list(&shelf));
            }
        }
        objects
    }

    /// Returns how many parts of uploads lie around.
    pub fn parts(&self) -> usize {
        let is_part = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(".upload_id-");
        list(self.root.path()).iter().filter(|path| is_part(path)).count()
    }
}

fn list(directory: &std::path::Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn held_back(holds: Holds, answered: impl Future<Output = Response>) -> Response {
    let hold = holds.lock().unwrap().take_if(|hold| {
        let is_next = hold.left == 0;
        hold.left = hold.left.saturating_sub(1);
        is_next
    });
    let Some(Hold { is_done, reached, go, .. }) = hold else { return answered.await };
    let stands_still = async {
        if reached.send(()).is_ok() && go.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    if is_done {
        let answer = answered.await;
        stands_still.await;
        answer
    } else {
        stands_still.await;
        answered.await
    }
}

async fn answer(service: S3Service, refusals: Refusals, copying: Copying, request: Request) -> Response {
    let (refused, mut address) = (*refusals.lock().unwrap(), request.uri().to_string());
    let is_copy = request.headers().contains_key("x-amz-copy-source");
    if is_copy {
        address += COPIES;
    }
    match refused.filter(|(text, _)| address.contains(text)) {
        Some((_, Refusal::Silence)) => std::future::pending().await,
        Some((_, Refusal::Nothing)) => StatusCode::OK.into_response(),
        Some((_, Refusal::Status(status, code))) => {
            // Read to its end: an answer before that breaks the connection, and may be lost with it.
            let _ = axum::body::to_bytes(request.into_body(), usize::MAX).await;
            let body = format!("<Error><Code>{code}</Code><Message>by the test</Message></Error>");
            (status, body).into_response()
        }
        None => {
            let is_small = request.uri().path().contains("/imgopen-");
            let _alone = if is_copy { Some(copying.write().await) } else { None };
            let _beside = if is_small && !is_copy { Some(copying.read().await) } else { None };
            match service.call(request.map(s3s::Body::http_body_unsync)).await {
                Ok(answer) if is_small => {
                    let (parts, body) = answer.map(Body::new).into_parts();
                    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                    Response::from_parts(parts, Body::from(bytes))
                }
                Ok(answer) => answer.map(Body::new),
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    }
}

async fn pass_on(listener: TcpListener, to: SocketAddr, way: watch::Receiver<Way>) {
    loop {
        let (caller, _) = listener.accept().await.unwrap();
        let way = way.clone();
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(to).await else { return };
            let ((from_caller, to_caller), (from_server, to_server)) = (caller.into_split(), server.into_split());
            tokio::select! {
                () = relay(from_caller, to_server, way.clone(), false) => {}
                () = relay(from_server, to_caller, way, true) => {}
            }
        });
    }
}

async fn relay(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>, is_answer: bool) {
    let (mut buffer, mut passed) = (vec![0; 16 << 10], 0);
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        let Ok(now) = way.wait_for(|way| *way != Way::Stall).await.map(|way| *way) else { return };
        let most = match now {
            Way::Drop => return,
            Way::Cut(most) if is_answer => most,
            _ => usize::MAX,
        };
        let left = count.min(most.saturating_sub(passed));
        if to.write_all(&buffer[..left]).await.is_err() || left < count {
            return;
        }
        passed += count;
    }
}
