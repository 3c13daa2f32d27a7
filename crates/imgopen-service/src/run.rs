//! Running the service: from an open port to a tidy end.

use std::future::Future;
use std::net::SocketAddr;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
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
        self.recover(self.base_url(address)).await?;
        let tasks = self.spawn();
        let inner = self.inner.clone();
        let server = axum::serve(undelayed(listener), self.router())
            .with_graceful_shutdown(async move { inner.stopping.cancelled().await });
        let stopping = self.inner.stopping.clone();
        tokio::spawn(async move {
            stop.await;
            stopping.cancel();
        });
        ready(&self.urls().base);
        let server = tokio::spawn(server.into_future());
        self.inner.stopping.cancelled().await;
        self.wind_up(tasks, server).await
    }

    /// Stops the service, as the end of `stop` would.
    pub fn stop(&self) {
        self.inner.stopping.cancel();
    }

    fn base_url(&self, address: SocketAddr) -> String {
        let url = self.inner.settings.public_url.clone();
        url.map_or_else(|| format!("http://{address}"), |url| url.trim_end_matches('/').to_owned())
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

    async fn wind_up(
        &self,
        tasks: TaskTracker,
        server: tokio::task::JoinHandle<std::io::Result<()>>,
    ) -> Result<(), ServeError> {
        let limit = self.inner.settings.shutdown;
        info!(?limit, "stopping: what runs may go on until the limit");
        let ending: CancellationToken = self.inner.ending.clone();
        if tokio::time::timeout(limit, tasks.wait()).await.is_err() {
            warn!("the limit is over: what still runs goes back to the queue");
        }
        ending.cancel();
        tasks.wait().await;
        // Whoever is still being answered has had the same time; idle connections were closed at once.
        match tokio::time::timeout(std::time::Duration::from_secs(1), server).await {
            Ok(Ok(outcome)) => outcome?,
            Ok(Err(error)) => error!(%error, "the server's task failed"),
            Err(_) => warn!("some callers were not answered"),
        }
        Ok(())
    }
}

/// A picture's head and its bytes are two writes. Unless told so, the system keeps the second back until the caller has
/// acknowledged the first, which callers put off by 40 ms.
fn undelayed(listener: TcpListener) -> impl axum::serve::Listener<Io = tokio::net::TcpStream, Addr = SocketAddr> {
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "answers on this connection may be slow");
        }
    })
}
