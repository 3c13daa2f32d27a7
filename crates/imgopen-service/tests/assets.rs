//! Result pictures over HTTP, and their deletion.

use std::path::PathBuf;
use std::time::Duration;

use imgopen_engine::{Format, Output, Picture};
use imgopen_service::Moment;
use reqwest::Response;
use serde_json::json;

use crate::common::engines::{Own, dot, dot_picture};
use crate::common::{Answer, Bench, DEADLINE, Server, enlarge, is_on_postgres, until};

/// Starts a server with one picture; returns it with the picture's URL.
async fn with_picture(bench: Bench) -> (Server, String) {
    let engine = Own::new(&imgopen_types::operations::ENLARGE_IMAGE, |_, _| async { Ok(dot()) });
    let server = bench.engines(vec![engine]).start().await;
    let task = server.submitted("enlarge_image", enlarge("mine")).await;
    let row = server.reached(&task, "succeeded").await;
    let url = row["outputImageUrlList"][0].as_str().unwrap().to_owned();
    assert_eq!(server.tool("imgEnlarge", &task).await.ok()["outputImageUrl"], json!(url));
    (server, url)
}

async fn got(server: &Server, url: &str, headers: &[(&str, &str)]) -> Response {
    let request = headers.iter().fold(server.get(url), |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_picture_is_served_with_the_headers_of_a_cacheable_file() {
    let (server, url) = with_picture(Bench::new()).await;
    assert!(url.starts_with(&format!("{}/assets/", server.url)), "{url}");
    let picture = got(&server, &url, &[]).await;
    assert_eq!(picture.status(), 200);
    for (name, value) in [
        ("content-type", "image/png"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("cache-control", "private, max-age=31536000, immutable"),
    ] {
        assert_eq!(header(&picture, name), value, "{name}");
    }
    let (tag, length) = (header(&picture, "etag").to_owned(), header(&picture, "content-length").to_owned());
    let expected = dot_picture().bytes;
    assert_eq!((length.as_str(), picture.bytes().await.unwrap()), (expected.len().to_string().as_str(), expected));

    let head = reqwest::Client::new().head(&url).send().await.unwrap();
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, length.as_str()));
    assert_eq!((header(&head, "etag"), header(&head, "content-type")), (tag.as_str(), "image/png"));

    for tags in [tag.clone(), format!("\"other\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
        let same = got(&server, &url, &[("if-none-match", &tags)]).await;
        assert_eq!((same.status().as_u16(), header(&same, "etag")), (304, tag.as_str()), "{tags}");
        assert_eq!(header(&same, "cache-control"), "private, max-age=31536000, immutable");
        assert!(same.bytes().await.unwrap().is_empty());
    }
    let other = got(&server, &url, &[("if-none-match", "\"other\"")]).await;
    assert_eq!(other.status(), 200);
}

/// Notes are listed with the task and are in the PNG file; files of other formats, and those without notes, stay as they are.
#[tokio::test]
async fn notes_of_an_engine_reach_the_caller() {
    let jpeg =
        imgopen_picture::encode(&image::DynamicImage::new_rgb8(3, 2), Format::Jpeg, &Default::default()).unwrap();
    let jpeg = Picture { bytes: jpeg, format: Format::Jpeg, ..dot_picture() };
    let pictures = vec![dot_picture(), jpeg.clone()];
    let engine = Own::new(&imgopen_types::operations::ENLARGE_IMAGE, move |_, _| {
        let notes = vec!["`scale`: rounded to 2".to_owned(), "x".repeat(600)];
        let output = Output { pictures: pictures.clone(), notes, ..Output::default() };
        async move { Ok(output) }
    });
    let server = Bench::new().engines(vec![engine]).start().await;
    let task = server.submitted("enlarge_image", enlarge("mine")).await;
    let row = server.reached(&task, "succeeded").await;
    let cut = format!("{}…", "x".repeat(499));
    assert_eq!(row["notes"], json!(["`scale`: rounded to 2", cut]));
    // After a restart, too, with a file whose length is that of its row.
    let server = server.stop().await.start().await;
    assert_eq!(server.task(&task).await["notes"], row["notes"]);
    let file = |number: usize| {
        let url = row["outputImageUrlList"][number].as_str().unwrap();
        let path = url.split_once("/assets/").unwrap().1.to_owned();
        let server = &server;
        async move { got(server, &format!("/assets/{path}"), &[]).await.bytes().await.unwrap() }
    };
    let noted = file(0).await;
    assert_eq!(imgopen_picture::notes(&noted), Some(format!("`scale`: rounded to 2\n{cut}")));
    assert_eq!(image::load_from_memory(&noted).unwrap(), image::load_from_memory(&dot_picture().bytes).unwrap());
    assert_eq!(file(1).await, jpeg.bytes);
    assert!(server.tool("imgEnlarge", &task).await.ok().get("notes").is_none());
}

#[tokio::test]
async fn a_part_of_a_picture_is_served() {
    let (server, url) = with_picture(Bench::new()).await;
    let whole = dot_picture().bytes;
    let size = whole.len();
    let tag = header(&got(&server, &url, &[]).await, "etag").to_owned();
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=4-9", 4, 10),
        ("bytes=5-", 5, size),
        ("bytes=-7", size - 7, size),
        ("bytes=3-99999", 3, size),
        ("bytes=-99999", 0, size),
    ] {
        let part = got(&server, &url, &[("range", range)]).await;
        assert_eq!(part.status(), 206, "{range}");
        assert_eq!(header(&part, "content-range"), format!("bytes {start}-{}/{size}", end - 1), "{range}");
        assert_eq!((header(&part, "content-type"), header(&part, "etag")), ("image/png", tag.as_str()));
        assert_eq!(header(&part, "content-length"), (end - start).to_string(), "{range}");
        assert_eq!(part.bytes().await.unwrap(), whole[start..end], "{range}");
    }
    for range in ["bytes=99999-", "bytes=99999-100000"] {
        let part = got(&server, &url, &[("range", range)]).await;
        assert_eq!(header(&part, "content-range"), format!("bytes */{size}"));
        assert!(Answer::of(part).await.refused(416).contains(&format!("{size} bytes")));
    }
    // An invalid range, several ranges, or one of another picture are answered with the whole.
    for headers in [
        &[("range", "lines=1-2")] as &[(&str, &str)],
        &[("range", "bytes=zero")],
        &[("range", "bytes=0-1,4-5")],
        &[("range", "bytes=0-1"), ("if-range", "\"other\"")],
        &[("range", "bytes=0-1"), ("if-range", &format!("W/{tag}"))],
    ] {
        let part = got(&server, &url, headers).await;
        assert_eq!((part.status().as_u16(), part.bytes().await.unwrap().len()), (200, size), "{headers:?}");
    }
    let part = got(&server, &url, &[("range", "bytes=0-1"), ("if-range", &tag)]).await;
    assert_eq!(part.status(), 206);
}

#[tokio::test]
async fn an_unknown_picture_is_answered_with_the_envelope() {
    let server = Bench::new().start().await;
    for path in ["/assets/unknown.png", "/assets/..%2F..%2Fimgopen.sqlite3", "/assets/%00", "/previews/unknown.png"] {
        Answer::of(got(&server, path, &[]).await).await.refused(404);
    }
    for path in ["/assets/%ff%fe", "/previews/%ff"] {
        assert!(Answer::of(got(&server, path, &[]).await).await.refused(400).contains("UTF-8"));
    }
    let posted = reqwest::Client::new().post(format!("{}/assets/a.png", server.url)).send().await.unwrap();
    Answer::of(posted).await.refused(405);
}

#[tokio::test]
async fn an_expired_picture_is_deleted() {
    let bench = Bench::new().at("2026-01-10T00:00:00Z");
    let bench = bench.with(|settings| settings.assets.lifetime = Some(Duration::from_secs(100)));
    let (server, url) = with_picture(bench).await;
    let begin = server.clock().now();
    let files = |directory: &std::path::Path| {
        let directories = std::fs::read_dir(directory.join("assets")).unwrap();
        directories.map(|directory| std::fs::read_dir(directory.unwrap().path()).unwrap().count()).sum::<usize>()
    };
    server.clock().set(Moment(begin.0 + 60_000));
    assert_eq!(header(&got(&server, &url, &[]).await, "cache-control"), "private, max-age=40, immutable");
    server.clock().set(Moment(begin.0 + 99_999));
    assert_eq!(got(&server, &url, &[]).await.status(), 200);
    server.clock().set(Moment(begin.0 + 100_000));
    Answer::of(got(&server, &url, &[]).await).await.refused(410);
    assert_eq!(files(server.data_dir()), 1);

    // The service deletes expired files at its start.
    let path = url.strip_prefix(&server.url).unwrap().to_owned();
    let server = server.stop().await.start().await;
    until("the file is deleted", || async { (files(server.data_dir()) == 0).then_some(()) }).await;
    Answer::of(got(&server, &path, &[]).await).await.refused(410);
    let task = server.call("list_tasks", json!({})).await.ok()["rows"][0].clone();
    assert_eq!(task["state"], "succeeded");
    // Deleted pictures do not count.
    let metrics = got(&server, "/metrics", &[]).await.text().await.unwrap();
    assert!(metrics.contains("imgopen_assets_bytes 0\n"), "{metrics}");
}

/// Returns the file of a picture.
fn file(server: &Server, url: &str) -> PathBuf {
    let token = url.rsplit('/').next().unwrap();
    server.data_dir().join("assets").join(&token[..2]).join(token)
}

#[tokio::test]
async fn a_lost_picture_is_gone_until_it_is_put_back() {
    let (server, url) = with_picture(Bench::new()).await;
    let file = file(&server, &url);
    // The disk of the directory may come back.
    let away = server.data_dir().join("away");
    std::fs::rename(server.data_dir().join("assets"), &away).unwrap();
    let refused = Answer::of(got(&server, &url, &[]).await).await;
    assert_eq!(refused.headers["retry-after"], "5");
    assert!(refused.refused(503).contains("at the moment"));
    std::fs::rename(&away, server.data_dir().join("assets")).unwrap();
    assert_eq!(got(&server, &url, &[]).await.status(), 200);

    std::fs::rename(&file, &away).unwrap();
    for range in ["bytes=0-0", "none"] {
        let msg = Answer::of(got(&server, &url, &[("range", range)]).await).await.refused(410);
        assert!(msg.contains("lost"), "{msg}");
    }
    std::fs::rename(&away, &file).unwrap();
    assert_eq!(got(&server, &url, &[]).await.status(), 200);
}

/// A file that cannot be opened for now, as on a disk that does not answer: a pipe that nobody writes into.
#[cfg(unix)]
struct Hung(PathBuf);

#[cfg(unix)]
impl Hung {
    fn new(path: PathBuf) -> Self {
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self(path)
    }
}

/// Lets go of all who wait, also if the test fails; the runtime would wait for their threads.
#[cfg(unix)]
impl Drop for Hung {
    fn drop(&mut self) {
        // Opened for both, it waits for nobody. Those who come later find no file.
        let ends = std::fs::OpenOptions::new().read(true).write(true).open(&self.0).unwrap();
        std::fs::remove_file(&self.0).unwrap();
        std::mem::forget(ends);
    }
}

#[cfg(unix)]
#[test]
fn hung_pictures_leave_threads_to_the_database() {
    const THREADS: usize = 96;

    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(THREADS).enable_all().build().unwrap();
    runtime.block_on(async {
        let (server, url) = with_picture(Bench::new()).await;
        let hung = Hung::new(file(&server, &url));
        let reads = futures_util::future::join_all((0..2 * THREADS).map(|_| got(&server, &url, &[])));
        // Whatever reads the database is answered while all reads hang, and they are answered, too.
        let queries = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                server.call("list_tasks", json!({})).await.ok();
            }
        };
        let both = tokio::time::timeout(DEADLINE, async { tokio::join!(queries, reads) }).await;
        let ((), answers) = both.expect("the database or the pictures are not answered");
        for answer in answers {
            let answer = Answer::of(answer).await;
            assert_eq!(answer.headers["retry-after"], "5");
            assert!(answer.refused(503).contains("cannot be read at the moment"));
        }
        server.call("list_tasks", json!({})).await.ok();
        drop(hung);
        let after = until("the disk answers", || async {
            let answer = got(&server, &url, &[]).await;
            (answer.status() != 503).then_some(answer.status())
        });
        // The file itself is lost.
        assert_eq!(after.await, 410);
    });
}

