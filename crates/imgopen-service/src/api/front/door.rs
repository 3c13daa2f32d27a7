//! Accepts connections as long as there is room for them.

use std::io;
use std::sync::Arc;

use axum_server::{AddrListener, Address};
use tokio::net::TcpListener;

use super::lines::Lines;
use super::stream::{Patience, Stream};

/// How many bytes of an answer the system takes before it can send them. It would take megabytes at once and then nothing for
/// as long as a slow caller needs to read a third of them, and such a caller would seem to read nothing. What is on its way is
/// not counted, so a fast caller far away is not slowed down.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT: u32 = 64 * 1024;

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
        // Where this fails, as in a sandbox that does not have it, slow callers are cut sooner.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
        let place = self.lines.admit(address.ip()).await;
        Ok((Stream::new(stream, place, self.patience), Peer))
    }

    fn get_local_addr(&self) -> io::Result<Peer> {
        Ok(Peer)
    }
}

#[cfg(all(test, any(target_os = "android", target_os = "linux")))]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::Instant;

    use super::*;

    /// More than the system takes at once where nothing limits it.
    const BYTES: usize = 6 * 1024 * 1024;

    const STALL: Duration = Duration::from_secs(4);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_caller_who_reads_slowly_is_seen_to_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door::new(listener, Arc::new(Lines::new(1)), Patience::new(STALL));
        let mut caller = TcpStream::connect(address).await.unwrap();
        let (mut stream, _) = door.accept_stream().await.unwrap();
        let writing = tokio::spawn(async move { stream.write_all(&vec![7; BYTES]).await });
        // At 128 KiB a second for longer than the limit, then all of the rest.
        let begun = Instant::now();
        let (mut buffer, mut read) = (vec![0; 16 * 1024], 0);
        while begun.elapsed() < STALL + STALL / 2 {
            caller.read_exact(&mut buffer).await.unwrap();
            read += buffer.len();
            tokio::time::sleep(Duration::from_millis(125)).await;
        }
        let rest = tokio::spawn(async move { caller.read_to_end(&mut Vec::new()).await });
        writing.await.unwrap().unwrap();
        assert_eq!(read + rest.await.unwrap().unwrap(), BYTES);
    }
}
