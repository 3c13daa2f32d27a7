//! Audits of results before they are given out, by the setting `safety`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use image::DynamicImage;
use imgopen_engine::{
    AuditLabel, Auditor, Engine, EngineError, Format, Monitor, Output, Picture, PictureLimits, Registry,
};
use imgopen_picture::{Attached, decode, decode_result, encode};
use imgopen_service::{KeySafety, Limit, NewKey, SafetyAction, StartError};
use imgopen_types::{EnlargeImageRequest, TextToImageRequest, operations};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::common::engines::{Gate, Own};
use crate::common::web::Receiver;
use crate::common::{Answer, Bench, Server, draw, enlarge, enlarge_with_callback, is_on_postgres, until};

/// Finds `wide` in a picture with the confidence that its width says, in hundredths.
#[derive(Clone, Default)]
struct Widths {
    is_away: Arc<AtomicBool>,
    /// Whether audits go on until they are cancelled.
    is_endless: Arc<AtomicBool>,
    /// How many audits there were.
    count: Arc<AtomicUsize>,
    /// How many go on.
    inside: Arc<AtomicUsize>,
    memory: u64,
}

impl Auditor for Widths {
    fn ready(&self) -> Result<(), String> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err("the net is away; fetch it from /secret/place".to_owned()),
            false => Ok(()),
        }
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn audit(
        &self,
        picture: &Picture,
        limits: &PictureLimits,
        monitor: &Monitor,
    ) -> Result<Vec<AuditLabel>, EngineError> {
        self.ready().map_err(|reason| EngineError::Unavailable { reason, retry_after: None })?;
        let width = decode_result(picture, limits, monitor)?.image.width();
        self.count.fetch_add(1, Ordering::SeqCst);
        self.inside.fetch_add(1, Ordering::SeqCst);
        while self.is_endless.load(Ordering::SeqCst) && !monitor.is_cancelled() {
            std::thread::sleep(Duration::from_millis(2));
        }
        // It is found to be cancelled only after a while, as by the run of a net.
        std::thread::sleep(Duration::from_millis(20));
        self.inside.fetch_sub(1, Ordering::SeqCst);
        monitor.check_cancelled()?;
        Ok(vec![AuditLabel { name: "wide".to_owned(), confidence: f64::from(width) / 100.0 }])
    }
}

/// A picture with two halves.
fn picture(width: u32) -> Picture {
    let colour = |x: u32, _| image::Rgb(if x < width / 2 { [250, 0, 0] } else { [0, 0, 250_u8] });
    let image = DynamicImage::from(image::ImageBuffer::from_fn(width, 40, colour));
    let bytes = encode(&image, Format::Png, &Attached::default()).unwrap();
    Picture { bytes, format: Format::Png, width, height: 40, seed: Some(7) }
}

/// Draws pictures of the widths that the prompt lists; a word that is not a number, as one that is not a picture.
fn painter() -> Arc<dyn Engine> {
    Own::new(&operations::TEXT_TO_IMAGE, |job, _| async move {
        let prompt = job.request::<TextToImageRequest>()?.prompt;
        let picture = |word: &str| match word.parse() {
            Ok(width) => picture(width),
            Err(_) => Picture { bytes: Bytes::from_static(b"<html>"), ..picture(1) },
        };
        Ok(Output { pictures: prompt.split(' ').map(picture).collect(), ..Output::default() })
    })
}

/// A tool whose result has the width that the caller's id says.
fn enlarger() -> Arc<dyn Engine> {
    Own::new(&operations::ENLARGE_IMAGE, |job, _| async move {
        let width = job.request::<EnlargeImageRequest>()?.business_task_id.parse().unwrap();
        Ok(Output { pictures: vec![picture(width)], ..Output::default() })
    })
}

fn bench(engines: Vec<Arc<dyn Engine>>, auditor: &Widths, action: SafetyAction) -> Bench {
    let mut bench = Bench::new().with(|settings| {
        settings.workers = 1;
        settings.safety.action = action;
        settings.safety.threshold = 0.5;
    });
    bench.registry = Registry::new(engines).with_auditor(auditor.clone());
    bench
}

async fn started(action: SafetyAction) -> (Server, Widths) {
    let auditor = Widths::default();
    let server = bench(vec![painter(), enlarger()], &auditor, action).start().await;
    (server, auditor)
}

fn drawing(id: &str, prompt: &str) -> Value {
    let mut request = draw(id);
    request["prompt"] = json!(prompt);
    request
}

