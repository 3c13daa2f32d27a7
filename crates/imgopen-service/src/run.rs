//! Running the service: from an open port to a tidy end.

use std::future::Future;
use std::net::SocketAddr;

use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::service::{Service, StartError};
use crate::{callbacks, retention, worker};

/// Why the service ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The port failed.
    #[error("the port failed: {0}")]
    Port(#[from] std::io::Error),
}

impl Service {
    /// Serves until `stop` is over. Then it takes nothing new, lets what runs go on for a while, hands back what is not
    /// done by then, and returns.
    ///
    /// `ready` is told the address under which callers reach the service.
    ///
    /// # Errors
    ///
    /// When the data folder cannot be put in order or the port fails.
    pub async fn serve(
        &self,
        listener: TcpListener,
        ready: impl FnOnce(&str),
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let address = listener.local_addr()?;
        let url = self.url(address);
        if address.ip().is_unspecified() && self.inner.settings.public_url.is_none() {
            warn!(%url, "callers on other machines cannot fetch pictures; set `public_url` to the address that they use");
        }
        let stopping = self.inner.stopping.clone();
        tokio::spawn(async move {
            stop.await;
            stopping.cancel();
        });
        tokio::select! {
            outcome = self.recover(url) => outcome?,
            // Whatever is left undone is done by the next start.
            () = self.inner.stopping.cancelled() => return Ok(()),
        }
        let tasks = self.spawn();
        let callers = Handle::new();
        let server = server(listener, callers.clone()).serve(self.router().into_make_service());
        ready(&self.urls().base);
        let server = tokio::spawn(server);
        self.inner.stopping.cancelled().await;
        callers.graceful_shutdown(Some(self.inner.settings.shutdown + LAST_WORDS));
        self.wind_up(tasks, server).await
    }

    /// Stops the service, as the end of `stop` would.
    pub fn stop(&self) {
        self.inner.stopping.cancel();
    }

    /// The address under which callers reach the service when it listens there: `public_url`, or else that address. Who
    /// listens on all addresses has none of them, so the machine's own stands for it.
    pub fn url(&self, address: SocketAddr) -> String {
        if let Some(url) = &self.inner.settings.public_url {
            return url.trim_end_matches('/').to_owned();
        }
        if address.ip().is_unspecified() {
            return format!("http://localhost:{}", address.port());
        }
        format!("http://{address}")
    }

    fn spawn(&self) -> TaskTracker {
        let tasks = TaskTracker::new();
        for _ in 0..self.inner.settings.workers {
            tasks.spawn(worker::work(self.clone()));
        }
        tasks.spawn(callbacks::push(self.clone()));
        tasks.spawn(retention::keep(self.clone()));
        tasks.close();
        tasks
    }

    async fn wind_up(&self, tasks: TaskTracker, server: Serving) -> Result<(), ServeError> {
        let limit = self.inner.settings.shutdown;
        info!(?limit, "stopping: what runs may go on until the limit");
        let mut all = std::pin::pin!(async { tokio::join!(tasks.wait(), server).1 });
        let mut outcome = tokio::time::timeout(limit, &mut all).await;
        self.inner.ending.cancel();
        if outcome.is_err() {
            warn!("the limit is over: what still runs goes back to the queue");
            outcome = tokio::time::timeout(LAST_WORDS, all).await;
        }
        match outcome {
            Ok(Ok(served)) => served?,
            Ok(Err(error)) => error!(%error, "the server's task failed"),
            Err(_) => warn!("not all could be handed back or answered; the next start puts that in order"),
        }
        Ok(())
    }
}

/// The task that answers callers.
type Serving = tokio::task::JoinHandle<std::io::Result<()>>;

/// How long a caller may take for the head of a request, and stay connected without one.
const HEAD: std::time::Duration = std::time::Duration::from_secs(60);

/// How long handing back, and telling callers so, may take beyond the limit.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(5);

/// The server of a port. Whoever takes longer than [`HEAD`] for a request's head is cut off. A picture's head and its bytes
/// are two writes: unless told so, the system keeps the second back until the caller has acknowledged the first, which
/// callers put off by 40 ms.
fn server(listener: TcpListener, callers: Handle<SocketAddr>) -> axum_server::Server<SocketAddr, NoDelayAcceptor> {
    let server = axum_server::Server::from_listener(listener).acceptor(NoDelayAcceptor::new());
    let mut server = server.handle(callers).http1_only().accept_error_handler(|_, error| {
        warn!(%error, "a connection could not be accepted");
    });
    server.http_builder().http1().header_read_timeout(HEAD);
    server
}
