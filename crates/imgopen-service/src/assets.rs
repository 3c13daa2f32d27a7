//! Files of results, most of which are pictures: written whole or not at all, and named by tokens that cannot be guessed.

mod access;

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{BoxStream, try_unfold};
use futures_util::{Stream, StreamExt, TryStreamExt};
use imgopen_engine::{OutputFile, Picture};
use imgopen_picture::with_notes;
use imgopen_store::{AssetToken, Moment, NewAsset, NoRandomness, Note, RunId, Store, StoreError, number};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Place;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;

use crate::disk;
use crate::home::{self, Home, Marks};
use access::Access;

/// How many files are compared with the database to find out whether a directory without its mark is that of the database.
const SAMPLE: usize = 4096;

/// The media type of files that are not pictures. No browser opens it.
const FILE: &str = "application/octet-stream";

/// How much of a file is copied at a time, in bytes.
const PART: usize = 8 << 20;

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
        "{directory} {found}, so it is not the directory that the database knows; mount its disk, or restore a backup; if the \
         pictures are lost for good, run `mkdir -p {adopt}` to go on without them"
    )]
    Away {
        /// Its path.
        directory: String,
        /// What is so instead, such as "does not exist".
        found: &'static str,
        /// The directory to make if it is to be taken nevertheless.
        adopt: String,
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
    /// Those of the data directory, so that they can be opened while the directory of the pictures is away.
    files: Arc<dyn ObjectStore>,
    /// The name of the directory in the data directory.
    name: String,
    home: Arc<Home>,
    access: Access,
    /// Held while the directory is marked, so that it gets one number.
    settling: Arc<Mutex<()>>,
    store: Arc<dyn Store>,
}

impl Assets {
    /// Opens a directory in a data directory. It need not exist: [`settle`](Self::settle) looks at it. The store has the rows of
    /// its pictures.
    ///
    /// # Errors
    ///
    /// When the data directory cannot be read.
    pub fn open(directory: &Path, store: Arc<dyn Store>) -> Result<Self, AssetError> {
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let files = LocalFileSystem::new_with_prefix(parent).map_err(|error| in_directory(parent, &error))?;
        let files = Arc::new(files.with_automatic_cleanup(false).with_fsync(true));
        let (home, settling) = (Arc::new(Home::new(directory)), Arc::default());
        Ok(Self { files, name, home, access: Access::new(), settling, store })
    }

    /// Makes sure that the directory is the one that the database knows, not the mount point of a disk that is away.
    ///
    /// It is if it bears the mark that the database names. Without that, it is taken if an operator says so, if files in it
    /// belong to pictures of the database, or if none can be missing: nothing was ever marked and there are no pictures, or it
    /// does not exist and there are none. It then gets a new mark.
    ///
    /// # Errors
    ///
    /// When it is not, or that cannot be found out.
    pub async fn settle(&self) -> Result<(), AssetError> {
        if self.with_home(|home| Ok(home.is_here())).await? {
            return Ok(());
        }
        let _settling = self.settling.lock().await;
        let (noted, marks) = (self.store.note(Note::Pictures).await?, self.with_home(Home::marks).await?);
        if let (Some(noted), Some(marks)) = (noted, &marks)
            && marks.numbers.contains(&noted)
        {
            self.home.know(noted);
            return Ok(());
        }
        if let Some(found) = self.lacks(noted, marks.as_ref()).await? {
            return Err(self.away(noted, found));
        }
        let mark = number()?;
        self.with_home(move |home| home.mark(mark)).await?;
        // Only now: if the process dies in between, the directory is looked at again as it was before.
        self.store.set_note(Note::Pictures, mark).await?;
        self.home.know(mark);
        self.with_home(move |home| home.keep_only(mark)).await
    }

