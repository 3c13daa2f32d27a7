//! The example of `docs/scale-out.md`: its units and its compose file are read, and what they start is started here as processes,
//! with the database, the bucket and the addresses of a test in place of theirs.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use imgopen_tests::calls::call;
use imgopen_tests::spec;
use regex_lite::{Captures, Regex};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::task::block_in_place;

use super::processes::{Fleet, PREFIX};
use super::s3;
use crate::common::http::post;
use crate::common::pictures::fetch;
use crate::common::postgres::free_port;
use crate::common::program::{Program, imgopen};
use crate::common::rows::{task, text};
use crate::common::until;
use crate::common::webui::{WebUi, request};

/// The documentation.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

/// The password of the database, unless the example has one.
const PASSWORD: &str = "hush";

/// The setting `shutdown`, which the example leaves as it is.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// Reads a file of the documentation.
fn read(name: &str) -> String {
    let path = format!("{DOCS}/{name}");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Puts a value of the test in the place of one of the example.
fn put(place: &mut String, example: &str, ours: impl ToString) {
    assert_eq!(place.as_str(), example);
    *place = ours.to_string();
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.trim_end_matches('s').parse().unwrap())
}

/// What is to be started, and how it is stopped.
struct Start {
    arguments: Vec<String>,
    variables: BTreeMap<String, String>,
    /// Such as `SIGTERM`.
    signal: String,
    /// How long it may take to end.
    patience: Duration,
}

impl Start {
    /// The value of a flag.
    fn flag(&mut self, name: &str) -> &mut String {
        let place = self.arguments.iter().position(|argument| argument == name);
        let place = place.unwrap_or_else(|| panic!("no {name} in {:?}", self.arguments));
        &mut self.arguments[place + 1]
    }

    /// The value of a variable.
    fn variable(&mut self, name: &str) -> &mut String {
        self.variables.get_mut(name).unwrap_or_else(|| panic!("no variable {name}"))
    }

    /// Starts it, and has callers reach it if it takes calls.
    fn start(mut self, fleet: &Fleet, address: SocketAddr, folder: TempDir) -> Process {
        let takes_calls = *self.flag("--role") == "api";
        let mut command = imgopen();
        command.args(&self.arguments).envs(&self.variables);
        let program = block_in_place(|| Program::start(command));
        if takes_calls {
            fleet.entrance.add(address);
        }
        let Self { signal, patience, .. } = self;
        Process { program, url: format!("http://{address}"), takes_calls, signal, patience, _folder: folder }
    }
}

/// A process of the example.
struct Process {
    program: Program,
    url: String,
    takes_calls: bool,
    signal: String,
    patience: Duration,
    _folder: TempDir,
}

impl Process {
    /// Stops it as its unit or container is stopped. It must end in order and in time.
    fn stop(mut self) {
        assert!(self.patience > SHUTDOWN, "it is killed after {:?}, while tasks end", self.patience);
        block_in_place(|| {
            self.program.signal(self.signal.trim_start_matches("SIG"));
            let status = self.program.exit(self.patience);
            assert!(status.success(), "{status}: {}", self.program.log());
        });
    }
}

/// An address of this machine where nothing listens.
fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// Has a web UI that is a back end of one of the workers make a picture, called for and fetched at the processes that take calls.
async fn makes_a_picture(fleet: &Fleet, processes: &[Process], webui: &WebUi) {
    for process in processes.iter().filter(|process| process.takes_calls) {
        let client = fleet.key.client(&process.url);
        until("the back end is known", async || {
            let described = call(&client, "describe_server", &json!({})).await.ok()?;
            described.response.contains("sd-webui").then_some(())
        })
        .await;
    }
    let (url, request) = (fleet.url(), request("picture"));
    let answer = post(&fleet.http, (&fleet.key, &url), "text_to_image", &[], &request).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    fleet.reached("picture", "succeeded").await;
    let row = task(&fleet.key.client(&url), "picture").await;
    let picture = row["outputImageUrlList"][0].as_str().unwrap();
    assert!(picture.starts_with(&format!("{url}/assets/")), "{row}");
    let parameters = imgopen_picture::parameters(&fetch(&fleet.http, picture).await).unwrap();
    assert!(parameters.contains("Seed: 7") && parameters.contains("Model: random-sd15"), "{parameters}");
    assert_eq!(webui.calls().len(), 1);
    fleet.is_consistent().await;
}

