//! Training: the data set is fetched and kept, and the task fails because no trainer is configured.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use imgopen_service::SANDBOX;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::common::web::host;
use crate::common::{Bench, Server, until};

fn picture() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(6, 4).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A training request of ten pictures on a new host; `last` is the path of the last one.
async fn train(id: &str, last: &str) -> Value {
    let routes = Router::new()
        .route("/text", get(|| async { "not a picture" }))
        .route("/silent", get(std::future::pending::<()>))
        .route("/{number}", get(|| async { picture() }));
    let address = host(routes).await;
    let names = (1..10).map(|number| number.to_string()).chain([last.to_owned()]);
    let urls: Vec<_> = names.map(|name| format!("http://{address}/{name}")).collect();
    json!({"taskId": id, "fileUrlList": urls, "maxEpochs": 12})
}

async fn started(server: &Server, request: Value) -> String {
    server.call("submit_training", request.clone()).await.ok();
    let tasks = server.call("list_tasks", json!({"callerId": request["taskId"]})).await.ok();
    tasks["rows"][0]["taskId"].as_str().unwrap().to_owned()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn datasets(server: &Server) -> Vec<PathBuf> {
    let directories = std::fs::read_dir(server.data_dir().join("datasets")).unwrap();
    directories.map(|directory| directory.unwrap().path()).collect()
}

#[tokio::test]
async fn the_data_set_is_kept_and_the_task_fails() {
    let server = Bench::new().start().await;
    let task = started(&server, train("lora", "10").await).await;
    let reason = server.failed(&task).await;
    assert!(reason.starts_with("no training engine configured"), "{reason}");
    assert!(reason.contains(&format!("`datasets/{task}`")) && reason.contains("`train.sh`"), "{reason}");
    let directory = server.data_dir().join("datasets").join(&task);
    assert_eq!(datasets(&server), std::slice::from_ref(&directory));
    assert_eq!(names(&directory), ["img", "logs", "output", "train.sh"]);
    assert_eq!(names(&directory.join("img")), ["10_lora"]);
    let pictures = directory.join("img").join("10_lora");
    let expected: Vec<_> = (1..=10).map(|number| format!("{number:04}.png")).collect();
    assert_eq!(names(&pictures), expected);
    assert!(expected.iter().all(|name| std::fs::read(pictures.join(name)).unwrap() == picture()));
    let data = server.call("query_training", json!({"taskId": "lora"})).await.ok();
    assert_eq!((&data["status"], &data["desc"], &data["maxEpochs"]), (&json!(4), &json!(reason), &json!(12)));
}

#[tokio::test]
async fn data_sets_expire_like_results() {
    let lifetime = Some(std::time::Duration::from_millis(1));
    let server = Bench::new().start().await;
    let task = started(&server, train("lora", "10").await).await;
    server.failed(&task).await;
    assert_eq!(datasets(&server).len(), 1);
    let server = server.stop().await.with(|settings| settings.assets.lifetime = lifetime).start().await;
    until("the data set is deleted", || async { datasets(&server).is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn an_invalid_picture_is_named_and_its_data_set_deleted() {
    let server = Bench::new().start().await;
    for (last, problem) in [("text", "is a text file"), ("missing/one", "answered 404")] {
        let task = started(&server, train(last, last).await).await;
        let reason = server.failed(&task).await;
        assert!(reason.starts_with("`fileUrlList[9]`: ") && reason.contains(problem), "{reason}");
        until("the data set is deleted", || async { datasets(&server).is_empty().then_some(()) }).await;
    }
}

#[tokio::test]
async fn partial_data_sets_of_tasks_that_have_ended_are_deleted() {
    let bench = Bench::new().with(|settings| settings.shutdown = std::time::Duration::ZERO);
    let server = bench.start().await;
    let fetched = |count| {
        let server = &server;
        async move {
            until("the first pictures are fetched", || async {
                let directory = datasets(server).pop()?.join("img");
                let directory = std::fs::read_dir(directory).ok()?.next()?.unwrap().path();
                let files = std::fs::read_dir(directory).ok()?.count();
                (files == count).then_some(())
            })
            .await
        }
    };
    let task = started(&server, train("cancelled", "silent").await).await;
    server.reached(&task, "running").await;
    until("the data set is begun", || async { server.data_dir().join("datasets").exists().then_some(()) }).await;
    fetched(9).await;
    server.call("cancel_task", json!({"taskId": task})).await.ok();
    until("the partial data set is deleted", || async { datasets(&server).is_empty().then_some(()) }).await;

    let cancelled = task;
    let task = started(&server, train("handed-back", "silent").await).await;
    server.reached(&task, "running").await;
    fetched(9).await;
    let bench = server.stop().await;
    let data_sets = bench.data_dir.path().join("datasets");
    assert_eq!(names(&data_sets), [format!("{task}.part")]);

    // A killed process may leave one. If its task has ended, the next start deletes it; if it is unknown, it stays until it
    // expires, as one that no run fetches into.
    for name in [
        format!("{cancelled}.part"),
        format!("{cancelled}.0a1b.part"),
        "img0.part".to_owned(),
        "img9.0a1b.part".to_owned(),
    ] {
        std::fs::create_dir(data_sets.join(&name)).unwrap();
        std::fs::write(data_sets.join(&name).join("0001.png"), "half").unwrap();
    }
    let server = bench.with(|settings| settings.workers = 1).start().await;
    assert!(names(&data_sets).iter().all(|name| !name.starts_with(&cancelled)), "{:?}", names(&data_sets));
    server.call("cancel_task", json!({"taskId": task})).await.ok();
    let unknown = ["img0.part", "img9.part"];
    until("only the unknown ones are left", || async { (names(&data_sets) == unknown).then_some(()) }).await;
}

/// What is whole is not fetched again, and what is not whole is. Nothing that a run was writing when it was interrupted stays.
async fn goes_on(left: impl FnOnce(&Path, &str)) {
    let (asked, (go, gate)) = (Arc::new(Mutex::new(Vec::new())), watch::channel(false));
    let answer = {
        let asked = asked.clone();
        move |axum::extract::Path(number): axum::extract::Path<usize>| {
            let mut gate = gate.clone();
            asked.lock().unwrap().push(number);
            async move {
                if number == 6 {
                    gate.wait_for(|is_open| *is_open).await.unwrap();
                }
                picture()
            }
        }
    };
    let address = host(Router::new().route("/{number}", get(answer))).await;
    let urls: Vec<_> = (1..=10).map(|number| format!("http://{address}/{number}")).collect();
    let server = Bench::new().with(|settings| settings.shutdown = std::time::Duration::ZERO).start().await;
    let task = started(&server, json!({"taskId": "lora", "fileUrlList": urls})).await;
    until("the sixth picture is asked for", || async { asked.lock().unwrap().contains(&6).then_some(()) }).await;
    let bench = server.stop().await;
    let data_sets = bench.data_dir.path().join("datasets");
    assert_eq!(names(&data_sets), [format!("{task}.part")]);
    let kept = data_sets.join(format!("{task}.part")).join("img").join("10_lora");
    assert_eq!(names(&kept), (1..=5).map(|number| format!("{number:04}.png")).collect::<Vec<_>>());
    // As after a crash of the machine, in which the disk lost the end of a file.
    let whole = picture();
    std::fs::write(kept.join("0003.png"), &whole[..whole.len() / 2]).unwrap();
    for name in ["0003.txt", "0006.jpg", "0006.txt", "0011.png"] {
        std::fs::write(kept.join(name), "half").unwrap();
    }
    left(&data_sets, &task);

    go.send(true).unwrap();
    let server = bench.with(|settings| settings.shutdown = std::time::Duration::from_secs(10)).start().await;
    assert!(server.failed(&task).await.starts_with("no training engine configured"));
    assert_eq!(*asked.lock().unwrap(), [1, 2, 3, 4, 5, 6, 3, 6, 7, 8, 9, 10]);
    assert_eq!(names(&data_sets), [task.as_str()]);
    let directory = data_sets.join(&task);
    assert_eq!(names(&directory), ["img", "logs", "output", "train.sh"]);
    let pictures = directory.join("img").join("10_lora");
    let expected: Vec<_> = (1..=10).map(|number| format!("{number:04}.png")).collect();
    assert_eq!(names(&pictures), expected);
    assert!(expected.iter().all(|name| std::fs::read(pictures.join(name)).unwrap() == whole));
}

#[tokio::test]
async fn a_training_goes_on_where_a_stop_interrupted_it() {
    goes_on(|_, _| {}).await;
}

/// The process died, and so did the next one, after it had queued the task again and before it kept the pictures.
#[tokio::test]
async fn a_training_goes_on_although_a_recovery_was_cut_short() {
    goes_on(|data_sets, task| {
        let of_run = data_sets.join(format!("{task}.0a1b.part"));
        std::fs::rename(data_sets.join(format!("{task}.part")), of_run).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_training_ignores_directives_for_the_sandbox() {
    let server = Bench::new().start().await;
    let directives = [(SANDBOX, "fail=sandbox")];
    server.call_with(&server.key, "submit_training", &directives, train("lora", "10").await).await.ok();
    let tasks = server.call("list_tasks", json!({})).await.ok();
    let reason = server.failed(tasks["rows"][0]["taskId"].as_str().unwrap()).await;
    assert!(reason.starts_with("no training engine configured"), "{reason}");
}

/// The script holds the same command as the plan of the task.
#[tokio::test]
async fn the_command_is_kept_with_the_task() {
    let server = Bench::new().start().await;
    let mut request = train("lora", "10").await;
    request["numCpuThreadsPerProcess"] = json!(2);
    request["networkDim"] = json!(16);
    let task = started(&server, request).await;
    server.failed(&task).await;
    let row = server.task(&task).await;
    assert_eq!(row["training"]["folder"], format!("datasets/{task}"));
    let command: Vec<_> =
        row["training"]["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(command[..4], ["accelerate", "launch", "--num_cpu_threads_per_process=2", "train_network.py"]);
    assert!(command.contains(&"--network_dim=16") && command.contains(&"--max_train_epochs=12"), "{command:?}");
    let script = std::fs::read_to_string(server.data_dir().join("datasets").join(&task).join("train.sh")).unwrap();
    assert!(command.iter().skip(4).all(|word| script.contains(word)), "{script}");
    // Only a training has a plan.
    let other = server.submitted("enlarge_image", crate::common::enlarge("b")).await;
    assert_eq!(server.reached(&other, "succeeded").await.get("training"), None);
}

#[tokio::test]
async fn what_the_trainer_would_reject_is_rejected_at_submit() {
    let server = Bench::new().start().await;
    for (field, value, named) in [
        ("colorAug", json!(true), "`cacheLatents`, `colorAug`: "),
        ("lrWarmupSteps", json!(10), "`lrWarmupSteps`, `lrScheduler`: "),
        ("networkModule", json!("os"), "`networkModule`: "),
        ("pretrainedModel", json!("../../etc/passwd"), "`pretrainedModel`: "),
    ] {
        let mut request = train("lora", "10").await;
        request["cacheLatents"] = json!(true);
        request[field] = value;
        let msg = server.call("submit_training", request).await.refused(422);
        assert!(msg.starts_with(named), "{msg}");
    }
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"], json!([]));
}

/// Captions come from the metadata of the pictures.
#[tokio::test]
async fn captions_are_stored_beside_their_pictures() {
    use imgopen_engine::Format;
    use imgopen_picture as picture;
    let made = picture::Attached {
        parameters: Some("a cat, (fluffy:1.2)\nNegative prompt: dog\nSteps: 20"),
        ..picture::Attached::default()
    };
    let file = picture::encode(&image::DynamicImage::new_rgb8(6, 4), Format::Png, &made).unwrap();
    let routes = Router::new().route("/{number}", get(|| async { file }));
    let address = host(routes).await;
    let urls: Vec<_> = (1..=10).map(|number| format!("http://{address}/{number}")).collect();
    let server = Bench::new().start().await;
    let task = started(&server, json!({"taskId": "cat", "fileUrlList": urls, "repeats": 3})).await;
    server.failed(&task).await;
    let pictures = server.data_dir().join("datasets").join(&task).join("img").join("3_cat");
    assert_eq!(std::fs::read_to_string(pictures.join("0010.txt")).unwrap(), "a cat, fluffy");
    assert_eq!(names(&pictures).len(), 20);
}

/// The trainer does not read how a phone held the camera. What a file says of its content must outlive the turn.
#[tokio::test]
async fn pictures_are_stored_upright_with_their_captions() {
    use image::{ExtendedColorType, ImageEncoder};
    let mut file = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut file);
    // ImageDescription "a cat", and orientation 6: the left side is to be shown on top.
    let exif =
        b"II*\0\x08\0\0\0\x02\0\x0e\x01\x02\0\x06\0\0\0\x26\0\0\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0a cat\0";
    encoder.set_exif_metadata(exif.to_vec()).unwrap();
    let stored = image::RgbImage::from_fn(64, 32, |x, _| image::Rgb([if x < 32 { 255 } else { 0 }; 3]));
    encoder.write_image(&stored, 64, 32, ExtendedColorType::Rgb8).unwrap();
    let address = host(Router::new().route("/{number}", get(|| async { file }))).await;
    let urls: Vec<_> = (1..=10).map(|number| format!("http://{address}/{number}")).collect();
    let server = Bench::new().start().await;
    let task = started(&server, json!({"taskId": "cat", "fileUrlList": urls})).await;
    server.failed(&task).await;
    let pictures = server.data_dir().join("datasets").join(&task).join("img").join("10_cat");
    let seen = image::open(pictures.join("0001.jpg")).unwrap().to_rgb8();
    assert_eq!(seen.dimensions(), (32, 64));
    assert!(seen.get_pixel(16, 4).0[0] > 200 && seen.get_pixel(16, 60).0[0] < 50);
    assert_eq!(std::fs::read_to_string(pictures.join("0001.txt")).unwrap(), "a cat");
}

/// A link, so that deleting the data set does not delete the model.
#[cfg(unix)]
#[tokio::test]
async fn the_base_model_is_linked() {
    let bench = Bench::new();
    let models = bench.data_dir.path().join("models").join("checkpoints").join("sub");
    std::fs::create_dir_all(&models).unwrap();
    std::fs::write(models.join("base.ckpt"), "weights").unwrap();
    let server = bench.start().await;
    let mut request = train("lora", "10").await;
    request["pretrainedModel"] = json!("sub/base");
    let task = started(&server, request).await;
    let reason = server.failed(&task).await;
    assert!(reason.ends_with("in its `train.sh`"), "{reason}");
    let link = server.data_dir().join("datasets").join(&task).join("base").join("base.ckpt");
    assert!(link.is_symlink());
    assert_eq!(std::fs::read_to_string(link).unwrap(), "weights");
    let task = started(&server, train("without", "10").await).await;
    assert!(
        server
            .failed(&task)
            .await
            .ends_with("the models directory does not have the base model \"v1-5-pruned-emaonly\"")
    );
}

#[tokio::test]
async fn pictures_of_other_sizes_need_buckets_or_cached_latents() {
    let server = Bench::new().start().await;
    let mut request = train("lora", "10").await;
    request["enableBucket"] = json!(false);
    let task = started(&server, request.clone()).await;
    let reason = server.failed(&task).await;
    assert!(reason.starts_with("`fileUrlList[0]`: ") && reason.contains("is 6x4 pixels"), "{reason}");
    request["taskId"] = json!("kept");
    request["cacheLatents"] = json!(true);
    let task = started(&server, request).await;
    assert!(server.failed(&task).await.starts_with("no training engine configured"));
}
