//! Ways to the database: TLS, and a pooler before it.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tokio::task::block_in_place;

use crate::common::postgres::installed::unprivileged;
use crate::common::postgres::{Cluster, free_port};
use crate::common::program::{Key, Program, imgopen};
use crate::common::rows::{draw, drawn};
use crate::common::until;

/// Has the server make a certificate for its address, signed by an authority, and another authority.
const CERTIFICATES: &str = "COPY (SELECT 1) TO PROGRAM 'umask 077; {
    new=\"-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes\"
    for name in authority other; do
      openssl req -x509 $new -keyout $name.key -out $name.pem -days 2 -subj /CN=$name || exit 1
    done
    openssl req $new -keyout server.key -out server.csr -subj /CN=server &&
    echo subjectAltName=IP:127.0.0.1 >server.ext &&
    openssl x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile server.ext \
      -out server.pem
  } >certificates.log 2>&1'";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_certificate_of_the_server_is_verified() {
    let Some(cluster) = block_in_place(Cluster::shared) else { return };
    let (database, folder) = (block_in_place(|| cluster.database()), tempfile::tempdir().unwrap());
    let sql = |sql: &str| block_in_place(|| database.rows(sql));
    sql(CERTIFICATES);
    for authority in ["authority", "other"] {
        let text = sql(&format!("SELECT pg_read_file('{authority}.pem')")).join("\n");
        std::fs::write(folder.path().join(authority), text).unwrap();
    }
    // A key is made over TLS, or not at all.
    let url = database.url().replace("disable", "require");
    let make = |authority: &str| {
        let mut command = imgopen();
        command.args(["keys", "create", "--database", &url]).env("SSL_CERT_FILE", folder.path().join(authority));
        let output = block_in_place(|| command.stdin(Stdio::null()).output().unwrap());
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (is_made, text) = make("authority");
    assert!(!is_made && text.contains("`sslmode`"), "the server has no TLS yet: {text}");
    for setting in ["ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'", "ssl = on"] {
        sql(&format!("ALTER SYSTEM SET {setting}"));
    }
    sql("SELECT pg_reload_conf()");
    until("the server has TLS", async || (sql("SHOW ssl") == ["on"]).then_some(())).await;
    let (is_made, text) = make("authority");
    assert!(is_made, "{text}");
    let (is_made, text) = make("other");
    assert!(!is_made && text.contains("cannot be used") && text.contains("`SSL_CERT_FILE`"), "{text}");
    assert_eq!(sql("SELECT count(*) FROM keys"), ["1"]);
}

/// Runs a pooler with settings of its own, until its input ends, which it does however the test's process ends.
const POOLER: &str = r#"
set -eu
umask 077
PATH=$PATH:/usr/sbin
dir=$(mktemp -d /tmp/imgopen-pooler.XXXXXX)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
echo '"imgopen" ""' >"$dir/users"
cat >"$dir/settings" <<END
[databases]
* = host=127.0.0.1 port=$1
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $2
unix_socket_dir =
auth_type = trust
auth_file = $dir/users
default_pool_size = 40
ignore_startup_parameters = options
$3
END
pgbouncer "$dir/settings" >"$dir/log" 2>&1 &
read -r _ || true
kill $! 2>/dev/null || cat "$dir/log" >&2
"#;

/// A pooler before a server. It ends when it is dropped.
struct Pooler(Child);

impl Pooler {
    /// Starts it on a port with further settings.
    fn start(cluster: &Cluster, port: u16, settings: &str) -> Self {
        let mut command = unprivileged();
        command.args(["-c", POOLER, "sh", &cluster.port.to_string(), &port.to_string(), settings]).current_dir("/");
        Self(command.stdin(Stdio::piped()).spawn().unwrap())
    }

    /// The version of the one that is installed.
    fn version() -> Option<(u32, u32)> {
        let output = Command::new("sh").args(["-c", "PATH=$PATH:/usr/sbin; pgbouncer --version"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut numbers = text.strip_prefix("PgBouncer ")?.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Draws pictures with a service that reaches its database through a pooler.
async fn draws_through_a_pooler(cluster: &Arc<Cluster>, settings: &str, notify: bool) {
    const PICTURES: usize = 8;
    let (database, port) = (block_in_place(|| cluster.database()), free_port());
    let _pooler = block_in_place(|| Pooler::start(cluster, port, settings));
    until("the pooler listens", async || TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(())).await;
    let (url, folder) = (database.url_by(&format!("127.0.0.1:{port}")), tempfile::tempdir().unwrap());
    let key = block_in_place(|| Key::in_database(&url));
    let mut command = imgopen();
    command.args(["serve", "--sandbox", "--listen", "127.0.0.1:0", "--database", &url, "--data-dir"]);
    command.arg(folder.path()).args(["--set", "database.lease=3s", "--set", &format!("database.notify={notify}")]);
    let program = block_in_place(|| Program::start(command));
    let client = key.client(&program.url);
    draw(&client, (0..PICTURES).map(|number| format!("t{number}"))).await;
    assert_eq!(drawn(&client).await.len(), PICTURES);
    block_in_place(|| program.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_reaches_its_database_through_a_pooler() {
    let Some(cluster) = block_in_place(Cluster::shared) else { return };
    let Some(version) = Pooler::version() else {
        println!("skipped, because PgBouncer is not installed");
        return;
    };
    draws_through_a_pooler(&cluster, "pool_mode = session", true).await;
    if version < (1, 21) {
        println!("skipped in transaction mode, because PgBouncer {version:?} knows no prepared statements there");
        return;
    }
    draws_through_a_pooler(&cluster, "pool_mode = transaction\nmax_prepared_statements = 200", false).await;
}
