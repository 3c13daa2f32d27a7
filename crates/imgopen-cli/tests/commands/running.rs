//! `imgopen run`: what it sends, saves, prints and rejects.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use image::{Rgb, RgbImage};
use imgopen_tests::wire::{Script, answer, serve, url};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::common::pictures::{correlation, parameters};
use crate::common::program::Background;
use crate::common::shell::Shell;
use crate::common::vendor::{Vendor, success};
use crate::{redacted, transcript};

/// The arguments of a generated picture, without the prompt.
const CARD: [&str; 8] =
    ["run", "text_to_image", "--batch-size", "1", "--sd-model-checkpoint", "m", "--width=64", "--height=64"];

fn card<'a>(prompt: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&CARD, &["--prompt", prompt][..], more].concat()
}

#[test]
fn a_local_picture_is_enlarged_and_saved() {
    let shell = Shell::open();
    let small = shell.picture("small.png");
    let run = ["run", "enlarge_image", "--source-image", "small.png", "--scale", "2"];
    let text = transcript(&shell.run(&run));
    let (code, outcome) = shell.json(&[&run[..], &["--output", "large.png", "--business-task-id", "my-1"]].concat());
    assert_snapshot!("run", text + &redacted(&format!("{outcome:#}\n")));
    assert_eq!((code, &outcome["id"], &outcome["state"]), (0, &json!("my-1"), &json!("succeeded")));
    let large = shell.read("large.png");
    assert_eq!(large.dimensions(), (120, 82));
    assert!(correlation(&small, &large) > 0.9, "{}", correlation(&small, &large));
    let names = shell.names();
    let [first, second, third] = names.as_slice() else { panic!("{names:?}") };
    assert!(first.starts_with("enlarge_image-img") && first.ends_with(".png"), "{first}");
    assert_eq!((second.as_str(), third.as_str()), ("large.png", "small.png"));
    assert_eq!(shell.read(first).dimensions(), (120, 82));
}

#[test]
fn files_are_never_overwritten() {
    let shell = Shell::open();
    std::fs::write(shell.folder().join("there.png"), "mine").unwrap();
    let refused = transcript(&shell.run(&card("x", &["--output", "there.png"])));
    let expected = "ends with 2\nerrors:\nimgopen: --output there.png: the file already exists; files are never overwritten; \
                    give another name or a directory\n";
    assert_eq!(refused, expected);
    assert_eq!(std::fs::read(shell.folder().join("there.png")).unwrap(), b"mine");
    assert_eq!(shell.json(&["tasks", "list"]).1["tasks"], json!([]), "nothing was sent");
    // A result that is saved again gets another name.
    let (_, outcome) = shell.json(&card("x", &["--output", "results/"]));
    let id = outcome["task_id"].as_str().unwrap();
    let (code, again) = shell.json(&["tasks", "wait", id, "--output", "results/"]);
    let path = |outcome: &Value| outcome["files"][0]["path"].as_str().unwrap().to_owned();
    assert_eq!((code, path(&again)), (0, path(&outcome).replace(".png", ".2.png")));
    assert_eq!(
        std::fs::read(shell.folder().join(path(&again))).unwrap(),
        std::fs::read(shell.folder().join(path(&outcome))).unwrap()
    );
}

#[test]
fn several_pictures_are_numbered() {
    let shell = Shell::open();
    let (code, outcome) = shell.json(&card("x", &["--n-iter=3", "--seed", "-1", "--output", "out/card.png"]));
    assert_eq!((code, outcome["files"].as_array().unwrap().len()), (0, 3));
    assert_eq!(shell.names(), ["out"]);
    for number in 1..=3 {
        assert_eq!(shell.read(&format!("out/card-{number}.png")).dimensions(), (64, 64));
    }
}

