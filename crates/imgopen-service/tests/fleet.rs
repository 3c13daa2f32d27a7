//! Services that share a database of PostgreSQL, as several processes do. Skipped where there is no server; see `imgopen-postgres`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use imgopen_engine::Engine;
use imgopen_service::doctor::examine_shared;
use imgopen_service::{Clock, DatabaseUrl, Limit, Role, Store};
use imgopen_tools::Prompts;
use imgopen_types::operations;
use serde_json::{Value, json};
use tokio::sync::{Barrier, watch};

use crate::common::engines::{Gate, Own, dot, dot_picture};
use crate::common::way::Way;
use crate::common::web::{Receiver, TAKEN, host};
use crate::common::{Answer, Bench, Server, draw, enlarge, enlarge_with_callback, sandbox, until};
use crate::server::{empty, options};

const LEASE: Duration = Duration::from_secs(15);

/// A process on a database, which runs one task at a time.
pub fn member(url: &str, engine: Arc<dyn Engine>) -> Bench {
    Bench::new().engines(vec![engine]).with(|settings| {
        settings.database.url = Some(DatabaseUrl::new(url));
        settings.database.connections = 4;
        settings.database.lease = LEASE;
        settings.workers = 1;
    })
}

/// The same for a process that shares the pictures and the key of another one.
fn beside(first: &Server, bench: Bench) -> Bench {
    symlink(first.data_dir().join("assets"), bench.data_dir.path().join("assets")).unwrap();
    bench.with_key(first.key.clone())
}

