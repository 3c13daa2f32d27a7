//! Files of result pictures: written whole or not at all, and named by tokens that cannot be guessed.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use imgopen_engine::Picture;
use imgopen_store::{AssetToken, Moment, NewAsset, NoRandomness, Note, RunId, Store, StoreError, number};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Place;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutPayload};

use crate::disk;
use crate::home::Home;

/// An error of writing, reading or deleting a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssetError {
    /// The directory cannot be used.
    #[error("the directory {directory} cannot hold pictures: {problem}")]
    Directory {
        /// Its path.
        directory: String,
        /// The system's message.
        problem: String,
    },
    /// A file cannot be read or written.
    #[error("a picture cannot be read or written: {0}")]
    Files(#[from] object_store::Error),
    /// The directory is the mount point of a disk that is away.
    #[error(
        "{directory} is empty, but the database knows pictures in it; mount its disk, or restore a backup; if the pictures are lost \
         for good, make a directory `.imgopen-adopt` in it to go on without them"
    )]
    Away {
        /// Its path.
        directory: String,
    },
    /// A picture has no file any more.
    #[error("the file of the picture does not exist")]
    Lost,
    /// A picture's file is not as long as it was.
    #[error("the file of the picture has {found} bytes instead of {expected}; restore it from a backup")]
    Damaged {
        /// Its length.
        found: u64,
        /// The length that was written.
        expected: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// The pictures in a directory. Clones share it.
#[derive(Debug, Clone)]
pub struct Assets {
    files: Arc<dyn ObjectStore>,
    home: Arc<Home>,
    store: Arc<dyn Store>,
}

impl Assets {
    /// Opens a directory, and creates it if it does not exist. The store has the rows of its pictures.
    ///
    /// # Errors
    ///
    /// When it cannot be created or read.
    pub fn open(directory: &Path, store: Arc<dyn Store>) -> Result<Self, AssetError> {
        let home = Home::open(directory).map_err(|error| in_directory(directory, &error))?;
        let files = LocalFileSystem::new_with_prefix(directory).map_err(|error| in_directory(directory, &error))?;
        let files = Arc::new(files.with_automatic_cleanup(false).with_fsync(true));
        Ok(Self { files, home: Arc::new(home), store })
    }

    /// Makes sure that the directory is the one that the database knows, not the empty mount point of a disk that is away.
    ///
    /// It is if it bears the mark that the database names, or is to be adopted; otherwise, if there are any pictures in it, or
    /// none can be missing in it. Then it is marked, which earlier versions did not do. Pictures of another database are
    /// another matter, for warnings.
    ///
    /// # Errors
    ///
    /// When it is not, or that cannot be found out.
    pub async fn settle(&self) -> Result<(), AssetError> {
        if self.with_home(Home::is_here_or_made).await? {
            return Ok(());
        }
        let (noted, marks) = (self.store.note(Note::Pictures).await?, self.with_home(Home::marks).await?);
        let is_marked = marks.is_adopted || noted.is_some_and(|number| marks.numbers.contains(&number));
        if !is_marked && self.store.asset_bytes().await? != 0 && self.some_names(1).await?.is_empty() {
            return Err(AssetError::Away { directory: self.directory().display().to_string() });
        }
        let mark = match noted.or(marks.numbers.first().copied()) {
            Some(mark) => mark,
            None => number()?,
        };
        if noted != Some(mark) {
            self.store.set_note(Note::Pictures, mark).await?;
        }
        self.with_home(move |home| home.settle(mark)).await
    }

    /// Whether the directory is surely the one that the database knows, so that what is not in it does not exist.
    pub(crate) async fn is_here(&self) -> bool {
        self.with_home(|home| Ok(home.is_here())).await.unwrap_or(false)
    }

    /// Writes a file into the directory to find out whether a picture could be written.
    pub(crate) async fn probe(&self) -> Result<(), AssetError> {
        self.settle().await?;
        self.with_home(|home| disk::probe(home.directory())).await
    }

    pub(crate) fn directory(&self) -> &Path {
        self.home.directory()
    }

    /// Runs work on the directory, on a thread where it may block.
    async fn with_home<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Home) -> io::Result<T> + Send + 'static,
    ) -> Result<T, AssetError> {
        let home = self.home.clone();
        let done = tokio::task::spawn_blocking(move || work(&home)).await.map_err(io::Error::other).flatten();
        done.map_err(|error| in_directory(self.directory(), &error))
    }

    /// Writes a picture of a run. It becomes an asset only when its row is written too.
    pub(crate) async fn put(
        &self,
        run: &RunId,
        picture: &Picture,
        expires_at: Option<Moment>,
    ) -> Result<NewAsset, AssetError> {
        let token = AssetToken::new(run, picture.format.extension())?;
        let bytes = picture.bytes.len() as u64;
        // What is written into the mount point of a disk is out of reach when the disk is back.
        self.settle().await?;
        self.files.put(&place(&token), PutPayload::from_bytes(picture.bytes.clone())).await?;
        Ok(NewAsset { token, media_type: picture.format.media_type(), bytes, expires_at })
    }

    /// Streams a part of a picture that has that many bytes. Fails before the first byte if the file is lost or cut.
    pub(crate) async fn stream(
        &self,
        token: &AssetToken,
        range: Range<u64>,
        expected: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, object_store::Error>> + Send + 'static, AssetError> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let found = match self.files.get_opts(&place(token), options).await {
            Ok(read) if read.meta.size == expected => return Ok(read.into_stream()),
            Ok(read) => read.meta.size,
            Err(error) => self.size(token).await.and_then(|found| {
                // Reading failed although the file is whole.
                if found == expected { Err(error.into()) } else { Ok(found) }
            })?,
        };
        Err(AssetError::Damaged { found, expected })
    }

    /// Returns the size of a picture's file.
    async fn size(&self, token: &AssetToken) -> Result<u64, AssetError> {
        match self.files.head(&place(token)).await {
            Ok(file) => Ok(file.size),
            Err(object_store::Error::NotFound { .. }) => match self.is_here().await {
                true => Err(AssetError::Lost),
                false => Err(AssetError::Away { directory: self.directory().display().to_string() }),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes pictures. One that does not exist is not an error. If some cannot be deleted, the others still are, and the
    /// first error is returned.
    pub(crate) async fn delete<'a>(&self, tokens: impl IntoIterator<Item = &'a AssetToken>) -> Result<(), AssetError> {
        self.delete_each(tokens).await.1.map_or(Ok(()), Err)
    }

    /// Deletes pictures, and returns those that do not exist any more, with the first error of the others. None is known not
    /// to exist while the directory is away.
    pub(crate) async fn delete_each<'a>(
        &self,
        tokens: impl IntoIterator<Item = &'a AssetToken>,
    ) -> (Vec<AssetToken>, Option<AssetError>) {
        let (mut deleted, mut first) = (Vec::new(), None);
        for token in tokens {
            match self.files.delete(&place(token)).await {
                Ok(()) => deleted.push(token.clone()),
                Err(object_store::Error::NotFound { .. }) if self.is_here().await => deleted.push(token.clone()),
                Err(error) => first = first.or(Some(error.into())),
            }
        }
        (deleted, first)
    }

    /// Returns the names of some files that are named like pictures, at most so many.
    pub(crate) async fn some_names(&self, most: usize) -> Result<Vec<AssetToken>, AssetError> {
        self.with_home(move |home| some_names(home.directory(), most)).await
    }

    /// Deletes the files of an orphaned run that are not assets, partial ones included, and returns how many. Other files
    /// are not touched. If some cannot be deleted, the others still are, and the first error is returned.
    pub(crate) async fn delete_orphans(&self, run: &RunId) -> Result<usize, AssetError> {
        if !self.is_here().await {
            return Err(AssetError::Away { directory: self.directory().display().to_string() });
        }
        let files = self.files.list(Some(&Place::from(shelf(run.as_str()))));
        let files: Vec<_> = files.map_ok(|file| file.location).try_collect().await?;
        let names = files.iter().filter_map(Place::filename).filter(|name| name.starts_with(run.as_str()));
        let tokens: Vec<_> = names.map(|name| AssetToken(name.to_owned())).collect();
        let kept: HashSet<_> = self.store.kept_assets(tokens.clone()).await?.into_iter().collect();
        let orphans: Vec<_> = tokens.iter().filter(|token| !kept.contains(token)).collect();
        let count = orphans.len();
        let (whole, partial) = (self.delete(orphans).await, self.delete_partial(run));
        whole?;
        Ok(count + partial?)
    }

    /// The object store writes a file beside its place, with a number after `#`, and then renames it. It does not list
    /// such partial files.
    fn delete_partial(&self, run: &RunId) -> Result<usize, AssetError> {
        let shelf = self.directory().join(shelf(run.as_str()));
        let to_error = |error: io::Error| in_directory(&shelf, &error);
        let files = match std::fs::read_dir(&shelf) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(to_error(error)),
        };
        let (mut deleted, mut outcome) = (0, Ok(()));
        for file in files {
            let file = file.map_err(to_error)?;
            let name = file.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(run.as_str()) && name.contains('#') {
                match std::fs::remove_file(file.path()) {
                    Ok(()) => deleted += 1,
                    Err(error) => outcome = outcome.and(Err(to_error(error))),
                }
            }
        }
        outcome.map(|()| deleted)
    }
}

