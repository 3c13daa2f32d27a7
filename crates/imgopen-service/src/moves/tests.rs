//! A move that is interrupted anywhere is resumed, and the source is usable until everything has arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use imgopen_store::{
    Claim, End, Ending, KeyId, KeyRow, LastPlaces, Moment, NewAsset, NewTask, Note, OwnerAbout, OwnerId, Rows, RunId,
    State, StoreError, TaskId,
};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::assets::path;
use crate::data_dir::{Access, open_beside, open_store};

/// A target that fails when it is asked to.
#[derive(Debug)]
struct Memory {
    directory: TempDir,
    store: SqliteStore,
    held: Mutex<Held>,
    /// How many puts succeed. The next one is carried out, and its answer is lost.
    puts: AtomicUsize,
    completes: AtomicBool,
}

#[derive(Debug, Default)]
struct Held {
    about: Option<MoveAbout>,
    noted: Option<Value>,
    rows: BTreeMap<RowKind, BTreeSet<String>>,
    places: LastPlaces,
    is_complete: bool,
}

impl Memory {
    fn new() -> Arc<Self> {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let (held, puts) = (Mutex::default(), AtomicUsize::new(usize::MAX));
        Arc::new(Self { directory, store, held, puts, completes: AtomicBool::new(true) })
    }

    fn pictures(&self) -> PathBuf {
        self.directory.path().join(ASSETS)
    }
}

fn lost() -> StoreError {
    StoreError::Unreachable { path: "memory".to_owned(), problem: "asked for by the test".to_owned() }
}

fn texts(rows: &Rows) -> (RowKind, Vec<String>) {
    fn each<T: Debug>(rows: &[T]) -> Vec<String> {
        rows.iter().map(|row| format!("{row:?}")).collect()
    }
    match rows {
        Rows::Notes(rows) => (RowKind::Notes, each(rows)),
        Rows::Keys(rows) => (RowKind::Keys, each(rows)),
        Rows::Tasks(rows) => (RowKind::Tasks, each(rows)),
        Rows::Idempotency(rows) => (RowKind::Idempotency, each(rows)),
        Rows::Assets(rows) => (RowKind::Assets, each(rows)),
        Rows::Callbacks(rows) => (RowKind::Callbacks, each(rows)),
        Rows::Attempts(rows) => (RowKind::Attempts, each(rows)),
        Rows::OrphanedRuns(rows) => (RowKind::OrphanedRuns, each(rows)),
        Rows::ExpiredFiles(rows) => (RowKind::ExpiredFiles, each(rows)),
    }
}

#[async_trait]
impl Import for Memory {
    async fn begin(&self, about: MoveAbout, is_trial: bool) -> Result<Begun, StoreError> {
        let mut held = self.held.lock().unwrap();
        Ok(match &held.about {
            Some(known) if *known != about => Begun::Other(known.clone()),
            Some(_) if held.is_complete => Begun::Complete,
            Some(_) => Begun::Again(held.noted.clone()),
            None if !held.rows.is_empty() => Begun::NotEmpty,
            None => {
                if !is_trial {
                    held.about = Some(about);
                }
                Begun::New
            }
        })
    }

    async fn put(&self, id: String, rows: Option<Rows>, noted: Value) -> Result<(), StoreError> {
        let left = self.puts.load(Ordering::Relaxed);
        if let Some(Rows::Notes(notes)) = &rows {
            for (note, value) in notes {
                self.store.set_note(*note, *value).await?;
            }
        }
        let mut held = self.held.lock().unwrap();
        assert_eq!(held.about.as_ref().map(|about| &about.id), Some(&id));
        if let Some(rows) = rows.filter(|rows| !rows.is_empty()) {
            let (kind, texts) = texts(&rows);
            held.rows.entry(kind).or_default().extend(texts);
        }
        held.noted = Some(noted);
        self.puts.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 0 { Err(lost()) } else { Ok(()) }
    }

    async fn settle(&self, last: LastPlaces) -> Result<(), StoreError> {
        self.held.lock().unwrap().places = last;
        Ok(())
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let held = self.held.lock().unwrap();
        let count = |kind: &RowKind| held.rows.get(kind).map_or(0, |rows| rows.len() as u64);
        Ok(RowKind::ALL.iter().skip(1).map(|kind| (*kind, count(kind))).collect())
    }

    async fn differing(&self, rows: Rows) -> Result<usize, StoreError> {
        let (held, (kind, texts)) = (self.held.lock().unwrap(), texts(&rows));
        let has = |text: &String| held.rows.get(&kind).is_some_and(|rows| rows.contains(text));
        Ok(texts.iter().filter(|text| !has(text)).count())
    }

    async fn complete(&self, id: String) -> Result<(), StoreError> {
        if !self.completes.load(Ordering::Relaxed) {
            return Err(lost());
        }
        let mut held = self.held.lock().unwrap();
        assert_eq!(held.about.as_ref().map(|about| &about.id), Some(&id));
        held.is_complete = true;
        Ok(())
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }
}

