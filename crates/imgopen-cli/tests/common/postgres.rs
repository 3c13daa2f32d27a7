//! A private PostgreSQL server that a test can stop and start, and databases of it.
//!
//! It is started only if the variable `IMGOPEN_TEST_POSTGRES` is set. With `IMGOPEN_TEST_STORE=postgres`, a database of it stands
//! in place of that in each data directory, so that the tests of one process run on both stores.

#[path = "../../../imgopen-postgres/tests/postgres/installed.rs"]
mod installed;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use installed::{programs, unprivileged};

/// Asks for the tests that need a server. Its value does not matter: they stop the server, so that it must be their own.
const VARIABLE: &str = "IMGOPEN_TEST_POSTGRES";

/// The store that the tests of one process run on: `sqlite`, unless it is `postgres`.
const STORE: &str = "IMGOPEN_TEST_STORE";

/// Makes a server in a directory of its own and does what it reads, until its input ends, which it does however the test's
/// process ends.
const SHELL: &str = r#"
set -eu
umask 077
programs=$1 port=$2
dir=$(mktemp -d /tmp/imgopen-fleet.XXXXXX)
trap '"$programs/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
start() {
  "$programs/pg_ctl" -D "$dir/data" -w -l "$dir/log" -o "-p $port -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories=$dir -c max_connections=300 -c fsync=off" start >/dev/null || { cat "$dir/log" >&2; exit 1; }
}
"$programs/initdb" -D "$dir/data" -A trust -U imgopen --no-locale -E UTF8 --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
start
echo done
while read -r word name; do
  case $word in
  start) start ;;
  crash) "$programs/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null ;;
  create) "$programs/createdb" -h 127.0.0.1 -p "$port" -U imgopen "$name" >&2 ;;
  esac
  echo done
done
"#;

/// A server. It ends with the last test that uses it.
pub struct Cluster {
    programs: PathBuf,
    /// The port that it listens on.
    pub port: u16,
    shell: Mutex<Shell>,
}

struct Shell {
    /// Ends when `input` is closed.
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Cluster {
    /// Starts a server, or returns `None` if the tests that need one are not asked for.
    pub fn start() -> Option<Arc<Self>> {
        if std::env::var_os(VARIABLE).is_none() {
            println!("skipped, because {VARIABLE} is not set; `{VARIABLE}=private` runs it, with PostgreSQL installed");
            return None;
        }
        let programs = programs().unwrap_or_else(|| panic!("{VARIABLE} is set, but PostgreSQL is not installed"));
        let port = free_port();
        let mut command = unprivileged();
        command.args(["-c", SHELL, "sh"]).arg(&programs).arg(port.to_string()).current_dir("/");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut shell = Shell { _child: child, input, output };
        shell.wait();
        Some(Arc::new(Self { programs, port, shell: Mutex::new(shell) }))
    }

    /// Returns the server that tests share which do not stop it.
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: LazyLock<Option<Arc<Cluster>>> = LazyLock::new(Cluster::start);
        SHARED.clone()
    }

    /// Stops the server at once, as its crash would.
    pub fn crash(&self) {
        self.shell.lock().unwrap().run("crash");
    }

    /// Starts it again.
    pub fn start_again(&self) {
        self.shell.lock().unwrap().run("start");
    }

    /// Makes an empty database.
    pub fn database(self: &Arc<Self>) -> Database {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.shell.lock().unwrap().run(&format!("create {name}"));
        Database { cluster: self.clone(), name }
    }
}

impl Shell {
    fn run(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
        self.wait();
    }

    fn wait(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "PostgreSQL failed; its messages are above");
    }
}

/// Returns a port that nothing listens on, another one each time. It is below those that the system gives to connections, so that
/// nothing takes it while its server is stopped.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(20_000..28_000)));
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A database of a server.
#[derive(Clone)]
pub struct Database {
    /// The server.
    pub cluster: Arc<Cluster>,
    name: String,
}

impl Database {
    /// Returns its URL.
    pub fn url(&self) -> String {
        self.url_by(&format!("127.0.0.1:{}", self.cluster.port))
    }

    /// Returns its URL by way of another address.
    pub fn url_by(&self, address: &str) -> String {
        format!("postgres://imgopen@{address}/{}?sslmode=disable", self.name)
    }

    /// Runs a statement, and returns its rows, each with its values separated by `|`.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        let found = self.ask(sql);
        found.unwrap_or_else(|problem| panic!("{sql}: {problem}"))
    }

    /// Does the same with a server that may be stopped.
    pub fn ask(&self, sql: &str) -> Result<Vec<String>, String> {
        let mut command = Command::new(self.cluster.programs.join("psql"));
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "imgopen"]);
        command.args(["-p", &self.cluster.port.to_string(), "-d", &self.name, "-c", sql]).stdin(Stdio::null());
        let output = command.output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Runs a statement with one row of one number.
    pub fn count(&self, sql: &str) -> usize {
        self.rows(sql).first().and_then(|row| row.parse().ok()).unwrap_or_else(|| panic!("{sql} gave no number"))
    }
}

/// Returns the database that stands in place of that in a data directory, if the tests are run on PostgreSQL.
pub fn instead_of(folder: &Path) -> Option<Database> {
    static KNOWN: LazyLock<Mutex<HashMap<PathBuf, Database>>> = LazyLock::new(Mutex::default);
    if std::env::var_os(STORE).is_none_or(|store| store != "postgres") {
        return None;
    }
    let cluster =
        Cluster::shared().unwrap_or_else(|| panic!("{STORE} is `postgres`; set {VARIABLE} to `private`, too"));
    let mut known = KNOWN.lock().unwrap();
    Some(known.entry(folder.to_owned()).or_insert_with(|| cluster.database()).clone())
}
