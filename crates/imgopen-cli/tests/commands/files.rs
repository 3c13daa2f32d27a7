//! Local pictures in requests: how they are served, and when they are rejected.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::common::pictures::scene;
use crate::common::program::Background;
use crate::common::shell::Shell;
use crate::common::until;
use crate::common::vendor::{Vendor, success};
use crate::{command, redacted, transcript};

#[test]
fn a_file_that_is_not_a_picture_is_rejected_before_anything_is_sent() {
    let shell = Shell::open();
    std::fs::write(shell.folder().join("page.png"), "<html>").unwrap();
    std::fs::write(shell.folder().join("empty.png"), "").unwrap();
    let mut text = String::new();
    for file in ["page.png", "empty.png", ".", "nowhere.png", "file:nowhere.png", "ftp://example.com/a.png"] {
        text += &transcript(&shell.run(&["run", "enlarge_image", "--scale", "2", "--source-image", file]));
    }
    let swap =
        ["run", "swap_faces", "--source-url", "page.png", "https://example.com/a.png", "--target-url", "nowhere.png"];
    text += &transcript(&shell.run(&swap));
    std::fs::create_dir(shell.folder().join("photos")).unwrap();
    text += &transcript(&shell.run(&["train", "submit", "--images", "photos"]));
    shell.picture("photos/1.png");
    shell.picture("photos/2.png");
    text += &transcript(&shell.run(&["train", "submit", "--images", "photos"]));
    assert_snapshot!("no_pictures", text);
    assert_eq!(shell.json(&["tasks", "list"]).1["tasks"], json!([]));
}

#[test]
fn a_picture_in_place_of_its_path_is_recognised() {
    let shell = Shell::open();
    let base64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ";
    for (given, kind) in
        [(format!("data:image/png;base64,{base64}"), "a `data:` URL"), (base64.to_owned(), "a file in base64")]
    {
        let text = transcript(&shell.run(&["run", "enlarge_image", "--scale", "2", "--source-image", &given]));
        let fix = "given, which is not taken; save the picture to a file and give its path, or give a URL";
        assert!(text.contains(&format!("\n  --source-image: {kind} {fix}\n")), "{text}");
    }
    let long = transcript(&shell.run(&["run", "enlarge_image", "--scale", "2", "--source-image", &"./x".repeat(9000)]));
    assert!(long.contains("\"… is neither an existing file"), "{long}");
    assert!(long.len() < 1000, "{}", long.len());
}

/// The address at which the command serves a file means nothing to anyone.
#[test]
fn a_failure_names_the_local_file() {
    let shell = Shell::without_sandbox(&["--allow-network", "127.0.0.1/32"]);
    shell.picture("broken.png");
    let path = shell.folder().join("broken.png");
    let mut bytes = std::fs::read(&path).unwrap();
    // Within the pixels, so that only the decoder notices.
    let pixels = bytes.windows(4).position(|window| window == b"IDAT").unwrap() + 40;
    bytes[pixels] ^= 0xff;
    std::fs::write(&path, bytes).unwrap();
    let text = transcript(&shell.run(&["run", "enlarge_image", "--scale", "2", "--source-image", "broken.png"]));
    assert!(text.contains("`sourceImage`: the picture at broken.png is a damaged PNG file"), "{text}");
}

#[test]
fn a_service_that_may_not_fetch_from_here_gets_a_hint() {
    let shell = Shell::with(&[]);
    shell.picture("small.png");
    let run = ["run", "enlarge_image", "--scale", "2", "--source-image", "./small.png"];
    assert_snapshot!("guarded", transcript(&shell.run(&run)));
}

#[test]
fn a_public_server_is_not_sent_local_pictures() {
    let shell = Shell::open();
    shell.picture("small.png");
    let run = ["run", "enlarge_image", "--scale", "2", "--source-image", "small.png", "--url", "http://192.0.2.7"];
    let text = transcript(&shell.run(&run));
    assert!(text.starts_with("ends with 2\nerrors:\n"), "{text}");
    assert_snapshot!("public", text);
}

