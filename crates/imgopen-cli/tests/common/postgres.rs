//! A private PostgreSQL server that a test can stop and start, and databases of it.
//!
//! It is started only if the variable `IMGOPEN_TEST_POSTGRES` is set. With `IMGOPEN_TEST_STORE=postgres`, a database of it stands
//! in place of that in each data directory, so that the tests of one process run on both stores.

#[path = "../../../imgopen-postgres/tests/postgres/installed.rs"]
pub mod installed;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use tempfile::TempDir;

use installed::{programs, unprivileged};

/// Asks for the tests that need a server. Its value does not matter: they stop the server, so that it must be their own.
const VARIABLE: &str = "IMGOPEN_TEST_POSTGRES";

/// The user that owns the databases.
const USER: &str = "imgopen";

/// The store that the tests of one process run on: `sqlite`, unless it is `postgres`.
const STORE: &str = "IMGOPEN_TEST_STORE";

/// The settings of a server for tests, whose commits survive its crash, but not that of the machine.
const FAST: &str = "-c fsync=off";

/// The settings of a server for measurements, whose commits are on the disk.
const DURABLE: &str = "-c fsync=on -c shared_buffers=512MB";

/// Makes a server in a directory of its own and does what it reads, until its input ends, which it does however the test's
/// process ends. If a disk is named, databases are on that. A role that is named like its database must give a password.
const SHELL: &str = r#"
set -eu
umask 077
programs=$1 port=$2 disk=$3 options=$4
dir=$(mktemp -d /tmp/imgopen-fleet.XXXXXX)
data=$dir/data
end() {
  for each in "$dir/data" "$dir/standby"; do
    "$programs/pg_ctl" -D "$each" -m immediate stop >/dev/null 2>&1 || true
  done
  rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' HUP INT TERM
start() {
  "$programs/pg_ctl" -D "$1" -w -l "$dir/log" -o "$2 -c unix_socket_directories=$dir \
    -c max_connections=300 $options" start >/dev/null || { cat "$dir/log" >&2; exit 1; }
}
serving="-p $port -c listen_addresses=127.0.0.1"
"$programs/initdb" -D "$data" -A trust -U imgopen --no-locale -E UTF8 --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
sed -i '1i host sameuser all all scram-sha-256' "$data/pg_hba.conf"
start "$data" "$serving"
if [ -n "$disk" ]; then
  mkdir "$disk/space"
  "$programs/psql" -X -q -h 127.0.0.1 -p "$port" -U imgopen -d postgres -c "CREATE TABLESPACE disk LOCATION '$disk/space'" >&2
fi
echo done
while read -r word name; do
  case $word in
  start) start "$data" "$serving" ;;
  crash) "$programs/pg_ctl" -D "$data" -m immediate stop >/dev/null ;;
  create) "$programs/createdb" -h 127.0.0.1 -p "$port" -U imgopen ${disk:+--tablespace=disk} "$name" >&2 ;;
  copy)
    "$programs/pg_basebackup" -D "$dir/standby" -R --checkpoint=fast --no-sync -h 127.0.0.1 -p "$port" -U imgopen >&2
    start "$dir/standby" "-p $((port + 1)) -c listen_addresses="
    ;;
  change)
    "$programs/pg_ctl" -D "$data" -m immediate stop >/dev/null
    data=$dir/standby
    "$programs/pg_ctl" -D "$data" -m fast -w stop >/dev/null
    start "$data" "$serving -c primary_conninfo="
    ;;
  promote) "$programs/pg_ctl" -D "$data" -w promote >/dev/null ;;
  fill) dd if=/dev/zero of="$disk/full" bs=64k 2>/dev/null || true ;;
  empty) rm "$disk/full" ;;
  esac
  echo done
done
"#;

/// Mounts a disk of 32 MB, seen by the rest of its line alone.
const MOUNT: &str = r#"mount -t tmpfs -o size=32m,mode=1777 imgopen "$1" && shift && exec "$@""#;

