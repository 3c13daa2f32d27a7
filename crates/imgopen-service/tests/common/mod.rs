//! A service for one test: its data directory, key, clock and engines, and calls to it.

pub mod engines;
#[cfg(all(unix, feature = "postgres"))]
mod instead;
pub mod rows;
pub mod s3;
#[cfg(all(unix, feature = "postgres"))]
pub mod way;
pub mod web;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use imgopen_client::{Client, Credentials};
use imgopen_engine::{Engine, Registry};
use imgopen_service::{
    CallbackSettings, Clock, Limit, Moment, NewKey, ServeError, Service, Settings, StartError, Store, data_dir,
};
use imgopen_tools::Sandbox;
use imgopen_types::operations;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

#[cfg(all(unix, feature = "postgres"))]
use self::instead::Instead;
use self::rows::Rows;

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The store that the tests run on: `sqlite`, unless it is `postgres`.
const STORE: &str = "IMGOPEN_TEST_STORE";

/// Whether the tests run on PostgreSQL, in place of the database in the data directory.
pub fn is_on_postgres() -> bool {
    let is_named = || std::env::var_os(STORE).is_some_and(|store| store == "postgres");
    cfg!(all(unix, feature = "postgres")) && is_named()
}

/// Whether a test is left out, because the tests run on PostgreSQL and it is about a database in a data directory alone.
pub fn is_left_out_on_postgres(why: &str) -> bool {
    let is_left_out = is_on_postgres();
    if is_left_out {
        println!("skipped on PostgreSQL, because {why}");
    }
    is_left_out
}

/// What a service is started from. A stopped service can be started from it again.
#[derive(Clone)]
pub struct Bench {
    pub settings: Settings,
    pub clock: Clock,
    pub registry: Registry,
    pub data_dir: Arc<TempDir>,
    key: Option<NewKey>,
    #[cfg(all(unix, feature = "postgres"))]
    instead: Instead,
}