async fn readiness(server: &Server) -> (u16, String) {
    let answer = server.get("/readyz").send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

pub async fn metrics(server: &Server) -> String {
    server.get("/metrics").send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn progress_and_previews_are_the_same_from_every_process() {
    let Some(database) = empty().await else { return };
    let (go, stage) = watch::channel(false);
    let engine = || {
        let stage = stage.clone();
        Own::new(&operations::TEXT_TO_IMAGE, move |_, monitor| {
            let mut stage = stage.clone();
            async move {
                monitor.step(3, 12);
                monitor.preview(dot_picture());
                stage.wait_for(|goes| *goes).await.unwrap();
                Ok(dot())
            }
        })
    };
    let first = member(&database.url(), engine()).start().await;
    let second = beside(&first, member(&database.url(), engine())).start().await;
    let task = first.submitted("text_to_image", draw("mine")).await;
    let mut shown = Vec::new();
    for server in [&first, &second] {
        let row = until("its progress is known", || async {
            let row = server.task(&task).await;
            (row["progress"] == 25.0).then_some(row)
        })
        .await;
        let known = ["state", "step", "steps", "engine", "grade"].map(|name| row[name].clone());
        assert_eq!(known, [json!("running"), json!(3), json!(12), json!("own"), json!("draft")]);
        let url = until("there is a preview", || async {
            let data = server.call("query_task", json!({"businessTaskId": "mine"})).await.ok();
            data["temporaryImageDto"]["imageUrl"].as_str().map(str::to_owned)
        })
        .await;
        let preview = server.get(&url).send().await.unwrap();
        assert_eq!(
            (preview.status().as_u16(), &preview.headers()["content-type"]),
            (200, &"image/png".parse().unwrap())
        );
        assert_eq!(preview.headers()["cache-control"], "no-store");
        assert_eq!(preview.bytes().await.unwrap(), dot_picture().bytes);
        shown.push(url);
    }
    go.send(true).unwrap();
    for (server, url) in [&first, &second].into_iter().zip(shown) {
        let row = server.reached(&task, "succeeded").await;
        assert_eq!((&row["progress"], &row["attempts"]), (&json!(100), &json!(1)));
        until("the preview is removed", || async {
            let answer = Answer::of(server.get(&url).send().await.unwrap()).await;
            (answer.status == 404).then_some(())
        })
        .await;
        // A picture of the result is at its own address only.
        let picture = row["outputImageUrlList"][0].as_str().unwrap().to_owned();
        assert_eq!(server.get(&picture).send().await.unwrap().status(), 200);
        let as_preview = picture.replace("/assets/", "/previews/");
        assert_eq!(server.get(&as_preview).send().await.unwrap().status(), 404);
    }
}

#[tokio::test]
async fn a_cancel_reaches_the_process_that_runs_the_task() {
    // By an announcement, and without any by the next heartbeat.
    for notify in [true, false] {
        let Some(database) = empty().await else { return };
        let gates = [Gate::new(), Gate::new()];
        let [one, two] =
            gates.clone().map(|gate| member(&database.url(), gate).with(|settings| settings.database.notify = notify));
        let first = one.start().await;
        let second = beside(&first, two).start().await;
        let task = first.submitted("enlarge_image", enlarge("mine")).await;
        let runner = until("it runs", || async { gates.iter().position(|gate| gate.inside() == 1) }).await;
        let other = if runner == 0 { &second } else { &first };
        until("a heartbeat has said so", || async { (other.task(&task).await["engine"] == "gate").then_some(()) })
            .await;
        let row = other.call("cancel_task", json!({"taskId": task})).await.ok();
        assert_eq!((&row["state"], &row["engine"]), (&json!("cancelled"), &json!("gate")));
        gates[runner].holds(0).await;
        for server in [&first, &second] {
            assert_eq!(server.task(&task).await["state"], "cancelled");
        }
    }
}

#[tokio::test]
async fn each_callback_is_pushed_by_one_process() {
    let Some(database) = empty().await else { return };
    let first = member(&database.url(), Arc::new(sandbox())).start().await;
    let second = beside(&first, member(&database.url(), Arc::new(sandbox()))).start().await;
    let (receiver, url) = Receiver::answering(&[]).await;
    let mut tasks = Vec::new();
    for number in 0..20 {
        let server = if number % 2 == 0 { &first } else { &second };
        tasks.push(server.submitted("enlarge_image", enlarge_with_callback(&number.to_string(), &url)).await);
    }
    for task in &tasks {
        let callback = second.pushed(task, "acknowledged").await;
        assert_eq!(callback["tries"].as_array().unwrap().len(), 1);
    }
    let ids: HashSet<_> = receiver.pushes().iter().map(|(headers, _)| headers["webhook-id"].clone()).collect();
    assert_eq!((receiver.pushes().len(), ids.len()), (20, 20));
}

/// No process waits until the claims have ended by themselves.
#[tokio::test]
async fn what_a_process_was_pushing_when_it_stopped_is_pushed_by_another() {
    let Some(database) = empty().await else { return };
    let member = || {
        let patient = member(&database.url(), Arc::new(sandbox()));
        patient.with(|settings| settings.callbacks.time = Duration::from_secs(3600))
    };
    let pushes = Arc::new(AtomicUsize::new(0));
    let counted = pushes.clone();
    let routes = Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<()>()
    });
    let url = format!("http://{}/enlarge_image", host(routes).await);
    let are_pushed = async |count: usize| {
        until("it is pushed", || async { (pushes.load(Ordering::Relaxed) == count).then_some(()) }).await;
    };
    let first = member().start().await;
    first.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    are_pushed(1).await;
    let _second = beside(&first, member()).start().await;
    // It has the pictures of both.
    let _bench = first.stop().await;
    are_pushed(2).await;
}

/// Each would answer for its own pictures only.
#[tokio::test]
async fn processes_without_a_bucket_must_share_a_directory() {
    let Some(database) = empty().await else { return };
    let first = member(&database.url(), Arc::new(sandbox())).start().await;
    let error = member(&database.url(), Arc::new(sandbox())).open().await.unwrap_err().to_string();
    assert!(error.starts_with("`storage.url`: missing") && error.contains("name a bucket"), "{error}");
    beside(&first, member(&database.url(), Arc::new(sandbox()))).open().await.unwrap();
    // Of those that start at once with an empty database, one begins.
    let Some(database) = empty().await else { return };
    let members = [(); 4].map(|()| member(&database.url(), Arc::new(sandbox())));
    let opened = futures_util::future::join_all(members.iter().map(Bench::open)).await;
    assert_eq!(opened.iter().filter(|opened| opened.is_ok()).count(), 1, "{opened:?}");
}

