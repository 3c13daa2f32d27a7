//! Processes of the program on one database and one bucket, each with a proxy of its own before both.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::proxy::Proxy;
use super::s3;
use crate::common::http::{Answer, post};
use crate::common::postgres::{Cluster, Database, free_port};
use crate::common::program::{Key, Program, imgopen, stdout};
use crate::common::until;

/// The settings of all processes: short leases, so that tests wait little, and short pauses between pushes.
const SETTINGS: [&str; 5] = [
    "database.lease=3s",
    "database.connections=6",
    "callbacks.pauses=[\"200ms\"]",
    "callbacks.tries=1000",
    "shutdown=5s",
];

/// The lease of these settings.
pub const LEASE: Duration = Duration::from_secs(3);

/// Counts the tasks.
pub const TASKS: &str = "SELECT count(*) FROM tasks WHERE caller_id NOT LIKE 'probe%'";

/// The prefix of the objects in the bucket.
pub const PREFIX: &str = "fleet";

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    All,
    /// Takes calls.
    Api,
    /// Runs tasks.
    Worker,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }
}

/// What the processes share.
pub struct Fleet {
    pub database: Database,
    pub bucket: s3::Server,
    /// Where callers call: one of the processes that take calls, each in turn.
    pub entrance: Proxy,
    pub key: Key,
    pub other_key: Key,
    pub http: reqwest::Client,
    /// The address of this machine at which processes that are started reach the database and the bucket.
    pub host: IpAddr,
    settings: Vec<String>,
}

/// The row of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub state: String,
    pub attempt: usize,
    pub run: String,
    pub failure: String,
}

impl Fleet {
    /// Makes a database and a bucket, both empty, for processes with these settings on top. Returns `None` if the tests of fleets
    /// are not asked for.
    pub async fn new(settings: &[&str]) -> Option<Self> {
        let cluster = block_in_place(Cluster::shared)?;
        Some(Self::on(&cluster, settings).await)
    }

    /// Does so with a server of its own, which the test may stop.
    pub async fn alone(settings: &[&str]) -> Option<Self> {
        let cluster = block_in_place(Cluster::start)?;
        Some(Self::on(&cluster, settings).await)
    }

    /// Does so with a server of its own whose databases are on a small disk. Also returns `None` where there can be none.
    pub async fn on_a_small_disk(settings: &[&str]) -> Option<Self> {
        let cluster = block_in_place(Cluster::on_a_small_disk)?;
        Some(Self::on(&cluster, settings).await)
    }

    async fn on(cluster: &Arc<Cluster>, settings: &[&str]) -> Self {
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let database = block_in_place(|| cluster.database());
        let (bucket, entrance) = (s3::Server::start().await, Proxy::before(host, Vec::new()).await);
        let [key, other_key] = [(); 2].map(|()| block_in_place(|| Key::in_database(&database.url())));
        // Each call has a connection of its own, and so another process.
        let http =
            reqwest::Client::builder().timeout(Duration::from_secs(30)).pool_max_idle_per_host(0).build().unwrap();
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Self { database, bucket, entrance, key, other_key, http, host, settings }
    }

    /// The URL at which callers call.
    pub fn url(&self) -> String {
        format!("http://{}", self.entrance.address)
    }

    /// Starts a process.
    pub async fn launch(&self, role: Role) -> Member {
        self.launch_by(role, &[], imgopen(), |_| {}).await
    }

    /// Starts a process with settings of its own.
    pub async fn launch_with(&self, role: Role, settings: &[&str]) -> Member {
        self.launch_by(role, settings, imgopen(), |_| {}).await
    }

    /// Starts a process by a command, which the test may change further.
    pub async fn launch_by(
        &self,
        role: Role,
        settings: &[&str],
        mut command: Command,
        change: impl FnOnce(&mut Command),
    ) -> Member {
        let database = Proxy::before_postgres(self.host, self.database.cluster.port).await;
        let bucket: SocketAddr = self.bucket.direct.strip_prefix("http://").unwrap().parse().unwrap();
        let storage = Proxy::before(self.host, vec![bucket]).await;
        let folder = tempfile::tempdir().unwrap();
        // It prints the address of the entrance.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        command.args(["serve", "--sandbox", "--listen", &address.to_string(), "--log", "json", "--workers", "2"]);
        command.args(["--allow-network", "127.0.0.0/8", "--role", role.name()]);
        command.arg("--data-dir").arg(folder.path());
        command.args(["--database", &self.database.url_by(&database.address.to_string())]);
        command.args(["--public-url", &self.url(), "--storage", &format!("s3://{}/{PREFIX}", s3::BUCKET)]);
        command.args(["--set", &format!("storage.endpoint=http://{}", storage.address)]);
        let own = self.settings.iter().map(String::as_str).chain(settings.iter().copied());
        for setting in SETTINGS.into_iter().chain(own) {
            command.args(["--set", setting]);
        }
        command.env("AWS_ACCESS_KEY_ID", s3::KEY.0).env("AWS_SECRET_ACCESS_KEY", s3::KEY.1);
        change(&mut command);
        let program = block_in_place(|| Program::start(command));
        let (url, entrance) = (format!("http://{address}"), self.entrance.clone());
        let member =
            Member { url, address, database, storage, role, program: Some(program), entrance, _folder: folder };
        member.invite();
        member
    }

