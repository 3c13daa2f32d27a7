//! Files in a directory, which may be the mount point of a disk.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, try_unfold};
use futures_util::{Stream, StreamExt, TryStreamExt};
use imgopen_store::{AssetToken, Note, RunId, Store, number};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Place;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::sync::Mutex;

use super::access::Access;
use super::error::AssetError;
use super::files::{Files, Opened, part, unread};
use super::kind::Kind;
use super::links::Links;
use super::tokens::{page, shelf, shelves, some_names};
use crate::disk;
use crate::home::{self, Home, Marks};

/// How many files are compared with the database to find out whether a directory without its mark is that of the database.
const SAMPLE: usize = 4096;

/// A directory of files.
#[derive(Debug)]
pub struct Directory {
    /// Those of the data directory, so that they can be opened while the directory of the pictures is away.
    files: Arc<dyn ObjectStore>,
    /// The name of the directory in the data directory.
    name: String,
    home: Arc<Home>,
    access: Access,
    /// Whether several processes use it.
    is_shared: bool,
    /// Held while the directory is marked, so that it gets one number.
    settling: Mutex<()>,
}

impl Directory {
    /// Opens a directory in a data directory. It need not exist.
    pub fn open(directory: &Path, is_shared: bool) -> Result<Self, AssetError> {
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let files = LocalFileSystem::new_with_prefix(parent).map_err(|error| in_directory(parent, &error))?;
        let files = Arc::new(files.with_automatic_cleanup(false).with_fsync(true));
        Ok(Self {
            files,
            name,
            home: Arc::new(Home::new(directory)),
            access: Access::new(),
            is_shared,
            settling: Mutex::default(),
        })
    }

    /// Returns what keeps a directory without its mark from being taken for that of the database. `None` if it is.
    async fn lacks(
        &self,
        store: &dyn Store,
        noted: Option<i64>,
        marks: Option<&Marks>,
    ) -> Result<Option<&'static str>, AssetError> {
        let Some(marks) = marks else {
            // Other processes may use another directory, although it has no pictures yet.
            let is_lossless = !(self.is_shared && noted.is_some()) && store.asset_bytes().await? == 0;
            return Ok((!is_lossless).then_some("does not exist"));
        };
        if marks.adopters.contains(&noted.unwrap_or_default()) {
            return Ok(None);
        }
        if noted.is_none() && store.asset_bytes().await? == 0 {
            return Ok(None);
        }
        let names = self.some_names(SAMPLE).await?;
        let found =
            if names.is_empty() { "has no pictures and no mark" } else { "has only unknown pictures and no mark" };
        let known = store.kept_assets(names).await?;
        Ok(known.is_empty().then_some(found))
    }

    /// The error that the directory is not that of the database with that number.
    fn away(&self, noted: Option<i64>, found: &'static str) -> AssetError {
        let directory = self.home.directory();
        let adopt = home::adoption_of(directory, noted).display().to_string();
        AssetError::Away { directory: directory.display().to_string(), found, adopt }
    }

    async fn is_here(&self) -> bool {
        self.with_home(|home| Ok(home.is_here())).await.unwrap_or(false)
    }

    /// Runs work on the directory, on a thread where it may block.
    async fn with_home<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Home) -> io::Result<T> + Send + 'static,
    ) -> Result<T, AssetError> {
        let home = self.home.clone();
        let done = self.access.run(async move { tokio::task::spawn_blocking(move || work(&home)).await }).await;
        let done = done.and_then(|done| done.map_err(io::Error::other)?);
        done.map_err(|error| in_directory(self.home.directory(), &error))
    }

    /// Does work on files that a caller waits for.
    async fn read<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, object_store::Error>> + Send + 'static,
    ) -> Result<T, AssetError> {
        let done = self.access.run(work).await.map_err(|error| in_directory(self.home.directory(), &error))?;
        Ok(done?)
    }

    /// Does work on files that may take long.
    async fn write<T: Send + 'static, E: Into<AssetError> + Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, AssetError> {
        let done = self.access.run_to_end(work).await;
        done.map_err(|error| in_directory(self.home.directory(), &error))?.map_err(Into::into)
    }

    /// Two levels, because directories of a million files are slow to list.
    fn place(&self, token: &AssetToken) -> Place {
        Place::from_iter([self.name.as_str(), shelf(token.as_str()), token.as_str()])
    }
}

#[async_trait]
impl Files for Directory {
    /// It is if it bears the mark that the database names. Without that, it is taken if an operator says so, if files in it
    /// belong to pictures of the database, or if none can be missing: nothing was ever marked and there are no pictures, or it
    /// does not exist and there are none. It then gets a new mark.
    async fn settle(&self, store: &dyn Store) -> Result<(), AssetError> {
        if self.with_home(|home| Ok(home.is_here())).await? {
            return Ok(());
        }
        let _settling = self.settling.lock().await;
        let (noted, marks) = (store.note(Note::Pictures).await?, self.with_home(Home::marks).await?);
        if let (Some(noted), Some(marks)) = (noted, &marks)
            && marks.numbers.contains(&noted)
        {
            self.home.know(noted);
            return Ok(());
        }
        if let Some(found) = self.lacks(store, noted, marks.as_ref()).await? {
            return Err(self.away(noted, found));
        }
        let mark = number()?;
        self.with_home(move |home| home.mark(mark)).await?;
        // Only now: if the process dies in between, the directory is looked at again as it was before.
        let known = match noted {
            Some(_) => store.set_note(Note::Pictures, mark).await.map(|()| mark)?,
            // Another process may have marked a directory at the same moment.
            None => store.first_note(Note::Pictures, mark).await?,
        };
        let marks = self.with_home(Home::marks).await?.unwrap_or_default();
        if !marks.numbers.contains(&known) {
            return Err(self.away(Some(known), "lacks its mark"));
        }
        self.home.know(known);
        self.with_home(move |home| home.keep_only(known)).await
    }