/// The one that deletes would take the tasks of all by its own time.
#[tokio::test]
async fn processes_say_which_settings_differ() {
    let Some(database) = empty().await else { return };
    let first = member(&database.url(), Arc::new(sandbox())).start().await;
    let other = beside(&first, member(&database.url(), Arc::new(sandbox())));
    let _other = other.with(|settings| settings.tasks.lifetime = Some(Duration::from_secs(60))).start().await;
    let settings = first.service.settings().clone();
    let report = tokio::task::spawn_blocking(move || examine_shared(&settings, &Clock::system())).await.unwrap();
    let findings = &report.checks.iter().find(|(name, _)| *name == "processes").unwrap().1;
    let differs = findings.iter().filter(|finding| finding.problem.starts_with("`tasks.lifetime` is "));
    assert_eq!((differs.count(), findings.len()), (1, 1), "{findings:?}");
}

/// What receivers answer while the database is away is recorded after it, when the claims of the attempts have ended.
#[tokio::test]
async fn a_callback_that_was_acknowledged_during_an_outage_is_pushed_once() {
    const CALLBACKS: usize = 6;
    let Some(database) = empty().await else { return };
    let way = Arc::new(Way::to(&database.url()).await);
    let server = member(&way.url, Arc::new(sandbox())).with(|settings| {
        settings.callbacks.time = Duration::from_secs(5);
        settings.callbacks.at_once_per_host = CALLBACKS;
    });
    let server = server.start().await;
    let (pushes, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(CALLBACKS)));
    let taken = {
        let (way, pushes) = (way.clone(), pushes.clone());
        move || async move {
            // Later ones, of which there is to be none, are answered at once.
            if pushes.fetch_add(1, Ordering::Relaxed) < CALLBACKS {
                all.wait().await;
                way.cut();
            }
            TAKEN.1
        }
    };
    let address = host(Router::new().route("/enlarge_image", post(taken))).await;
    let url = format!("http://{address}/enlarge_image");
    let mut tasks = Vec::new();
    for number in 0..CALLBACKS {
        tasks.push(server.submitted("enlarge_image", enlarge_with_callback(&number.to_string(), &url)).await);
    }
    until("all are being pushed", || async { (pushes.load(Ordering::Relaxed) == CALLBACKS).then_some(()) }).await;
    // A claim holds for the time of an attempt and 15 seconds.
    tokio::time::sleep(Duration::from_secs(21)).await;
    way.mend();
    until("it is ready", || async { (readiness(&server).await.0 == 200).then_some(()) }).await;
    for task in &tasks {
        let callback = server.pushed(task, "acknowledged").await;
        assert_eq!(callback["tries"].as_array().unwrap().len(), 1);
    }
    assert_eq!(pushes.load(Ordering::Relaxed), CALLBACKS);
}

/// Whatever process has the other duties: one that only runs tasks pushes nothing, and does not look.
#[tokio::test]
async fn pauses_between_pushes_are_limited_by_a_process_that_pushes() {
    let Some(database) = empty().await else { return };
    let api = free_address();
    let with_role = |role: Role, listen: SocketAddr| {
        member(&database.url(), Arc::new(sandbox())).with(|settings| {
            (settings.role, settings.listen) = (role, listen);
            settings.public_url = Some(format!("http://{api}"));
            settings.callbacks.pauses = vec![Limit(Duration::from_secs(3))];
        })
    };
    let worker = with_role(Role::Worker, free_address()).start().await;
    let client = database.client().await;
    until("it has the duty", || async {
        let duty = "SELECT count(*) FROM duties WHERE name = 'retention'";
        (client.query_one(duty, &[]).await.unwrap().get::<_, i64>(0) == 1).then_some(())
    })
    .await;
    let data_dir = worker.data_dir().to_owned();
    let bench = with_role(Role::Api, api).with(|settings| settings.data_dir = data_dir);
    let first = bench.with_key(worker.key.clone()).start().await;
    let (receiver, url) = Receiver::answering(&[(500, "")]).await;
    let task = first.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    until("it was pushed", || async {
        let refused = "SELECT count(*) FROM callbacks WHERE rung = 1";
        (client.query_one(refused, &[]).await.unwrap().get::<_, i64>(0) == 1).then_some(())
    })
    .await;
    let bench = first.stop().await;
    // As if the clock had been an hour ahead.
    let later = "UPDATE callbacks SET next_at = next_at + 3600000 WHERE state = 'pending'";
    assert_eq!(client.execute(later, &[]).await.unwrap(), 1);
    let second = bench.start().await;
    second.pushed(&task, "acknowledged").await;
    assert_eq!(receiver.pushes().len(), 2);
}