    /// Submits a request with an Idempotency-Key of that name.
    pub async fn submit(&self, name: &str, request: &Value) -> reqwest::Result<Answer> {
        self.submit_at(&self.url(), name, request).await
    }

    /// Submits it at an address.
    pub async fn submit_at(&self, url: &str, name: &str, request: &Value) -> reqwest::Result<Answer> {
        post(&self.http, (&self.key, url), "flux_text_to_image", &[("idempotency-key", name)], request).await
    }

    /// Submits a drawing until that is answered, and returns the id of its task.
    pub async fn draw(&self, name: &str, directive: &str) -> String {
        self.insist(name, &drawing(name, directive, None)).await
    }

    /// Submits a request until that is answered with an id.
    pub async fn insist(&self, name: &str, request: &Value) -> String {
        until(&format!("{name} is accepted"), async || {
            let answer = self.submit(name, request).await.ok()?;
            assert!(answer.status == 200 || answer.status.is_server_error(), "{answer:?}");
            answer.task().map(str::to_owned)
        })
        .await
    }

    /// Waits until a submit of that name is refused for now, so that its caller is asked to repeat it.
    pub async fn is_refused(&self, name: &str) {
        let request = drawing(name, "delay=1ms", None);
        until(&format!("{name} is refused"), async || {
            let answer = self.submit(name, &request).await.ok()?;
            assert!(answer.status == 200 || answer.asks_to_wait(), "{answer:?}");
            answer.asks_to_wait().then_some(())
        })
        .await;
    }

    /// Waits until a process accepts tasks, because it knows of a worker. That makes a task of another key, which [`TASKS`] does not
    /// count.
    pub async fn is_open(&self, api: &Member) {
        let name = format!("probe{}", api.address.port());
        let (request, headers) = (drawing(&name, "delay=1ms", None), [("idempotency-key", name.as_str())]);
        until("a process accepts tasks", async || {
            let sent = post(&self.http, (&self.other_key, &api.url), "flux_text_to_image", &headers, &request);
            sent.await.ok()?.task().map(|_| ())
        })
        .await;
    }

    /// Runs a command of the program on the database, which must succeed.
    pub fn command(&self, arguments: &[&str]) -> String {
        let mut command = imgopen();
        command.args(arguments).args(["--database", &self.database.url()]);
        block_in_place(|| stdout(&command.output().unwrap()))
    }

    /// Reads the row of the only task of that name.
    pub fn row(&self, name: &str) -> Row {
        let sql = format!(
            "SELECT state, attempt, coalesce(run, ''), coalesce(failure, '') FROM tasks WHERE caller_id = '{name}'"
        );
        let mut rows = block_in_place(|| self.database.rows(&sql));
        assert_eq!(rows.len(), 1, "{name}: {rows:?}");
        let row = rows.remove(0);
        let values: Vec<&str> = row.splitn(4, '|').collect();
        let text = |number: usize| values[number].to_owned();
        Row { state: text(0), attempt: values[1].parse().unwrap(), run: text(2), failure: text(3) }
    }

    /// Waits until the task of that name is in a state, and returns its row.
    pub async fn reached(&self, name: &str, state: &str) -> Row {
        self.reaches(name, state, |row| row.state == state).await
    }

    /// Waits until tasks have succeeded by the runs that they had, which are their first ones.
    pub async fn succeed_by(&self, runs: &[(&str, Row)]) {
        for (name, before) in runs {
            let after = self.reached(name, "succeeded").await;
            assert_eq!((after.attempt, &after.run), (1, &before.run), "{name}");
        }
    }

    /// Waits until a run of the task is in progress that counts so much.
    pub async fn runs(&self, name: &str, attempt: usize) -> Row {
        let is_so = |row: &Row| row.state == "running" && row.attempt == attempt;
        self.reaches(name, &format!("runs for the {attempt}th time"), is_so).await
    }

    /// Waits until the row of a task is as wanted.
    pub async fn reaches(&self, name: &str, what: &str, is_so: impl Fn(&Row) -> bool) -> Row {
        slowly(&format!("{name}: {what}"), async || Some(self.row(name)).filter(&is_so)).await
    }

    /// Waits until every task has ended and every callback is acknowledged.
    pub async fn settled(&self) {
        let left = "SELECT (SELECT count(*) FROM tasks WHERE state IN ('queued', 'running'))
                         + (SELECT count(*) FROM callbacks WHERE state = 'pending')";
        slowly("all is done", async || (block_in_place(|| self.database.count(left)) == 0).then_some(())).await;
    }

