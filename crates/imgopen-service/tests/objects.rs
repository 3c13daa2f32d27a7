//! The objects of services that share a database and a bucket: what is deleted, what is kept, and what an examination finds.

use std::path::PathBuf;

use imgopen_service::Clock;
use imgopen_service::doctor::{PictureCounts, Report, examine_shared};
use imgopen_types::operations;

use crate::bucket::{PREFIX, drawn, problems, storage};
use crate::common::engines::{Own, dot, dot_picture};
use crate::common::{Bench, Server, s3, until};
use crate::fleet::{member, metrics};
use crate::server::{Fresh, empty};

/// A process on a database and a bucket whose engine makes a dot.
fn process(database: &Fresh, bucket: &s3::Server) -> Bench {
    let engine = Own::new(&operations::ENLARGE_IMAGE, |_, _| async { Ok(dot()) });
    member(&database.url(), engine).with(|settings| settings.storage = storage(bucket))
}

/// Makes a picture, and returns its token.
async fn token(server: &Server, id: &str) -> String {
    drawn(server, id).await.rsplit('/').next().unwrap().to_owned()
}

/// Returns the path of an object.
fn object(bucket: &s3::Server, token: &str) -> PathBuf {
    bucket.bucket().join(PREFIX).join(&token[..2]).join(token)
}

async fn examined(bench: &Bench) -> Report {
    let settings = bench.settings.clone();
    tokio::task::spawn_blocking(move || examine_shared(&settings, &Clock::system())).await.unwrap()
}

/// What a run has left that is known to be over is deleted. What the database does not know, as after an older one was restored, is
/// counted and kept.
#[tokio::test]
async fn objects_are_deleted_with_proof_alone() {
    let Some(database) = empty().await else { return };
    let bucket = s3::Server::start().await;
    let server = process(&database, &bucket).start().await;
    let (kept, forgotten) = (token(&server, "kept").await, token(&server, "forgotten").await);
    let bench = server.stop().await;
    let left = format!("{}{:032x}.png", &kept[..32], 7);
    std::fs::write(object(&bucket, &left), "left").unwrap();
    let client = database.client().await;
    let rows = ["DELETE FROM tasks WHERE caller_id = 'forgotten'", "DELETE FROM assets WHERE token = $1"];
    assert_eq!(client.execute(rows[0], &[]).await.unwrap(), 1);
    assert_eq!(client.execute(rows[1], &[&forgotten]).await.unwrap(), 1);
    let server = bench.start().await;
    until("the object of the run is deleted", || async { (!object(&bucket, &left).exists()).then_some(()) }).await;
    let lines = ["imgopen_assets_unknown 1\n", "imgopen_orphans_deleted_total 1\n", "imgopen_processes 1\n"];
    until("both are counted", || async {
        let text = metrics(&server).await;
        lines.iter().all(|line| text.contains(line)).then_some(())
    })
    .await;
    assert!(object(&bucket, &forgotten).exists());
    let picture = server.get(&format!("/assets/{kept}")).send().await.unwrap();
    assert_eq!(picture.bytes().await.unwrap(), dot_picture().bytes);
}

#[tokio::test]
async fn pictures_of_a_shared_database_are_examined() {
    let Some(database) = empty().await else { return };
    let bucket = s3::Server::start().await;
    let server = process(&database, &bucket).start().await;
    let tokens = [token(&server, "1").await, token(&server, "2").await, token(&server, "3").await];
    let bench = server.stop().await;
    let report = examined(&bench).await;
    assert_eq!((problems(&report, "bucket"), problems(&report, "pictures")), (Vec::new(), Vec::new()));
    assert_eq!(report.pictures.unwrap().rows, 3);
    // One is missing, one is cut, and one is of another database.
    std::fs::remove_file(object(&bucket, &tokens[0])).unwrap();
    std::fs::write(object(&bucket, &tokens[1]), "cut").unwrap();
    let unknown = format!("{}.png", "0a".repeat(32));
    std::fs::create_dir_all(object(&bucket, &unknown).parent().unwrap()).unwrap();
    std::fs::write(object(&bucket, &unknown), "other").unwrap();
    let report = examined(&bench).await;
    assert_eq!(problems(&report, "pictures").len(), 3, "{report:?}");
    let pictures = report.pictures.unwrap();
    let names = [&pictures.missing, &pictures.damaged, &pictures.unknown].map(|names| names[0].as_str().to_owned());
    assert_eq!(names, [tokens[0].clone(), tokens[1].clone(), unknown.clone()]);
    assert_eq!(pictures.counts, PictureCounts { missing: 1, damaged: 1, unknown: 1 });
    assert_eq!((pictures.rows, pictures.unknown_bytes), (3, 5));
    assert!(object(&bucket, &unknown).exists());
}

/// By PostgreSQL. A process is interrupted in front of each request that it sends to the bucket while it starts.
#[tokio::test]
async fn a_new_fleet_starts_although_its_first_process_was_interrupted() {
    for others in 0.. {
        let Some(database) = empty().await else { return };
        let bucket = s3::Server::start().await;
        let mut held = bucket.hold(others, false);
        let first = process(&database, &bucket);
        let is_open = tokio::select! {
            opened = first.open() => {
                drop(opened.unwrap());
                true
            }
            () = held.reached() => false,
        };
        if is_open {
            assert!(others > 6, "{others}");
            return;
        }
        drop((first, held));
        // An examination knows a mark that is not completed yet.
        let second = process(&database, &bucket);
        let noted = "SELECT value FROM notes WHERE name = 'pictures'";
        if database.client().await.query_opt(noted, &[]).await.unwrap().is_some() {
            assert_eq!(problems(&examined(&second).await, "bucket"), [""; 0], "{others}");
        }
        let second = second.start().await;
        until("it is ready", || async { (second.get("/readyz").send().await.unwrap().status() == 200).then_some(()) })
            .await;
        assert!(object(&bucket, &token(&second, "mine").await).exists(), "{others}");
    }
}