/// The server can fetch the pictures at unguessable paths, nothing else, and only while the command waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_pictures_are_served_and_only_while_needed() {
    let vendor = Vendor::start(|call, _| match call.path.as_str() {
        "tool/face/fusion" => success(json!({ "task_id": "p1" })),
        "tool/face/fusion/queryTask" => success(json!({
            "taskId": "p1", "businessTaskId": call.body["businessTaskId"], "status": 0,
        })),
        _ => None,
    });
    let vendor = vendor.await;
    let folder = tempfile::tempdir().unwrap();
    scene().save(folder.path().join("a.png")).unwrap();
    scene().save(folder.path().join("b.jpg")).unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    let run = ["run", "swap_faces", "--source-url", "a.png", "b.jpg", "--target-url", "https://example.com/c.png"];
    let mut run = command(folder.path(), &run);
    run.env("IMGOPEN_BASE_URL", &vendor.url);
    let run = Background::start(run);
    let sent = until("it is sent", async || vendor.calls().into_iter().find(|call| call.path == "tool/face/fusion"));
    let sent = sent.await.body;
    let urls: Vec<_> =
        sent["sourceUrl"].as_array().unwrap().iter().map(|url| url.as_str().unwrap().to_owned()).collect();
    assert_eq!(sent["targetUrl"], "https://example.com/c.png");
    for (url, (name, media_type)) in urls.iter().zip([("a.png", "image/png"), ("b.jpg", "image/jpeg")]) {
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.headers()["content-type"], media_type);
        assert_eq!(answer.bytes().await.unwrap(), std::fs::read(folder.path().join(name)).unwrap());
    }
    let base = urls[0].rsplit_once('/').unwrap().0;
    let address = base.strip_prefix("http://").unwrap();
    for path in
        ["/", "/a.png", "/secret", "/../secret", "/%2e%2e/secret", "/%2e%2e%2fsecret", "/./secret", "/0000.png", "//"]
    {
        assert_eq!(raw_status(address, path), "404", "{path}");
    }
    assert_eq!(reqwest::Client::new().delete(&urls[0]).send().await.unwrap().status(), 405);
    run.interrupt();
    assert_eq!(run.end().0.code(), Some(130));
    let gone = until("nothing is served", async || reqwest::get(&urls[0]).await.err()).await;
    assert!(gone.is_connect(), "{gone}");
}

/// Returns the status for a path sent as is; clients would normalize it.
fn raw_status(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(!answer.contains("secret"), "{path}: {answer}");
    answer.split(' ').nth(1).unwrap().to_owned()
}

/// A server that accepts tasks and fetches nothing.
async fn idle() -> Vendor {
    let vendor = Vendor::start(|call, _| match call.path.as_str() {
        "tool/imgEnlarge" => success(json!({ "task_id": "p1" })),
        "tool/imgEnlarge/queryTask" => success(json!({
            "taskId": "p1", "businessTaskId": call.body["businessTaskId"], "status": 0,
        })),
        _ => None,
    });
    vendor.await
}

/// Returns a command that enlarges the picture `a.png` of a directory on a server.
fn enlarge(folder: &Path, vendor: &Vendor, more: &[&str]) -> Command {
    let run = ["run", "enlarge_image", "--source-image", "a.png", "--scale=2", "--business-task-id=mine"];
    let mut run = command(folder, &[&run[..], more].concat());
    run.env("IMGOPEN_BASE_URL", &vendor.url);
    run
}

/// Returns the URL at which the command serves its picture.
async fn served(vendor: &Vendor) -> String {
    let sent = until("it is sent", async || vendor.calls().into_iter().find(|call| call.path == "tool/imgEnlarge"));
    sent.await.body["sourceImage"].as_str().unwrap().to_owned()
}