/// Draws as a key, and waits for the end.
async fn drawn(server: &Server, key: &NewKey, id: &str, prompt: &str) -> Value {
    server.call_as(key, "text_to_image", drawing(id, prompt)).await.ok();
    until("the task has ended", || async {
        let row = server.call_as(key, "list_tasks", json!({"callerId": id})).await.ok()["rows"][0].clone();
        row["finishedAt"].is_string().then_some(row)
    })
    .await
}

/// Returns the pictures of a generation, as both queries have them.
async fn pictures(server: &Server, id: &str) -> Vec<Value> {
    let of = async |operation: &str| {
        let data = server.call(operation, json!({"businessTaskId": id})).await.ok();
        data["differentialImageRspList"].as_array().unwrap().clone()
    };
    let now = of("query_task").await;
    assert_eq!(of("query_archived_task").await, now);
    now
}

fn audits(pictures: &[Value]) -> Value {
    pictures.iter().map(|picture| json!([picture["img_audit"], picture["img_audit_status"]])).collect()
}

async fn pixels(server: &Server, url: &Value) -> DynamicImage {
    let bytes = server.get(url.as_str().unwrap()).send().await.unwrap().bytes().await.unwrap();
    decode(&bytes, &PictureLimits::default()).unwrap().image
}

fn own(width: u32) -> DynamicImage {
    decode(&picture(width).bytes, &PictureLimits::default()).unwrap().image
}

/// How many pictures there are on the disk.
fn files(server: &Server) -> usize {
    fn count(directory: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { count(&path) } else { usize::from(path.extension().is_some()) }).sum()
    }
    count(&server.data_dir().join("assets"))
}

