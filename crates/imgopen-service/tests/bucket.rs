//! Results in a bucket, over HTTP: submit, download, redirect, expiry, and a bucket that is away for a while.

use std::path::PathBuf;
use std::time::Duration;

use imgopen_engine::{Format, Output, Picture};
use imgopen_service::backups::{BackupOptions, RestoreOptions, backup, restore};
use imgopen_service::doctor::{Report, examine, examine_shared};
use imgopen_service::{Clock, Moment, Secret, Serving, StorageSettings};
use imgopen_types::operations;
use reqwest::Response;
use serde_json::json;

use crate::common::engines::{Own, dot, dot_picture};
use crate::common::s3::{self, BUCKET, KEY, Way};
use crate::common::{Answer, Bench, Server, enlarge, http, is_left_out_on_postgres, is_on_postgres, until};

/// The prefix of the service.
pub const PREFIX: &str = "imgopen";

pub fn storage(bucket: &s3::Server) -> StorageSettings {
    StorageSettings {
        url: Some(format!("s3://{BUCKET}/{PREFIX}")),
        endpoint: Some(bucket.endpoint.clone()),
        access_key_id: Some(KEY.0.to_owned()),
        secret_access_key: Some(Secret::new(KEY.1)),
        ..StorageSettings::default()
    }
}

/// What a service is started from whose engine makes a dot.
fn bench(bucket: &s3::Server) -> Bench {
    let engine = Own::new(&operations::ENLARGE_IMAGE, |_, _| async { Ok(dot()) });
    Bench::new().engines(vec![engine]).with(|settings| settings.storage = storage(bucket))
}

/// Makes a picture, and returns its URL.
pub async fn drawn(server: &Server, id: &str) -> String {
    let task = server.submitted("enlarge_image", enlarge(id)).await;
    let row = server.reached(&task, "succeeded").await;
    row["outputImageUrlList"][0].as_str().unwrap().to_owned()
}