/// The file with the secrets that the units read.
const SECRETS: &str = "/etc/imgopen/secrets.env";

/// Settings of services that decide how they start or end, beside `Exec…`, and that this test does not carry out.
const UNTRIED: [&str; 7] =
    ["Type", "NotifyAccess", "WatchdogSec", "KillMode", "WorkingDirectory", "RootDirectory", "DynamicUser"];

/// A unit of systemd.
struct Unit {
    name: &'static str,
    /// The settings of its service.
    settings: Vec<(String, String)>,
}

impl Unit {
    /// Reads a unit of the example.
    fn read(name: &'static str) -> Self {
        let text = read(&format!("scale-out/{name}")).replace("\\\n", " ");
        let (mut section, mut settings) = ("", Vec::new());
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
            if let Some(named) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = named;
                continue;
            }
            let (setting, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}: {line}"));
            if section == "Service" {
                settings.push((setting.to_owned(), value.to_owned()));
            }
        }
        Self { name, settings }
    }

    /// The values of a setting of its service.
    fn all(&self, name: &str) -> Vec<&str> {
        self.settings.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of a setting of its service.
    fn one(&self, name: &str) -> &str {
        let found = self.all(name);
        assert_eq!(found.len(), 1, "{}: {name}: {found:?}", self.name);
        found[0]
    }

    /// What it starts, with the secrets of the test, and how it stops that.
    fn start(&self) -> Start {
        for (setting, _) in &self.settings {
            let is_untried =
                UNTRIED.contains(&setting.as_str()) || setting.starts_with("Exec") && setting != "ExecStart";
            assert!(!is_untried, "{}: {setting}: have this test carry it out, too", self.name);
        }
        let line = self.one("ExecStart");
        assert!(!line.contains(['$', '%']), "{}: {line}: have this test replace variables, too", self.name);
        let mut arguments = shlex::split(line).unwrap();
        assert_eq!(arguments.remove(0), "/usr/local/bin/imgopen");
        assert_eq!(self.one("EnvironmentFile"), SECRETS);
        let mut variables = secrets();
        for pair in self.all("Environment").into_iter().flat_map(|line| shlex::split(line).unwrap()) {
            let (name, value) = pair.split_once('=').unwrap();
            variables.insert(name.to_owned(), value.to_owned());
        }
        let signal = self.all("KillSignal").first().copied().unwrap_or("SIGTERM").to_owned();
        Start { arguments, variables, signal, patience: seconds(self.one("TimeoutStopSec")) }
    }

    /// Has systemd read it, where that is installed: it warns about what it does not know.
    fn is_known_to_systemd(&self) {
        let path = format!("{DOCS}/scale-out/{}", self.name);
        let Ok(output) = Command::new("systemd-analyze").args(["verify", &path]).output() else {
            println!("not read by systemd, which is not installed");
            return;
        };
        let warnings = String::from_utf8_lossy(&output.stderr);
        let is_of_it = |line: &&str| line.contains(self.name) && line.to_lowercase().contains("ignoring");
        let found: Vec<&str> = warnings.lines().filter(is_of_it).collect();
        assert_eq!(found, [""; 0]);
    }
}