    async fn here(&self, store: &dyn Store) -> Result<(), AssetError> {
        if self.is_here().await {
            return Ok(());
        }
        Err(self.away(store.note(Note::Pictures).await?, "lacks its mark"))
    }

    async fn probe(&self, store: &dyn Store) -> Result<(), AssetError> {
        self.settle(store).await?;
        self.with_home(|home| disk::probe(home.directory())).await
    }

    async fn put(&self, token: &AssetToken, payload: PutPayload, _: &Kind) -> Result<(), AssetError> {
        let (files, place) = (self.files.clone(), self.place(token));
        self.write(async move { files.put(&place, payload).await.map(drop) }).await
    }

    async fn put_file(&self, token: &AssetToken, from: &Path, _: &Kind) -> Result<u64, AssetError> {
        let (files, place, from) = (self.files.clone(), self.place(token), from.to_owned());
        self.write(async move { copy(&from, &*files, &place).await }).await
    }

    async fn get(&self, token: &AssetToken, range: Range<u64>) -> Result<Opened, AssetError> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let (files, place) = (self.files.clone(), self.place(token));
        let read = self.read(async move { files.get_opts(&place, options).await }).await?;
        let size = read.meta.size;
        Ok(Opened { size, bytes: in_places(read.into_stream(), self.access.clone()).boxed() })
    }

    async fn size(&self, token: &AssetToken) -> Result<Option<u64>, AssetError> {
        let (files, place) = (self.files.clone(), self.place(token));
        match self.read(async move { files.head(&place).await }).await {
            Ok(file) => Ok(Some(file.size)),
            Err(AssetError::Files(object_store::Error::NotFound { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete_each(&self, tokens: Vec<AssetToken>, _: &dyn Store) -> (Vec<AssetToken>, Option<AssetError>) {
        let (mut deleted, mut first) = (Vec::new(), None);
        for token in tokens {
            let (files, place) = (self.files.clone(), self.place(&token));
            match self.write(async move { files.delete(&place).await }).await {
                Ok(()) => deleted.push(token),
                Err(AssetError::Files(object_store::Error::NotFound { .. })) if self.is_here().await => {
                    deleted.push(token);
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        (deleted, first)
    }

    async fn some_names(&self, most: usize) -> Result<Vec<AssetToken>, AssetError> {
        self.with_home(move |home| some_names(home.directory(), most)).await
    }

    async fn shelves(&self) -> Result<Vec<String>, AssetError> {
        self.with_home(|home| shelves(home.directory())).await
    }

    async fn page(&self, shelf: &str, after: Option<&AssetToken>, most: usize) -> Result<Vec<AssetToken>, AssetError> {
        let (shelf, after) = (shelf.to_owned(), after.cloned());
        self.with_home(move |home| page(home.directory(), &shelf, after.as_ref(), most)).await
    }

    async fn of_run(&self, run: &RunId) -> Result<Vec<AssetToken>, AssetError> {
        let (files, place) = (self.files.clone(), Place::from_iter([self.name.as_str(), shelf(run.as_str())]));
        let listed = async move { files.list(Some(&place)).map_ok(|file| file.location).try_collect::<Vec<_>>().await };
        let listed = self.write(listed).await?;
        let names = listed.iter().filter_map(Place::filename).filter(|name| name.starts_with(run.as_str()));
        Ok(names.map(|name| AssetToken(name.to_owned())).collect())
    }

    /// The object store writes a file beside its place, with a number after `#`, and then renames it. It does not list
    /// such partial files.
    async fn delete_partial(&self, run: &RunId) -> Result<usize, AssetError> {
        let run = run.as_str().to_owned();
        self.with_home(move |home| delete_partial(&home.directory().join(shelf(&run)), &run)).await
    }

    fn links(&self) -> Option<&Links> {
        None
    }

    fn directory(&self) -> Option<&Path> {
        Some(self.home.directory())
    }

    fn shown(&self) -> String {
        self.home.directory().display().to_string()
    }
}

/// Copies a file of this machine, and returns its size.
async fn copy(from: &Path, files: &dyn ObjectStore, place: &Place) -> Result<u64, AssetError> {
    let mut from = tokio::fs::File::open(from).await.map_err(unread)?;
    let mut upload = files.put_multipart(place).await?;
    let copied: Result<u64, AssetError> = async {
        let mut bytes = 0;
        loop {
            let part = part(&mut from).await?;
            if part.is_empty() {
                upload.complete().await?;
                return Ok(bytes);
            }
            bytes += part.len() as u64;
            upload.put_part(PutPayload::from(part)).await?;
        }
    }
    .await;
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

fn in_directory(directory: &Path, error: &dyn std::fmt::Display) -> AssetError {
    AssetError::Directory { directory: directory.display().to_string(), problem: error.to_string() }
}