/// Several results of a second call get other names, too.
#[test]
fn taken_names_of_several_pictures_are_skipped() {
    let shell = Shell::open();
    let mut saved = Vec::new();
    for _ in 0..2 {
        let (code, outcome) = shell.json(&card("x", &["--n-iter=2", "--output", "out/a.png"]));
        assert_eq!(code, 0, "{outcome}");
        let paths = outcome["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap().to_owned());
        saved.extend(paths);
    }
    assert_eq!(saved, ["out/a-1.png", "out/a-2.png", "out/a-1.2.png", "out/a-2.2.png"]);
}

/// Unless it is an existing file.
#[test]
fn an_output_without_an_extension_is_a_directory() {
    let shell = Shell::open();
    std::fs::write(shell.folder().join("pic"), "mine").unwrap();
    let refused = transcript(&shell.run(&card("x", &["--output", "pic"])));
    assert!(refused.starts_with("ends with 2\nerrors:\nimgopen: --output pic: the file already exists"), "{refused}");
    let (_, outcome) = shell.json(&card("x", &["--output", "pictures"]));
    let path = outcome["files"][0]["path"].as_str().unwrap();
    assert!(path.starts_with("pictures/text_to_image-img"), "{path}");
}

#[cfg(unix)]
#[test]
fn results_obey_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let shell = Shell::open();
    for (mask, mode) in [("077", 0o600), ("022", 0o644), ("002", 0o664)] {
        let output = format!("{mask}.png");
        let command = shell.command(&card("x", &["--output", &output]));
        let mut masked = std::process::Command::new("sh");
        masked.args(["-c", "umask $0; exec \"$@\"", mask]).arg(command.get_program()).args(command.get_args());
        masked.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ended = masked.current_dir(shell.folder()).output().unwrap();
        assert!(ended.status.success(), "{}", transcript(&ended));
        let rights = std::fs::metadata(shell.folder().join(&output)).unwrap().permissions();
        assert_eq!(rights.mode() & 0o777, mode, "umask {mask}");
    }
}

/// Starts a server whose task has results at these URLs.
async fn pictures_at(urls: Vec<String>) -> Vendor {
    let vendor = Vendor::start(move |call, _| match call.path.as_str() {
        "sd/v2/text2image" => success(json!({ "task_id": "p1" })),
        "sd/v2/queryTaskInfo" => {
            let pictures: Vec<_> = urls.iter().map(|url| json!({ "image_url": url, "seed": 1 })).collect();
            success(json!({ "id_task": "p1", "status": 2, "desc": "success", "differentialImageRspList": pictures }))
        }
        _ => None,
    });
    vendor.await
}

/// A result that cannot be fetched does not affect the others, and a transient error is retried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_saved_one_by_one() {
    let mut picture = std::io::Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(6, 4).write_to(&mut picture, image::ImageFormat::Png).unwrap();
    let picture = picture.into_inner();
    let asked = Arc::new(AtomicUsize::new(0));
    let late = {
        let (picture, asked) = (picture.clone(), asked.clone());
        async move || match asked.fetch_add(1, Ordering::Relaxed) {
            0 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            _ => picture.clone().into_response(),
        }
    };
    let routes = Router::new()
        .route("/a.sh", get(async || "#!/bin/sh\n"))
        .route("/late", get(late))
        .route("/last", get(async move || picture));
    let host = url(serve(routes).await);
    let [script, late, gone, last] = ["a.sh", "late", "gone", "last"].map(|name| format!("{host}/{name}"));
    let vendor = pictures_at(vec![script, late, gone, endless(5_000_000_000), last]).await;
    let folder = tempfile::tempdir().unwrap();
    let run = card("x", &["--json", "--output", "results/"]);
    let output = crate::command(folder.path(), &run).env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap();
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &outcome["state"]), (Some(1), &json!("succeeded")), "{outcome}");
    let saved: Vec<_> =
        outcome["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    let names = ["1.bin", "2.png", "5.png"].map(|name| format!("results/text_to_image-p1-{name}"));
    assert_eq!(saved, names);
    assert!(names.iter().all(|name| folder.path().join(name).is_file()));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let message = outcome["error"]["message"].as_str().unwrap();
    let lines: Vec<_> = message.lines().collect();
    let [gone, huge, back] = lines.as_slice() else { panic!("{message}") };
    assert!(gone.starts_with(&format!("the result {host}/gone was not saved: ")) && gone.contains("404"), "{gone}");
    assert!(huge.ends_with("it has 5000000000 bytes or more; at most 4294967296 are accepted"), "{huge}");
    assert_eq!(*back, "save the results again with `imgopen tasks wait p1 --operation text_to_image`");
    // The text output names the saved results, too.
    let text = transcript(
        &crate::command(folder.path(), &card("x", &[])).env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap(),
    );
    assert!(text.starts_with("ends with 1\ntext_to_image-p1-1.bin  [size]\n"), "{text}");
}

