use imgopen_engine::Format;
use imgopen_store::{
    Claim, End, Ending, HandBack, KeyId, NewTask, OwnerAbout, OwnerId, SqliteStore, State, TaskId, TaskOutput, TaskRow,
};

use super::files::PART;
use super::tokens::some_names;
use super::*;

#[test]
fn only_files_named_like_pictures_are_listed() {
    let directory = tempfile::tempdir().unwrap();
    let run = RunId::new().unwrap();
    let token = AssetToken::new(&run, "png").unwrap();
    let old = AssetToken(format!("{}.webp", "0a".repeat(16)));
    for known in [&token, &old] {
        let path = path(directory.path(), known);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    let others = [format!("{token}#1"), "notes.txt".to_owned(), "0a.png".to_owned(), "a".repeat(40)];
    for other in &others {
        std::fs::write(directory.path().join("0a").join(other), "").unwrap();
        std::fs::write(directory.path().join(other), "").unwrap();
    }
    let mut names: Vec<_> = names(directory.path()).unwrap().map(|file| file.unwrap().0).collect();
    names.sort();
    let mut expected = [token, old];
    expected.sort();
    assert_eq!(names, expected);
    for name in ["../../../../../../../../../../etc/passwd", "", ".png", "0a0a.png"] {
        assert!(!is_token(&AssetToken(name.to_owned())), "{name}");
    }
}

/// The pictures in a directory, with their store in another.
async fn assets(directory: &Path) -> (Assets, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let assets = Assets::open(directory, Arc::new(SqliteStore::open(data.path()).unwrap())).unwrap();
    assets.settle().await.unwrap();
    (assets, data)
}

/// A directory in the place of a file cannot be deleted as one, not even by root.
#[tokio::test]
async fn a_file_that_cannot_be_deleted_does_not_keep_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let (assets, _) = assets(directory.path()).await;
    let run = RunId::new().unwrap();
    let tokens: Vec<_> = (0..3).map(|_| AssetToken::new(&run, "png").unwrap()).collect();
    let paths: Vec<_> = tokens.iter().map(|token| path(directory.path(), token)).collect();
    std::fs::create_dir_all(paths[0].join("in the way")).unwrap();
    std::fs::write(&paths[1], "a picture").unwrap();
    let (deleted, error) = assets.delete_each(&tokens).await;
    assert_eq!(deleted, tokens[1..]);
    assert!(error.is_some() && paths[0].exists() && !paths[1].exists());
}

fn picture() -> Picture {
    Picture { bytes: vec![1, 2, 3].into(), format: Format::Png, width: 1, height: 1, seed: None }
}

/// Begins a run of a task with that id.
async fn claimed(assets: &Assets, name: &str) -> TaskRow {
    let (store, owner, run) = (&assets.store, OwnerId::new().unwrap(), RunId::new().unwrap());
    store.register_owner(owner.clone(), None, OwnerAbout::default()).await.unwrap();
    let (key, now) = (KeyId(name.to_owned()), Moment(1));
    store.submit(NewTask::new(TaskId(name.to_owned()), key.clone(), "enlarge_image", "{}", now)).await.unwrap();
    let needs = "enlarge_image".to_owned();
    store.claim(Claim { key, needs, run, owner, now, only: None }).await.unwrap().unwrap()
}

/// Ends a task with a picture, and returns its token.
pub(super) async fn keep_one(assets: &Assets, picture: &Picture) -> AssetToken {
    let task = claimed(assets, "kept").await;
    let asset = assets.put(task.run.as_ref().unwrap(), picture, &[], None).await.unwrap();
    let task = task.ended(Ending::Succeeded(TaskOutput::default()), None, Moment(1));
    let (token, store) = (asset.token.clone(), &assets.store);
    let end = End { before: State::Running, task, assets: vec![asset], callback: None, orphans_run: false };
    assert!(store.end(end).await.unwrap());
    token
}

/// Returns a run that the database knows to be over.
pub(super) async fn handed_back(assets: &Assets) -> RunId {
    let TaskRow { id: task, run, .. } = claimed(assets, "handed back").await;
    let (run, now) = (run.unwrap(), Moment(1));
    let back = HandBack { task, run: run.clone(), is_fault: false, deferred_for: Duration::ZERO, now };
    assert!(assets.store.hand_back(back).await.unwrap());
    run
}

/// What stays listed is deleted later, also if the process dies in between.
#[tokio::test]
async fn a_file_is_listed_before_it_is_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let (assets, _data) = assets(directory.path()).await;
    let run = handed_back(&assets).await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        tokens.push(assets.put(&run, &picture(), &[], None).await.unwrap().token);
    }
    let stuck = path(directory.path(), &tokens[0]);
    std::fs::remove_file(&stuck).unwrap();
    std::fs::create_dir_all(stuck.join("in the way")).unwrap();
    let deletion = assets.delete(tokens.clone()).await.unwrap();
    assert_eq!((deletion.proven, deletion.deleted, deletion.error.is_some()), (2, 1, true));
    assert_eq!(assets.store.expired_files(None, 9).await.unwrap(), tokens[..1]);
    assert!(!path(directory.path(), &tokens[1]).exists());
}