#[tokio::test]
async fn without_the_setting_nothing_is_audited() {
    let (server, auditor) = started(SafetyAction::Off).await;
    assert_eq!(drawn(&server, &server.key, "mine", "90").await["state"], "succeeded");
    let pictures = pictures(&server, "mine").await;
    let members: Vec<_> = pictures[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["image_status", "image_url", "seed"]);
    assert_eq!(auditor.count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_found_is_marked() {
    let (server, _) = started(SafetyAction::Mark).await;
    let row = drawn(&server, &server.key, "mine", "49 50 90").await;
    let pictures = pictures(&server, "mine").await;
    let expected = json!([
        [[{"confidence": null, "label": "nonLabel"}], true],
        [[{"confidence": 0.5, "label": "wide"}], false],
        [[{"confidence": 0.9, "label": "wide"}], false],
    ]);
    assert_eq!(audits(&pictures), expected);
    let notes = [
        "an audit found `wide` (confidence 0.5) in picture 2 of 3",
        "an audit found `wide` (confidence 0.9) in picture 3 of 3",
    ];
    assert_eq!(row["notes"], json!(notes));
    for (shown, width) in pictures.iter().zip([49, 50, 90]) {
        assert_eq!(pixels(&server, &shown["image_url"]).await, own(width));
    }
    // Tools have no place for it but the notes.
    let task = server.submitted("enlarge_image", enlarge("90")).await;
    let row = server.reached(&task, "succeeded").await;
    assert_eq!(row["notes"], json!(["an audit found `wide` (confidence 0.9) in the picture"]));
    // It is kept.
    let server = server.stop().await.start().await;
    assert_eq!(audits(&self::pictures(&server, "mine").await), expected);
}

#[tokio::test]
async fn what_is_found_is_blurred() {
    let (server, _) = started(SafetyAction::Blur).await;
    let row = drawn(&server, &server.key, "mine", "49 80").await;
    let pictures = pictures(&server, "mine").await;
    assert_eq!(pixels(&server, &pictures[0]["image_url"]).await, own(49));
    let (blurred, own) = (pixels(&server, &pictures[1]["image_url"]).await, own(80));
    assert_eq!((blurred.width(), blurred.height()), (80, 40));
    assert!(blurred != own);
    let expected = json!([
        [[{"confidence": null, "label": "nonLabel"}], true],
        [[{"confidence": 0.8, "label": "wide"}], false],
    ]);
    assert_eq!((audits(&pictures), &pictures[1]["seed"]), (expected, &json!(7)));
    let note = "an audit found `wide` (confidence 0.8) in picture 2 of 2, which is blurred for that";
    assert_eq!(row["notes"], json!([note]));
    assert_eq!(files(&server), 2, "no sharp one is kept");
}

#[tokio::test]
async fn what_is_found_is_refused_with_its_whole_result() {
    let (server, _) = started(SafetyAction::Refuse).await;
    let row = drawn(&server, &server.key, "mine", "10 90").await;
    let reason = "an audit found `wide` (confidence 0.9) in picture 2 of 2; the server refuses results with a confidence of 0.5 \
                  or more (setting `safety`), so no picture of it is given out";
    assert_eq!((&row["state"], &row["desc"]), (&json!("failed"), &json!(reason)));
    assert_eq!((&row["outputImageUrlList"], files(&server)), (&Value::Null, 0));
    let data = server.call("query_task", json!({"businessTaskId": "mine"})).await.ok();
    assert_eq!((&data["status"], &data["desc"]), (&json!(4), &json!(reason)));
    assert_eq!(drawn(&server, &server.key, "other", "10 49").await["state"], "succeeded");
    let expected = json!([[{"confidence": null, "label": "nonLabel"}], true]);
    assert_eq!(audits(&pictures(&server, "other").await), json!([expected, expected]));
}

#[tokio::test]
async fn a_callback_reports_what_was_refused() {
    let (server, _) = started(SafetyAction::Refuse).await;
    let (receiver, url) = Receiver::answering(&[]).await;
    let task = server.submitted("enlarge_image", enlarge_with_callback("90", &url)).await;
    server.pushed(&task, "acknowledged").await;
    let body: Value = serde_json::from_slice(&receiver.pushes()[0].1).unwrap();
    // 2 is the tools' number of a failure.
    assert_eq!((&body["data"]["status"], &body["data"]["outputImageUrl"]), (&json!(2), &Value::Null), "{body}");
    assert!(body["data"]["desc"].as_str().unwrap().contains("the server refuses results"), "{body}");
}

#[tokio::test]
async fn keys_have_settings_of_their_own() {
    let (server, _) = started(SafetyAction::Blur).await;
    let created = async |name: &str| server.service.keys().create(name).await.unwrap();
    let (free, strict, late) = (created("free").await, created("strict").await, created("late").await);
    let bench = server.stop().await.with(|settings| {
        let mut set = |key: &NewKey, action, threshold| {
            settings.safety.keys.insert(key.row.id.0.clone(), KeySafety { action, threshold });
        };
        set(&free, Some(SafetyAction::Off), None);
        set(&strict, Some(SafetyAction::Refuse), Some(0.1));
        set(&late, None, Some(0.95));
    });
    let server = bench.start().await;
    let ended = async |key: &NewKey| {
        let row = drawn(&server, key, "mine", "90").await;
        (row["state"].as_str().unwrap().to_owned(), row["notes"].as_array().map_or(0, Vec::len))
    };
    assert_eq!(ended(&server.key).await, ("succeeded".to_owned(), 1));
    assert_eq!(ended(&free).await, ("succeeded".to_owned(), 0));
    assert_eq!(ended(&strict).await, ("failed".to_owned(), 0));
    assert_eq!(ended(&late).await, ("succeeded".to_owned(), 0));
}

#[tokio::test]
async fn what_cannot_be_read_is_not_given_out() {
    for action in [SafetyAction::Mark, SafetyAction::Blur, SafetyAction::Refuse] {
        let (server, _) = started(action).await;
        let row = drawn(&server, &server.key, "mine", "10 broken").await;
        let reason = row["desc"].as_str().unwrap();
        let expected = "picture 2 of 2 cannot be audited, so no picture of the result is given out: the file ";
        assert!(row["state"] == "failed" && reason.starts_with(expected), "{action:?}: {row}");
        assert_eq!(files(&server), 0, "{action:?}");
    }
}

/// What `/metrics` says of audits, without the times.
async fn measured(server: &Server) -> Vec<String> {
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let counts =
        |line: &&str| ["imgopen_pictures_audited_total", "imgopen_audit_time_seconds_count"].contains(&name(line));
    let mut lines: Vec<_> = text.lines().filter(counts).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The name of a sample.
fn name(line: &str) -> &str {
    line.split(['{', ' ']).next().unwrap()
}

#[tokio::test]
async fn audits_are_counted_by_what_is_done_with_pictures() {
    for (action, verdict) in
        [(SafetyAction::Mark, "marked"), (SafetyAction::Blur, "blurred"), (SafetyAction::Refuse, "refused")]
    {
        let (server, _) = started(action).await;
        drawn(&server, &server.key, "first", "49 50 90").await;
        drawn(&server, &server.key, "second", "10").await;
        // One that cannot be read is not counted, and ends its result.
        drawn(&server, &server.key, "third", "broken 10").await;
        let expected = [
            "imgopen_audit_time_seconds_count 4".to_owned(),
            format!("imgopen_pictures_audited_total{{verdict=\"{verdict}\"}} 2"),
            "imgopen_pictures_audited_total{verdict=\"passed\"} 2".to_owned(),
        ];
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(measured(&server).await, expected);
    }
    let (server, _) = started(SafetyAction::Off).await;
    drawn(&server, &server.key, "first", "90").await;
    assert_eq!(measured(&server).await, ["imgopen_audit_time_seconds_count 0"]);
}

#[tokio::test]
async fn callers_see_what_becomes_of_their_pictures() {
    for (action, name) in [
        (SafetyAction::Off, "off"),
        (SafetyAction::Mark, "mark"),
        (SafetyAction::Blur, "blur"),
        (SafetyAction::Refuse, "refuse"),
    ] {
        let (server, _) = started(action).await;
        let described = server.call("describe_server", json!({})).await.ok();
        assert_eq!((&described["audit"], action.as_str()), (&json!(name), name));
    }
}

#[tokio::test]
async fn previews_are_withheld() {
    for (action, is_shown) in [
        (SafetyAction::Off, true),
        (SafetyAction::Mark, false),
        (SafetyAction::Blur, false),
        (SafetyAction::Refuse, false),
    ] {
        let (go, gate) = watch::channel(false);
        let engine = Own::new(&operations::TEXT_TO_IMAGE, move |_, monitor| {
            let mut gate = gate.clone();
            async move {
                monitor.preview(picture(90));
                monitor.step(1, 4);
                gate.wait_for(|is_open| *is_open).await.unwrap();
                Ok(Output { pictures: vec![picture(10)], ..Output::default() })
            }
        });
        let server = bench(vec![engine], &Widths::default(), action).start().await;
        let task = server.submitted("text_to_image", drawing("mine", "10")).await;
        let image = until("a quarter is done", || async {
            let data = server.call("query_task", json!({"businessTaskId": "mine"})).await.ok();
            let image = data["temporaryImageDto"].clone();
            // One of several processes stores it for all, after the first call that asks for it.
            let is_stored = !is_on_postgres() || !is_shown || image.get("imageUrl").is_some();
            (image["progress"] == 25.0 && is_stored).then_some(image)
        });
        assert_eq!(image.await.get("imageUrl").is_some(), is_shown, "{action:?}");
        go.send(true).unwrap();
        server.reached(&task, "succeeded").await;
    }
}

#[tokio::test]
async fn a_cancelled_audit_keeps_its_slot_until_it_has_ended() {
    let (server, auditor) = started(SafetyAction::Mark).await;
    auditor.is_endless.store(true, Ordering::SeqCst);
    let task = server.submitted("text_to_image", drawing("first", "10")).await;
    let inside = || auditor.inside.load(Ordering::SeqCst);
    until("it is audited", || async { (inside() == 1).then_some(()) }).await;
    server.call("cancel_task", json!({"taskId": task})).await.ok();
    auditor.is_endless.store(false, Ordering::SeqCst);
    let row = drawn(&server, &server.key, "second", "10").await;
    assert_eq!((&row["state"], inside()), (&json!("succeeded"), 0));
    assert_eq!((&server.task(&task).await["state"], files(&server)), (&json!("cancelled"), 1));
}

#[tokio::test]
async fn the_time_limit_holds_for_audits() {
    let auditor = Widths::default();
    auditor.is_endless.store(true, Ordering::SeqCst);
    let bench = bench(vec![painter()], &auditor, SafetyAction::Mark).with(|settings| {
        settings.time_limit.default = Duration::from_millis(200);
        settings.time_limit.operations.insert("text_to_image".to_owned(), Limit(Duration::from_millis(200)));
    });
    let server = bench.start().await;
    let row = drawn(&server, &server.key, "mine", "10").await;
    assert!(row["desc"].as_str().unwrap().starts_with("it took longer than 0.2 s"), "{row}");
    until("the audit has ended", || async { (auditor.inside.load(Ordering::SeqCst) == 0).then_some(()) }).await;
    assert_eq!(files(&server), 0);
}

/// Of memory for two units, each audit takes both.
#[tokio::test]
async fn audits_count_in_the_budget_of_memory() {
    const UNIT: u64 = 64 * 1024;
    let (gate, auditor) = (Gate::new(), Widths { memory: 2 * UNIT, ..Widths::default() });
    let bench = bench(vec![gate.clone()], &auditor, SafetyAction::Mark).with(|settings| {
        settings.workers = 2;
        settings.pictures.memory = 2 * UNIT;
    });
    let server = bench.start().await;
    let mut tasks = Vec::new();
    for id in ["1", "2"] {
        tasks.push(server.submitted("enlarge_image", enlarge(id)).await);
    }
    gate.holds(1).await;
    server.reached(&tasks[1], "running").await;
    server.busy().await;
    gate.open(2);
    for task in &tasks {
        server.reached(task, "succeeded").await;
    }
    assert_eq!(gate.most(), 1);
}

#[tokio::test]
async fn tasks_wait_while_nothing_can_be_audited() {
    let (auditor, runs) = (Widths::default(), Arc::new(AtomicUsize::new(0)));
    let counted = runs.clone();
    let engine = Own::new(&operations::TEXT_TO_IMAGE, move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok(Output { pictures: vec![picture(10)], ..Output::default() }) }
    });
    let server = bench(vec![engine], &auditor, SafetyAction::Mark).start().await;
    auditor.is_away.store(true, Ordering::SeqCst);
    // Before a task has tried.
    let msg = Answer::of(server.get("/readyz").send().await.unwrap()).await.refused(503);
    assert!(msg.contains("no picture can be audited") && !msg.contains("secret"), "{msg}");
    server.submitted("text_to_image", drawing("mine", "10")).await;
    let msg = held(&server).await;
    assert!(!msg.contains("secret"), "{msg}");
    // No engine worked for a result that nobody could get.
    assert_eq!((runs.load(Ordering::SeqCst), auditor.count.load(Ordering::SeqCst), files(&server)), (0, 0, 0));
    auditor.is_away.store(false, Ordering::SeqCst);
    let row = until("it has ended", || async {
        let row = server.call("list_tasks", json!({"callerId": "mine"})).await.ok()["rows"][0].clone();
        row["finishedAt"].is_string().then_some(row)
    })
    .await;
    assert_eq!((&row["state"], auditor.count.load(Ordering::SeqCst)), (&json!("succeeded"), 1));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

/// Waits until tasks that make pictures wait, and returns what is wrong.
async fn held(server: &Server) -> String {
    let held = until("tasks wait", || async {
        let answer = Answer::of(server.get("/readyz").send().await.unwrap()).await;
        let msg = (answer.status != 200).then(|| answer.refused(503))?;
        msg.contains("no task can run that makes pictures").then_some(msg)
    });
    held.await
}

/// It was there when the run began.
#[tokio::test]
async fn a_result_waits_that_cannot_be_audited_any_more() {
    let auditor = Widths::default();
    let (is_away, runs) = (auditor.is_away.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = runs.clone();
    let engine = Own::new(&operations::TEXT_TO_IMAGE, move |_, _| {
        is_away.store(counted.fetch_add(1, Ordering::SeqCst) == 0, Ordering::SeqCst);
        async { Ok(Output { pictures: vec![picture(10)], ..Output::default() }) }
    });
    let server = bench(vec![engine], &auditor, SafetyAction::Mark).start().await;
    let task = server.submitted("text_to_image", drawing("mine", "10")).await;
    held(&server).await;
    assert_eq!((runs.load(Ordering::SeqCst), files(&server)), (1, 0));
    auditor.is_away.store(false, Ordering::SeqCst);
    server.reached(&task, "succeeded").await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_service_that_cannot_audit_does_not_start() {
    let problem = async |bench: Bench| match bench.open().await {
        Err(StartError::Setting(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let (auditor, engines) = (Widths::default(), || vec![painter()]);
    let mut without = bench(engines(), &auditor, SafetyAction::Blur);
    without.registry = Registry::new(engines());
    let expected =
        "`safety.action`: pictures cannot be audited: this program has nothing that audits pictures; set it to \"off\"";
    assert_eq!(problem(without).await, expected);

    auditor.is_away.store(true, Ordering::SeqCst);
    let away = bench(engines(), &auditor, SafetyAction::Mark);
    let expected = "`safety.action`: pictures cannot be audited: the net is away; fetch it from /secret/place";
    assert_eq!(problem(away).await, expected);
    assert!(bench(engines(), &auditor, SafetyAction::Off).open().await.is_ok());

    auditor.is_away.store(false, Ordering::SeqCst);
    let named = |id: &str| {
        let key = KeySafety { action: Some(SafetyAction::Off), threshold: None };
        bench(engines(), &auditor, SafetyAction::Mark).with(|settings| {
            settings.safety.keys.insert(id.to_owned(), key);
        })
    };
    let expected = "`safety.keys.ak_1`: no access key has that id; `imgopen keys list` shows all";
    assert_eq!(problem(named("ak_1")).await, expected);
    // That of callers without one is made at the start.
    assert!(named("open").open().await.is_ok());
}
