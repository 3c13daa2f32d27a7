//! A server, and a database for each test.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use imgopen_postgres::{PostgresOptions, PostgresStore};
use imgopen_store::Store;
use imgopen_store::conformance::{Database, async_trait};
use tokio_postgres::{Client, NoTls};

use super::installed::{programs, unprivileged};

/// Names a server by its URL, or says `private`.
const VARIABLE: &str = "IMGOPEN_TEST_POSTGRES";

/// Starts a server in a directory of its own, prints the directory, and stops the server once its own input ends, which it does
/// however the test's process ends.
const PRIVATE: &str = r#"
set -eu
umask 077
dir=$(mktemp -d /tmp/imgopen-postgres.XXXXXX)
trap '"$1/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
"$1/initdb" -D "$dir/data" -A trust -U imgopen --no-locale -E UTF8 --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
"$1/pg_ctl" -D "$dir/data" -w -l "$dir/log" \
  -o "-c listen_addresses= -c unix_socket_directories=$dir -c max_connections=200 -c fsync=off" start >/dev/null ||
  { cat "$dir/log" >&2; exit 1; }
echo "$dir"
read -r _ || true
"#;

/// The server of this test's process, if there is one.
static SERVER: LazyLock<Option<Server>> = LazyLock::new(Server::find);

struct Server {
    url: String,
    /// Its input ends with this process.
    _private: Option<Child>,
}

impl Server {
    fn find() -> Option<Self> {
        let named = std::env::var(VARIABLE).ok();
        if let Some(url) = named.clone().filter(|url| url != "private") {
            return Some(Self { url, _private: None });
        }
        let Some(programs) = programs() else {
            assert!(named.is_none(), "{VARIABLE} is `private`, but PostgreSQL is not installed");
            println!("skipped, because {VARIABLE} is not set and PostgreSQL is not installed");
            return None;
        };
        Some(Self::start(programs))
    }

    fn start(programs: PathBuf) -> Self {
        let mut command = unprivileged();
        command.args(["-c", PRIVATE, "sh"]).arg(programs).current_dir("/");
        let mut private = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut directory = String::new();
        BufReader::new(private.stdout.take().unwrap()).read_line(&mut directory).unwrap();
        let directory = directory.trim().replace('/', "%2F");
        assert!(!directory.is_empty(), "PostgreSQL could not be started; its messages are above");
        Self { url: format!("postgres://imgopen@{directory}/postgres"), _private: Some(private) }
    }

    /// The URL of another database of the server.
    fn of(&self, database: &str) -> String {
        let (address, settings) = self.url.split_at(self.url.find('?').unwrap_or(self.url.len()));
        let (server, _) = address.rsplit_once('/').unwrap();
        format!("{server}/{database}{settings}")
    }
}

/// An empty database, which is dropped at the end.
pub struct Fresh {
    server: &'static Server,
    pub name: String,
}

impl Fresh {
    /// Makes a database with these clauses of `CREATE DATABASE`, or returns `None` if there is no server.
    pub async fn with(clauses: &str) -> Option<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let server = SERVER.as_ref()?;
        let name = format!("imgopen_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let client = connect(&server.url).await;
        client.batch_execute(&format!("CREATE DATABASE {name} {clauses}")).await.unwrap();
        Some(Self { server, name })
    }

    /// The database's URL.
    pub fn url(&self) -> String {
        self.server.of(&self.name)
    }

    /// Opens a store on it.
    pub async fn store(&self, options: &PostgresOptions) -> PostgresStore {
        PostgresStore::open(&self.url(), options).await.unwrap()
    }

    /// Connects to it without a store.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let (url, name) = (self.server.url.clone(), self.name.clone());
        // The test's own runtime is busy with this.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                connect(&url).await.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
            });
        });
        if dropped.join().is_err() {
            println!("the database {} could not be dropped", self.name);
        }
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    // An error of the connection is one of its client, too.
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// Few connections, because many tests share the server.
pub fn options() -> PostgresOptions {
    PostgresOptions { connections: 8, ..PostgresOptions::default() }
}

#[async_trait]
impl Database for Fresh {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store(&options()).await)
    }
}

/// An empty database, or `None` if there is no server.
pub async fn empty() -> Option<Fresh> {
    Fresh::with("").await
}