/// A server. It ends with the last test that uses it.
pub struct Cluster {
    programs: PathBuf,
    /// The port that it listens on.
    pub port: u16,
    shell: Mutex<Shell>,
    /// The disk of its databases, if that is not the machine's.
    _disk: Option<TempDir>,
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
        is_asked_for().then(|| Self::by(unprivileged(), None, FAST))
    }

    /// Starts a server whose commits are on the disk, for measurements.
    pub fn durable() -> Option<Arc<Self>> {
        is_asked_for().then(|| Self::by(unprivileged(), None, DURABLE))
    }

    /// Starts a server whose databases are on a small disk. Also returns `None` where there can be none.
    pub fn on_a_small_disk() -> Option<Arc<Self>> {
        if !is_asked_for() {
            return None;
        }
        let disk = tempfile::tempdir().unwrap();
        let is_made = mounting(disk.path()).args(["-c", "true"]).stderr(Stdio::null()).status();
        if !is_made.is_ok_and(|status| status.success()) {
            println!("skipped, because there can be no small disk; that needs root or user namespaces, and `unshare`");
            return None;
        }
        Some(Self::by(mounting(disk.path()), Some(disk), FAST))
    }

    /// Starts a server by a shell, with options of the server.
    fn by(mut command: Command, disk: Option<TempDir>, options: &str) -> Arc<Self> {
        let programs = programs().unwrap_or_else(|| panic!("{VARIABLE} is set, but PostgreSQL is not installed"));
        let port = free_port();
        command.args(["-c", SHELL, "sh"]).arg(&programs).arg(port.to_string());
        command.arg(disk.as_ref().map_or(Path::new(""), TempDir::path)).arg(options).current_dir("/");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut shell = Shell { _child: child, input, output };
        shell.wait();
        Arc::new(Self { programs, port, shell: Mutex::new(shell), _disk: disk })
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

    /// Starts a standby, which follows it.
    pub fn start_standby(&self) {
        self.shell.lock().unwrap().run("copy");
    }

    /// Stops the server at once, and has its standby answer in its place. That is still a standby, and can only be read.
    pub fn fail_over(&self) {
        self.shell.lock().unwrap().run("change");
    }

    /// Makes a server of the standby.
    pub fn promote(&self) {
        self.shell.lock().unwrap().run("promote");
    }

    /// Fills its small disk.
    pub fn fill(&self) {
        self.shell.lock().unwrap().run("fill");
    }

    /// Makes room on its small disk.
    pub fn make_room(&self) {
        self.shell.lock().unwrap().run("empty");
    }

    /// A program of PostgreSQL.
    pub fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }

    /// Makes an empty database.
    pub fn database(self: &Arc<Self>) -> Database {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.shell.lock().unwrap().run(&format!("create {name}"));
        let pictures = Arc::new(tempfile::tempdir().unwrap());
        Database { cluster: self.clone(), name, user: USER.to_owned(), pictures }
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

/// Whether the tests that need a server are asked for.
fn is_asked_for() -> bool {
    let is_asked_for = std::env::var_os(VARIABLE).is_some();
    if !is_asked_for {
        println!("skipped, because {VARIABLE} is not set; `{VARIABLE}=private` runs it, with PostgreSQL installed");
    }
    is_asked_for
}

/// Returns a shell like that of [`unprivileged`], for which a directory is a small disk.
fn mounting(directory: &Path) -> Command {
    let (shell, mut command) = (unprivileged(), Command::new("unshare"));
    if shell.get_program() == "sh" {
        // Not root, which could mount by itself.
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    command.args(["--mount", "sh", "-c", MOUNT, "sh"]).arg(directory);
    command.arg(shell.get_program()).args(shell.get_args());
    command
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
    /// The user in its URL.
    user: String,
    pictures: Arc<TempDir>,
}

impl Database {
    /// Returns a directory for the pictures of the processes that use it, if they have no bucket.
    pub fn pictures(&self) -> Arc<TempDir> {
        self.pictures.clone()
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        self.url_by(&format!("127.0.0.1:{}", self.cluster.port))
    }

    /// Returns its URL by way of another address.
    pub fn url_by(&self, address: &str) -> String {
        format!("postgres://{}@{address}/{}?sslmode=disable", self.user, self.name)
    }

    /// Has its URL name a user that must give this password, and can do what the owner of the tables can.
    pub fn guard(&mut self, password: &str) {
        let user = self.name.clone();
        self.rows(&format!("CREATE ROLE {user} LOGIN PASSWORD '{password}' IN ROLE {USER}"));
        self.user = user;
    }

    /// Gives that user another password, and ends its connections.
    pub fn replace_password(&self, password: &str) {
        let user = &self.user;
        self.rows(&format!("ALTER ROLE {user} PASSWORD '{password}'"));
        self.rows(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'"));
    }

    /// Sets a parameter of the server, such as `jit = off`, for connections that are open, too.
    pub fn set(&self, parameter: &str) {
        self.rows(&format!("ALTER SYSTEM SET {parameter}"));
        self.rows("SELECT pg_reload_conf()");
    }

    /// Runs a statement, and returns its rows, each with its values separated by `|`.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        let found = self.ask(sql);
        found.unwrap_or_else(|problem| panic!("{sql}: {problem}"))
    }

    /// Does the same with a server that may be stopped.
    pub fn ask(&self, sql: &str) -> Result<Vec<String>, String> {
        let mut command = self.cluster.program("psql");
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER]);
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