async fn got(server: &Server, url: &str, headers: &[(&str, &str)]) -> Response {
    let request = headers.iter().fold(server.get(url), |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// Returns the path of a URL, which is the same after a restart.
fn path(url: &str) -> String {
    format!("/assets/{}", url.rsplit('/').next().unwrap())
}

async fn deleted(bucket: &s3::Server) {
    until("the object is deleted", || async { bucket.objects(PREFIX).is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn a_picture_is_kept_in_a_bucket_until_it_expires() {
    let bucket = s3::Server::start().await;
    let bench = bench(&bucket).at("2026-01-10T00:00:00Z");
    let bench = bench.with(|settings| settings.assets.lifetime = Some(Duration::from_secs(100)));
    let server = bench.start().await;
    let url = drawn(&server, "mine").await;
    assert!(url.starts_with(&format!("{}/assets/", server.url)), "{url}");
    let (whole, begin) = (dot_picture().bytes, server.clock().now());
    assert_eq!(std::fs::read(&bucket.objects(PREFIX)[0]).unwrap(), whole);
    assert!(!server.data_dir().join("assets").exists());
    let picture = got(&server, &url, &[]).await;
    assert_eq!((picture.status().as_u16(), header(&picture, "content-type")), (200, "image/png"));
    assert_eq!(header(&picture, "cache-control"), "private, max-age=100, immutable");
    let tag = header(&picture, "etag").to_owned();
    assert_eq!(picture.bytes().await.unwrap(), whole);
    let part = got(&server, &url, &[("range", "bytes=4-9")]).await;
    assert_eq!((part.status().as_u16(), part.bytes().await.unwrap()), (206, whole.slice(4..10)));
    assert_eq!(got(&server, &url, &[("if-none-match", &tag)]).await.status(), 304);
    Answer::of(got(&server, &url, &[("range", "bytes=99999-")]).await).await.refused(416);

    server.clock().set(Moment(begin.0 + 100_000));
    Answer::of(got(&server, &url, &[]).await).await.refused(410);
    // The service deletes expired files at its start.
    let server = server.stop().await.start().await;
    deleted(&bucket).await;
    Answer::of(got(&server, &path(&url), &[]).await).await.refused(410);
    let metrics = got(&server, "/metrics", &[]).await.text().await.unwrap();
    assert!(metrics.contains("imgopen_assets_bytes 0\n"), "{metrics}");
}

/// Some are written at once.
#[tokio::test]
async fn pictures_of_a_task_stay_in_their_order() {
    let bucket = s3::Server::start().await;
    let picture = |width| {
        let image = image::DynamicImage::new_rgb8(width, 2);
        let bytes = imgopen_picture::encode(&image, Format::Png, &Default::default()).unwrap();
        Picture { bytes, format: Format::Png, width, height: 2, seed: None }
    };
    let made: Vec<_> = (1..=6).map(picture).collect();
    let pictures = made.clone();
    let engine = Own::new(&operations::ENLARGE_IMAGE, move |_, _| {
        let output = Output { pictures: pictures.clone(), ..Output::default() };
        async move { Ok(output) }
    });
    let bench = Bench::new().engines(vec![engine]).with(|settings| settings.storage = storage(&bucket));
    let server = bench.start().await;
    let task = server.submitted("enlarge_image", enlarge("mine")).await;
    let row = server.reached(&task, "succeeded").await;
    let urls = row["outputImageUrlList"].as_array().unwrap();
    assert_eq!(urls.len(), made.len());
    for (url, picture) in urls.iter().zip(&made) {
        assert_eq!(got(&server, url.as_str().unwrap(), &[]).await.bytes().await.unwrap(), picture.bytes);
    }
}

#[tokio::test]
async fn callers_are_redirected_to_a_signed_address() {
    let bucket = s3::Server::start().await;
    let bench = bench(&bucket).at("2026-01-10T00:00:00Z").with(|settings| {
        settings.assets.lifetime = Some(Duration::from_secs(1000));
        settings.storage.serve = Serving::Redirect;
        settings.storage.public_endpoint = Some(bucket.direct.clone());
    });
    let server = bench.start().await;
    let url = drawn(&server, "mine").await;
    let (whole, begin) = (dot_picture().bytes, server.clock().now());
    let redirect = got(&server, &url, &[]).await;
    assert_eq!((redirect.status().as_u16(), header(&redirect, "cache-control")), (302, "private, max-age=300"));
    let address = header(&redirect, "location").to_owned();
    assert!(address.starts_with(&format!("{}/{BUCKET}/{PREFIX}/", bucket.direct)), "{address}");
    // It repeats, so that caches know it.
    assert_eq!(header(&got(&server, &url, &[]).await, "location"), address);
    let picture = http().get(&address).send().await.unwrap();
    assert_eq!((picture.status().as_u16(), header(&picture, "content-type")), (200, "image/png"));
    assert_eq!(picture.bytes().await.unwrap(), whole);
    let part = http().get(&address).header("range", "bytes=4-9").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.bytes().await.unwrap()), (206, whole.slice(4..10)));
    let forged = address.replace("X-Amz-Expires=600", "X-Amz-Expires=601");
    assert_eq!(http().get(&forged).send().await.unwrap().status(), 403);

    let token = url.rsplit('/').next().unwrap();
    let known = got(&server, &url, &[("if-none-match", &format!("\"{token}\""))]).await;
    assert_eq!(known.status(), 304);
    // An address is signed for one method.
    let head = http().head(&url).send().await.unwrap();
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, whole.len().to_string().as_str()));
    // The redirect is not kept longer than the picture.
    server.clock().set(Moment(begin.0 + 960_000));
    assert_eq!(header(&got(&server, &url, &[]).await, "cache-control"), "private, max-age=40");
    server.clock().set(Moment(begin.0 + 1_000_000));
    Answer::of(got(&server, &url, &[]).await).await.refused(410);
}

#[tokio::test]
async fn a_lost_object_is_not_redirected_to() {
    let bucket = s3::Server::start().await;
    let server = bench(&bucket).with(|settings| settings.storage.serve = Serving::Redirect).start().await;
    let (one, two) = (drawn(&server, "1").await, drawn(&server, "2").await);
    let object = |url: &str| -> PathBuf {
        let token = url.rsplit('/').next().unwrap();
        bucket.bucket().join(PREFIX).join(&token[..2]).join(token)
    };
    std::fs::remove_file(object(&one)).unwrap();
    assert!(Answer::of(got(&server, &one, &[]).await).await.refused(410).contains("lost"));
    std::fs::write(object(&two), "cut").unwrap();
    Answer::of(got(&server, &two, &[]).await).await.refused(500);
}

/// A bucket that is away is a fault of the server: tasks wait for it, and further ones are not accepted.
#[tokio::test]
async fn tasks_wait_for_a_bucket_that_is_away() {
    let bucket = s3::Server::start().await;
    let server = bench(&bucket).start().await;
    let before = drawn(&server, "before").await;
    bucket.go(Way::Drop);
    let task = server.submitted("enlarge_image", enlarge("mine")).await;
    let refused = until("submits are refused", || async {
        let answer = server.call("enlarge_image", enlarge("other")).await;
        (answer.status == 503).then_some(answer)
    });
    let refused = refused.await;
    let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    let msg = refused.refused(503);
    let unready = Answer::of(got(&server, "/readyz", &[]).await).await.refused(503);
    for msg in [msg, unready] {
        assert!(msg.contains("no picture can be written"), "{msg}");
        assert!(!msg.contains("s3://") && !msg.contains(&bucket.endpoint) && !msg.contains("127.0.0.1"), "{msg}");
    }
    assert!(Answer::of(got(&server, &before, &[]).await).await.refused(503).contains("at the moment"));
    let row = server.task(&task).await;
    assert!(["queued", "running"].contains(&row["state"].as_str().unwrap()), "{row}");
    bucket.go(Way::Pass);
    server.reached(&task, "succeeded").await;
    until("it is ready", || async { (got(&server, "/readyz", &[]).await.status() == 200).then_some(()) }).await;
    assert_eq!(got(&server, &before, &[]).await.status(), 200);
    drawn(&server, "after").await;
}

/// What needs no picture goes on, also if the bucket is away when the service starts.
#[tokio::test]
async fn a_service_starts_without_its_bucket() {
    let bucket = s3::Server::start().await;
    bucket.go(Way::Drop);
    let server = Bench::new().with(|settings| settings.storage = storage(&bucket)).start().await;
    let expand = json!({"businessTaskId": "mine", "mode": 0, "sourcePrompt": "a cat"});
    server.call("expand_prompt", expand).await.ok();
    server.call("enlarge_image", enlarge("mine")).await.refused(503);
    bucket.go(Way::Pass);
    let task = until("submits are accepted", || async {
        let answer = server.call("enlarge_image", enlarge("mine")).await;
        (answer.status == 200).then(|| crate::common::id(&answer.ok()))
    });
    server.reached(&task.await, "succeeded").await;
}

/// Objects of a run whose process was killed are deleted; any other may be one that another process is writing.
#[tokio::test]
async fn only_objects_of_orphaned_runs_are_deleted() {
    let bucket = s3::Server::start().await;
    let server = bench(&bucket).start().await;
    let url = drawn(&server, "mine").await;
    let token = url.rsplit('/').next().unwrap().to_owned();
    let run = &token[..32];
    let bench = server.stop().await;
    let shelf = bucket.bucket().join(PREFIX).join(&token[..2]);
    let (orphan, other) = (shelf.join(format!("{run}{:032x}.png", 7)), shelf.join(format!("{}00.png", &token[..31])));
    for object in [&orphan, &other] {
        std::fs::write(object, "half a picture").unwrap();
    }
    bench.orphan(run).await;
    let server = bench.start().await;
    until("the object is deleted", || async { (!orphan.exists()).then_some(()) }).await;
    assert!(other.exists());
    assert_eq!(got(&server, &path(&url), &[]).await.bytes().await.unwrap(), dot_picture().bytes);
}

async fn examined(bench: &Bench) -> Report {
    let (settings, clock) = (bench.all_settings().await, Clock::system());
    let examine = if is_on_postgres() { examine_shared } else { examine };
    tokio::task::spawn_blocking(move || examine(&settings, &clock)).await.unwrap()
}

/// Returns the problems that a check has found.
pub fn problems(report: &Report, check: &str) -> Vec<String> {
    let found =
        report.checks.iter().find(|(name, _)| *name == check).unwrap_or_else(|| panic!("no {check}: {report:?}"));
    found.1.iter().map(|finding| format!("{}; {}", finding.problem, finding.fix)).collect()
}

#[tokio::test]
async fn a_bucket_is_examined() {
    let bucket = s3::Server::start().await;
    let server = bench(&bucket).start().await;
    let (one, two) = (drawn(&server, "1").await, drawn(&server, "2").await);
    let mut bench = server.stop().await;
    let report = examined(&bench).await;
    assert_eq!((problems(&report, "bucket"), problems(&report, "pictures")), (Vec::new(), Vec::new()));
    assert_eq!(report.pictures.unwrap().rows, 2);
    // One is missing, one is cut, and one is of another database.
    let shelf = |token: &str| bucket.bucket().join(PREFIX).join(&token[..2]);
    let [one, two] = [one, two].map(|url| url.rsplit('/').next().unwrap().to_owned());
    std::fs::remove_file(shelf(&one).join(&one)).unwrap();
    std::fs::write(shelf(&two).join(&two), "cut").unwrap();
    let unknown = format!("{}.png", "0a".repeat(32));
    std::fs::create_dir_all(shelf(&unknown)).unwrap();
    std::fs::write(shelf(&unknown).join(&unknown), "other").unwrap();
    let report = examined(&bench).await;
    let pictures = report.pictures.clone().unwrap();
    let names =
        |tokens: &[imgopen_service::store::AssetToken]| tokens.iter().map(|one| one.0.clone()).collect::<Vec<_>>();
    assert_eq!((names(&pictures.missing), names(&pictures.damaged)), (vec![one], vec![two]));
    assert_eq!((names(&pictures.unknown), pictures.unknown_bytes), (vec![unknown.clone()], 5));
    assert_eq!(problems(&report, "pictures").len(), 3, "{report:?}");
    assert!(shelf(&unknown).join(&unknown).exists());
    bench.settings.storage.secret_access_key = Some(Secret::new("wrong"));
    let report = examined(&bench).await;
    let [problem] = &problems(&report, "bucket")[..] else { panic!("{report:?}") };
    assert!(
        problem.contains("the server answered with status 403") && problem.contains("the secret is wrong"),
        "{problem}"
    );
    assert!(!problem.contains(KEY.1), "{problem}");
}

#[tokio::test]
async fn a_backup_names_the_bucket_and_is_used_with_it() {
    if is_left_out_on_postgres("its own programs back it up") {
        return;
    }
    let bucket = s3::Server::start().await;
    let server = bench(&bucket).start().await;
    let url = drawn(&server, "mine").await;
    let mut bench = server.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let (copy, data, clock) = (folder.path().join("copy"), folder.path().join("data"), Clock::system());
    let named = bench.settings.storage.shown().unwrap();
    let options = BackupOptions { bucket: named.clone(), ..BackupOptions::default() };
    let made = backup(bench.data_dir.path(), &copy, options, &clock).unwrap();
    assert_eq!((made.bucket, made.pictures), (named, 0));
    // Without the name of the bucket, the pictures are missing.
    let missing = backup(bench.data_dir.path(), &folder.path().join("other"), BackupOptions::default(), &clock);
    assert!(missing.unwrap_err().to_string().ends_with("if pictures are in a bucket, name it with --storage"));
    let restored = restore(&copy, &data, RestoreOptions::default(), &clock).unwrap();
    assert_eq!((restored.missing, data.join("assets").exists()), (0, false));
    bench.settings.data_dir = data;
    let server = bench.start().await;
    assert_eq!(got(&server, &path(&url), &[]).await.bytes().await.unwrap(), dot_picture().bytes);
    drawn(&server, "other").await;
    assert_eq!(bucket.objects(PREFIX).len(), 2);
}
