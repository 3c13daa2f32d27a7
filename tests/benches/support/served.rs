//! A service for benches, on its own threads and in its own data directory.
// Each bench uses a part of it.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::time::Duration;

use imgopen_engine::Registry;
use imgopen_service::{Clock, Service, Settings};
use imgopen_types::{Credentials, Operation};
use serde_json::Value;
use tempfile::TempDir;

/// The service, stopped when dropped.
pub struct Served {
    pub service: Service,
    pub address: SocketAddr,
    pub keys: Credentials,
    pub directory: TempDir,
}

impl Served {
    /// Starts a service with a queue of this length, and with engines that are made on its threads.
    pub fn start<E>(length: usize, engines: impl FnOnce() -> E + Send + 'static) -> Self
    where
        E: Future<Output = Registry>,
    {
        let directory = TempDir::new().expect("a directory");
        let mut settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
        settings.queue.length = length;
        settings.shutdown = Duration::from_millis(100);
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let engines = engines().await;
                let service = Service::open(settings, Clock::system(), engines).await.expect("the directory is empty");
                let keys = service.keys().create("bench").await.expect("a key").credentials;
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let address = listener.local_addr().expect("an address");
                let ready = |_: &str| send.send((service.clone(), address, keys)).expect("someone waits");
                service.serve(listener, ready, std::future::pending()).await.expect("the port stays open");
            });
        });
        let (service, address, keys) = receive.recv().expect("the service starts");
        Self { service, address, keys, directory }
    }

    /// Makes a call, and returns its answer.
    pub async fn post(&self, http: &reqwest::Client, operation: &Operation, request: &Value) -> Value {
        let request = http.post(format!("http://{}{}", self.address, operation.path)).json(request);
        let request = request.header(Credentials::ID_HEADER, self.keys.access_key_id());
        let request = request.header(Credentials::SECRET_HEADER, self.keys.expose_secret());
        request.send().await.expect("an answer").json().await.expect("JSON")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.service.stop();
    }
}
