//! `imgopen backup` and `imgopen restore`, and that pictures and database survive each other's loss.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::program::{Key, Program};
use crate::common::rows::{draw, drawn};
use crate::common::shell::{files, names};
use crate::{command, run};

/// A directory with a data directory in it.
struct Place {
    folder: tempfile::TempDir,
    data: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Self { folder, data }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command on the data directory, with a path as its argument.
    fn on_data(&self, arguments: &[&str]) -> String {
        run(self.folder.path(), &[arguments, &["--data-dir", "data"]].concat())
    }

    fn pictures(&self) -> Vec<PathBuf> {
        files(&self.data.join("assets"))
    }

    /// Makes pictures with a service, and stops it.
    async fn with_pictures(count: usize) -> (Self, Key) {
        let place = Self::new();
        let program = Program::serve(&place.data, &[]);
        let key = Key::create(&place.data);
        let client = key.client(&program.url);
        draw(&client, (0..count).map(|number| format!("t{number}"))).await;
        assert_eq!(drawn(&client).await.len(), count);
        program.stop();
        (place, key)
    }
}

async fn assert_served(urls: &[String]) {
    for url in urls {
        let picture = reqwest::get(url).await.unwrap();
        assert_eq!(picture.status(), 200, "{url}");
        assert!(image::load_from_memory(&picture.bytes().await.unwrap()).is_ok(), "{url}");
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text.split_once('\n').unwrap().1).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_service_is_restored() {
    let place = Place::new();
    let program = Program::serve(&place.data, &[]);
    let key = Key::create(&place.data);
    let client = key.client(&program.url);
    draw(&client, (0..20).map(|number| format!("before{number}"))).await;
    drawn(&client).await;
    // The service goes on while it is copied.
    let load = tokio::spawn({
        let client = key.client(&program.url);
        async move { draw(&client, (0..60).map(|number| format!("during{number}"))).await }
    });
    let made = place.on_data(&["backup", "copy", "--json"]);
    assert!(made.starts_with("ends with 0\n"), "{made}");
    load.await.unwrap();
    drawn(&client).await;
    program.stop();
    let manifest = &json(&made)["manifest"];
    assert!(manifest["pictures"].as_u64().unwrap() >= 20, "{made}");
    assert_eq!(manifest["missing"], serde_json::json!([]), "{made}");
    assert_eq!(files(&place.path("copy/assets")).len() as u64, manifest["pictures"].as_u64().unwrap());
    #[cfg(unix)]
    for private in ["copy", "copy/imgopen.sqlite3"] {
        let mode = std::os::unix::fs::MetadataExt::mode(&place.path(private).metadata().unwrap());
        assert_eq!(mode & 0o077, 0, "{private}");
    }
    // Nothing is left of the way there, and nothing is overwritten.
    assert_eq!(names(place.folder.path()), ["copy", "data"]);
    let again = place.on_data(&["backup", "copy"]);
    assert_eq!(
        again,
        "ends with 1\nerrors:\nimgopen: copy exists already; give the name of a directory that does not exist\n"
    );

    let restored = run(place.folder.path(), &["restore", "copy", "--data-dir", "new"]);
    assert!(restored.starts_with("ends with 0\nnew is as it was at [time]"), "{restored}");
    let doctor = run(place.folder.path(), &["doctor", "--data-dir", "new"]);
    assert!(doctor.starts_with("ends with 0\n"), "{doctor}");
    // Every task that was accepted then is there, and ends.
    let program = Program::serve(&place.path("new"), &[]);
    let urls = drawn(&key.client(&program.url)).await;
    assert!(urls.len() >= 20);
    assert_served(&urls).await;
    let log = program.stop();
    assert!(!log.contains("lacks tasks") && !log.contains("does not know"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_can_share_pictures_with_the_service() {
    let (place, _) = Place::with_pictures(3).await;
    let made = place.on_data(&["backup", "copy", "--link"]);
    assert!(made.starts_with("ends with 0\ncopy is complete: the database, 3 pictures of "), "{made}");
    for (picture, copy) in place.pictures().iter().zip(files(&place.path("copy/assets"))) {
        assert_eq!(std::fs::read(picture).unwrap(), std::fs::read(&copy).unwrap());
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&copy.metadata().unwrap()), 2);
    }
    // A restored data directory is independent of the backup.
    assert!(run(place.folder.path(), &["restore", "copy", "--data-dir", "new"]).starts_with("ends with 0\n"));
    #[cfg(unix)]
    for picture in files(&place.path("new/assets")) {
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&picture.metadata().unwrap()), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_sets_of_trainings_are_in_a_backup() {
    let (place, _) = Place::with_pictures(1).await;
    for (name, text) in [("img1/img/1_cat/0001.png", "a picture"), ("img1/output/a.safetensors", "weights")] {
        let path = place.data.join("datasets").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::fs::create_dir_all(place.data.join("datasets/img2.0a.part")).unwrap();
    std::fs::create_dir_all(place.data.join("models/VAE")).unwrap();
    assert!(place.on_data(&["backup", "copy"]).contains(", 1 data set\n"));
    assert_eq!(names(&place.path("copy/datasets")), ["img1"]);
    assert!(!place.path("copy/models").exists());
    assert!(run(place.folder.path(), &["restore", "copy", "--data-dir", "new"]).starts_with("ends with 0\n"));
    assert_eq!(std::fs::read_to_string(place.path("new/datasets/img1/output/a.safetensors")).unwrap(), "weights");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_replaces_nothing_unasked_and_keeps_what_it_replaces() {
    let (place, key) = Place::with_pictures(2).await;
    assert!(place.on_data(&["backup", "copy"]).starts_with("ends with 0\n"));
    let program = Program::serve(&place.data, &[]);
    let running = place.on_data(&["restore", "copy", "--replace"]);
    assert!(
        running.starts_with("ends with 1\n") && running.contains("a service runs in the data directory"),
        "{running}"
    );
    draw(&key.client(&program.url), ["later".to_owned()]).await;
    drawn(&key.client(&program.url)).await;
    program.stop();
    std::fs::create_dir_all(place.data.join("models/VAE")).unwrap();
    let refused = place.on_data(&["restore", "copy"]);
    assert!(refused.starts_with("ends with 1\n") && refused.contains("--replace"), "{refused}");
    assert_eq!(place.pictures().len(), 3);

    let replaced = place.on_data(&["restore", "copy", "--replace", "--json"]);
    assert!(replaced.starts_with("ends with 0\n"), "{replaced}");
    let kept = place.folder.path().join(json(&replaced)["kept"].as_str().unwrap());
    assert_eq!(files(&kept.join("assets")).len(), 3);
    assert!(kept.join("imgopen.sqlite3").is_file() && place.data.join("models/VAE").is_dir());
    let program = Program::serve(&place.data, &[]);
    assert_eq!(drawn(&key.client(&program.url)).await.len(), 2);
    program.stop();
    // What was kept is a whole data directory itself.
    let program = Program::serve(&kept, &[]);
    assert_eq!(drawn(&key.client(&program.url)).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_was_away_during_a_restore_is_not_taken_for_what_was_restored() {
    let (place, key) = Place::with_pictures(2).await;
    assert!(place.on_data(&["backup", "copy"]).starts_with("ends with 0\n"));
    let (assets, disk) = (place.data.join("assets"), place.path("disk"));
    std::fs::rename(&assets, &disk).unwrap();
    std::fs::create_dir(&assets).unwrap();
    let restored = place.on_data(&["restore", "copy", "--replace"]);
    assert!(restored.starts_with("ends with 0\n"), "{restored}");
    let program = Program::serve(&place.data, &[]);
    assert_served(&drawn(&key.client(&program.url)).await).await;
    program.stop();
    let examined = place.on_data(&["doctor"]);
    assert!(!examined.contains("lacks the mark"), "{examined}");
    // The disk is mounted over what was restored.
    std::fs::rename(&assets, place.path("hidden")).unwrap();
    std::fs::rename(&disk, &assets).unwrap();
    let examined = place.on_data(&["doctor"]);
    assert!(examined.contains("lacks the mark"), "{examined}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_is_not_restored() {
    let (place, key) = Place::with_pictures(3).await;
    assert!(place.on_data(&["backup", "copy"]).starts_with("ends with 0\n"));
    let restore = |more: &[&str]| run(place.folder.path(), &[&["restore", "copy", "--data-dir", "new"], more].concat());
    let manifest = place.path("copy/backup.json");
    let text = std::fs::read(&manifest).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    assert!(restore(&[]).contains("copy is not a complete backup"));
    std::fs::write(&manifest, &text).unwrap();
    // A picture that is missing, and one that is cut.
    let pictures = files(&place.path("copy/assets"));
    std::fs::remove_file(&pictures[0]).unwrap();
    std::fs::write(&pictures[1], "cut").unwrap();
    let incomplete = restore(&[]);
    assert!(incomplete.starts_with("ends with 1\n") && incomplete.contains("lacks 2 of its pictures"), "{incomplete}");
    assert!(!place.path("new").exists());
    let database = place.path("copy/imgopen.sqlite3");
    let whole = std::fs::read(&database).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..].fill(0xa5);
    std::fs::write(&database, damaged).unwrap();
    let refused = restore(&["--incomplete"]);
    assert!(refused.starts_with("ends with 1\n") && refused.contains("is damaged"), "{refused}");
    std::fs::write(&database, whole).unwrap();
    assert!(restore(&["--incomplete"]).starts_with("ends with 0\n"));
    let program = Program::serve(&place.path("new"), &[]);
    assert_eq!(drawn(&key.client(&program.url)).await.len(), 3);
}

/// As when the disk of the pictures is not mounted: a backup of every night must not replace the good ones by such ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_without_its_pictures_is_no_backup() {
    let (place, _) = Place::with_pictures(3).await;
    std::fs::remove_file(&place.pictures()[0]).unwrap();
    let refused = place.on_data(&["backup", "copy"]);
    assert!(
        refused.starts_with("ends with 1\n") && refused.contains("1 picture of data has no whole file"),
        "{refused}"
    );
    assert_eq!(names(place.folder.path()), ["data"]);
    let made = place.on_data(&["backup", "copy", "--incomplete"]);
    assert!(made.starts_with("ends with 0\n") && made.contains("copy is incomplete"), "{made}");
    let restore = |more: &[&str]| run(place.folder.path(), &[&["restore", "copy", "--data-dir", "new"], more].concat());
    let refused = restore(&[]);
    assert!(refused.starts_with("ends with 1\n") && refused.contains("lacks 1 of its pictures"), "{refused}");
    assert!(restore(&["--incomplete"]).starts_with("ends with 0\n"));

    std::fs::write(place.data.join("imgopen.sqlite3"), "").unwrap();
    let refused = place.on_data(&["backup", "empty", "--incomplete"]);
    assert!(refused.starts_with("ends with 1\n") && refused.contains("it is empty"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_does_not_start_in_an_interrupted_restore() {
    let (place, _) = Place::with_pictures(1).await;
    assert!(place.on_data(&["backup", "copy"]).starts_with("ends with 0\n"));
    // As a restore leaves it that was killed while it copied.
    std::fs::create_dir(place.data.join("restore.partial")).unwrap();
    let refused = place.on_data(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(refused.starts_with("ends with 1\n") && refused.contains("a restore was interrupted"), "{refused}");
    assert!(place.on_data(&["doctor"]).contains("a restore was interrupted"));
    assert!(place.on_data(&["restore", "copy", "--replace"]).starts_with("ends with 0\n"));
    assert!(!place.data.join("restore.partial").exists());
    Program::serve(&place.data, &[]).stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_file_alone_is_complete_after_a_stop() {
    let (place, key) = Place::with_pictures(5).await;
    let beside = names(&place.data);
    assert!(!beside.iter().any(|name| name.ends_with("-wal") || name.ends_with("-shm")), "{beside:?}");
    let alone = place.path("alone");
    std::fs::create_dir(&alone).unwrap();
    std::fs::copy(place.data.join("imgopen.sqlite3"), alone.join("imgopen.sqlite3")).unwrap();
    let program = Program::serve(&alone, &[]);
    assert_eq!(drawn(&key.client(&program.url)).await.len(), 5);
    program.stop();
    // A command that works on the data directory leaves one file, too.
    Key::create(&place.data);
    assert_eq!(names(&place.data), beside);
}

/// Puts a database in the place of that of a data directory with pictures, and returns the log of a service there.
fn start_beside(place: &Place, replace: impl FnOnce(&Path)) -> String {
    let stranger = place.data.join("assets/notes.txt");
    std::fs::write(&stranger, "the operator's own").unwrap();
    let before = place.pictures();
    replace(&place.data.join("imgopen.sqlite3"));
    let log = Program::serve(&place.data, &[]).stop();
    assert_eq!(place.pictures(), before, "a start deletes nothing for lack of a row");
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_survive_the_loss_of_their_database() {
    for is_emptied in [false, true] {
        let (place, _) = Place::with_pictures(4).await;
        let log = start_beside(&place, |database| match is_emptied {
            true => std::fs::write(database, "").unwrap(),
            false => std::fs::remove_file(database).unwrap(),
        });
        assert!(log.contains("the database is new, but there are pictures of another one"), "{log}");
        assert!(log.contains("unknown=4") && log.contains("imgopen restore"), "{log}");
        assert!(log.contains("lost=4"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_survive_an_older_or_foreign_database() {
    let (place, key) = Place::with_pictures(2).await;
    let older = place.path("older.sqlite3");
    std::fs::copy(place.data.join("imgopen.sqlite3"), &older).unwrap();
    let program = Program::serve(&place.data, &[]);
    let client = key.client(&program.url);
    draw(&client, (0..3).map(|number| format!("later{number}"))).await;
    drawn(&client).await;
    program.stop();
    let put = |from: PathBuf| {
        move |database: &Path| {
            std::fs::copy(from, database).unwrap();
        }
    };
    let log = start_beside(&place, put(older));
    assert!(log.contains("there are pictures that the database does not know") && log.contains("unknown=3"), "{log}");
    assert!(log.contains("lost=3"), "{log}");
    let (other, _) = Place::with_pictures(1).await;
    let log = start_beside(&place, put(other.data.join("imgopen.sqlite3")));
    assert!(log.contains("unknown=5"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_a_damaged_log_lost_are_reported() {
    let place = Place::new();
    let program = Program::serve(&place.data, &[]);
    let key = Key::create(&place.data);
    let client = key.client(&program.url);
    draw(&client, (0..10).map(|number| format!("t{number}"))).await;
    drawn(&client).await;
    let noted = place.data.join("last-task");
    crate::common::until("the newest task is noted", async || {
        (std::fs::read_to_string(&noted).is_ok_and(|text| text.trim() == "10")).then_some(())
    })
    .await;
    program.kill();
    let log = place.data.join("imgopen.sqlite3-wal");
    let size = log.metadata().unwrap().len();
    std::fs::File::options().write(true).open(&log).unwrap().set_len(size / 20).unwrap();
    let doctor = place.on_data(&["doctor"]);
    assert!(doctor.starts_with("ends with 1\n") && doctor.contains("tasks that it had"), "{doctor}");
    let log = Program::serve(&place.data, &[]).stop();
    assert!(log.contains("the database lacks tasks that it had"), "{log}");
}

#[test]
fn what_is_not_a_data_directory_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let refused = run(folder.path(), &["backup", "copy"]);
    assert!(refused.contains("imgopen-data is not a data directory"), "{refused}");
    let output = command(folder.path(), &["restore", "nowhere", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(error["error"]["message"].as_str().unwrap().contains("nowhere is not a complete backup"), "{error}");
    assert_eq!(names(folder.path()), [""; 0]);
}
