//! Accepts connections as long as there is room for them.

use std::io;
use std::sync::Arc;

use axum_server::{AddrListener, Address};
use tokio::net::TcpListener;

use super::lines::Lines;
use super::stream::{Patience, Stream};

/// A caller, whose address is used at the door only.
#[derive(Debug, Clone)]
pub struct Peer;

impl Address for Peer {
    type Stream = Stream;
    type Listener = Door;
}

/// A port with a bounded number of connections.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    lines: Arc<Lines>,
    patience: Patience,
}

impl Door {
    /// Opens the door of a port.
    pub fn new(listener: TcpListener, lines: Arc<Lines>, patience: Patience) -> Self {
        Self { listener, lines, patience }
    }
}

impl AddrListener<Stream, Peer> for Door {
    async fn bind_to(_: Peer) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a door is opened at a port that is bound already"))
    }

    /// A caller beyond the limit is accepted and waits for its place here, the next ones in the system's backlog.
    async fn accept_stream(&self) -> io::Result<(Stream, Peer)> {
        let (stream, address) = self.listener.accept().await?;
        // A picture's head and its bytes are two writes. Without this, the system would hold back the second until the
        // caller has acknowledged the first, which callers delay by 40 ms. It fails only if the caller has gone away.
        let _ = stream.set_nodelay(true);
        let place = self.lines.admit(address.ip()).await;
        Ok((Stream::new(stream, place, self.patience), Peer))
    }

    fn get_local_addr(&self) -> io::Result<Peer> {
        Ok(Peer)
    }
}
