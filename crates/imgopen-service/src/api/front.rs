//! The front door: which connections are let in, how long each may keep the service waiting, and how they end.
//!
//! Descriptors run out first, so connections are bounded, and the rest is left to files, fetches and pushes. When all places
//! are taken, a new caller takes the place of a connection that is idle, or whose caller is slow, from the address that has
//! most of them; [`lines`] has the rule. If all requests are being answered, callers wait in the system's backlog. A connection
//! is closed when a head does not come, when its caller reads nothing or too little, and when the service stops before the
//! request is whole.

mod calls;
mod descriptors;
mod door;
mod keep_alive;
mod line;
mod lines;
mod stream;
mod throttle;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::{Handle, Server};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::hosts::Hosts;
use crate::settings::ConnectionSettings;
use calls::Attach;
pub(crate) use descriptors::raise as raise_open_files;
use door::{Door, Peer};
use keep_alive::KeepAlive;
use lines::Lines;
use stream::Patience;
use throttle::Throttle;

/// The largest head of a request in bytes; a larger one is answered with the status 431. Beside bodies, this is what a
/// connection costs at most.
const HEAD: usize = 128 * 1024;

/// Returns how many connections may be open, by the setting or the present limit of open files.
pub(crate) fn places(settings: &ConnectionSettings) -> usize {
    settings.at_most.unwrap_or_else(|| descriptors::connections(descriptors::limit()))
}

/// The port while it is served. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    handle: Handle<Peer>,
    lines: Arc<Lines>,
}

/// The task that answers callers. It ends when the last connection has ended after a stop.
pub(crate) type Serving = JoinHandle<io::Result<()>>;

impl Front {
    /// Serves the routes at a port, to callers who name one of the hosts.
    pub fn open(listener: TcpListener, routes: Router, hosts: Hosts, settings: &ConnectionSettings) -> (Self, Serving) {
        let limit = descriptors::limit();
        let at_most = places(settings);
        info!(at_most, open_files = limit, "accepting connections");
        if limit.is_some_and(|limit| descriptors::leaves_no_room(at_most, limit)) {
            warn!(
                at_most,
                open_files = limit,
                "connections may take the descriptors of files and pushes; raise the limit of open files (`ulimit -n`, \
                 `LimitNOFILE`), or lower `connections.at_most`"
            );
        }
        let lines = Arc::new(Lines::new(at_most));
        let front = Self { handle: Handle::new(), lines: lines.clone() };
        let door = Door::new(listener, lines, Patience::new(settings.stall));
        let attach = Attach { hosts, keep_alive: KeepAlive::new(settings.idle, front.lines.clone()) };
        let server = front.server(door, attach, settings.idle).serve(routes.into_make_service());
        (front, tokio::spawn(server))
    }

    /// Accepts no more connections, and closes those without a whole request. The others end with their answer.
    pub fn stop(&self) {
        self.handle.graceful_shutdown(None);
        self.lines.stop();
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.handle.connection_count()
    }

    /// Closes all connections.
    pub fn close(&self) {
        self.handle.shutdown();
    }

    fn server(&self, door: Door, attach: Attach, idle: Duration) -> Server<Peer, Attach> {
        let throttle = Throttle::default();
        let server = Server::<Peer>::from_listener(door).acceptor(attach).handle(self.handle.clone());
        let mut server = server.http1_only().accept_error_handler(move |_, error| {
            if let Some(count) = throttle.count(std::time::Instant::now()) {
                warn!(%error, count, "connections could not be accepted");
            }
        });
        server.http_builder().http1().header_read_timeout(idle).max_buf_size(HEAD);
        server
    }
}