/// What a proxy answers in place of the result is not saved as if it were the result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_fetched_until_it_is_one() {
    let mut picture = std::io::Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(6, 4).write_to(&mut picture, image::ImageFormat::Png).unwrap();
    let (picture, asked) = (picture.into_inner(), Arc::new(AtomicUsize::new(0)));
    let late = {
        let (picture, asked) = (picture.clone(), asked.clone());
        async move || match asked.fetch_add(1, Ordering::Relaxed) {
            0 => "<!DOCTYPE html><title>Please log in</title>".into_response(),
            1 => "".into_response(),
            2 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
            3 => StatusCode::TOO_EARLY.into_response(),
            _ => picture.clone().into_response(),
        }
    };
    let routes = Router::new().route("/late", get(late)).route("/text", get(async || "no picture"));
    let host = url(serve(routes).await);
    let folder = tempfile::tempdir().unwrap();
    let run = |vendor: &Vendor| {
        let mut run = crate::command(folder.path(), &card("x", &["--output", "x.png", "--quiet", "--timeout=1m"]));
        transcript(&run.env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap())
    };
    let text = run(&pictures_at(vec![format!("{host}/text")]).await);
    let problem = "was not saved: it is not a picture in a known format; save it as a file with the extension .bin\n";
    assert!(text.starts_with("ends with 1\n") && text.contains(problem), "{text}");
    assert!(!folder.path().join("x.png").exists());
    let text = run(&pictures_at(vec![format!("{host}/late")]).await);
    assert!(text.starts_with("ends with 0\nx.png  6x4 PNG, "), "{text}");
    assert_eq!(std::fs::read(folder.path().join("x.png")).unwrap(), picture);
    assert_eq!(asked.load(Ordering::Relaxed), 5);
}

/// The server's notes are printed after the files, and are in the JSON of the outcome and of the task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_on_a_result_are_printed() {
    let routes = Router::new().route("/card", get(async || "no picture"));
    let host = url(serve(routes).await);
    let notes = ["`steps`: not used by the sampler \"DPM adaptive\"", "\u{1b}[2J the seed is unverified"];
    let vendor = Vendor::start(move |call, _| match call.path.as_str() {
        "sd/v2/text2image" => success(json!({ "task_id": "p1" })),
        "sd/v2/queryTaskInfo" => {
            let picture = json!({ "image_url": format!("{host}/card"), "seed": 1 });
            success(json!({ "id_task": "p1", "status": 2, "desc": "success", "differentialImageRspList": [picture] }))
        }
        "/imgopen/v1/tasks/list" => success(json!({ "rows": [{
            "taskId": "p1", "operation": "text_to_image", "state": "succeeded", "progress": 100, "attempts": 1,
            "engine": "forge", "grade": "neural", "desc": "success", "createdAt": "2026-01-31T08:00:00Z", "notes": notes,
        }] })),
        _ => None,
    });
    let vendor = vendor.await;
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        crate::command(folder.path(), arguments).env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap()
    };
    let text = transcript(&run(&card("x", &["--output", "a.bin"])));
    let expected = "ends with 0\na.bin  [size], by forge (neural)\nerrors:\n\
                    imgopen: generated `alwayson_scripts.id_task`: [id]\nimgopen: text_to_image p1 was started\n\
                    imgopen: note: `steps`: not used by the sampler \"DPM adaptive\"\n\
                    imgopen: note: \\u{1b}[2J the seed is unverified\n";
    assert_eq!(text, expected);
    let text = transcript(&run(&card("x", &["--output", "b.bin", "--quiet"])));
    assert_eq!(text, "ends with 0\nb.bin  [size], by forge (neural)\n");
    let outcome: Value = serde_json::from_slice(&run(&card("x", &["--output", "c.bin", "--json"])).stdout).unwrap();
    assert_eq!(outcome["notes"], json!(notes));
    let task: Value = serde_json::from_slice(&run(&["tasks", "show", "p1", "--json"]).stdout).unwrap();
    assert_eq!(task["notes"], json!(notes));
    let text = transcript(&run(&["tasks", "show", "p1"]));
    assert!(text.contains("\n  note       `steps`: not used by the sampler \"DPM adaptive\"\n"), "{text}");
}

/// Returns the URL of a result that announces its length and then stalls.
fn endless(bytes: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            socket.read_exact(&mut [0; 16]).unwrap();
            write!(socket, "HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\nbegun").unwrap();
            open.push(socket);
        }
    });
    format!("http://{address}/huge")
}