/// A data directory with a key, a task that has ended with two pictures, and one that waits. Returns the pictures.
async fn source() -> (TempDir, Vec<AssetToken>) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let (key, owner) = (KeyId("a".to_owned()), OwnerId("me".to_owned()));
    let row = KeyRow {
        id: key.clone(),
        name: String::new(),
        secret_hash: vec![7; 32],
        signing_secret: "whsec_".to_owned(),
        previous_secrets: Vec::new(),
        created_at: Moment(1),
        revoked_at: None,
    };
    store.add_key(row).await.unwrap();
    store.register_owner(owner.clone(), None, OwnerAbout::default()).await.unwrap();
    for name in ["1", "2"] {
        let task = NewTask::new(TaskId(name.to_owned()), key.clone(), "enlarge_image", "{}", Moment(2));
        store.submit(task).await.unwrap();
    }
    let (needs, run) = ("enlarge_image".to_owned(), RunId::new().unwrap());
    let claim = Claim { key, needs, run: run.clone(), owner, now: Moment(3), only: None };
    let task = store.claim(claim).await.unwrap().unwrap();
    let mut tokens: Vec<_> = (0..2).map(|_| AssetToken::new(&run, "png").unwrap()).collect();
    tokens.sort();
    let asset = |token: &AssetToken| NewAsset {
        token: token.clone(),
        media_type: "image/png",
        bytes: 68,
        expires_at: None,
        name: None,
    };
    let assets = tokens.iter().map(asset).collect();
    let task = task.ended(Ending::Failed("no".to_owned()), None, Moment(4));
    let end = End { before: State::Running, task, assets, callback: None, orphans_run: false };
    assert!(store.end(end).await.unwrap());
    store.set_note(Note::LastSeen, 5).await.unwrap();
    for token in &tokens {
        let file = path(&directory.path().join(ASSETS), token);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        // 68 bytes: the token itself.
        std::fs::write(file, token.as_str()).unwrap();
    }
    store.close().await.unwrap();
    (directory, tokens)
}

async fn run(from: &Path, target: &Arc<Memory>, options: MoveOptions) -> Result<Moved, MoveError> {
    let assets = Assets::open(&target.pictures(), target.store()).unwrap();
    let import: Arc<dyn Import> = target.clone();
    let (from, address) = (from.to_owned(), "postgres://db/x".to_owned());
    let (assets, bucket) = (Some(assets), Some("s3://pictures".to_owned()));
    let report = |progress: MoveProgress| assert!(progress.done <= progress.of, "{progress:?}");
    Mover { from, import, address, assets, bucket, options, report: &report }.run(&Clock::system()).await
}

fn arrived(target: &Memory, tokens: &[AssetToken]) -> bool {
    tokens
        .iter()
        .all(|token| std::fs::read_to_string(path(&target.pictures(), token)).is_ok_and(|text| text == token.as_str()))
}

#[tokio::test]
async fn a_move_that_stops_anywhere_is_resumed_and_the_source_stays_usable() {
    let mut stops = 0;
    loop {
        let ((directory, tokens), target) = (source().await, Memory::new());
        target.puts.store(stops, Ordering::Relaxed);
        let from = directory.path();
        let Err(error) = run(from, &target, MoveOptions::default()).await else { break };
        assert!(matches!(error, MoveError::Store(StoreError::Unreachable { .. })), "{error}");
        let store = open_beside(from, Access::Reading).unwrap();
        assert_eq!(store.queued().await.unwrap().len(), 1);
        store.close().await.unwrap();
        assert!(!target.held.lock().unwrap().is_complete);
        target.puts.store(usize::MAX, Ordering::Relaxed);
        let moved = run(from, &target, MoveOptions::default()).await.unwrap();
        assert_eq!((moved.pictures, moved.picture_bytes, moved.is_resumed), (2, 136, true));
        assert_eq!(moved.rows, target.counts().await.unwrap());
        {
            let held = target.held.lock().unwrap();
            assert!(held.is_complete && held.rows[&RowKind::Notes].len() == 1, "{held:?}");
            assert_eq!(held.places, LastPlaces { task: 2, callback: 0 });
        }
        assert!(arrived(&target, &tokens));
        assert!(matches!(open_store(from), Err(StoreError::Moved { .. })));
        assert!(matches!(run(from, &target, MoveOptions::default()).await, Err(MoveError::Done { .. })));
        stops += 1;
    }
    // Each kind of rows, and the pictures twice: the second time, there are no more.
    assert_eq!(stops, RowKind::ALL.len() + 2);
}

#[tokio::test]
async fn a_target_that_was_not_opened_at_the_end_is_opened_by_the_next_move() {
    let ((directory, tokens), target) = (source().await, Memory::new());
    target.completes.store(false, Ordering::Relaxed);
    assert!(run(directory.path(), &target, MoveOptions::default()).await.is_err());
    // Never both.
    assert!(matches!(open_store(directory.path()), Err(StoreError::Moved { .. })));
    assert!(!target.held.lock().unwrap().is_complete);
    target.completes.store(true, Ordering::Relaxed);
    let moved = run(directory.path(), &target, MoveOptions::default()).await.unwrap();
    assert_eq!((moved.pictures, moved.is_resumed), (2, true));
    assert!(target.held.lock().unwrap().is_complete && arrived(&target, &tokens));
}