/// Returns the names of some files in a directory of pictures that are named like one, at most so many.
fn some_names(directory: &Path, most: usize) -> io::Result<Vec<AssetToken>> {
    names(directory)?.take(most).map(|file| Ok(file?.0)).collect()
}

/// Iterates over the files in a directory of pictures that are named like one, with their paths. Looks only where the service
/// keeps pictures, because others' directories, such as that for lost files of a disk, may not be readable.
pub(crate) fn names(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<(AssetToken, PathBuf)>> + use<>> {
    let shelves = std::fs::read_dir(directory)?;
    let shelves = shelves.filter(|entry| entry.as_ref().map_or(true, is_shelf));
    let files = shelves.flat_map(|shelf| match shelf.and_then(|shelf| std::fs::read_dir(shelf.path())) {
        Ok(files) => Box::new(files) as Box<dyn Iterator<Item = io::Result<std::fs::DirEntry>>>,
        Err(error) => Box::new(std::iter::once(Err(error))),
    });
    Ok(files.filter_map(|file| match file {
        Ok(file) => {
            let token = AssetToken(file.file_name().into_string().ok()?);
            is_token(&token).then(|| Ok((token, file.path())))
        }
        Err(error) => Some(Err(error)),
    }))
}

/// Whether an entry is a directory that the service keeps pictures in.
fn is_shelf(entry: &std::fs::DirEntry) -> bool {
    let name = entry.file_name();
    name.len() == 2
        && name.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit()))
        && entry.path().is_dir()
}