/// Once a task was started, its id is printed even if all queries fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_a_started_task_is_always_printed() {
    let vendor = Vendor::start(|call, _| match call.path.as_str() {
        "tool/imgEnlarge" => success(json!({ "task_id": "p1" })),
        _ => None,
    });
    let vendor = vendor.await;
    let folder = tempfile::tempdir().unwrap();
    let url = "https://example.com/a.png";
    let run = ["run", "enlarge_image", "--source-image", url, "--scale=2", "--business-task-id=mine", "--quiet"];
    let run = |more: &[&str]| {
        let mut run = crate::command(folder.path(), &[&run[..], more].concat());
        run.env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap()
    };
    let text = transcript(&run(&[]));
    assert!(text.starts_with("ends with 3\nerrors:\nimgopen: the server refused (404): "), "{text}");
    let back = "the task mine was started; wait for it with `imgopen tasks wait mine --operation enlarge_image`\n";
    assert!(text.ends_with(back), "{text}");
    let output = run(&["--json"]);
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&outcome["id"], &outcome["task_id"]), (&json!("mine"), &json!("p1")));
    assert_eq!((&outcome["error"]["exit_code"], &outcome["error"]["http_status"]), (&json!(3), &json!(404)));
}

/// A restart, a proxy or a limit of requests does not end a wait; the timeout does, and names the last error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_lasts_until_the_timeout() {
    let row = json!({
        "taskId": "p1", "callerId": "mine", "operation": "enlarge_image", "state": "running", "progress": 0, "attempts": 1,
        "desc": "running", "createdAt": "2026-01-31T08:00:00Z",
    });
    let vendor = Vendor::start(move |call, before| match (call.path.as_str(), before) {
        ("tool/imgEnlarge", _) => success(json!({ "task_id": "p1" })),
        ("/imgopen/v1/tasks/list", 1) => Some((429, json!({"code": "429", "msg": "slow down"}))),
        ("/imgopen/v1/tasks/list", 2) => Some((200, json!("<html>"))),
        ("/imgopen/v1/tasks/list", _) => success(json!({ "rows": [row] })),
        ("tool/imgEnlarge/queryTask", _) if call.body["businessTaskId"] == "never" => Some((502, json!("down"))),
        ("tool/imgEnlarge/queryTask", 0..=2) => Some((502, json!("down"))),
        ("tool/imgEnlarge/queryTask", 3) => Some((200, json!("<html>"))),
        ("tool/imgEnlarge/queryTask", _) => {
            success(json!({ "taskId": "p1", "businessTaskId": "mine", "status": 2, "desc": "no" }))
        }
        _ => None,
    });
    let vendor = vendor.await;
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut run = crate::command(folder.path(), arguments);
        transcript(&run.env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap())
    };
    let enlarge = ["run", "enlarge_image", "--source-image=https://example.com/a.png", "--scale=2"];
    let text = run(&[&enlarge[..], &["--business-task-id=mine"]].concat());
    let expected = "ends with 4\nerrors:\nimgopen: enlarge_image mine (task p1) was started\n\
                    imgopen: a query failed, and is repeated until the timeout: HTTP 502 Bad Gateway: \"down\"\n\
                    imgopen: the task mine failed: no\n";
    assert_eq!(text, expected);
    let text = run(&[&enlarge[..], &["--business-task-id=never", "--timeout=300ms", "--quiet"]].concat());
    let expected = "ends with 5\nerrors:\nimgopen: the timeout expired; the last query failed: HTTP 502 Bad Gateway: \"down\"; \
                    the task never continues; wait for it with `imgopen tasks wait never --operation enlarge_image`\n";
    assert_eq!(text, expected);
    // What must be known before the first query is asked for in the same way.
    let text = run(&["tasks", "wait", "p1"]);
    let trouble =
        "ends with 4\nerrors:\nimgopen: a query failed, and is repeated until the timeout: HTTP 429 Too Many Requests";
    assert!(text.starts_with(trouble), "{text}");
    assert!(text.ends_with("\nimgopen: the task mine failed: no\n") && text.lines().count() == 4, "{text}");
    assert_eq!(run(&["tasks", "wait", "p1", "--quiet"]), "ends with 4\nerrors:\nimgopen: the task mine failed: no\n");
}