#[tokio::test]
async fn a_damaged_picture_is_an_error_before_its_first_byte() {
    let (server, url) = with_picture(Bench::new()).await;
    let whole = dot_picture().bytes;
    for bytes in [&whole[..whole.len() - 1], &whole[..0], &[&whole[..], b"x"].concat()] {
        std::fs::write(file(&server, &url), bytes).unwrap();
        for range in ["none", "bytes=0-0", "bytes=-1"] {
            let answer = Answer::of(got(&server, &url, &[("range", range)]).await).await;
            answer.refused(500);
        }
    }
    // It can be restored.
    std::fs::write(file(&server, &url), &whole).unwrap();
    assert_eq!(got(&server, &url, &[]).await.bytes().await.unwrap(), whole);
}

/// Files of a run whose process was killed are deleted; any other file may be one that another process is writing.
#[tokio::test]
async fn only_files_of_orphaned_runs_are_deleted() {
    let (server, url) = with_picture(Bench::new()).await;
    let token = url.rsplit('/').next().unwrap().to_owned();
    let run = &token[..32];
    let bench = server.stop().await;
    let assets = bench.data_dir.path().join("assets");
    let home = assets.join(&token[..2]);
    let other = format!("{:032x}.png", 7);
    let orphans =
        [format!("{run}{other}"), format!("{run}{other}#1"), format!("{token}#2")].map(|name| home.join(name));
    // A run that differs in its last digit.
    let last = if run.ends_with('0') { '1' } else { '0' };
    let unknown = format!("{}{last}{other}", &token[..31]);
    let others = [
        home.join(&unknown),
        home.join(format!("{unknown}#1")),
        home.join(format!("{}00.png", &token[..31])),
        assets.join("stray.png"),
        assets.join("zz").join(&token),
    ];
    std::fs::create_dir_all(assets.join("zz")).unwrap();
    for file in orphans.iter().chain(&others) {
        std::fs::write(file, "half a picture").unwrap();
    }
    // A directory cannot be deleted like a file. It affects neither the other files nor the start.
    std::fs::create_dir(home.join(format!("{run}01.png#1"))).unwrap();
    // A partial file of a run that is not known to be orphaned may be one that is being written.
    let bench = bench.start().await.stop().await;
    assert!(orphans[1..].iter().chain(&others).all(|file| file.exists()));

    bench.orphan(run).await;
    let server = bench.start().await;
    let are_deleted = || orphans.iter().all(|orphan| !orphan.exists());
    if is_on_postgres() {
        until("they are deleted", || async { are_deleted().then_some(()) }).await;
    }
    // One process alone has deleted them before it begins.
    assert!(are_deleted(), "{orphans:?}");
    assert!(others.iter().all(|file| file.exists()));
    let picture = got(&server, &format!("/assets/{token}"), &[]).await;
    assert_eq!(picture.bytes().await.unwrap(), dot_picture().bytes);
}