/// Whether a token has the form of those that the service makes: at least 32 hexadecimal digits and an extension.
pub(crate) fn is_token(token: &AssetToken) -> bool {
    token.as_str().split_once('.').is_some_and(|(id, extension)| {
        let is_id = id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id && !extension.is_empty() && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Returns the path of a picture in a directory of pictures.
pub(crate) fn path(directory: &Path, token: &AssetToken) -> PathBuf {
    directory.join(shelf(token.as_str())).join(token.as_str())
}

/// Two levels, because directories of a million files are slow to list.
fn place(token: &AssetToken) -> Place {
    Place::from_iter([shelf(token.as_str()), token.as_str()])
}

/// The directory of a token, or of all tokens of a run.
fn shelf(name: &str) -> &str {
    name.get(..2).unwrap_or("_")
}

fn in_directory(directory: &Path, error: &dyn std::fmt::Display) -> AssetError {
    AssetError::Directory { directory: directory.display().to_string(), problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use imgopen_engine::Format;
    use imgopen_store::{Claim, End, Ending, KeyId, NewTask, OwnerId, SqliteStore, State, TaskId, TaskOutput};

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
        assert!(assets.delete(&tokens).await.is_err());
    }

    fn picture() -> Picture {
        Picture { bytes: vec![1, 2, 3].into(), format: Format::Png, width: 1, height: 1, seed: None }
    }

    /// Ends a task with a picture.
    async fn keep_one(assets: &Assets) {
        let (store, owner, run) = (&assets.store, OwnerId::new().unwrap(), RunId::new().unwrap());
        store.register_owner(owner.clone(), None).await.unwrap();
        let (key, now) = (KeyId("a".to_owned()), Moment(1));
        store.submit(NewTask::new(TaskId("1".to_owned()), key.clone(), "enlarge_image", "{}", now)).await.unwrap();
        let needs = "enlarge_image".to_owned();
        let claim = Claim { key, needs, run: run.clone(), owner, now, only: None };
        let task = store.claim(claim).await.unwrap().unwrap();
        let task = task.ended(Ending::Succeeded(TaskOutput::default()), None, now);
        let assets = vec![assets.put(&run, &picture(), None).await.unwrap()];
        assert!(
            store.end(End { before: State::Running, task, assets, callback: None, orphans_run: false }).await.unwrap()
        );
    }

    #[tokio::test]
    async fn an_empty_directory_is_taken_only_if_nothing_can_be_missing_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let (directory, disk) = (parent.path().join("assets"), parent.path().join("disk"));
        std::fs::create_dir(&directory).unwrap();
        let (first, _data) = assets(&directory).await;
        keep_one(&first).await;
        let open = || Assets::open(&directory, first.store.clone()).unwrap();
        // The disk is not mounted at the start.
        std::fs::rename(&directory, &disk).unwrap();
        std::fs::create_dir(&directory).unwrap();
        let away = open();
        assert!(matches!(away.settle().await, Err(AssetError::Away { .. })));
        assert!(matches!(away.put(&RunId::new().unwrap(), &picture(), None).await, Err(AssetError::Away { .. })));
        // It holds nothing, or this would fail.
        std::fs::remove_dir(&directory).unwrap();
        std::fs::rename(&disk, &directory).unwrap();
        away.settle().await.unwrap();
        // Earlier versions made no mark.
        for mark in std::fs::read_dir(&directory).unwrap() {
            let mark = mark.unwrap();
            if mark.file_name().to_string_lossy().starts_with(".imgopen-") {
                std::fs::remove_dir(mark.path()).unwrap();
            }
        }
        assert!(!away.is_here().await);
        let unmarked = open();
        unmarked.settle().await.unwrap();
        assert!(unmarked.is_here().await && away.is_here().await);
        // All pictures are lost, and the operator says so.
        std::fs::remove_dir_all(&directory).unwrap();
        std::fs::create_dir(&directory).unwrap();
        assert!(matches!(open().settle().await, Err(AssetError::Away { .. })));
        crate::home::adopt(&directory).unwrap();
        open().settle().await.unwrap();
        assert!(first.is_here().await && !directory.join(".imgopen-adopt").exists());
        // A directory that does not exist is no mount point.
        std::fs::remove_dir_all(&directory).unwrap();
        open().settle().await.unwrap();
        assert!(first.is_here().await);
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
}