#[tokio::test]
async fn a_file_is_kept_without_proof_that_its_run_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let (assets, _data) = assets(directory.path()).await;
    let kept = keep_one(&assets, &picture()).await;
    let current = claimed(&assets, "current").await.run.unwrap();
    // As if an older database had been restored.
    let unknown = RunId::new().unwrap();
    let mut tokens = vec![kept];
    for run in [&current, &unknown] {
        tokens.push(assets.put(run, &picture(), &[], None).await.unwrap().token);
        assert_eq!(assets.delete_orphans(run).await.unwrap(), 0);
    }
    let deletion = assets.delete(tokens.clone()).await.unwrap();
    assert_eq!((deletion.proven, deletion.deleted, deletion.error.is_some()), (0, 0, false));
    assert!(tokens.iter().all(|token| path(directory.path(), token).exists()));
    assert!(assets.store.expired_files(None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn files_are_listed_page_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let (assets, _data) = assets(directory.path()).await;
    assert!(assets.shelves().await.unwrap().is_empty());
    let run = RunId("0a".repeat(16));
    let mut tokens = Vec::new();
    for _ in 0..5 {
        tokens.push(assets.put(&run, &picture(), &[], None).await.unwrap().token);
    }
    tokens.sort();
    std::fs::write(directory.path().join("0a").join(format!("{}#1", tokens[0])), "").unwrap();
    std::fs::create_dir(directory.path().join("others")).unwrap();
    assert_eq!(assets.shelves().await.unwrap(), ["0a"]);
    for (after, most, expected) in
        [(None, 9, 0..5), (None, 2, 0..2), (Some(1), 2, 2..4), (Some(3), 2, 4..5), (Some(4), 2, 5..5)]
    {
        let after = after.map(|index: usize| &tokens[index]);
        assert_eq!(assets.page("0a", after, most).await.unwrap(), tokens[expected]);
    }
    assert!(assets.page("0b", None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_empty_directory_is_taken_only_if_nothing_can_be_missing_in_it() {
    let parent = tempfile::tempdir().unwrap();
    let (directory, disk) = (parent.path().join("assets"), parent.path().join("disk"));
    std::fs::create_dir(&directory).unwrap();
    let (first, _data) = assets(&directory).await;
    keep_one(&first, &picture()).await;
    let open = || Assets::open(&directory, first.store.clone()).unwrap();
    // The disk is not mounted at the start.
    std::fs::rename(&directory, &disk).unwrap();
    std::fs::create_dir(&directory).unwrap();
    let away = open();
    assert!(matches!(away.settle().await, Err(AssetError::Away { .. })));
    assert!(matches!(away.put(&RunId::new().unwrap(), &picture(), &[], None).await, Err(AssetError::Away { .. })));
    // It holds nothing, or this would fail.
    std::fs::remove_dir(&directory).unwrap();
    std::fs::rename(&disk, &directory).unwrap();
    away.settle().await.unwrap();
    // Earlier versions made no mark.
    let marked = || crate::home::marks(&directory).unwrap().unwrap_or_default();
    let before = marked().numbers;
    let unmark = || {
        for mark in std::fs::read_dir(&directory).unwrap() {
            let mark = mark.unwrap();
            if mark.file_name().to_string_lossy().starts_with(".imgopen-") {
                std::fs::remove_dir(mark.path()).unwrap();
            }
        }
    };
    unmark();
    assert!(!away.is_here().await);
    let unmarked = open();
    unmarked.settle().await.unwrap();
    away.settle().await.unwrap();
    assert!(unmarked.is_here().await && away.is_here().await);
    // No other directory bears the same number.
    assert!(marked().numbers.len() == 1 && marked().numbers != before, "{before:?}");
    // All pictures are lost, and the operator says so.
    std::fs::remove_dir_all(&directory).unwrap();
    let refused = open().settle().await.unwrap_err();
    assert!(refused.to_string().contains("assets does not exist, so"), "{refused}");
    std::fs::create_dir(&directory).unwrap();
    let refused = open().settle().await.unwrap_err();
    assert!(refused.to_string().contains("assets has no pictures and no mark, so"), "{refused}");
    let AssetError::Away { adopt, .. } = refused else { panic!("{refused}") };
    std::fs::create_dir(&adopt).unwrap();
    let last = open();
    last.settle().await.unwrap();
    assert!(last.is_here().await && marked().adopters.is_empty() && marked().numbers.len() == 1);
    // What was said once is not said for another directory.
    unmark();
    std::fs::create_dir(&adopt).unwrap();
    assert!(matches!(open().settle().await, Err(AssetError::Away { .. })));
}

#[tokio::test]
async fn stray_files_do_not_make_a_mount_point_the_directory_of_the_database() {
    let parent = tempfile::tempdir().unwrap();
    let (directory, disk) = (parent.path().join("assets"), parent.path().join("disk"));
    let (assets, _data) = assets(&directory).await;
    let stray = |token: &AssetToken| {
        let path = path(&directory, token);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "a picture").unwrap();
    };
    let mount_point = |has_picture: bool| {
        std::fs::rename(&directory, &disk).unwrap();
        std::fs::create_dir(&directory).unwrap();
        if has_picture {
            stray(&AssetToken::new(&RunId::new().unwrap(), "png").unwrap());
        }
    };
    let back = || {
        std::fs::remove_dir_all(&directory).unwrap();
        std::fs::rename(&disk, &directory).unwrap();
    };
    // Not even before there is a picture: what is written into it is out of reach later.
    for has_picture in [false, true] {
        mount_point(has_picture);
        assert!(matches!(assets.settle().await, Err(AssetError::Away { .. })), "{has_picture}");
        back();
        assets.settle().await.unwrap();
    }
    keep_one(&assets, &picture()).await;
    let kept = some_names(&directory, 1).unwrap().remove(0);
    mount_point(true);
    let refused = assets.settle().await.unwrap_err();
    assert!(refused.to_string().contains("has only unknown pictures and no mark"), "{refused}");
    // A picture of the database proves that it is the right one.
    stray(&kept);
    assets.settle().await.unwrap();
    assert!(assets.is_here().await);
}

/// Of several parts, and of none.
#[tokio::test]
async fn a_file_is_copied_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let (assets, data) = assets(directory.path()).await;
    let run = handed_back(&assets).await;
    let path_of = |name: &str| data.path().join(name);
    for (name, bytes, extension) in
        [("big.safetensors", 2 * PART + 7, "safetensors"), ("empty.x y", 0, "bin"), ("n", 1, "bin")]
    {
        let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        std::fs::write(path_of(name), &content).unwrap();
        let file = OutputFile { name: name.to_owned(), path: path_of(name) };
        let asset = assets.put_file(&run, &file, None).await.unwrap();
        assert_eq!((asset.bytes, asset.name.as_deref(), asset.media_type), (bytes as u64, Some(name), FILE));
        assert!(is_token(&asset.token) && asset.token.as_str().ends_with(&format!(".{extension}")));
        assert!(std::fs::read(path(directory.path(), &asset.token)).unwrap() == content);
        assert!(path_of(name).exists());
    }
    let before = names(directory.path()).unwrap().count();
    let missing = OutputFile { name: "missing.safetensors".to_owned(), path: path_of("missing.safetensors") };
    assert!(matches!(assets.put_file(&run, &missing, None).await, Err(AssetError::Files(_))));
    // A directory can be opened, but not read.
    let unreadable = OutputFile { name: "a.safetensors".to_owned(), path: data.path().to_owned() };
    assert!(assets.put_file(&run, &unreadable, None).await.is_err());
    assert_eq!((names(directory.path()).unwrap().count(), before), (3, 3));
    // Nothing partial is left, either.
    assert_eq!(assets.delete_orphans(&run).await.unwrap(), 3);
}

#[tokio::test]
async fn what_is_away_is_not_deleted() {
    let parent = tempfile::tempdir().unwrap();
    let (directory, disk) = (parent.path().join("assets"), parent.path().join("disk"));
    let (assets, _data) = assets(&directory).await;
    let run = RunId::new().unwrap();
    let token = AssetToken::new(&run, "png").unwrap();
    // The disk is not mounted: the directory is there, and empty.
    std::fs::rename(&directory, &disk).unwrap();
    std::fs::create_dir(&directory).unwrap();
    let (deleted, error) = assets.delete_each([&token]).await;
    assert!(deleted.is_empty() && error.is_some());
    assert!(matches!(assets.delete_orphans(&run).await, Err(AssetError::Away { .. })));
    assert!(matches!(assets.stream(&token, 0..1, 1).await.err(), Some(AssetError::Away { .. })));
    std::fs::remove_dir(&directory).unwrap();
    std::fs::rename(&disk, &directory).unwrap();
    assert_eq!(assets.delete_each([&token]).await.0, std::slice::from_ref(&token));
    assert_eq!(assets.delete_orphans(&run).await.unwrap(), 0);
    assert!(matches!(assets.stream(&token, 0..1, 1).await.err(), Some(AssetError::Lost)));
}
