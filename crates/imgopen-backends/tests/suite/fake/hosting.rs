//! What every fake is made of: a server in a runtime of its own, and what its parts share.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use tokio::runtime::{Builder, Runtime};

/// An address of this machine with a free port.
pub const ANYWHERE: &str = "127.0.0.1:0";

/// A server that listens until it is dropped.
pub struct Hosting {
    pub url: String,
    /// Its own, so that nothing of it is left when it is dropped.
    runtime: Option<Runtime>,
}

impl Hosting {
    /// Listens at an address.
    pub async fn start(address: &str, app: Router) -> Self {
        let mut listener = TcpListener::bind(address);
        // An earlier one at the same address may take a moment to end.
        while listener.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            listener = TcpListener::bind(address);
        }
        let listener = listener.unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await });
        Self { url, runtime: Some(runtime) }
    }

    /// Works beside the server, until that is dropped.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.as_ref().unwrap().spawn(work);
    }
}

impl Drop for Hosting {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What the parts of a fake share: how it behaves, what it remembers, and what it alone needs.
pub struct Shared<B, S, O> {
    behaviour: Mutex<B>,
    state: Mutex<S>,
    pub own: O,
}

impl<B: Clone, S: Default, O> Shared<B, S, O> {
    pub fn new(behaviour: B, own: O) -> Arc<Self> {
        Arc::new(Self { behaviour: Mutex::new(behaviour), state: Mutex::default(), own })
    }

    pub fn state(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap()
    }

    pub fn behaviour(&self) -> B {
        self.behaviour.lock().unwrap().clone()
    }

    pub fn set(&self, change: impl FnOnce(&mut B)) {
        change(&mut self.behaviour.lock().unwrap());
    }
}