/// The variables that the documentation writes into the file with the secrets, with the values of this test.
fn secrets() -> BTreeMap<String, String> {
    let docs = read("scale-out.md");
    let (_, rest) = docs.split_once(&format!("cat >{SECRETS} <<'END'\n")).expect("the documentation writes the file");
    let (lines, _) = rest.split_once("\nEND\n").unwrap();
    let value = |name: &str| match name {
        "PGPASSWORD" => PASSWORD,
        "AWS_ACCESS_KEY_ID" => s3::KEY.0,
        "AWS_SECRET_ACCESS_KEY" => s3::KEY.1,
        other => panic!("{other}: give it a value in this test"),
    };
    let names = lines.lines().map(|line| line.strip_suffix("=…").unwrap());
    names.map(|name| (name.to_owned(), value(name).to_owned())).collect()
}

/// Writes the settings of the example with the addresses of this test, and returns their file.
fn settings(fleet: &Fleet, folder: &Path) -> PathBuf {
    let mut text = read("scale-out/imgopen.toml");
    for (example, ours) in [
        ("/var/lib/imgopen", folder.join("data").display().to_string()),
        ("https://images.example.com", fleet.url()),
        ("postgres://imgopen@db.example.com/imgopen?sslmode=require", fleet.database.url()),
        ("s3://pictures/imgopen", format!("s3://{}/{PREFIX}", s3::BUCKET)),
        ("https://s3.example.com", fleet.bucket.direct.clone()),
    ] {
        let (example, ours) = (format!("\"{example}\""), format!("\"{ours}\""));
        assert_eq!(text.matches(example.as_str()).count(), 1, "{example}");
        text = text.replace(&example, &ours);
    }
    let path = folder.join("imgopen.toml");
    fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_units_start_a_service_that_makes_a_picture() {
    let Some(mut fleet) = Fleet::new(&[]).await else { return };
    fleet.database.guard(PASSWORD);
    let (webui, docs) = (WebUi::start(), read("scale-out.md"));
    let mut processes = Vec::new();
    for (name, listens) in [("imgopen-api.service", "0.0.0.0:8080"), ("imgopen-worker.service", "127.0.0.1:8080")] {
        let unit = Unit::read(name);
        unit.is_known_to_systemd();
        // The user and the directory are those of the documentation and of the settings.
        assert!(docs.contains(&format!("/usr/sbin/nologin {}\n", unit.one("User"))), "{}", unit.one("User"));
        assert_eq!(unit.one("StateDirectory"), "imgopen");
        let (mut start, folder, address) = (unit.start(), tempfile::tempdir().unwrap(), free_address());
        put(start.flag("--config"), "/etc/imgopen/imgopen.toml", settings(&fleet, folder.path()).display());
        put(start.flag("--listen"), listens, address);
        if *start.flag("--role") == "worker" {
            put(start.flag("--backend"), "http://127.0.0.1:8188", &webui.url);
        }
        processes.push(start.start(&fleet, address, folder));
    }
    makes_a_picture(&fleet, &processes, &webui).await;
    processes.into_iter().for_each(Process::stop);
}

/// Puts variables in place, in the forms that the file has: `${NAME:-otherwise}`, and `${NAME:+if it is set}` with `$NAME` in it.
fn interpolated(text: &str, known: &[(&str, &str)]) -> String {
    let form = Regex::new(r"\$\{(\w+):([-+])([^}]*)\}").unwrap();
    let replaced = form.replace_all(text, |found: &Captures<'_>| {
        let (name, sign, other) = (&found[1], &found[2], &found[3]);
        let value = known.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        match (sign == "+", value) {
            (true, Some(value)) => other.replace(&format!("${name}"), value),
            (true, None) => String::new(),
            (false, Some(value)) => value.to_owned(),
            (false, None) => other.to_owned(),
        }
    });
    assert!(!replaced.contains('$'), "a variable in a form that this test does not know: {replaced}");
    replaced.into_owned()
}

/// Puts what a mapping refers to by `<<` below its own members, and does so in these.
fn merged(node: &Value) -> Value {
    let Value::Object(members) = node else { return node.clone() };
    let mut all = members.get("<<").map_or_else(|| json!({}), merged);
    for (name, value) in members.iter().filter(|(name, _)| *name != "<<") {
        all[name] = merged(value);
    }
    all
}

