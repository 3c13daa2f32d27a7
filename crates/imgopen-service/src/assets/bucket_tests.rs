//! Files in a bucket of a real server, which fails in the ways that servers do.

#[path = "../../tests/common/s3.rs"]
mod s3;

use axum::http::StatusCode;
use futures_util::TryStreamExt;
use imgopen_engine::Format;
use imgopen_store::{Note, SqliteStore};
use tokio::task::JoinHandle;

use super::tests::{handed_back, keep_one};
use super::*;
use crate::settings::Secret;
use s3::{COPIES, Held, KEY, Refusal, Server, Way};

/// The settings of a bucket, with a prefix.
fn settings(server: &Server, prefix: &str) -> StorageSettings {
    StorageSettings {
        url: Some(format!("s3://{}/{prefix}", s3::BUCKET)),
        endpoint: Some(server.endpoint.clone()),
        access_key_id: Some(KEY.0.to_owned()),
        secret_access_key: Some(Secret::new(KEY.1)),
        ..StorageSettings::default()
    }
}

/// A new database with these settings.
fn database(settings: &StorageSettings) -> (Assets, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    (opened(settings, Arc::new(SqliteStore::open(data.path()).unwrap())), data)
}

fn opened(settings: &StorageSettings, store: Arc<dyn Store>) -> Assets {
    Assets::in_bucket(settings, store, false).unwrap().unwrap()
}

/// One of several processes with the same database.
fn member(settings: &StorageSettings, store: Arc<dyn Store>) -> Assets {
    Assets::in_bucket(settings, store, true).unwrap().unwrap()
}

fn picture(bytes: &[u8]) -> Picture {
    Picture { bytes: bytes.to_vec().into(), format: Format::Png, width: 1, height: 1, seed: None }
}

async fn read(assets: &Assets, token: &AssetToken, range: Range<u64>, expected: u64) -> Vec<u8> {
    let stream = assets.stream(token, range, expected).await.unwrap();
    stream.try_fold(Vec::new(), |all, part| async move { Ok([&all[..], &part[..]].concat()) }).await.unwrap()
}

fn problem<T>(outcome: Result<T, AssetError>) -> String {
    match outcome.map(drop) {
        Err(error @ AssetError::Bucket { .. }) => {
            let text = error.to_string();
            assert!(text.starts_with("the bucket s3://pictures/") && !text.contains(KEY.1), "{text}");
            text
        }
        other => panic!("{other:?}"),
    }
}