#[tokio::test]
async fn a_process_that_was_cut_off_loses_its_run_and_takes_part_again() {
    let Some(database) = empty().await else { return };
    let way = Way::to(&database.url()).await;
    let gates = [Gate::new(), Gate::new()];
    let short = |bench: Bench| bench.with(|settings| settings.database.lease = Duration::from_secs(3));
    let first = short(member(&way.url, gates[0].clone())).start().await;
    let task = first.submitted("enlarge_image", enlarge("mine")).await;
    gates[0].holds(1).await;
    let second = beside(&first, short(member(&database.url(), gates[1].clone()))).start().await;
    let store = database.store(&options()).await;
    let before: HashSet<_> = store.owners().await.unwrap().into_iter().map(|owner| owner.id).collect();
    assert_eq!(before.len(), 2);
    way.cut();
    gates[1].holds(1).await;
    // The first cannot know it, and goes on.
    assert_eq!(gates[0].inside(), 1);
    way.mend();
    gates[0].holds(0).await;
    gates[1].open(1);
    let row = second.reached(&task, "succeeded").await;
    assert_eq!(row["attempts"], 2);
    assert!(metrics(&second).await.contains("imgopen_runs_recovered_total 1"));
    until("the first takes part again", || async {
        let owners = store.owners().await.unwrap();
        let is_new = owners.len() == 2 && owners.iter().any(|owner| !before.contains(&owner.id));
        (is_new && readiness(&first).await.0 == 200).then_some(())
    })
    .await;
    let next = first.submitted("enlarge_image", enlarge("next")).await;
    gates.iter().for_each(|gate| gate.open(1));
    assert_eq!(first.reached(&next, "succeeded").await["attempts"], 1);
}

#[tokio::test]
async fn a_drained_process_begins_nothing() {
    let Some(database) = empty().await else { return };
    let gates = [Gate::new(), Gate::new()];
    let first = member(&database.url(), gates[0].clone()).start().await;
    let store = database.store(&options()).await;
    let owner = store.owners().await.unwrap().remove(0);
    assert_eq!((owner.about.role.as_str(), owner.draining), ("all", false));
    let running = first.submitted("enlarge_image", enlarge("running")).await;
    gates[0].holds(1).await;
    let second = beside(&first, member(&database.url(), gates[1].clone())).start().await;
    assert!(store.drain(owner.id).await.unwrap());
    until("it drains", || async { readiness(&first).await.1.contains("draining: 1 task").then_some(()) }).await;
    let waiting = first.submitted("enlarge_image", enlarge("waiting")).await;
    gates[1].holds(1).await;
    // What has begun ends where it is.
    gates[0].open(1);
    first.reached(&running, "succeeded").await;
    until("it is drained", || async { readiness(&first).await.1.contains("drained").then_some(()) }).await;
    assert_eq!(gates[0].reset(), 1);
    gates[1].open(2);
    second.reached(&waiting, "succeeded").await;
    let last = first.submitted("enlarge_image", enlarge("last")).await;
    second.reached(&last, "succeeded").await;
    assert_eq!(gates[0].most(), 0);
}