/// However often it does so; the timeout bounds how long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submit_that_was_put_off_is_sent_again_until_the_timeout() {
    let later = |seconds: u32| {
        let headers = format!("retry-after: {seconds}\r\n");
        answer("429 Too Many Requests", &headers, r#"{"code":"429","msg":"slow down"}"#)
    };
    let folder = tempfile::tempdir().unwrap();
    let run = |script: &Script, timeout: &str| {
        let enlarge = ["run", "enlarge_image", "--source-image=https://example.com/a.png", "--scale=2", "--no-wait"];
        let arguments = [&enlarge[..], &["--business-task-id=mine", timeout]].concat();
        let mut run = crate::command(folder.path(), &arguments);
        transcript(&run.env("IMGOPEN_BASE_URL", url(script.address)).output().unwrap())
    };
    // More often than the client tries by itself. The first attempt may have started the task, so the key stays the same.
    let started = answer("200 OK", "", r#"{"code":"200","msg":"success","data":{"task_id":"p1"}}"#);
    let script = Script::new([String::new(), later(0), later(0), later(0), started]).await;
    let text = run(&script, "--timeout=1m");
    assert!(text.contains("the request is sent again in 1 s: HTTP 429 Too Many Requests"), "{text}");
    assert!(text.contains("enlarge_image mine (task p1)"), "{text}");
    let requests = script.requests();
    let keys: Vec<_> =
        requests.iter().map(|text| text.lines().find(|line| line.starts_with("idempotency-key: "))).collect();
    assert!(keys.len() == 5 && keys[0].is_some() && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let script = Script::new([later(3600)]).await;
    let text = run(&script, "--timeout=1m");
    assert_eq!(text, "ends with 3\nerrors:\nimgopen: the server refused (429): slow down\n");
    // What cannot be read may have started a task. It is repeated, as often as the client does so by itself.
    let script = Script::new(std::array::from_fn::<_, 4, _>(|_| answer("200 OK", "", "<html>"))).await;
    let text = run(&script, "--timeout=1m");
    assert!(
        text.starts_with("ends with 3\n") && text.contains("the task may have been started nevertheless, as mine"),
        "{text}"
    );
}

/// Commands without a timeout have the patience of two minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_outlast_the_pauses_that_a_server_asks_for() {
    let later = |seconds: u32| {
        let headers = format!("retry-after: {seconds}\r\n");
        answer("429 Too Many Requests", &headers, r#"{"code":"429","msg":"slow down"}"#)
    };
    let page = |data: &str| answer("200 OK", "", &format!(r#"{{"code":"200","msg":"success","data":{data}}}"#));
    let models = page(r#"{"rows":[],"total":0,"pageSize":100,"pageNum":1}"#);
    let folder = tempfile::tempdir().unwrap();
    for (arguments, answered, expected) in [
        (&["tasks", "list"][..], page(r#"{"rows":[]}"#), "ends with 0\nno tasks found\n"),
        (&["models", "list", "--kind", "vae"], models.clone(), "ends with 0\nno models found\n"),
        (&["run", "list_vaes", "--page-size=100", "--page-num=1"], models, "ends with 0\n{\n  \"rows\": [],"),
    ] {
        let run = |script: &Script| {
            let mut run = crate::command(folder.path(), arguments);
            transcript(&run.env("IMGOPEN_BASE_URL", url(script.address)).output().unwrap())
        };
        // More often than the client tries by itself.
        let script = Script::new([later(0), later(0), later(0), later(0), answered]).await;
        let text = run(&script);
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("the request is sent again in 1 s: HTTP 429 Too Many Requests"), "{text}");
        assert_eq!(script.requests().len(), 5, "{arguments:?}");
        let text = run(&Script::new([later(121)]).await);
        assert_eq!(text, "ends with 3\nerrors:\nimgopen: the server refused (429): slow down\n");
    }
}

/// It says why, and what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed() {
    let script = Script::new([answer("301 Moved Permanently", "location: http://127.0.0.1:9/\r\n", "")]).await;
    let folder = tempfile::tempdir().unwrap();
    let mut run = crate::command(folder.path(), &["tasks", "list"]);
    let text = transcript(&run.env("IMGOPEN_BASE_URL", url(script.address)).output().unwrap());
    let expected = "ends with 3\nerrors:\nimgopen: http://127.0.0.1:[port] answered with a redirect (301); redirects are not \
        followed, because the access key would be sent along; give the address that it leads to with --url or IMGOPEN_BASE_URL\n";
    assert_eq!(text, expected);
}

/// Even before the server has said which operation the task belongs to.
#[test]
fn a_wait_by_id_alone_checks_its_output_first_and_takes_ctrl_c() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("there.png"), "mine").unwrap();
    let wait = ["tasks", "wait", "p1", "--url", &server];
    let text =
        transcript(&crate::command(folder.path(), &[&wait[..], &["--output=there.png"]].concat()).output().unwrap());
    assert!(text.starts_with("ends with 2\nerrors:\nimgopen: --output there.png: the file already exists"), "{text}");
    let run = Background::start(crate::command(folder.path(), &wait));
    let (mut socket, _) = silent.accept().unwrap();
    socket.read_exact(&mut [0; 100]).unwrap();
    run.interrupt();
    let (status, _, errors) = run.end();
    assert_eq!(status.code(), Some(130), "{errors}");
    assert_eq!(errors, "imgopen: interrupted; the task p1 continues; wait for it with `imgopen tasks wait p1`\n");
}

/// Before the server answers, the caller id is the only way to find the task again.
#[test]
fn ctrl_c_before_the_answer_prints_the_caller_id() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    for (run, id, back) in [
        (
            &["enlarge_image", "--source-image=https://example.com/a", "--scale=2", "--business-task-id=mine"][..],
            "mine",
            "imgopen tasks wait mine --operation enlarge_image",
        ),
        (
            &["text_to_image", "--prompt=x", "--batch-size=1", "--sd-model-checkpoint=m", "--id-task=mine"],
            "mine",
            "imgopen tasks wait mine",
        ),
    ] {
        let run = [&["run"], run, &["--json", "--url", &server]].concat();
        let run = Background::start(crate::command(std::env::temp_dir().as_path(), &run));
        let (mut socket, _) = silent.accept().unwrap();
        socket.read_exact(&mut [0; 100]).unwrap();
        run.interrupt();
        let (status, output, errors) = run.end();
        assert_eq!(status.code(), Some(130), "{errors}");
        let printed: Value = serde_json::from_str(&output).unwrap();
        assert_eq!(printed["error"]["id"], id);
        let expected = format!(
            "imgopen: interrupted before the server answered; the task may have been started nevertheless, as mine; look for \
             it with `{back}`\n"
        );
        assert_eq!(errors, expected);
    }
}

/// Text from a server cannot control the terminal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_characters_from_a_server_are_escaped() {
    let vendor = Vendor::start(|call, _| match call.path.as_str() {
        "tool/imgEnlarge/queryTask" => success(json!({
            "taskId": "p1", "businessTaskId": "mine", "status": 2, "desc": "bad \u{1b}[31mred\u{9b}2J\r",
        })),
        _ => Some((422, json!({"code": "422", "msg": "no \u{1b}]0;title\u{7}"}))),
    });
    let vendor = vendor.await;
    let mut text = String::new();
    for arguments in [
        ["tasks", "wait", "mine", "--operation", "enlarge_image"],
        ["tasks", "show", "mine", "--operation", "enlarge_image"],
    ] {
        let mut command = crate::command(std::env::temp_dir().as_path(), &arguments);
        text += &transcript(&command.env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap());
    }
    let mut list = crate::command(std::env::temp_dir().as_path(), &["tasks", "list"]);
    text += &transcript(&list.env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap());
    assert_snapshot!("harmless", text);
}

/// The standard input may belong to a script.
#[test]
fn standard_input_is_not_read_unasked() {
    let shell = Shell::open();
    let script =
        "printf 'a\\nb\\n' | while read -r line; do \"$0\" run describe_server >/dev/null && echo \"$line\"; done";
    let command = shell.command(&[]);
    let mut sh = std::process::Command::new("sh");
    sh.args(["-c", script]).arg(command.get_program());
    sh.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = sh.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a\nb\n", "{output:?}");
    // With `--request -` it is read.
    let mut piped = shell.command(&["run", "list_tasks", "--request", "-"]);
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(br#"{"taskId": "nobody"}"#).unwrap();
    let output = child.wait_with_output().unwrap();
    let page: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(page["rows"], json!([]));
}

/// JSON comes from a file or a pipe.
#[test]
fn flags_override_a_json_request() {
    let shell = Shell::open();
    let request = json!({
        "prompt": "from the file", "batch_size": 1, "width": 64, "height": 64, "seed": 5,
        "alwayson_scripts": {"sd_model_checkpoint": "m", "id_task": "mine"},
    });
    std::fs::write(shell.folder().join("request.json"), request.to_string()).unwrap();
    let shown = |name: &str| parameters(&std::fs::read(shell.folder().join(name)).unwrap());
    let run = ["run", "text_to_image", "--request"];
    let (code, outcome) = shell.json(&[&run[..], &["request.json", "--seed", "8", "--output", "a.png"]].concat());
    assert_eq!((code, &outcome["engine"], &outcome["grade"]), (0, &json!("sandbox"), &json!("sandbox")));
    assert!(shown("a.png").contains("from the file") && shown("a.png").contains("Seed: 8"), "{}", shown("a.png"));
    for (arguments, name) in [(&["-", "--output", "b.png"][..], "b.png"), (&[], "c.png")] {
        let arguments = match arguments {
            [] => vec!["run", "text_to_image", "--output", "c.png"],
            more => [&run[..], more].concat(),
        };
        let mut piped = shell.command(&arguments);
        let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", transcript(&output));
        assert!(shown(name).contains("Seed: 5"), "{}", shown(name));
    }
    // JSON in and JSON out.
    let (code, outcome) = shell.json(&["run", "text_to_image", "--request", "request.json", "--output", "d.png"]);
    assert_eq!((code, &outcome["error"]), (0, &json!(null)));
    assert!(shown("d.png").contains("Seed: 5"), "{}", shown("d.png"));
    // Some editors write a byte order mark, and some shells UTF-16.
    std::fs::write(shell.folder().join("marked.json"), format!("\u{FEFF}{request}")).unwrap();
    let (code, _) = shell.json(&["run", "text_to_image", "--request", "marked.json", "--output", "e.png"]);
    assert!(code == 0 && shown("e.png").contains("Seed: 5"), "{}", shown("e.png"));
    let wide: Vec<_> = format!("\u{FEFF}{request}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(shell.folder().join("wide.json"), wide).unwrap();
    let refused = transcript(&shell.run(&["run", "text_to_image", "--request", "wide.json"]));
    assert!(refused.contains("cannot read wide.json: it is encoded as UTF-16; encode it as UTF-8"), "{refused}");
    let missing = shell.run(&["run", "text_to_image", "--request", "nowhere.json"]);
    assert_eq!(missing.status.code(), Some(1), "{}", transcript(&missing));
    std::fs::write(shell.folder().join("broken.json"), "{").unwrap();
    let broken = transcript(&shell.run(&["run", "text_to_image", "--request", "broken.json"]));
    assert!(broken.starts_with("ends with 2\nerrors:\nimgopen: broken.json is not JSON: EOF"), "{broken}");
}

#[test]
fn all_faults_are_reported_together_by_flag() {
    let shell = Shell::open();
    let run = ["run", "enlarge_image", "--scale", "9", "--callback-url", "me", "--source-image", "nowhere.png"];
    let mut text = transcript(&shell.run(&run));
    text += &transcript(&shell.run(&[&run[..], &["--json"]].concat()));
    text += &transcript(&shell.run(&["run", "query_tool_task", "--tool-code", "hair//change"]));
    text += &transcript(&shell.run(&[
        "run",
        "watermark_image",
        "--source-image",
        "https://example.com/a.png",
        "--position",
        "midle",
    ]));
    assert_snapshot!("faults", text);
}

#[test]
fn a_typing_error_gets_a_suggestion() {
    let shell = Shell::open();
    for (arguments, right) in [
        (&["run", "enlarge_imag"][..], "'enlarge_image'"),
        (&["run", "text_to_imge"], "'text_to_image'"),
        (&["run", "enlarge_image", "--sourc-image", "x"], "'--source-image'"),
        (&["run", "text_to_image", "--alwayson-scripts.sd-va", "x"], "'--alwayson-scripts.sd-vae'"),
        (&["run", "text_to_image", "--sd-model-checkpont", "x"], "'--sd-model-checkpoint'"),
        (&["tasks", "lst"], "'list'"),
    ] {
        let errors = transcript(&shell.run(arguments));
        assert!(errors.starts_with("ends with 2\nerrors:\n") && errors.contains(right), "{errors}");
    }
    // The names of tools, and of fields on the wire, are valid too.
    shell.picture("small.png");
    let (code, outcome) = shell.json(&["run", "imgEnlarge", "--sourceImage", "small.png", "--scale=1.5"]);
    assert_eq!((code, &outcome["operation"]), (0, &json!("enlarge_image")));
}

#[test]
fn results_that_are_not_pictures_are_printed() {
    let shell = Shell::open();
    let bars = RgbImage::from_fn(96, 64, |x, _| if x / 16 % 2 == 0 { Rgb([250, 40, 40]) } else { Rgb([30, 30, 200]) });
    bars.save(shell.folder().join("bars.png")).unwrap();
    let mut text = transcript(&shell.run(&["run", "recognize_style", "--source-image", "bars.png"]));
    let callback = "https://example.com/describe_image";
    text += &transcript(&shell.run(&["run", "describe_image", "--image", "bars.png", "--callback-url", callback]));
    text += &transcript(&shell.run(&["run", "expand_prompt", "--mode", "0", "--source-prompt", "a girl"]));
    text += &transcript(&shell.run(&["models", "list", "--kind", "checkpoint", "--kind", "lora"]));
    text += &transcript(&shell.run(&["models", "list", "--kind", "vae", "--name", "sandbox", "--json"]));
    text += &transcript(&shell.run(&["models", "list", "--name", "nowhere"]));
    assert_snapshot!("texts", text);
    assert_eq!(shell.names(), ["bars.png"]);
}

#[test]
fn a_failed_task_is_reported_with_its_reason() {
    let shell = Shell::open();
    let text = transcript(&shell.run(&card("[sandbox: fail=out of memory]", &[])));
    let expected = "imgopen: the task [task] failed: the engine failed: sandbox: out of memory\n";
    assert!(text.starts_with("ends with 4\nerrors:\n") && text.ends_with(expected), "{text}");
    let (code, outcome) = shell.json(&card("[sandbox: fail=out of memory]", &[]));
    assert_eq!((code, &outcome["state"], &outcome["error"]["exit_code"]), (4, &json!("failed"), &json!(4)));
    assert_eq!(shell.names(), [""; 0]);
}

#[test]
fn rejections_and_unreachable_servers_are_distinguished() {
    let shell = Shell::open();
    let mut text =
        transcript(&shell.command(&["tasks", "list"]).env("IMGOPEN_ACCESS_KEY_SECRET", "wrong").output().unwrap());
    let mut keyless = shell.command(&["tasks", "list"]);
    keyless.env_remove("IMGOPEN_ACCESS_KEY_ID").env_remove("IMGOPEN_ACCESS_KEY_SECRET");
    text += &transcript(&keyless.output().unwrap());
    text += &transcript(&shell.command(&["tasks", "list"]).env_remove("IMGOPEN_ACCESS_KEY_SECRET").output().unwrap());
    text += &transcript(&shell.run(&["tasks", "list", "--url", "example.com"]));
    let remove =
        ["run", "remove_object", "--source-image", "https://example.com/a", "--mask-image", "http://10.0.0.1/b"];
    text += &transcript(&shell.run(&[&remove[..], &["--json"]].concat()));
    assert_snapshot!("refused", text);
    let silent = transcript(&shell.run(&["tasks", "list", "--url", "http://127.0.0.1:9"]));
    let expected =
        "ends with 1\nerrors:\nimgopen: no server answers at http://127.0.0.1:9; start one with `imgopen serve`, or";
    assert!(silent.starts_with(expected), "{silent}");
}

/// There is no flag for the secret itself.
#[test]
fn a_secret_can_come_from_a_file() {
    let shell = Shell::open();
    std::fs::write(shell.folder().join("secret"), format!("{}\n", shell.key.secret)).unwrap();
    let mut list = shell.command(&["tasks", "list", "--access-key-secret-file", "secret"]);
    assert_eq!(list.env_remove("IMGOPEN_ACCESS_KEY_SECRET").output().unwrap().status.code(), Some(0));
    assert_eq!(shell.run(&["tasks", "list", "--access-key-secret", "x"]).status.code(), Some(2));
}

/// A retry after a lost answer does not start a second task, because it carries the same key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submit_is_retried_with_the_same_key() {
    let vendor = Vendor::start(|call, before| match (call.path.as_str(), before) {
        ("tool/imgEnlarge", 0) => Some((503, json!({"code": "503", "msg": "busy"}))),
        ("tool/imgEnlarge", _) => success(json!({ "task_id": "p1" })),
        _ => None,
    });
    let vendor = vendor.await;
    let run = ["run", "enlarge_image", "--source-image", "https://example.com/a.png", "--scale", "2", "--no-wait"];
    let mut command = crate::command(std::env::temp_dir().as_path(), &run);
    let output = command.env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    let keys: Vec<_> = vendor.calls().iter().map(|call| call.headers["idempotency-key"].clone()).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
}

#[test]
fn ctrl_c_leaves_the_task_running_and_prints_how_to_wait_for_it() {
    let shell = Shell::open();
    let run = Background::start(shell.command(&card("[sandbox: hang]", &[])));
    run.error_line("was started");
    run.interrupt();
    let (status, output, errors) = run.end();
    assert_eq!((status.code(), output.as_str()), (Some(130), ""));
    let command = "`imgopen tasks wait [task] --operation text_to_image`";
    let expected = format!("imgopen: interrupted; the task [task] continues; wait for it with {command}\n");
    assert_eq!(redacted(&errors), expected);
    let (_, listed) = shell.json(&["tasks", "list", "--state", "running", "--state", "queued"]);
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 1, "{listed}");
}