/// A running service.
pub struct Server {
    pub url: String,
    pub service: Service,
    pub key: NewKey,
    bench: Bench,
    serving: JoinHandle<Result<(), ServeError>>,
    http: reqwest::Client,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Bench {
    /// A service with a sandbox that takes no time, which may call addresses on this machine.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pauses = vec![Limit(Duration::from_millis(20))];
        let settings = Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            data_dir: directory.path().to_owned(),
            sandbox: true,
            allow_network: vec!["127.0.0.0/8".parse().unwrap()],
            workers: 2,
            shutdown: Duration::from_secs(10),
            callbacks: CallbackSettings { pauses, ..CallbackSettings::default() },
            ..Settings::default()
        };
        let registry = Registry::new(vec![Arc::new(sandbox())]);
        Self {
            settings,
            clock: Clock::system(),
            registry,
            data_dir: Arc::new(directory),
            key: None,
            #[cfg(all(unix, feature = "postgres"))]
            instead: Instead::default(),
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub fn engines(self, engines: Vec<Arc<dyn Engine>>) -> Self {
        Self { registry: Registry::new(engines), ..self }
    }

    /// Sends calls with this key, which the database holds already.
    pub fn with_key(self, key: NewKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Stops the clock at that time.
    pub fn at(self, time: &str) -> Self {
        Self { clock: Clock::fixed(Moment::parse(time).unwrap()), ..self }
    }

    pub async fn open(&self) -> Result<Service, StartError> {
        Service::open(self.all_settings().await, self.clock.clone(), self.registry.clone()).await
    }

    /// Returns the settings with the database that stands in for that in the data directory, if one does.
    #[cfg(all(unix, feature = "postgres"))]
    pub async fn all_settings(&self) -> Settings {
        self.instead.settings(self.settings.clone()).await
    }

    #[cfg(not(all(unix, feature = "postgres")))]
    pub async fn all_settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Opens the store beside the service, as a command does.
    pub async fn store(&self) -> Arc<dyn Store> {
        #[cfg(all(unix, feature = "postgres"))]
        if let Some(database) = self.instead.database().await {
            return Arc::new(database.store(&crate::server::options()).await);
        }
        data_dir::open_store(self.data_dir.path()).unwrap()
    }

    /// Opens the database beside the service.
    pub async fn rows(&self) -> Rows {
        #[cfg(all(unix, feature = "postgres"))]
        if let Some(database) = self.instead.database().await {
            return Rows::Postgres(Box::new(database.client().await));
        }
        let file = self.data_dir.path().join("imgopen.sqlite3");
        Rows::Sqlite(Box::new(rusqlite::Connection::open(file).unwrap()))
    }

    /// Changes the rows so that a run looks like one whose process was killed.
    pub async fn orphan(&self, run: &str) {
        let sql = match is_on_postgres() {
            false => format!(
                "INSERT INTO tasks (id, key_id, operation, needs, caller_id, request, state, attempt, run, created_at)
                 VALUES ('img1', 'a', 'enlarge_image', 'enlarge_image', '', '{{}}', 'running', 1, '{run}', 1)"
            ),
            // As if recovered, so that the sweep alone is tested: the next start recovers in the background only, and looks for
            // files a minute later. What a recovery lists is tested with the stores.
            true => format!("INSERT INTO orphaned_runs (run, since) VALUES ('{run}', 1)"),
        };
        assert_eq!(self.rows().await.execute(&sql).await, 1);
    }

    pub async fn start(self) -> Server {
        let service = self.open().await.unwrap();
        let key = match &self.key {
            Some(key) => key.clone(),
            None => service.keys().create("test").await.unwrap(),
        };
        let listener = TcpListener::bind(self.settings.listen).await.unwrap();
        let (ready, url) = tokio::sync::oneshot::channel();
        let serving = tokio::spawn({
            let service = service.clone();
            async move { service.serve(listener, |url| ready.send(url.to_owned()).unwrap(), std::future::pending()).await }
        });
        let bench = Self { key: Some(key.clone()), ..self };
        Server { url: url.await.unwrap(), service, key, bench, serving, http: http() }
    }
}

impl Server {
    pub async fn call(&self, operation: &str, body: Value) -> Answer {
        self.call_with(&self.key, operation, &[], body).await
    }

    pub async fn call_as(&self, key: &NewKey, operation: &str, body: Value) -> Answer {
        self.call_with(key, operation, &[], body).await
    }

    pub async fn call_with(&self, key: &NewKey, operation: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let request = self.http.post(format!("{}{}", self.url, path(operation)));
        let keys = [
            (Credentials::ID_HEADER, key.credentials.access_key_id()),
            (Credentials::SECRET_HEADER, key.credentials.expose_secret()),
        ];
        let headers = keys.iter().chain(headers);
        let request = headers.fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.json(&body).send().await.unwrap()).await
    }

    /// Queries a task of a tool.
    pub async fn tool(&self, code: &str, asked: &str) -> Answer {
        self.call(&format!("tool/{code}"), json!({"businessTaskId": asked})).await
    }

    /// Submits a task and returns the platform's id.
    pub async fn submitted(&self, operation: &str, body: Value) -> String {
        id(&self.call(operation, body).await.ok())
    }

    /// Fetches a path of the service or a whole URL.
    pub fn get(&self, place: &str) -> reqwest::RequestBuilder {
        self.http.get(if place.starts_with('/') { format!("{}{place}", self.url) } else { place.to_owned() })
    }

    /// Makes a call, and disconnects while the service waits for the database's lock.
    pub async fn abandoned(&self, operation: &str, body: Value) {
        let rows = self.rows().await;
        rows.lock().await;
        let mut caller = self.connect().await;
        caller.write_all(self.raw(operation, &body.to_string()).as_bytes()).await.unwrap();
        // Other calls give the service time to start on this one, and then to notice the disconnect.
        self.busy().await;
        drop(caller);
        self.busy().await;
        rows.unlock().await;
    }

    /// How often [`not_reading`](Self::not_reading) asks for the reference page: more than the system's buffers hold.
    pub const PAGES: usize = 32;

    /// Opens a connection.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.url.strip_prefix("http://").unwrap()).await.unwrap()
    }