#[tokio::test]
async fn a_database_that_is_away_for_a_while_loses_nothing() {
    let Some(database) = empty().await else { return };
    let (way, gate) = (Way::to(&database.url()).await, Gate::new());
    let server = member(&way.url, gate.clone()).start().await;
    let task = server.submitted("enlarge_image", enlarge("mine")).await;
    gate.holds(1).await;
    way.cut();
    until("it is not ready", || async { (readiness(&server).await.0 == 503).then_some(()) }).await;
    let answer = server.call("enlarge_image", enlarge("other")).await;
    let after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    let msg = answer.refused(503);
    assert!((1..=60).contains(&after) && msg.contains("database") && msg.contains("try again later"), "{msg}");
    // The run ends meanwhile, and its end is written later.
    gate.open(1);
    gate.holds(0).await;
    way.mend();
    until("it is ready", || async { (readiness(&server).await.0 == 200).then_some(()) }).await;
    assert_eq!(server.reached(&task, "succeeded").await["attempts"], 1);
    let text = metrics(&server).await;
    let failed = text.lines().find_map(|line| line.strip_prefix("imgopen_heartbeats_failed_total "));
    assert!(failed.unwrap().parse::<u64>().unwrap() > 0, "{text}");
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"].as_array().unwrap().len(), 1);
}

/// Returns an address that nothing listens on.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn roles_share_the_work() {
    let Some(database) = empty().await else { return };
    let (api, worker) = (free_address(), free_address());
    let gates = [Gate::new(), Gate::new()];
    let with_role = |gate: &Arc<Gate>, role: Role, listen: SocketAddr| {
        let engines: Vec<Arc<dyn Engine>> = vec![gate.clone(), Arc::new(Prompts::new())];
        member(&database.url(), gate.clone()).engines(engines).with(|settings| {
            (settings.role, settings.listen) = (role, listen);
            settings.public_url = Some(format!("http://{api}"));
        })
    };
    let second = with_role(&gates[1], Role::Worker, worker).start().await;
    // It keeps nothing of its own in the data directory, so it may be that of another process.
    let data_dir = second.data_dir().to_owned();
    let bench = with_role(&gates[0], Role::Api, api).with(|settings| settings.data_dir = data_dir);
    let first = bench.with_key(second.key.clone()).start().await;
    let task = first.submitted("enlarge_image", enlarge("mine")).await;
    gates[1].holds(1).await;
    gates[1].open(1);
    let row = first.reached(&task, "succeeded").await;
    let picture = row["outputImageUrlList"][0].as_str().unwrap();
    assert!(picture.starts_with(&format!("http://{api}/assets/")), "{picture}");
    assert_eq!(first.get(picture).send().await.unwrap().status(), 200);
    // A call that waits is answered, although another process runs its task.
    let request = json!({"mode": 0, "sourcePrompt": "a girl", "businessTaskId": "a", "sequencesNum": 3});
    let data = first.call("expand_prompt", request).await.ok();
    assert_eq!(data["prompts"].as_array().map(Vec::len), Some(3));
    assert_eq!(gates[0].most(), 0);
    let at_worker = |path: &str| first.get(&format!("http://{worker}{path}")).send();
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/docs", 404), ("/assets/x", 404)] {
        assert_eq!(at_worker(path).await.unwrap().status(), status, "{path}");
    }
    let of_worker = at_worker("/metrics").await.unwrap().text().await.unwrap();
    assert!(
        of_worker.contains("imgopen_lease_age_seconds ") && !of_worker.contains("imgopen_tasks_queued"),
        "{of_worker}"
    );
    assert!(metrics(&first).await.contains("imgopen_tasks_queued "));
}

#[tokio::test]
async fn a_process_that_stops_is_forgotten_and_its_task_goes_on_elsewhere() {
    let Some(database) = empty().await else { return };
    let gates = [Gate::new(), Gate::new()];
    let first = member(&database.url(), gates[0].clone()).with(|settings| settings.shutdown = Duration::from_secs(2));
    let first = first.start().await;
    let task = first.submitted("enlarge_image", enlarge("mine")).await;
    gates[0].holds(1).await;
    let second = beside(&first, member(&database.url(), gates[1].clone())).start().await;
    let store = database.store(&options()).await;
    assert_eq!(store.owners().await.unwrap().len(), 2);
    let bench = first.stop().await;
    assert_eq!(store.owners().await.unwrap().len(), 1);
    gates[1].holds(1).await;
    gates[1].open(1);
    let row: Value = second.reached(&task, "succeeded").await;
    // A run that was handed back does not count.
    assert_eq!(row["attempts"], 1);
    drop(bench);
}
