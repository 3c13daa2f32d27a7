//! Running the service: from an open port to a tidy end.

use std::future::Future;
use std::net::SocketAddr;

use axum::serve::ListenerExt;
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
        let url = self.url(listener.local_addr()?);
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
        let inner = self.inner.clone();
        let server = axum::serve(undelayed(listener), self.router())
            .with_graceful_shutdown(async move { inner.stopping.cancelled().await });
        ready(&self.urls().base);
        let server = tokio::spawn(server.into_future());
        self.inner.stopping.cancelled().await;
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
            warn!("callers on other machines cannot fetch pictures; set `public_url` to the address that they use");
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

    async fn wind_up(&self, tasks: TaskTracker, mut server: Server) -> Result<(), ServeError> {
        let limit = self.inner.settings.shutdown;
        info!(?limit, "stopping: what runs may go on until the limit");
        let mut outcome = None;
        let wound_up = async {
            let (_, served) = tokio::join!(tasks.wait(), &mut server);
            outcome = Some(served);
        };
        if tokio::time::timeout(limit, wound_up).await.is_err() {
            warn!("the limit is over: what still runs goes back to the queue");
        }
        self.inner.ending.cancel();
        // Handing back takes a few writes; whatever hangs beyond that is queued again by the next start.
        if tokio::time::timeout(LAST_WRITES, tasks.wait()).await.is_err() {
            warn!("some tasks could not be handed back");
        }
        match outcome {
            Some(Ok(served)) => served?,
            Some(Err(error)) => error!(%error, "the server's task failed"),
            None => warn!("some callers were not answered in full"),
        }
        Ok(())
    }
}

/// The task that answers callers.
type Server = tokio::task::JoinHandle<std::io::Result<()>>;

/// How long handing back may take.
const LAST_WRITES: std::time::Duration = std::time::Duration::from_secs(5);

/// A picture's head and its bytes are two writes. Unless told so, the system keeps the second back until the caller has
/// acknowledged the first, which callers put off by 40 ms.
fn undelayed(listener: TcpListener) -> impl axum::serve::Listener<Io = tokio::net::TcpStream, Addr = SocketAddr> {
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "answers on this connection may be slow");
        }
    })
}