/// The services that one waits for, and what each must be.
fn awaited(service: &Value) -> Vec<(&str, &str)> {
    match &service["depends_on"] {
        Value::Null => Vec::new(),
        Value::Array(names) => names.iter().map(|name| (name.as_str().unwrap(), "service_started")).collect(),
        named => {
            let named = named.as_object().unwrap().iter();
            named.map(|(name, wait)| (name.as_str(), text(wait, "condition"))).collect()
        }
    }
}

/// Returns the names of the services, each after those that it waits for.
fn in_order(services: &Map<String, Value>) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    while order.len() < services.len() {
        let is_next = |(name, service): &(&String, &Value)| {
            !order.contains(name) && awaited(service).iter().all(|(awaited, _)| order.iter().any(|it| it == awaited))
        };
        let next = services.iter().find(is_next).map(|(name, _)| name.clone());
        let next = next.unwrap_or_else(|| panic!("the other services wait for each other, or for none: {order:?}"));
        order.push(next);
    }
    order
}

/// The words of a list, or of a line as a shell reads it.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(line) => shlex::split(line).unwrap(),
        list => list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect(),
    }
}

/// The compose file.
struct Compose {
    file: Value,
    services: Map<String, Value>,
}

impl Compose {
    fn read(variables: &[(&str, &str)]) -> Self {
        let file = merged(&spec::parse(&interpolated(&read("scale-out/compose.yaml"), variables)));
        let services = file["services"].as_object().unwrap().clone();
        Self { file, services }
    }

    /// Checks what is not started here: that it fits what is.
    fn fits_together(&self, fleet: &Fleet) {
        let is_made = text(&self.file["x-imgopen"]["build"], "dockerfile_inline");
        assert!(
            is_made.contains("/usr/local/bin/imgopen\n") && is_made.contains("ENTRYPOINT [\"imgopen\"]"),
            "{is_made}"
        );
        let check = words(&self.services["database"]["healthcheck"]["test"]);
        assert_eq!(check[0], "CMD");
        let mut command = fleet.database.cluster.program(&check[1]);
        command.args(&check[2..]).env("PGHOST", "127.0.0.1").env("PGPORT", fleet.database.cluster.port.to_string());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        for (name, condition) in self.services.values().flat_map(awaited) {
            let is_healthy = self.services[name]["healthcheck"].is_object();
            assert!(condition != "service_healthy" || is_healthy, "{name} has no `healthcheck`");
        }
        let bucket = &self.services["bucket"];
        let script = bucket["command"][0].as_str().unwrap();
        assert!(
            script.contains("--endpoint-url http://storage:8333 s3api create-bucket --bucket pictures\n"),
            "{script}"
        );
        let credentials = self.credentials();
        assert_eq!(bucket["environment"]["AWS_ACCESS_KEY_ID"], credentials["accessKey"]);
        assert_eq!(bucket["environment"]["AWS_SECRET_ACCESS_KEY"], credentials["secretKey"]);
        assert_eq!(self.services["proxy"]["ports"], json!(["127.0.0.1:8080:8080"]));
    }

    /// The access key of the server of the bucket.
    fn credentials(&self) -> Value {
        let identities: Value = serde_json::from_str(text(&self.file["configs"]["storage"], "content")).unwrap();
        identities["identities"][0]["credentials"][0].clone()
    }