    /// Returns what keeps a directory without its mark from being taken for that of the database. `None` if it is.
    async fn lacks(&self, noted: Option<i64>, marks: Option<&Marks>) -> Result<Option<&'static str>, AssetError> {
        let Some(marks) = marks else {
            let is_lossless = self.store.asset_bytes().await? == 0;
            return Ok((!is_lossless).then_some("does not exist"));
        };
        if marks.adopters.contains(&noted.unwrap_or_default()) {
            return Ok(None);
        }
        if noted.is_none() && self.store.asset_bytes().await? == 0 {
            return Ok(None);
        }
        let names = self.some_names(SAMPLE).await?;
        let found =
            if names.is_empty() { "has no pictures and no mark" } else { "has only unknown pictures and no mark" };
        let known = self.store.kept_assets(names).await?;
        Ok(known.is_empty().then_some(found))
    }

    /// The error that the directory is not that of the database with that number.
    fn away(&self, noted: Option<i64>, found: &'static str) -> AssetError {
        let directory = self.directory();
        let adopt = home::adoption_of(directory, noted).display().to_string();
        AssetError::Away { directory: directory.display().to_string(), found, adopt }
    }

    /// The same for one that was not looked at closely.
    async fn unmarked(&self) -> AssetError {
        match self.store.note(Note::Pictures).await {
            Ok(noted) => self.away(noted, "lacks its mark"),
            Err(error) => error.into(),
        }
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
        let done = self.access.run(async move { tokio::task::spawn_blocking(move || work(&home)).await }).await;
        let done = done.and_then(|done| done.map_err(io::Error::other)?);
        done.map_err(|error| in_directory(self.directory(), &error))
    }

    /// Does work on files that a caller waits for.
    async fn read<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, object_store::Error>> + Send + 'static,
    ) -> Result<Result<T, object_store::Error>, AssetError> {
        self.access.run(work).await.map_err(|error| in_directory(self.directory(), &error))
    }

    /// Does work on files that may take long.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, object_store::Error>> + Send + 'static,
    ) -> Result<Result<T, object_store::Error>, AssetError> {
        self.access.run_to_end(work).await.map_err(|error| in_directory(self.directory(), &error))
    }

    /// Writes a picture of a run, with notes in its text if there are any and it is a PNG file. It becomes an asset only when
    /// its row is written too.
    pub(crate) async fn put(
        &self,
        run: &RunId,
        picture: &Picture,
        notes: &[String],
        expires_at: Option<Moment>,
    ) -> Result<NewAsset, AssetError> {
        let token = AssetToken::new(run, picture.format.extension())?;
        let noted = if notes.is_empty() { None } else { with_notes(&picture.bytes, &notes.join("\n")) };
        let payload = noted.map_or_else(|| picture.bytes.clone().into(), PutPayload::from_iter);
        let bytes = payload.content_length() as u64;
        // What is written into the mount point of a disk is out of reach when the disk is back.
        self.settle().await?;
        let (files, place) = (self.files.clone(), self.place(&token));
        self.write(async move { files.put(&place, payload).await }).await??;
        Ok(NewAsset { token, media_type: picture.format.media_type(), bytes, expires_at, name: None })
    }

    /// Copies a file of a run's result, part by part. It becomes an asset only when its row is written too.
    pub(crate) async fn put_file(
        &self,
        run: &RunId,
        file: &OutputFile,
        expires_at: Option<Moment>,
    ) -> Result<NewAsset, AssetError> {
        let token = AssetToken::new(run, extension(&file.name))?;
        self.settle().await?;
        let (files, place, from) = (self.files.clone(), self.place(&token), file.path.clone());
        let bytes = self.write(async move { copy(&from, &*files, &place).await }).await??;
        Ok(NewAsset { token, media_type: FILE, bytes, expires_at, name: Some(file.name.clone()) })
    }

    /// Streams a part of a picture that has that many bytes. Fails before the first byte if the file is lost or cut, or if the
    /// disk does not answer.
    pub(crate) async fn stream(
        &self,
        token: &AssetToken,
        range: Range<u64>,
        expected: u64,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static, AssetError> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let (files, place) = (self.files.clone(), self.place(token));
        let found = match self.read(async move { files.get_opts(&place, options).await }).await? {
            Ok(read) if read.meta.size == expected => return Ok(in_places(read.into_stream(), self.access.clone())),
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
        let (files, place) = (self.files.clone(), self.place(token));
        match self.read(async move { files.head(&place).await }).await? {
            Ok(file) => Ok(file.size),
            Err(object_store::Error::NotFound { .. }) => match self.is_here().await {
                true => Err(AssetError::Lost),
                false => Err(self.unmarked().await),
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
            let (files, place) = (self.files.clone(), self.place(token));
            match self.write(async move { files.delete(&place).await }).await {
                Ok(Ok(())) => deleted.push(token.clone()),
                Ok(Err(object_store::Error::NotFound { .. })) if self.is_here().await => deleted.push(token.clone()),
                Ok(Err(error)) => first = first.or(Some(error.into())),
                Err(error) => first = first.or(Some(error)),
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
            return Err(self.unmarked().await);
        }
        let (files, place) = (self.files.clone(), Place::from_iter([self.name.as_str(), shelf(run.as_str())]));
        let listed = async move { files.list(Some(&place)).map_ok(|file| file.location).try_collect::<Vec<_>>().await };
        let files = self.write(listed).await??;
        let names = files.iter().filter_map(Place::filename).filter(|name| name.starts_with(run.as_str()));
        let tokens: Vec<_> = names.map(|name| AssetToken(name.to_owned())).collect();
        let kept: HashSet<_> = self.store.kept_assets(tokens.clone()).await?.into_iter().collect();
        let orphans: Vec<_> = tokens.iter().filter(|token| !kept.contains(token)).collect();
        let count = orphans.len();
        let (whole, partial) = (self.delete(orphans).await, self.delete_partial(run).await);
        whole?;
        Ok(count + partial?)
    }

    /// The object store writes a file beside its place, with a number after `#`, and then renames it. It does not list
    /// such partial files.
    async fn delete_partial(&self, run: &RunId) -> Result<usize, AssetError> {
        let run = run.as_str().to_owned();
        self.with_home(move |home| delete_partial(&home.directory().join(shelf(&run)), &run)).await
    }

    /// Two levels, because directories of a million files are slow to list.
    fn place(&self, token: &AssetToken) -> Place {
        Place::from_iter([self.name.as_str(), shelf(token.as_str()), token.as_str()])
    }
}

/// The extension of a file's name, as it may be in a token.
fn extension(name: &str) -> &str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let is_plain = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    extension.filter(is_plain).unwrap_or("bin")
}

/// Copies a file of this machine, and returns its size.
async fn copy(from: &Path, files: &dyn ObjectStore, place: &Place) -> Result<u64, object_store::Error> {
    let unread = |error: io::Error| object_store::Error::Generic { store: "a file of a result", source: error.into() };
    let mut from = tokio::fs::File::open(from).await.map_err(unread)?;
    let mut upload = files.put_multipart(place).await?;
    let copied = async {
        let mut bytes = 0;
        loop {
            let mut part = Vec::with_capacity(PART);
            (&mut from).take(PART as u64).read_to_end(&mut part).await.map_err(unread)?;
            if part.is_empty() {
                return upload.complete().await.map(|_| bytes);
            }
            bytes += part.len() as u64;
            upload.put_part(PutPayload::from(part)).await?;
        }
    };
    let copied = copied.await;
    if copied.is_err()
        && let Err(error) = upload.abort().await
    {
        tracing::warn!(%error, "what was copied of a file could not be deleted; it is deleted later");
    }
    copied
}

/// Deletes the partial files of a run, and returns how many. If some cannot be deleted, the others still are.
fn delete_partial(shelf: &Path, run: &str) -> io::Result<usize> {
    let files = match std::fs::read_dir(shelf) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let (mut deleted, mut outcome) = (0, Ok(()));
    for file in files {
        let file = file?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(run) && name.contains('#') {
            match std::fs::remove_file(file.path()) {
                Ok(()) => deleted += 1,
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
    }
    outcome.map(|()| deleted)
}

/// Reads each part of a file in a place of its own, so that a slow caller keeps none.
fn in_places(
    file: BoxStream<'static, Result<Bytes, object_store::Error>>,
    access: Access,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    try_unfold(file, move |mut file| {
        let access = access.clone();
        async move {
            let read = access.run(async move {
                let part = file.next().await;
                (part, file)
            });
            let (part, file) = read.await?;
            let part = part.transpose().map_err(io::Error::other)?;
            Ok::<_, io::Error>(part.map(|part| (part, file)))
        }
    })
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

/// The directory of a token, or of all tokens of a run.
fn shelf(name: &str) -> &str {
    name.get(..2).unwrap_or("_")
}

fn in_directory(directory: &Path, error: &dyn std::fmt::Display) -> AssetError {
    AssetError::Directory { directory: directory.display().to_string(), problem: error.to_string() }
}

#[cfg(test)]
mod tests;
