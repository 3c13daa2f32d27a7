//! A proxy before a server, which a test can have fail: pass, keep silent, lose what it reads, refuse, pass requests alone, or end
//! a connection between a commit and its answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::messages::{Messages, Statements};

/// What a proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Passes everything on.
    Pass,
    /// Keeps silent; what it has read by then is passed on later.
    Stall,
    /// Loses what it reads. Such a connection ends once things go right.
    Lose,
    /// Loses the answers alone.
    Requests,
    /// Resets every connection.
    Refuse,
}

/// A proxy. Clones share it; it ends with the runtime.
#[derive(Clone)]
pub struct Proxy {
    /// Its address.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    way: watch::Sender<Way>,
    /// How often all connections were reset.
    resets: watch::Sender<usize>,
    /// Connections go to one after the other.
    servers: Mutex<Vec<SocketAddr>>,
    is_postgres: bool,
    /// A part of the statement after which a connection is to end.
    wanted: Mutex<Option<&'static str>>,
    cuts: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy on this address before servers of any protocol, which take turns.
    pub async fn before(host: IpAddr, servers: Vec<SocketAddr>) -> Self {
        Self::start(host, servers, false).await
    }

    /// Starts a proxy on this address before a PostgreSQL server of this machine.
    pub async fn before_postgres(host: IpAddr, port: u16) -> Self {
        Self::start(host, vec![(Ipv4Addr::LOCALHOST, port).into()], true).await
    }

    async fn start(host: IpAddr, servers: Vec<SocketAddr>, is_postgres: bool) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let shared = Arc::new(Shared {
            way: watch::Sender::new(Way::Pass),
            resets: watch::Sender::new(0),
            servers: Mutex::new(servers),
            is_postgres,
            wanted: Mutex::default(),
            cuts: AtomicUsize::new(0),
        });
        let proxy = Self { address: listener.local_addr().unwrap(), shared: shared.clone() };
        tokio::spawn(async move {
            for number in 0.. {
                // Out of descriptors, for example.
                let Ok((caller, _)) = listener.accept().await else { continue };
                tokio::spawn(pass_on(caller, shared.clone(), number));
            }
        });
        proxy
    }

    /// Does this from now on, also with connections that are open.
    pub fn go(&self, way: Way) {
        self.shared.way.send_replace(way);
        if way == Way::Refuse {
            self.reset();
        }
    }

    /// Resets the connections that are open.
    pub fn reset(&self) {
        self.shared.resets.send_modify(|resets| *resets += 1);
    }

    /// Adds a server.
    pub fn add(&self, server: SocketAddr) {
        self.shared.servers.lock().unwrap().push(server);
    }

    /// Removes a server. What is connected to it stays so.
    pub fn remove(&self, server: SocketAddr) {
        self.shared.servers.lock().unwrap().retain(|known| *known != server);
    }

    /// Ends the connection on which the next statement is carried out that contains this text, once it is committed and before
    /// its answer is passed on.
    pub fn cut_after(&self, statement: &'static str) {
        *self.shared.wanted.lock().unwrap() = Some(statement);
    }

    /// Returns how many connections were ended so.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

/// One of the two directions of a connection.
enum Side {
    Requests(Messages, Statements),
    Answers(Messages, Vec<u8>),
    /// Those of a protocol that the proxy does not read.
    Opaque {
        is_answer: bool,
    },
}

impl Side {
    fn is_answer(&self) -> bool {
        matches!(self, Self::Answers(..) | Self::Opaque { is_answer: true })
    }

    /// Returns what is to be passed on of what was read, and whether the connection ends then.
    fn pass(&mut self, read: &[u8], shared: &Shared, is_marked: &AtomicBool) -> (Vec<u8>, bool) {
        match self {
            Self::Opaque { .. } => (read.to_vec(), false),
            Self::Requests(messages, statements) => {
                for message in messages.add(read) {
                    let Some(sql) = statements.carried_out(&message) else { continue };
                    let mut wanted = shared.wanted.lock().unwrap();
                    if wanted.is_some_and(|part| sql.contains(part)) {
                        *wanted = None;
                        is_marked.store(true, Ordering::SeqCst);
                    }
                }
                (read.to_vec(), false)
            }
            Self::Answers(messages, held) => {
                for message in messages.add(read) {
                    held.extend_from_slice(&message.bytes);
                    if !is_marked.load(Ordering::SeqCst) || message.is_step() {
                        continue;
                    }
                    if message.is_end() {
                        shared.cuts.fetch_add(1, Ordering::SeqCst);
                        return (Vec::new(), true);
                    }
                }
                // All of it, up to the end of a statement if the connection is marked.
                let is_held = is_marked.load(Ordering::SeqCst) && !ends_with_step(held);
                (if is_held { Vec::new() } else { std::mem::take(held) }, false)
            }
        }
    }
}

/// Whether what is held ends with the end of an answer within a transaction.
fn ends_with_step(held: &[u8]) -> bool {
    held.ends_with(&[b'Z', 0, 0, 0, 5, b'T'])
}

async fn pass_on(caller: TcpStream, shared: Arc<Shared>, number: usize) {
    let (way, mut resets) = (shared.way.subscribe(), shared.resets.subscribe());
    if *way.borrow() == Way::Refuse {
        // Closed with a reset; that it cannot be set is no matter.
        let _ = caller.set_zero_linger();
        return;
    }
    let Some(server) = connect(&shared, number).await else { return };
    let _ = (caller.set_nodelay(true), server.set_nodelay(true));
    let (requests, answers) = match shared.is_postgres {
        true => (
            Side::Requests(Messages::of_client(), Statements::default()),
            Side::Answers(Messages::of_server(), Vec::new()),
        ),
        false => (Side::Opaque { is_answer: false }, Side::Opaque { is_answer: true }),
    };
    let is_marked = AtomicBool::new(false);
    let ((from_caller, to_caller), (from_server, to_server)) = (caller.into_split(), server.into_split());
    let (mut up, mut down) = ((from_caller, to_server), (from_server, to_caller));
    let is_reset = tokio::select! {
        () = relay(&mut up, requests, way.clone(), &shared, &is_marked) => false,
        () = relay(&mut down, answers, way, &shared, &is_marked) => false,
        _ = resets.changed() => true,
    };
    if is_reset && let Ok(caller) = up.0.reunite(down.1) {
        let _ = caller.set_zero_linger();
    }
}

async fn connect(shared: &Shared, number: usize) -> Option<TcpStream> {
    let mut servers = shared.servers.lock().unwrap().clone();
    if servers.is_empty() {
        return None;
    }
    let first = number % servers.len();
    servers.rotate_left(first);
    for server in servers {
        if let Ok(stream) = TcpStream::connect(server).await {
            return Some(stream);
        }
    }
    None
}

async fn relay(
    (from, to): &mut (OwnedReadHalf, OwnedWriteHalf),
    mut side: Side,
    mut way: watch::Receiver<Way>,
    shared: &Shared,
    is_marked: &AtomicBool,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        let Ok(now) = way.wait_for(|way| *way != Way::Stall).await.map(|way| *way) else { return };
        let is_lost = now == Way::Lose || (now == Way::Requests && side.is_answer());
        if is_lost {
            // There is a gap now.
            let _ = way.wait_for(|way| *way == Way::Pass).await;
            return;
        }
        let (passed, is_over) = side.pass(&buffer[..count], shared, is_marked);
        if to.write_all(&passed).await.is_err() || is_over {
            return;
        }
    }
}