    /// Checks what must hold once all is done: a success has its picture, nothing else has one, each end has its callback, and
    /// after the sweep the bucket has those pictures alone.
    pub async fn is_consistent(&self) {
        self.settled().await;
        for (what, condition) in [
            (
                "succeeded without a picture, or with two",
                "state = 'succeeded' AND operation = 'flux_text_to_image'
                 AND (SELECT count(*) FROM assets WHERE task_id = tasks.id) <> 1",
            ),
            (
                "has a picture and no success",
                "state <> 'succeeded' AND EXISTS (SELECT FROM assets WHERE task_id = tasks.id)",
            ),
            (
                "has no callback, or two",
                "(SELECT count(*) FROM callbacks WHERE task_id = tasks.id) <> (callback_url IS NOT NULL)::int",
            ),
        ] {
            let found = block_in_place(|| self.database.rows(&format!("SELECT id FROM tasks WHERE {condition}")));
            assert_eq!(found, [""; 0], "{what}");
        }
        slowly("the bucket has the pictures of the rows alone", async || {
            let mut rows = block_in_place(|| self.database.rows("SELECT token FROM assets WHERE deleted_at IS NULL"));
            rows.sort();
            (self.objects() == rows).then_some(())
        })
        .await;
    }

    /// Returns the names of the pictures in the bucket, in order.
    pub fn objects(&self) -> Vec<String> {
        let objects = self.bucket.objects(PREFIX);
        let name = |path: std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = objects.into_iter().map(name).collect();
        names.sort();
        names
    }

    /// Fetches the only picture of a task.
    pub async fn picture(&self, name: &str) -> Vec<u8> {
        let sql = format!("SELECT token FROM assets WHERE task_id = (SELECT id FROM tasks WHERE caller_id = '{name}')");
        let tokens = block_in_place(|| self.database.rows(&sql));
        assert_eq!(tokens.len(), 1, "{name}: {tokens:?}");
        crate::common::pictures::fetch(&self.http, &format!("{}/assets/{}", self.url(), tokens[0])).await
    }
}

/// A process. It is killed when dropped.
pub struct Member {
    /// The URL of this process alone.
    pub url: String,
    address: SocketAddr,
    /// What is between it and the database.
    pub database: Proxy,
    /// What is between it and the bucket.
    pub storage: Proxy,
    pub role: Role,
    program: Option<Program>,
    entrance: Proxy,
    _folder: TempDir,
}

impl Member {
    fn program(&self) -> &Program {
        self.program.as_ref().unwrap()
    }

    /// Has callers reach it, if it takes calls.
    fn invite(&self) {
        if self.role != Role::Worker {
            self.entrance.add(self.address);
        }
    }

    /// Kills it and returns its log.
    pub fn kill(mut self) -> String {
        self.entrance.remove(self.address);
        let program = self.program.take().unwrap();
        block_in_place(|| program.kill())
    }

    /// Stops it in order, which must succeed, and returns its log.
    pub fn stop(mut self) -> String {
        self.entrance.remove(self.address);
        let program = self.program.take().unwrap();
        block_in_place(|| program.stop())
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.program.as_mut().unwrap().is_running()
    }

    /// Suspends it, as a machine that is suspended does.
    pub fn pause(&self) {
        self.entrance.remove(self.address);
        block_in_place(|| self.program().signal("STOP"));
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        block_in_place(|| self.program().signal("CONT"));
        self.invite();
    }

    /// The status of a page of this process, or `None` if it does not answer.
    pub async fn status(&self, page: &str) -> Option<u16> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(15)).build().unwrap();
        Some(http.get(format!("{}{page}", self.url)).send().await.ok()?.status().as_u16())
    }

    /// Waits until it is ready, or is not.
    pub async fn is_ready(&self, ready: bool) {
        let expected = if ready { 200 } else { 503 };
        until(&format!("/readyz answers {expected}"), async || {
            (self.status("/readyz").await == Some(expected)).then_some(())
        })
        .await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let Some(program) = &self.program else { return };
        self.entrance.remove(self.address);
        if std::thread::panicking() {
            let log = program.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            println!("the last lines of the {}'s log:\n{}", self.role.name(), last.join("\n"));
        }
    }
}

/// Waits until a condition holds that takes a program to look at, and so some time.
pub async fn slowly<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    until(what, async || {
        let seen = look().await;
        if seen.is_none() {
            sleep(Duration::from_millis(75)).await;
        }
        seen
    })
    .await
}

/// A small drawing by the sandbox after what the directive says, with a callback to an address.
pub fn drawing(name: &str, directive: &str, receiver: Option<&str>) -> Value {
    let prompt = format!("a lighthouse [sandbox: {directive}]");
    let mut request = json!({
        "businessTaskId": name, "prompt": prompt, "comfyTaskType": "Flux1DevFP8", "width": 64, "height": 64, "steps": 4,
    });
    if let Some(receiver) = receiver {
        request["callbackUrl"] = json!(format!("{receiver}/flux_text_to_image"));
    }
    request
}