    /// Opens a connection, asks for much, and reads nothing of the answer, which has begun.
    pub async fn not_reading(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut caller = socket.connect(self.url.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap();
        let request = "GET /docs HTTP/1.1\r\nhost: a\r\n\r\n".repeat(Self::PAGES);
        caller.write_all(request.as_bytes()).await.unwrap();
        caller.readable().await.unwrap();
        caller
    }

    /// Returns a call as it is sent over the wire.
    pub fn raw(&self, operation: &str, body: &str) -> String {
        let keys = &self.key.credentials;
        format!(
            "POST {} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{}: {}\r\n{}: {}\r\n\
             content-length: {}\r\n\r\n{body}",
            path(operation),
            Credentials::ID_HEADER,
            keys.access_key_id(),
            Credentials::SECRET_HEADER,
            keys.expose_secret(),
            body.len(),
        )
    }

    /// Makes calls, which gives the service time for others.
    pub async fn busy(&self) {
        for _ in 0..20 {
            self.call("describe_server", json!({})).await.ok();
        }
    }

    /// Returns the task as `list_tasks` shows it.
    pub async fn task(&self, id: &str) -> Value {
        let page = self.call("list_tasks", json!({"taskId": id})).await.ok();
        page["rows"][0].clone()
    }

    /// Waits until a task is in that state.
    pub async fn reached(&self, id: &str, state: &str) -> Value {
        until(&format!("{id} is {state}"), || async {
            let task = self.task(id).await;
            let is_reached = task["state"] == state;
            let is_final = ["succeeded", "failed", "cancelled"].iter().any(|end| task["state"] == *end);
            assert!(is_reached || !is_final, "{state} expected: {task}");
            is_reached.then_some(task)
        })
        .await
    }

    /// Waits until a task fails, and returns the reason.
    pub async fn failed(&self, id: &str) -> String {
        self.reached(id, "failed").await["desc"].as_str().unwrap().to_owned()
    }

    /// Returns the callbacks of a task, the newest first.
    pub async fn callbacks(&self, task: &str) -> Vec<Value> {
        let page = self.call("list_callbacks", json!({"taskId": task})).await.ok();
        page["rows"].as_array().unwrap().clone()
    }

    /// Waits until the callback of a task is in that state.
    pub async fn pushed(&self, task: &str, state: &str) -> Value {
        let callback = || async { self.callbacks(task).await.into_iter().find(|row| row["state"] == state) };
        until(&format!("the callback of {task} is {state}"), callback).await
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url, self.key.credentials.clone()).unwrap()
    }

    pub fn data_dir(&self) -> &Path {
        self.bench.data_dir.path()
    }

    pub fn clock(&self) -> &Clock {
        &self.bench.clock
    }

    /// Opens the database beside the service.
    pub async fn rows(&self) -> Rows {
        self.bench.rows().await
    }

    /// Stops the service; returns what it can be started from again.
    pub async fn stop(self) -> Bench {
        self.service.stop();
        self.serving.await.unwrap().unwrap();
        self.bench
    }
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        Self { status, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
    }

    /// Returns the data of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!((self.status, &self.body["code"]), (200, &json!("200")), "{:?}", self.body);
        self.body["data"].clone()
    }

    /// Returns the message of a failure with that status, whose body is the envelope and nothing else.
    #[track_caller]
    pub fn refused(self, status: u16) -> String {
        let expected = json!({"code": status.to_string(), "msg": self.body["msg"]});
        assert_eq!((self.status, &self.body), (status, &expected));
        self.body["msg"].as_str().unwrap().to_owned()
    }
}

/// A sandbox whose steps take no time.
pub fn sandbox() -> Sandbox {
    Sandbox::new().with_step_time(Duration::ZERO)
}

pub fn http() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(DEADLINE).build().unwrap()
}

fn path(operation: &str) -> String {
    match operation.strip_prefix("tool/") {
        Some(code) => format!("/AIGCImgOpenServ/saas/tool/{code}/queryTask"),
        None => operations::ALL.iter().find(|known| known.id == operation).unwrap().path.to_owned(),
    }
}

/// Returns the platform's id in the data of an answer.
pub fn id(data: &Value) -> String {
    let id = data.get("taskId").or(data.get("task_id"));
    id.and_then(Value::as_str).unwrap_or_else(|| panic!("{data} has no id")).to_owned()
}

/// A request for a generated picture.
pub fn draw(id: &str) -> Value {
    let scripts = json!({"sd_model_checkpoint": "sandbox.safetensors", "id_task": id});
    json!({"prompt": "a lighthouse", "batch_size": 1, "width": 64, "height": 64, "steps": 4, "alwayson_scripts": scripts})
}

/// A request for a larger picture, which the sandbox does not look at.
pub fn enlarge(id: &str) -> Value {
    json!({"businessTaskId": id, "sourceImage": "https://example.com/cat.png", "scale": 1})
}

/// The same with a callback address.
pub fn enlarge_with_callback(id: &str, url: &str) -> Value {
    let mut request = enlarge(id);
    request["callbackUrl"] = json!(url);
    request
}

/// Polls until there is a value. Panics after [`DEADLINE`].
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