/// A task that cannot fetch its pictures fails, so the first Ctrl-C does not stop serving them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_ctrl_c_pictures_are_served_until_they_are_fetched() {
    let folder = tempfile::tempdir().unwrap();
    scene().save(folder.path().join("a.png")).unwrap();
    let vendor = idle().await;
    let run = Background::start(enlarge(folder.path(), &vendor, &[]));
    let url = served(&vendor).await;
    run.error_line("was started");
    run.interrupt();
    run.error_line("interrupted; exits once the server has fetched the local pictures");
    let fetched = reqwest::get(&url).await.unwrap().bytes().await.unwrap();
    assert_eq!(fetched, std::fs::read(folder.path().join("a.png")).unwrap());
    let (status, _, errors) = run.end();
    assert_eq!(status.code(), Some(130));
    let command = "`imgopen tasks wait mine --operation enlarge_image`";
    let expected = format!("imgopen: interrupted; the task mine continues; wait for it with {command}\n");
    assert_eq!(errors, expected);

    let vendor = idle().await;
    let run = Background::start(enlarge(folder.path(), &vendor, &[]));
    run.error_line("was started");
    run.interrupt();
    run.error_line("interrupted; exits once");
    run.interrupt();
    let (status, _, errors) = run.end();
    assert_eq!(status.code(), Some(130));
    let expected = "imgopen: interrupted before the server fetched 1 local picture; the task mine continues without it";
    assert!(errors.starts_with(expected), "{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_before_pictures_are_fetched_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    scene().save(folder.path().join("a.png")).unwrap();
    let vendor = idle().await;
    for no_wait in [&[][..], &["--no-wait"]] {
        let more = [&["--json", "--quiet", "--timeout", "300ms"], no_wait].concat();
        let output = enlarge(folder.path(), &vendor, &more).output().unwrap();
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (output.status.code(), &outcome["id"], &outcome["task_id"]),
            (Some(5), &json!("mine"), &json!("p1"))
        );
        let message = outcome["error"]["message"].as_str().unwrap();
        assert!(message.contains("fetched 1 local picture; the task mine continues without it"), "{message}");
    }
}

/// A client that has stopped reading does not block the exit after a second Ctrl-C.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_a_stalled_transfer() {
    let folder = tempfile::tempdir().unwrap();
    // More than fits into the buffers of a connection.
    let noise = RgbImage::from_fn(3000, 3000, |_, _| Rgb(std::array::from_fn(|_| fastrand::u8(..))));
    noise.save(folder.path().join("a.png")).unwrap();
    let vendor = idle().await;
    let run = Background::start(enlarge(folder.path(), &vendor, &[]));
    let url = served(&vendor).await;
    run.error_line("was started");
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut reader = TcpStream::connect(address).unwrap();
    write!(reader, "GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    reader.read_exact(&mut [0; 12]).unwrap();
    let begun = Instant::now();
    run.interrupt();
    tokio::time::sleep(Duration::from_secs(1)).await;
    run.interrupt();
    assert_eq!(run.end().0.code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}

/// A command that does not wait for the result still waits until its picture is fetched, and reports if it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wait_exits_once_the_picture_is_fetched() {
    let vendor = idle().await;
    let folder = tempfile::tempdir().unwrap();
    scene().save(folder.path().join("a.png")).unwrap();
    let start = |timeout: &str| enlarge(folder.path(), &vendor, &["--no-wait", "--timeout", timeout]);
    let run = Background::start(start("60s"));
    let url = served(&vendor).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let fetched = reqwest::get(url).await.unwrap();
    assert_eq!(fetched.bytes().await.unwrap(), std::fs::read(folder.path().join("a.png")).unwrap());
    let (status, output, _) = run.end();
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        redacted(&output),
        "enlarge_image mine (task p1)\nwait for it with `imgopen tasks wait mine --operation enlarge_image`\n"
    );
    let late = transcript(&start("300ms").output().unwrap());
    assert_snapshot!("unfetched", late);
}