/// A process that is killed between the mark in the row and the deletion leaves the file.
#[tokio::test]
async fn a_file_that_was_marked_is_deleted_by_the_next_start() {
    let bench = Bench::new().at("2026-01-10T00:00:00Z");
    let bench = bench.with(|settings| settings.assets.lifetime = Some(Duration::from_secs(100)));
    let (server, first) = with_picture(bench).await;
    let task = server.submitted("enlarge_image", enlarge("other")).await;
    server.reached(&task, "succeeded").await;
    let second = server.task(&task).await["outputImageUrlList"][0].as_str().unwrap().to_owned();
    let bench = server.stop().await;
    let store = bench.store().await;
    let token = store.expire_assets(Moment::parse("2026-01-11T00:00:00Z").unwrap(), 1).await.unwrap().remove(0).0;
    store.close().await.unwrap();
    let file = bench.data_dir.path().join("assets").join(&token[..2]).join(&token);
    assert!(file.exists());
    let server = bench.start().await;
    until("the file is deleted", || async { (!file.exists()).then_some(()) }).await;
    // The other one has not expired.
    let path = |url: &str| format!("/assets/{}", url.rsplit('/').next().unwrap());
    let (gone, other) = if first.ends_with(&token) { (&first, &second) } else { (&second, &first) };
    Answer::of(got(&server, &path(gone), &[]).await).await.refused(410);
    assert_eq!(got(&server, &path(other), &[]).await.status(), 200);
    assert_eq!(server.task(&task).await["state"], "succeeded");
}

