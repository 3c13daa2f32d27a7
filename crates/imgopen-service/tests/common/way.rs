//! The way to a database, which a test can cut.

use std::path::PathBuf;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// A way to a database.
pub struct Way {
    /// The URL of the database by this way.
    pub url: String,
    is_cut: watch::Sender<bool>,
}

#[derive(Clone)]
enum Server {
    Socket(PathBuf),
    Address(String, u16),
}

impl Way {
    /// Opens a way to the database of that URL.
    pub async fn to(url: &str) -> Self {
        let config: Config = url.parse().unwrap();
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let server = match &config.get_hosts()[0] {
            Host::Unix(directory) => Server::Socket(directory.join(format!(".s.PGSQL.{port}"))),
            Host::Tcp(host) => Server::Address(host.clone(), port),
        };
        let password = config.get_password().map(|password| format!(":{}", String::from_utf8_lossy(password)));
        let (user, name) = (config.get_user().unwrap(), config.get_dbname().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("postgres://{user}{}@{address}/{name}?sslmode=disable", password.unwrap_or_default());
        let (is_cut, cut) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(forward(caller, server.clone(), cut.clone()));
            }
        });
        Self { url, is_cut }
    }

    /// Closes all connections, and those that are opened later.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn forward(mut caller: TcpStream, server: Server, mut cut: watch::Receiver<bool>) {
    let through = async {
        match server {
            Server::Socket(path) => copy_bidirectional(&mut caller, &mut UnixStream::connect(path).await?).await,
            Server::Address(host, port) => {
                copy_bidirectional(&mut caller, &mut TcpStream::connect((host, port)).await?).await
            }
        }
    };
    // However it ends, both sides are closed.
    tokio::select! {
        biased;
        _ = cut.wait_for(|is_cut| *is_cut) => {}
        _ = through => {}
    }
}