fn refusal(outcome: Result<(), AssetError>) -> String {
    match outcome {
        Err(error @ AssetError::Foreign { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn files_are_written_read_and_deleted() {
    let server = Server::start().await;
    let (assets, _data) = database(&settings(&server, "a/b"));
    let run = RunId::new().unwrap();
    let token = assets.put(&run, &picture(b"0123456789"), &[], None).await.unwrap().token;
    assert_eq!(server.objects("a/b"), [path(&server.bucket().join("a/b"), &token)]);
    assert_eq!(read(&assets, &token, 0..10, 10).await, b"0123456789");
    assert_eq!(read(&assets, &token, 3..5, 10).await, b"34");
    assert!(matches!(assets.stream(&token, 0..1, 9).await.err(), Some(AssetError::Damaged { found: 10, expected: 9 })));
    // Beyond its end.
    let cut = assets.stream(&token, 10..11, 11).await.err();
    assert!(matches!(cut, Some(AssetError::Damaged { found: 10, expected: 11 })), "{cut:?}");
    assert_eq!(assets.some_names(9).await.unwrap(), std::slice::from_ref(&token));
    let missing = AssetToken::new(&run, "png").unwrap();
    assert!(matches!(assets.stream(&missing, 0..1, 1).await.err(), Some(AssetError::Lost)));
    // One that does not exist is not an error.
    let (deleted, error) = assets.delete_each([&token, &missing]).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!((deleted, server.objects("a/b").len()), (vec![token, missing], 0));
}

#[tokio::test]
async fn a_bucket_is_tried_out_and_left_as_it_is() {
    let server = Server::start().await;
    let wanted = settings(&server, "a");
    // Its pictures are elsewhere, in a directory that it knows.
    let (_, data) = database(&wanted);
    let store = SqliteStore::open(data.path()).unwrap();
    store.set_note(Note::Pictures, 7).await.unwrap();
    let (assets, _data) = database(&wanted);
    assets.try_out(&store).await.unwrap();
    for name in ["imgopen-mark", "imgopen-probe"] {
        assert!(!server.bucket().join("a").join(name).exists(), "{name}");
    }
    assert_eq!(store.note(Note::Pictures).await.unwrap(), Some(7));
    let wrong = StorageSettings { secret_access_key: Some(Secret::new("wrong")), ..wanted.clone() };
    let (refused, _data) = database(&wrong);
    assert!(matches!(refused.try_out(&store).await, Err(AssetError::Bucket { .. })));
    // What another database has taken, it does not get.
    assets.settle().await.unwrap();
    let text = refusal(assets.try_out(&store).await);
    assert!(text.contains("bears the mark of another database"), "{text}");
}

#[tokio::test]
async fn only_files_of_a_run_that_are_not_assets_are_its_orphans() {
    let server = Server::start().await;
    let (assets, _data) = database(&settings(&server, "a"));
    let kept = keep_one(&assets, &picture(b"kept")).await;
    let (run, other) = (RunId(kept.run().unwrap().to_owned()), handed_back(&assets).await);
    let unknown = RunId::new().unwrap();
    for run in [&run, &run, &other, &unknown] {
        assets.put(run, &picture(b"x"), &[], None).await.unwrap();
    }
    // Another service has its files below ours.
    let shelf = server.bucket().join("a").join(&run.as_str()[..2]);
    let below = path(&shelf, &AssetToken::new(&run, "png").unwrap());
    std::fs::create_dir_all(below.parent().unwrap()).unwrap();
    std::fs::write(&below, "x").unwrap();
    assert_eq!(assets.delete_orphans(&run).await.unwrap(), 2);
    assert!(below.exists());
    assert_eq!(read(&assets, &kept, 0..4, 4).await, b"kept");
    assert_eq!(assets.delete_orphans(&other).await.unwrap(), 1);
    assert_eq!(assets.delete_orphans(&unknown).await.unwrap(), 0);
    // The one that is kept, the unknown one, and the other service's are left.
    assert_eq!(server.objects("a").iter().filter(|path| path.is_file()).count(), 2);
}

/// What it has kept is found and deleted again, by the same proof.
#[tokio::test]
async fn a_bucket_that_lies_about_a_deletion_is_asked_again() {
    let server = Server::start().await;
    let (assets, _data) = database(&settings(&server, "a"));
    let kept = keep_one(&assets, &picture(b"kept")).await;
    let run = RunId(kept.run().unwrap().to_owned());
    let left = assets.put(&run, &picture(b"left"), &[], None).await.unwrap().token;
    server.refuse(Box::leak(left.0.clone().into_boxed_str()), Refusal::Status(StatusCode::OK, "Done"));
    assert_eq!(assets.delete(vec![left.clone()]).await.unwrap().deleted, 1);
    assert!(assets.store.expired_files(None, 9).await.unwrap().is_empty());
    server.accept();
    let listed = assets.page(&run.as_str()[..2], None, 9).await.unwrap();
    assert_eq!(listed.len(), 2);
    let unaccounted = assets.store.unaccounted_files(listed).await.unwrap();
    assert_eq!(unaccounted, std::slice::from_ref(&left));
    assert_eq!(assets.delete(unaccounted).await.unwrap().deleted, 1);
    assert_eq!(server.objects("a"), [path(&server.bucket().join("a"), &kept)]);
}

#[tokio::test]
async fn objects_are_listed_page_by_page() {
    let server = Server::start().await;
    let (assets, _data) = database(&settings(&server, "a"));
    let mut tokens = Vec::new();
    for _ in 0..5 {
        let run = RunId("0a".repeat(16));
        tokens.push(assets.put(&run, &picture(b"x"), &[], None).await.unwrap().token);
    }
    tokens.sort();
    assert_eq!(assets.shelves().await.unwrap(), ["0a"]);
    for (after, most, expected) in
        [(None, 9, 0..5), (None, 2, 0..2), (Some(1), 2, 2..4), (Some(3), 2, 4..5), (Some(4), 2, 5..5)]
    {
        let after = after.map(|index: usize| &tokens[index]);
        assert_eq!(assets.page("0a", after, most).await.unwrap(), tokens[expected]);
    }
}

#[tokio::test]
async fn a_large_file_is_sent_in_parts() {
    let server = Server::start().await;
    let (assets, data) = database(&settings(&server, "a"));
    let (run, size) = (RunId::new().unwrap(), 20 << 20);
    let bytes: Vec<u8> = (0..size).map(|index: u32| (index / 7) as u8).collect();
    let file = OutputFile { name: "my lora.safetensors".to_owned(), path: data.path().join("lora") };
    std::fs::write(&file.path, &bytes).unwrap();
    let asset = assets.put_file(&run, &file, None).await.unwrap();
    assert_eq!((asset.bytes, asset.name.as_deref()), (u64::from(size), Some("my lora.safetensors")));
    assert_eq!(std::fs::read(&server.objects("a")[0]).unwrap(), bytes);
    assert_eq!(read(&assets, &asset.token, (9 << 20)..(9 << 20) + 9, asset.bytes).await, bytes[9 << 20..][..9]);
    assert_eq!(server.parts(), 0);
    // A small one, and an empty one.
    for bytes in [&b"small"[..], b""] {
        std::fs::write(&file.path, bytes).unwrap();
        let asset = assets.put_file(&run, &file, None).await.unwrap();
        assert_eq!(read(&assets, &asset.token, 0..asset.bytes, bytes.len() as u64).await, bytes);
    }
}

#[tokio::test]
async fn an_upload_that_fails_or_is_dropped_is_aborted() {
    let server = Server::start().await;
    let (assets, data) = database(&settings(&server, "a"));
    assets.settle().await.unwrap();
    let file = OutputFile { name: "a.bin".to_owned(), path: data.path().join("a") };
    std::fs::write(&file.path, vec![7; 20 << 20]).unwrap();
    let run = RunId::new().unwrap();
    server.refuse("partNumber=2", Refusal::Status(StatusCode::FORBIDDEN, "AccessDenied"));
    let refused = problem(assets.put_file(&run, &file, None).await);
    assert!(
        refused.contains("status 403, AccessDenied: by the test; the access key needs the permissions"),
        "{refused}"
    );
    assert_eq!((server.parts(), server.objects("a").len()), (0, 0));
    server.refuse("partNumber=2", Refusal::Silence);
    let upload = tokio::spawn({
        let assets = assets.clone();
        async move { assets.put_file(&run, &file, None).await.is_ok() }
    });
    while server.parts() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    upload.abort();
    while server.parts() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.objects("a").len(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_bucket_is_named() {
    let server = Server::start().await;
    let right = settings(&server, "a");
    let wrong_secret = StorageSettings { secret_access_key: Some(Secret::new("wrong")), ..right.clone() };
    let text = problem(database(&wrong_secret).0.settle().await);
    assert!(text.contains("SignatureDoesNotMatch") && text.ends_with("the secret is wrong; correct it"), "{text}");
    let wrong_key = StorageSettings { access_key_id: Some("other".to_owned()), ..right.clone() };
    let text = problem(database(&wrong_key).0.settle().await);
    assert!(text.ends_with("correct `storage.access_key_id` and its secret"), "{text}");
    // Nothing listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = StorageSettings { endpoint: Some(format!("http://{closed}")), ..right.clone() };
    let text = problem(database(&away).0.settle().await);
    assert!(text.contains("the server cannot be reached: ") && text.contains("refused"), "{text}");
    let (assets, _data) = database(&right);
    assets.settle().await.unwrap();
    let run = RunId::new().unwrap();
    server.refuse("a/", Refusal::Status(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"));
    let text = problem(assets.put(&run, &picture(b"x"), &[], None).await);
    assert!(text.contains("status 503, SlowDown: by the test; the server is away or has too much to do"), "{text}");
    server.accept();
    server.go(Way::Drop);
    let text = problem(assets.probe().await);
    assert!(text.contains("the connection broke: "), "{text}");
    server.go(Way::Pass);
    assets.probe().await.unwrap();
    std::fs::remove_dir_all(server.bucket()).unwrap();
    let text = problem(database(&right).0.settle().await);
    assert!(text.contains("there is no such bucket; make it, or correct `storage.url`"), "{text}");
}

/// The clock of the test jumps to the limits, since nothing else goes on.
#[tokio::test(start_paused = true)]
async fn a_silent_server_is_not_waited_for() {
    let server = Server::start().await;
    server.go(Way::Stall);
    let right = settings(&server, "a");
    let bucket = Bucket::open(&right, right.location().unwrap().unwrap(), right.endpoint.as_deref()).unwrap();
    let token = AssetToken::new(&RunId::new().unwrap(), "png").unwrap();
    let text = problem(bucket.size(&token).await);
    assert!(text.contains("check the server at `storage.endpoint`, and the network"), "{text}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let server = Server::start().await;
    let (assets, _data) = database(&settings(&server, "a"));
    let bytes: Vec<u8> = (0..300_000).map(|index: u32| (index / 3) as u8).collect();
    let token = assets.put(&RunId::new().unwrap(), &picture(&bytes), &[], None).await.unwrap().token;
    server.go(Way::Cut(120_000));
    assert_eq!(read(&assets, &token, 0..300_000, 300_000).await, bytes);
}

#[tokio::test]
async fn two_services_share_a_bucket_by_their_prefixes() {
    let server = Server::start().await;
    let ((one, _first), (two, _second)) = (database(&settings(&server, "one")), database(&settings(&server, "two")));
    let (kept, other) = (keep_one(&one, &picture(b"kept")).await, keep_one(&two, &picture(b"kept")).await);
    assert_eq!(one.some_names(9).await.unwrap(), std::slice::from_ref(&kept));
    assert!(matches!(one.stream(&other, 0..4, 4).await.err(), Some(AssetError::Lost)));
    assert_eq!(one.delete_each([&other]).await.0, std::slice::from_ref(&other));
    assert_eq!(read(&two, &other, 0..4, 4).await, b"kept");
    // The whole bucket holds the objects of both.
    let (whole, _data) = database(&settings(&server, ""));
    let text = refusal(whole.settle().await);
    assert!(text.contains("s3://pictures has no mark, and objects that the database does not know; give"), "{text}");
}

#[tokio::test]
async fn a_prefix_is_known_by_its_mark() {
    let server = Server::start().await;
    let right = settings(&server, "a");
    let (assets, _data) = database(&right);
    keep_one(&assets, &picture(b"kept")).await;
    let mark = server.bucket().join("a/imgopen-mark");
    let noted = assets.store.note(Note::Pictures).await.unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), format!("{noted:016x}\n"));
    let reopened = || opened(&right, assets.store.clone());
    reopened().settle().await.unwrap();
    // Another database does not take it.
    let text = refusal(database(&right).0.settle().await);
    assert!(
        text.starts_with("s3://pictures/a bears the mark of another database; give `storage.url` a prefix"),
        "{text}"
    );
    // Without a mark, it is known by its files, and gets a new one.
    std::fs::remove_file(&mark).unwrap();
    assert!(!reopened().is_here().await);
    reopened().settle().await.unwrap();
    let renewed = assets.store.note(Note::Pictures).await.unwrap().unwrap();
    assert!(renewed != noted && std::fs::read_to_string(&mark).unwrap() == format!("{renewed:016x}\n"));
    // A database with pictures does not take an empty one.
    let moved = opened(&settings(&server, "empty"), assets.store.clone());
    let text = refusal(moved.settle().await);
    assert!(text.starts_with("s3://pictures/empty is empty, but the database has pictures; correct"), "{text}");
    let (_, order) = text.rsplit_once("s3://pictures/").unwrap();
    std::fs::create_dir_all(server.bucket().join("empty")).unwrap();
    std::fs::write(server.bucket().join(order), "").unwrap();
    moved.settle().await.unwrap();
    assert!(moved.is_here().await && !server.bucket().join(order).exists());
    // What is no mark is not overwritten.
    std::fs::write(&mark, "mine").unwrap();
    let text = problem(reopened().settle().await);
    assert!(text.contains("its object `imgopen-mark` is not a mark; give another prefix"), "{text}");
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "mine");
}

/// Nobody has pictures yet, or all have expired.
#[tokio::test]
async fn no_process_takes_another_prefix_than_the_others() {
    let server = Server::start().await;
    let (right, wrong) = (settings(&server, "right"), settings(&server, "wrong"));
    let data = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(data.path()).unwrap());
    let first = member(&right, store.clone());
    first.settle().await.unwrap();
    let noted = store.note(Note::Pictures).await.unwrap();
    let strange = member(&wrong, store.clone());
    let text = refusal(strange.settle().await);
    assert!(text.starts_with("s3://pictures/wrong is empty and has no mark, but another process"), "{text}");
    assert!(text.contains("correct `storage.url`, which is the same for all processes"), "{text}");
    // The others go on as before.
    assert_eq!(store.note(Note::Pictures).await.unwrap(), noted);
    first.probe().await.unwrap();
    member(&right, store.clone()).settle().await.unwrap();
    // An operator may say that it is the right one.
    let (_, order) = text.rsplit_once("s3://pictures/").unwrap();
    std::fs::create_dir_all(server.bucket().join("wrong")).unwrap();
    std::fs::write(server.bucket().join(order), "").unwrap();
    strange.settle().await.unwrap();
    assert!(strange.is_here().await && !first.is_here().await);
    // A single process may change its prefix while nothing is lost.
    opened(&settings(&server, "third"), store).settle().await.unwrap();
}

/// All start with an empty database. One gives it the number, and those with another prefix are refused.
#[tokio::test]
async fn of_processes_that_start_at_once_with_different_prefixes_one_takes_its_own() {
    let server = Server::start().await;
    let data = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(data.path()).unwrap());
    let prefixes = ["one", "one", "one", "two", "two"];
    let members = prefixes.map(|prefix| member(&settings(&server, prefix), store.clone()));
    let settled = futures_util::future::join_all(members.iter().map(Assets::settle)).await;
    let marked = ["one", "two"].map(|prefix| server.bucket().join(prefix).join("imgopen-mark").exists());
    assert!(marked[0] != marked[1], "{marked:?}");
    for (prefix, outcome) in prefixes.iter().zip(settled) {
        assert_eq!(outcome.is_ok(), marked[usize::from(*prefix == "two")], "{prefix}: {outcome:?}");
    }
}

/// Has a process settle until the request after so many others is held back, or its answer. `None` if it is done with fewer.
async fn held(
    server: &Server,
    process: &Assets,
    others: usize,
    is_done: bool,
) -> Option<(JoinHandle<Result<(), AssetError>>, Held)> {
    let mut held = server.hold(others, is_done);
    let process = process.clone();
    let mut settling = tokio::spawn(async move { process.settle().await });
    tokio::select! {
        outcome = &mut settling => {
            outcome.unwrap().unwrap();
            None
        }
        () = held.reached() => Some((settling, held)),
    }
}

/// Has a process die while it settles, and two others settle at once afterwards. `false` if it is done with fewer requests.
async fn is_taken_up(server: &Server, prefix: &str, store: &Arc<dyn Store>, others: usize, is_done: bool) -> bool {
    let wanted = settings(server, prefix);
    let process = member(&wanted, store.clone());
    let Some((settling, held)) = held(server, &process, others, is_done).await else { return false };
    settling.abort();
    assert!(settling.await.is_err_and(|error| error.is_cancelled()));
    drop(held);
    let next = [(); 2].map(|()| member(&wanted, store.clone()));
    for outcome in futures_util::future::join_all(next.iter().map(Assets::settle)).await {
        assert!(outcome.is_ok(), "{prefix}: {outcome:?}");
    }
    is_marked(server, prefix, &**store).await;
    true
}

/// Checks that a prefix bears the number that the database has.
async fn is_marked(server: &Server, prefix: &str, store: &dyn Store) {
    let noted = store.note(Note::Pictures).await.unwrap().unwrap();
    let mark = std::fs::read_to_string(server.bucket().join(prefix).join("imgopen-mark")).unwrap();
    assert_eq!(mark, format!("{noted:016x}\n"), "{prefix}");
    assert!(!server.bucket().join(prefix).join(format!("imgopen-mark-{noted:016x}")).exists(), "{prefix}");
}

fn new_store() -> (Arc<dyn Store>, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    (Arc::new(SqliteStore::open(data.path()).unwrap()), data)
}

/// In front of each request and behind it. What the process asks the database comes in between.
#[tokio::test]
async fn a_first_start_is_taken_up_wherever_it_was_interrupted() {
    let server = Server::start().await;
    for others in 0.. {
        for is_done in [false, true] {
            let ((store, _data), prefix) = (new_store(), format!("{others}-{is_done}"));
            if !is_taken_up(&server, &prefix, &store, others, is_done).await {
                assert!(others > 6, "{others}");
                return;
            }
            // From then on, another prefix is refused, and so is this one without its mark.
            refusal(member(&settings(&server, &format!("{prefix}-other")), store.clone()).settle().await);
            std::fs::remove_dir_all(server.bucket().join(&prefix)).unwrap();
            refusal(member(&settings(&server, &prefix), store).settle().await);
        }
    }
}

/// Has a database that has a number take a prefix with the mark of another one. Returns the path of the prefix.
async fn ordered(server: &Server, prefix: &str, store: &dyn Store) -> std::path::PathBuf {
    store.set_note(Note::Pictures, 7).await.unwrap();
    let directory = server.bucket().join(prefix);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("imgopen-mark"), "0000000000000008\n").unwrap();
    std::fs::write(directory.join("imgopen-adopt-0000000000000007"), "").unwrap();
    directory
}

#[tokio::test]
async fn an_order_to_take_a_prefix_is_taken_up_wherever_that_was_interrupted() {
    let server = Server::start().await;
    for others in 0.. {
        for is_done in [false, true] {
            let ((store, _data), prefix) = (new_store(), format!("{others}-{is_done}"));
            ordered(&server, &prefix, &*store).await;
            if !is_taken_up(&server, &prefix, &store, others, is_done).await {
                assert!(others > 6, "{others}");
                return;
            }
            assert!(store.note(Note::Pictures).await.unwrap() > Some(8));
        }
    }
}

/// Without the check, the database would get a number of which no mark can be made.
#[tokio::test]
async fn a_prefix_is_not_taken_where_nothing_can_be_copied() {
    let server = Server::start().await;
    let (assets, _data) = database(&settings(&server, "a"));
    for answer in [Refusal::Status(StatusCode::FORBIDDEN, "AccessDenied"), Refusal::Nothing] {
        server.refuse(COPIES, answer);
        for outcome in [assets.settle().await, assets.try_out(&*assets.store).await] {
            let text = problem(outcome);
            assert!(
                text.contains("its mark is made by copying an object, which failed: the server answered"),
                "{text}"
            );
        }
        assert_eq!(assets.store.note(Note::Pictures).await.unwrap(), None);
        assert_eq!(std::fs::read_dir(server.bucket().join("a")).map_or(0, |objects| objects.count()), 0);
    }
    server.accept();
    assets.settle().await.unwrap();
    is_marked(&server, "a", &*assets.store).await;
}

/// As one that puts a copy off may do.
#[tokio::test]
async fn a_provisional_mark_stays_until_the_mark_is_there() {
    let server = Server::start().await;
    let (store, _data) = new_store();
    store.set_note(Note::Pictures, 7).await.unwrap();
    let directory = server.bucket().join("a");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("imgopen-mark-0000000000000007"), "0000000000000007\n").unwrap();
    let assets = member(&settings(&server, "a"), store.clone());
    server.refuse(COPIES, Refusal::Nothing);
    let text = problem(assets.settle().await);
    assert!(text.contains("its mark is not the one that was written"), "{text}");
    server.accept();
    assets.settle().await.unwrap();
    is_marked(&server, "a", &*store).await;
}

/// Neither between the number of the database and the mark, nor before the mark is completed.
#[tokio::test]
async fn a_prefix_that_another_process_takes_is_not_foreign() {
    let server = Server::start().await;
    let ((store, _data), wanted) = (new_store(), settings(&server, "a"));
    let directory = ordered(&server, "a", &*store).await;
    let process = member(&wanted, store.clone());
    let mut held = server.hold(0, false);
    let here = tokio::spawn({
        let process = process.clone();
        async move { process.is_here().await }
    });
    held.reached().await;
    member(&wanted, store.clone()).settle().await.unwrap();
    held.release();
    assert!(here.await.unwrap());
    let noted = store.note(Note::Pictures).await.unwrap().unwrap();
    std::fs::rename(directory.join("imgopen-mark"), directory.join(format!("imgopen-mark-{noted:016x}"))).unwrap();
    let token = AssetToken::new(&RunId::new().unwrap(), "png").unwrap();
    let (deleted, error) = process.delete_each([&token]).await;
    let text = problem(error.map_or(Ok(()), Err));
    assert!(deleted.is_empty() && text.contains("its mark is not completed yet"), "{text}");
    process.settle().await.unwrap();
    assert!(process.is_here().await);
}

/// It was interrupted before it removed the object of which its mark was made.
#[tokio::test]
async fn a_mark_is_not_replaced_by_that_of_a_database_that_had_the_prefix_before() {
    let server = Server::start().await;
    let (wanted, directory) = (settings(&server, "a"), server.bucket().join("a"));
    let ((first, _first), (second, _second)) = (database(&wanted), database(&wanted));
    first.settle().await.unwrap();
    let noted = first.store.note(Note::Pictures).await.unwrap().unwrap();
    std::fs::write(directory.join(format!("imgopen-mark-{noted:016x}")), format!("{noted:016x}\n")).unwrap();
    std::fs::write(directory.join("imgopen-adopt-0000000000000000"), "").unwrap();
    second.settle().await.unwrap();
    let text = refusal(opened(&wanted, first.store.clone()).settle().await);
    assert!(text.contains("bears the mark of another database"), "{text}");
    is_marked(&server, "a", &*second.store).await;
}

/// It goes on once another one has completed the mark, and maybe all objects were deleted after that.
#[tokio::test]
async fn a_process_that_stood_still_makes_no_mark_that_does_not_count_any_more() {
    let server = Server::start().await;
    for is_ordered in [false, true] {
        for others in 0.. {
            let mut is_held = true;
            for (is_done, is_emptied) in [(false, false), (false, true), (true, false), (true, true)] {
                let ((store, _data), prefix) = (new_store(), format!("{is_ordered}-{others}-{is_done}-{is_emptied}"));
                if is_ordered {
                    ordered(&server, &prefix, &*store).await;
                }
                let wanted = settings(&server, &prefix);
                let slow = member(&wanted, store.clone());
                let Some((settling, held)) = held(&server, &slow, others, is_done).await else {
                    is_held = false;
                    break;
                };
                member(&wanted, store.clone()).settle().await.unwrap();
                let noted = store.note(Note::Pictures).await.unwrap();
                if is_emptied {
                    std::fs::remove_dir_all(server.bucket().join(&prefix)).unwrap();
                }
                held.release();
                let outcome = settling.await.unwrap();
                assert_eq!(store.note(Note::Pictures).await.unwrap(), noted);
                if is_emptied {
                    refusal(member(&wanted, store).settle().await);
                    assert!(!server.bucket().join(&prefix).join("imgopen-mark").exists(), "{prefix}");
                } else {
                    assert!(outcome.is_ok(), "{prefix}: {outcome:?}");
                    is_marked(&server, &prefix, &*store).await;
                }
            }
            if !is_held {
                assert!(others > 6, "{others}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn processes_that_are_ordered_at_once_to_take_a_prefix_agree() {
    let server = Server::start().await;
    let (store, _data) = new_store();
    let directory = server.bucket().join("a");
    std::fs::create_dir_all(&directory).unwrap();
    store.set_note(Note::Pictures, 7).await.unwrap();
    std::fs::write(directory.join("imgopen-adopt-0000000000000007"), "").unwrap();
    let members = [(); 4].map(|()| member(&settings(&server, "a"), store.clone()));
    for outcome in futures_util::future::join_all(members.iter().map(Assets::settle)).await {
        assert!(outcome.is_ok(), "{outcome:?}");
    }
    is_marked(&server, "a", &*store).await;
    for member in &members {
        assert!(member.is_here().await);
    }
}

#[tokio::test]
async fn nothing_counts_as_deleted_in_another_place() {
    let server = Server::start().await;
    let (assets, _data) = database(&settings(&server, "a"));
    let kept = keep_one(&assets, &picture(b"kept")).await;
    let (here, away) = (server.bucket().join("a"), server.bucket().join("away"));
    std::fs::rename(&here, &away).unwrap();
    let (deleted, error) = assets.delete_each([&kept]).await;
    assert!(deleted.is_empty() && matches!(error, Some(AssetError::Foreign { .. })), "{error:?}");
    let run = RunId(kept.run().unwrap().to_owned());
    assert!(assets.delete_orphans(&run).await.is_err_and(|error| error.is_away()));
    assert!(assets.stream(&kept, 0..4, 4).await.is_err_and(|error| error.is_away()));
    std::fs::rename(&away, &here).unwrap();
    assert_eq!(read(&assets, &kept, 0..4, 4).await, b"kept");
}

#[tokio::test]
async fn an_address_is_handed_out_for_half_its_time() {
    let server = Server::start().await;
    let (endpoint, direct) = (Some(server.endpoint.clone()), Some(server.direct.clone()));
    let redirected = StorageSettings {
        endpoint,
        public_endpoint: direct,
        serve: Serving::Redirect,
        redirect_for: Duration::from_secs(100),
        ..settings(&server, "a")
    };
    let (assets, _data) = database(&redirected);
    let kept = keep_one(&assets, &picture(b"kept")).await;
    let link = async || assets.link(&kept, 4).await.unwrap().unwrap();
    let first = link().await;
    assert!(first.url.starts_with(&format!("{}/pictures/a/", server.direct)), "{first:?}");
    assert!(first.url.contains("X-Amz-Expires=100&") && !first.url.contains(KEY.1), "{first:?}");
    assert_eq!((link().await.url, first.fresh_for.as_secs()), (first.url, 50));
    assert!(matches!(assets.link(&kept, 5).await.map(drop), Ok(())), "it is kept");
    let missing = AssetToken::new(&RunId::new().unwrap(), "png").unwrap();
    assert!(matches!(assets.link(&missing, 4).await.map(drop), Err(AssetError::Lost)));
    assert!(database(&settings(&server, "b")).0.link(&kept, 4).await.unwrap().is_none());
}