/// A file that cannot be deleted stays listed for the next pass, and the others are deleted.
#[tokio::test]
async fn an_expired_file_that_cannot_be_deleted_does_not_keep_the_others() {
    let bench = Bench::new().at("2026-01-10T00:00:00Z");
    let bench = bench.with(|settings| settings.assets.lifetime = Some(Duration::from_secs(100)));
    let (server, first) = with_picture(bench).await;
    let task = server.submitted("enlarge_image", enlarge("other")).await;
    server.reached(&task, "succeeded").await;
    let second = server.task(&task).await["outputImageUrlList"][0].as_str().unwrap().to_owned();
    let path = |url: &str| {
        let token = url.rsplit('/').next().unwrap();
        server.data_dir().join("assets").join(&token[..2]).join(token)
    };
    // A directory cannot be deleted like a file.
    let (mut stuck, mut free) = (path(&first), path(&second));
    if stuck > free {
        std::mem::swap(&mut stuck, &mut free);
    }
    std::fs::remove_file(&stuck).unwrap();
    std::fs::create_dir(&stuck).unwrap();
    let end = Moment(server.clock().now().0 + 100_000);
    server.clock().set(end);
    let server = server.stop().await.start().await;
    until("the other is deleted", || async { (!free.exists()).then_some(()) }).await;
    for url in [&first, &second] {
        let path = format!("/assets/{}", url.rsplit('/').next().unwrap());
        Answer::of(got(&server, &path, &[]).await).await.refused(410);
    }
    assert!(stuck.exists());
    std::fs::remove_dir(&stuck).unwrap();
    std::fs::write(&stuck, "a file again").unwrap();
    let _server = server.stop().await.start().await;
    until("it is deleted later", || async { (!stuck.exists()).then_some(()) }).await;
}

#[tokio::test]
async fn urls_begin_with_the_public_address() {
    let bench = Bench::new().with(|settings| settings.public_url = Some("HTTPS://images.example.com/".to_owned()));
    let engine = Own::new(&imgopen_types::operations::ENLARGE_IMAGE, |_, _| async { Ok(dot()) });
    let service = bench.clone().engines(vec![engine]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = service.with(|settings| settings.listen = address).start().await;
    assert_eq!(server.url, "https://images.example.com");
    let health = server.get(&format!("http://{address}/healthz")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    server.stop().await;
}