    /// What a service starts, with the addresses of this test, and how it is stopped.
    fn start(&self, service: &Value, fleet: &Fleet, folder: &Path, address: SocketAddr) -> Start {
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let variables = service["environment"].as_object().unwrap().iter();
        let mut start = Start {
            arguments: words(&service["command"]),
            variables: variables.map(|(name, value)| (name.clone(), plain(value))).collect(),
            signal: service["stop_signal"].as_str().unwrap_or("SIGTERM").to_owned(),
            patience: seconds(text(service, "stop_grace_period")),
        };
        let (database, credentials) = (&self.services["database"]["environment"], self.credentials());
        let volume = service["volumes"][0].as_str().unwrap().strip_suffix(":/var/lib/imgopen").expect("a volume");
        assert!(self.file["volumes"].get(volume).is_some(), "{volume}");
        put(start.variable("IMGOPEN_SERVE_DATA_DIR"), "/var/lib/imgopen", folder.display());
        put(start.variable("IMGOPEN_SERVE_LISTEN"), "0.0.0.0:8080", address);
        put(start.variable("IMGOPEN_SERVE_PUBLIC_URL"), "http://localhost:8080", fleet.url());
        let (user, name) = (text(database, "POSTGRES_USER"), text(database, "POSTGRES_DB"));
        let url = format!("postgres://{user}@database/{name}?sslmode=disable");
        put(start.variable("IMGOPEN_SERVE_DATABASE__URL"), &url, fleet.database.url());
        assert_eq!(start.variable("PGPASSWORD").as_str(), text(database, "POSTGRES_PASSWORD"));
        let bucket = format!("s3://{}/{PREFIX}", s3::BUCKET);
        put(start.variable("IMGOPEN_SERVE_STORAGE__URL"), "s3://pictures/imgopen", bucket);
        put(start.variable("IMGOPEN_SERVE_STORAGE__ENDPOINT"), "http://storage:8333", &fleet.bucket.direct);
        put(start.variable("AWS_ACCESS_KEY_ID"), text(&credentials, "accessKey"), s3::KEY.0);
        put(start.variable("AWS_SECRET_ACCESS_KEY"), text(&credentials, "secretKey"), s3::KEY.1);
        start
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_compose_file_starts_a_service_that_makes_pictures_and_cards() {
    let Some(mut fleet) = Fleet::new(&[]).await else { return };
    let webui = WebUi::start();
    // The second worker has no back end.
    let compose = Compose::read(&[("SANDBOX", "true"), ("COMFYUI_1", &webui.url)]);
    compose.fits_together(&fleet);
    fleet.database.guard(text(&compose.services["database"]["environment"], "POSTGRES_PASSWORD"));
    let (mut processes, caddy) = (Vec::new(), read("scale-out/Caddyfile"));
    for name in in_order(&compose.services) {
        let service = &compose.services[&name];
        if service["image"] != compose.file["x-imgopen"]["image"] {
            continue;
        }
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let start = compose.start(service, &fleet, folder.path(), address);
        let process = start.start(&fleet, address, folder);
        assert!(!process.takes_calls || caddy.contains(&format!("{name}:8080")), "the proxy does not know {name}");
        processes.push(process);
    }
    assert_eq!(processes.iter().filter(|process| process.takes_calls).count(), 2);
    assert_eq!(processes.len(), 4);
    makes_a_picture(&fleet, &processes, &webui).await;
    fleet.draw("card", "delay=1ms").await;
    fleet.reached("card", "succeeded").await;
    let engines = fleet.database.rows("SELECT engine FROM tasks ORDER BY seq");
    assert_eq!(engines, ["sd-webui", "sandbox"]);
    processes.into_iter().for_each(Process::stop);
}

#[test]
fn variables_and_references_of_a_compose_file_are_put_in_place() {
    let text = "a: ${A:-first}\nb: ${B:-second}\nc: serve ${C:+--backend $C} ${D:+--backend $D}\n";
    let known = [("B", "given"), ("C", "http://c")];
    assert_eq!(interpolated(text, &known), "a: first\nb: given\nc: serve --backend http://c \n");
    let file = spec::parse("x: &x\n  a: 1\n  b: {c: 2}\ny:\n  <<: *x\n  a: 3\n");
    assert_eq!(merged(&file)["y"], json!({"a": 3, "b": {"c": 2}}));
}
