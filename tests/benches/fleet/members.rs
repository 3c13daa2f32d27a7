//! Processes that share a database, and rows of many tasks in it.

use std::net::SocketAddr;
use std::path::PathBuf;

use imgopen_types::Credentials;
use tokio_postgres::{Client, NoTls};

use crate::postgres::{Database, free_port};
use crate::process::{self, HANG, Process};

/// The indexes of tasks that are not those of constraints.
const INDEXES: &str = "
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid = 'tasks'::regclass AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)";

/// The program beside this one, or another that is named.
pub fn program() -> PathBuf {
    let built = || -> Option<PathBuf> {
        let own = std::env::current_exe().ok()?;
        Some(own.parent()?.parent()?.join("imgopen"))
    };
    let program = std::env::var_os("IMGOPEN_BIN").map(PathBuf::from).or_else(built);
    let program = program.filter(|program| program.is_file());
    program.expect("the program; build it with `cargo build --release -p imgopen-cli`, or name it in IMGOPEN_BIN")
}

/// Starts a process on a database, and waits until it is ready.
pub fn serve(database: &Database, role: &str, settings: &[&str]) -> Process {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let url = database.url();
    let arguments = ["--public-url", "http://127.0.0.1:1", "--database", &url, "--role", role];
    Process::start_beside(database.pictures(), &program(), address, &arguments, settings)
}

/// Creates an access key.
pub fn key(database: &Database) -> Credentials {
    process::key(&program(), &["--database", &database.url()])
}

/// Connects to a database.
pub async fn connect(database: &Database) -> Client {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await.expect("a connection");
    // An error of the connection is one of its client, too.
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// Inserts many tasks while no process runs: without the indexes, which are made at once afterwards. All is then in order, as it is
/// after a while of quiet.
pub async fn fill(client: &Client, insert: &str) {
    let found = client.query(INDEXES, &[]).await.expect("the tables are there");
    let indexes: Vec<(String, String)> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (name, _) in &indexes {
        client.batch_execute(&format!("DROP INDEX {name}")).await.expect("nobody else is there");
    }
    client.batch_execute(insert).await.expect("room on the disk");
    for (_, definition) in &indexes {
        client.batch_execute(definition).await.expect("room on the disk");
    }
    client.batch_execute("VACUUM ANALYZE tasks").await.expect("nobody else is there");
    client.batch_execute("CHECKPOINT").await.expect("a superuser");
}

/// Makes one task of a picture with this prompt, which waits, and stops the processes that it took.
pub async fn one_task(database: &Database, keys: &Credentials, prompt: &str) {
    let (api, worker) = (serve(database, "api", &[]), serve(database, "worker", &["workers=1"]));
    // It takes the only slot.
    api.accepts(keys, HANG).await;
    let task = api.draw(&process::http(), keys, prompt).await;
    drop((api, worker));
    let client = connect(database).await;
    client.execute("DELETE FROM tasks WHERE id <> $1", &[&task]).await.expect("the tables are there");
}