/// Local pictures anywhere in a JSON request are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_pictures_in_json_are_served() {
    let vendor = Vendor::start(|call, _| match call.path.as_str() {
        "sd/v2/controlnet" => success(json!({ "task_id": "p1" })),
        "sd/v2/queryTaskInfo" => success(json!({ "id_task": "p1", "status": 4, "desc": "no" })),
        _ => None,
    });
    let vendor = vendor.await;
    let folder = tempfile::tempdir().unwrap();
    scene().save(folder.path().join("pose.png")).unwrap();
    let request = json!({
        "prompt": "x", "batch_size": 1, "resize_mode": 1, "alwayson_scripts": {"sd_model_checkpoint": "m"},
        "controlnet": {"args": [{"image_link": "pose.png"}, {"image_link": "https://example.com/a.png"}]},
    });
    std::fs::write(folder.path().join("request.json"), request.to_string()).unwrap();
    let mut run = command(folder.path(), &["run", "controlnet", "--request", "request.json", "--quiet"]);
    let output = run.env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap();
    assert_eq!(transcript(&output), "ends with 4\nerrors:\nimgopen: the task p1 failed: no\n");
    let sent = vendor.calls().into_iter().find(|call| call.path == "sd/v2/controlnet").unwrap().body;
    let links: Vec<_> = sent["controlnet"]["args"].as_array().unwrap().iter().map(|unit| &unit["image_link"]).collect();
    assert!(links[0].as_str().unwrap().starts_with("http://127.0.0.1:"), "{links:?}");
    assert_eq!(links[1], &Value::from("https://example.com/a.png"));
}

/// A service without a trainer fetches the pictures, lays out the data set, and names its directory.
#[test]
fn a_training_takes_the_pictures_of_a_directory() {
    let shell = Shell::open();
    std::fs::create_dir(shell.folder().join("photos")).unwrap();
    for number in 0..10 {
        shell.picture(&format!("photos/{number}.png"));
    }
    std::fs::write(shell.folder().join("photos/notes.txt"), "not a picture").unwrap();
    // As macOS leaves it on disks of other systems.
    std::fs::write(shell.folder().join("photos/._1.png"), b"\0\x05\x16\x07").unwrap();
    let mut text = transcript(&shell.run(&["train", "submit", "--images", "photos", "--task-id", "mine"]));
    text += &transcript(&shell.run(&["train", "wait", "mine"]));
    assert_snapshot!("training", text);
    let (_, task) = shell.json(&["tasks", "show", "mine"]);
    assert_eq!(task["training"]["command"][0], "accelerate", "{task}");
}

/// The data set has the captions where the trainer looks for them: in the first line of the `.txt` file of the picture's name.
#[test]
fn captions_beside_pictures_reach_the_trainer() {
    let shell = Shell::open();
    let photos = shell.folder().join("photos");
    std::fs::create_dir(&photos).unwrap();
    for (number, extension) in (0..10).zip(["png", "jpg", "webp", "png"].iter().cycle()) {
        scene().save(photos.join(format!("{number}.{extension}"))).unwrap();
        let caption = ["txt", "caption"][number % 2];
        std::fs::write(photos.join(format!("{number}.{caption}")), format!("cat {number}, 猫\nSAMSUNG")).unwrap();
    }
    std::fs::remove_file(photos.join("9.caption")).unwrap();
    let submitted = shell.run(&["train", "submit", "--images", "photos", "--task-id", "mine"]);
    let errors = String::from_utf8_lossy(&submitted.stderr).into_owned();
    assert!(errors.contains("9 of 10 pictures have a caption beside them"), "{errors}");
    let (_, task) = shell.json(&["tasks", "show", "mine"]);
    let pictures = shell.data().join(task["training"]["folder"].as_str().unwrap()).join("img/10_mine");
    for (number, name) in (1..10).map(|number| (number - 1, format!("{number:04}.txt"))) {
        let text = std::fs::read_to_string(pictures.join(name)).unwrap();
        assert_eq!(text.lines().next(), Some(&*format!("cat {number}, 猫")));
    }
    assert!(!pictures.join("0010.txt").exists());
    std::fs::write(photos.join("3.caption"), b"\xff\xfea\0").unwrap();
    let text = transcript(&shell.run(&["train", "submit", "--images", "photos", "--task-id", "other"]));
    assert!(text.contains("--file-url-list[3]: the caption photos/3.caption is not UTF-8"), "{text}");
}