#[tokio::test]
async fn a_move_whose_source_was_used_meanwhile_is_not_valid() {
    let ((directory, _), target) = (source().await, Memory::new());
    target.puts.store(4, Ordering::Relaxed);
    assert!(run(directory.path(), &target, MoveOptions::default()).await.is_err());
    open_store(directory.path()).unwrap().close().await.unwrap();
    target.puts.store(usize::MAX, Ordering::Relaxed);
    let error = run(directory.path(), &target, MoveOptions::default()).await.unwrap_err();
    assert!(matches!(&error, MoveError::Other { .. }) && error.to_string().contains("dropdb"), "{error}");
    // Into another database it goes, from the beginning.
    let another = Memory::new();
    assert!(!run(directory.path(), &another, MoveOptions::default()).await.unwrap().is_resumed);
}

/// Loses an answer of the move when all rows have arrived, alters the tasks of the target, and returns why the next move fails.
async fn altered(change: impl Fn(&mut BTreeSet<String>)) -> (TempDir, MoveError) {
    let ((directory, _), target) = (source().await, Memory::new());
    target.puts.store(RowKind::ALL.len(), Ordering::Relaxed);
    let error = run(directory.path(), &target, MoveOptions::default()).await.unwrap_err();
    assert!(matches!(&error, MoveError::Store(_)), "{error}");
    change(target.held.lock().unwrap().rows.get_mut(&RowKind::Tasks).unwrap());
    target.puts.store(usize::MAX, Ordering::Relaxed);
    let error = run(directory.path(), &target, MoveOptions::default()).await.unwrap_err();
    (directory, error)
}

#[tokio::test]
async fn a_row_that_arrives_with_another_value_is_found() {
    let (directory, error) = altered(|tasks| {
        let row = tasks.pop_first().unwrap();
        tasks.insert(row.replace("enlarge_image", "blur"));
    })
    .await;
    assert!(matches!(error, MoveError::AlteredRows { kind: RowKind::Tasks, differing: 1 }), "{error}");
    assert_eq!(moved::done(directory.path()).unwrap(), None);
}

/// All that the source has is there, too.
#[tokio::test]
async fn a_row_that_the_source_does_not_have_is_found() {
    let (directory, error) = altered(|tasks| assert!(tasks.insert("another".to_owned()))).await;
    assert!(matches!(error, MoveError::Differs { kind: RowKind::Tasks, source_count: 2, target_count: 3 }), "{error}");
    assert_eq!(moved::done(directory.path()).unwrap(), None);
}

#[tokio::test]
async fn a_trial_changes_nothing_and_missing_pictures_are_named() {
    let ((directory, tokens), target) = (source().await, Memory::new());
    let from = directory.path();
    let trial = MoveOptions { is_trial: true, ..MoveOptions::default() };
    let moved = run(from, &target, trial).await.unwrap();
    assert_eq!((moved.pictures, moved.bucket.as_deref(), moved.is_resumed), (2, Some("s3://pictures"), false));
    assert_eq!((moved::in_progress(from).unwrap(), target.held.lock().unwrap().about.clone()), (None, None));
    std::fs::remove_file(path(&from.join(ASSETS), &tokens[1])).unwrap();
    let error = run(from, &target, MoveOptions::default()).await.unwrap_err();
    assert!(matches!(&error, MoveError::Missing { missing: 1, first } if *first == tokens[1].0), "{error}");
    assert_eq!(moved::in_progress(from).unwrap(), None);
    let incomplete = MoveOptions { incomplete: true, ..MoveOptions::default() };
    let moved = run(from, &target, incomplete).await.unwrap();
    assert_eq!((moved.pictures, moved.missing), (1, vec![tokens[1].clone()]));
    assert!(arrived(&target, &tokens[..1]));
}

#[tokio::test]
async fn a_directory_in_use_and_a_full_database_are_refused() {
    let ((directory, _), target) = (source().await, Memory::new());
    let held = data_dir::lock(directory.path()).unwrap().unwrap();
    let error = run(directory.path(), &target, MoveOptions::default()).await.unwrap_err();
    assert!(matches!(error, MoveError::Occupied(_)), "{error}");
    drop(held);
    target.held.lock().unwrap().rows.entry(RowKind::Keys).or_default().insert("another".to_owned());
    let error = run(directory.path(), &target, MoveOptions::default()).await.unwrap_err();
    assert!(matches!(error, MoveError::NotEmpty(_)), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = run(empty.path(), &target, MoveOptions::default()).await.unwrap_err();
    assert!(matches!(error, MoveError::NoData(_)), "{error}");
}
