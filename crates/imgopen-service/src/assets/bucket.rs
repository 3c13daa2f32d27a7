//! Files in a bucket.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, try_unfold};
use futures_util::{StreamExt, TryStreamExt};
use imgopen_store::{AssetToken, Note, RunId, Store, number};
use object_store::path::Path as Place;
use object_store::{
    Attribute, Attributes, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload,
};
use tokio::fs::File;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::error::AssetError;
use super::files::{Files, Opened, PART, part, unread};
use super::kind::{Kind, attachment};
use super::links::Links;
use super::mark;
use super::requests::{ANSWER, Bucket};
use super::tokens::shelf;

/// How many names are compared with the database to find out whether a prefix without its mark is that of the database.
const SAMPLE: usize = 4096;

/// How long it is believed that the prefix bears its mark, where nothing is concluded from what is not there.
const TRUST: Duration = Duration::from_secs(30);

/// How long a probe is believed. A request costs money.
const PROBED: Duration = Duration::from_secs(10);

/// How long it is believed that an object can be written and deleted, if none failed. Buckets may keep each version.
const WRITTEN: Duration = Duration::from_secs(10 * 60);

/// How many objects are deleted at once.
const AT_ONCE: usize = 16;

/// How often the prefix is looked at again because it was marked, or another process has done something, before that is a fault.
const LOOKS: usize = 16;

/// Files in a bucket.
#[derive(Debug)]
pub struct InBucket {
    bucket: Arc<Bucket>,
    links: Option<Links>,
    /// Whether several processes use it.
    is_shared: bool,
    /// The number that this process proposes, until the database has answered, so that what is repeated leaves no further object.
    proposed: Mutex<Option<i64>>,
    /// When what was seen last.
    seen: Mutex<Seen>,
    /// Held while the prefix is marked.
    settling: tokio::sync::Mutex<()>,
}

/// What a database and a prefix have in common.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    /// The number that the database has.
    noted: Option<i64>,
    /// That of the mark.
    found: Option<i64>,
    /// Whether the prefix has a provisional mark with the number of the database.
    is_proposed: bool,
}

/// When the bucket was found to be as it should.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    mark: Option<Instant>,
    probe: Option<Instant>,
    write: Option<Instant>,
}

impl InBucket {
    /// Keeps files in this bucket, and makes addresses of them for callers if they are to be redirected. If several processes use
    /// it, none takes another prefix than that of the others.
    pub fn new(bucket: Arc<Bucket>, links: Option<Links>, is_shared: bool) -> Self {
        let (proposed, seen, settling) = (Mutex::default(), Mutex::default(), tokio::sync::Mutex::default());
        Self { bucket, links, is_shared, proposed, seen, settling }
    }

    /// Settles the prefix by what is in the bucket now.
    async fn settle_now(&self, store: &dyn Store) -> Result<(), AssetError> {
        for _ in 0..LOOKS {
            let Numbers { noted, found, is_proposed } = self.numbers(store).await?;
            match noted {
                Some(number) if found == noted => {
                    let is_first = self.seen().mark.is_none();
                    // Left by a process that died before it was removed, it would stand for the mark if that is deleted.
                    if is_first && mark::is_proposed(&self.bucket, number).await? {
                        mark::forget_proposal(&self.bucket, number).await;
                    }
                    *self.proposed() = None;
                    self.seen().mark = Some(Instant::now());
                    return Ok(());
                }
                Some(number) if is_proposed => mark::complete(&self.bucket, number).await?,
                _ => {
                    if !mark::is_adopted(&self.bucket, noted).await?
                        && let Some((found, fix)) = self.lacks(store, noted, found).await?
                    {
                        // Another process may have taken a place in between, by the same order.
                        if store.note(Note::Pictures).await? != noted {
                            continue;
                        }
                        return Err(self.foreign(noted, found, fix));
                    }
                    self.take(store, noted).await?;
                }
            }
        }
        let problem = "its mark is not the one that was written; see the log of the server, and that nothing else uses the prefix";
        Err(self.bucket.unusable(problem.to_owned()))
    }

    /// Returns the numbers of the database and of the prefix. The database has the same before and after the prefix was looked at.
    async fn numbers(&self, store: &dyn Store) -> Result<Numbers, AssetError> {
        let mut noted = store.note(Note::Pictures).await?;
        loop {
            let mut numbers = Numbers { noted, found: mark::read(&self.bucket).await?, is_proposed: false };
            if let Some(number) = noted {
                if numbers.found == noted {
                    return Ok(numbers);
                }
                numbers.is_proposed = mark::is_proposed(&self.bucket, number).await?;
                if !numbers.is_proposed {
                    // Another process may have completed it in between.
                    numbers.found = mark::read(&self.bucket).await?;
                }
            }
            let now = store.note(Note::Pictures).await?;
            if now == noted {
                return Ok(numbers);
            }
            noted = now;
        }
    }

    /// Returns what keeps a prefix without the mark of the database from being taken for its own, and how to fix that. `None` if
    /// it is.
    async fn lacks(
        &self,
        store: &dyn Store,
        noted: Option<i64>,
        found: Option<i64>,
    ) -> Result<Option<(&'static str, &'static str)>, AssetError> {
        if found.is_some() {
            return Ok(Some(marked_by_another(noted)));
        }
        if !self.bucket.has_more_than(mark::OWN).await? {
            if store.asset_bytes().await? == 0 {
                let lack = (
                    "is empty and has no mark, but another process of the service has taken a place for pictures already",
                    "correct `storage.url`, which is the same for all processes",
                );
                return Ok((self.is_shared && noted.is_some()).then_some(lack));
            }
            return Ok(Some((
                "is empty, but the database has pictures",
                "correct `storage.url`, or copy them there with their directories, from `assets` in the data directory or from \
                 another bucket",
            )));
        }
        let known = store.kept_assets(self.some_names(SAMPLE).await?).await?;
        let lack = (
            "has no mark, and objects that the database does not know",
            "give `storage.url` a prefix that nothing else uses, or restore the database that they belong to",
        );
        Ok(known.is_empty().then_some(lack))
    }

    /// Has the database take the prefix by a new number, after a provisional mark was made of it. If the process dies in between,
    /// the prefix is looked at again as it was before. Once the database has the number, any process completes the mark.
    /// Of several that take a prefix at once, the same or different ones, the database gets the number of one. Where nothing can be
    /// written or copied, the number stays.
    async fn take(&self, store: &dyn Store, noted: Option<i64>) -> Result<(), AssetError> {
        let drawn = *self.proposed();
        let number = match drawn.filter(|_| drawn != noted) {
            Some(number) => number,
            None => number()?,
        };
        // Before the database answers: it may have the number although the answer is lost.
        *self.proposed() = Some(number);
        mark::copy_probe(&self.bucket, number).await?;
        mark::propose(&self.bucket, number).await?;
        let kept = match noted {
            Some(noted) => store.replace_note(Note::Pictures, noted, number).await?,
            None => Some(store.first_note(Note::Pictures, number).await?),
        };
        *self.proposed() = None;
        if kept != Some(number) {
            mark::forget_proposal(&self.bucket, number).await;
            return Ok(());
        }
        mark::forget_adoption(&self.bucket, noted).await;
        Ok(())
    }

    fn foreign(&self, noted: Option<i64>, found: &'static str, fix: &'static str) -> AssetError {
        let adopt = mark::shown_adoption(&self.bucket, noted);
        AssetError::Foreign { bucket: self.bucket.shown(), found, fix, adopt }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn proposed(&self) -> MutexGuard<'_, Option<i64>> {
        self.proposed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has everything looked at again once something has failed.
    fn doubt<T>(&self, outcome: Result<T, AssetError>) -> Result<T, AssetError> {
        if outcome.as_ref().is_err_and(AssetError::is_away) {
            *self.seen() = Seen::default();
        }
        outcome
    }
}

/// What is wrong with a prefix that bears another mark than the database has.
fn marked_by_another(noted: Option<i64>) -> (&'static str, &'static str) {
    let fix = match noted {
        Some(_) => "correct `storage.url`, or restore the newest backup of the database",
        None => "give `storage.url` a prefix of its own, or restore the database that it belongs to",
    };
    ("bears the mark of another database", fix)
}

#[async_trait]
impl Files for InBucket {
    /// It is if it bears the mark that the database names, or a provisional one, which is then completed. Without that, it is
    /// taken if an operator says so, if objects in it are pictures of the database, or if there are neither objects nor pictures,
    /// nor a place that one of several processes has taken before. It then gets a new mark.
    async fn settle(&self, store: &dyn Store) -> Result<(), AssetError> {
        let is_settled = || self.seen().mark.is_some_and(|seen| seen.elapsed() < TRUST);
        if is_settled() {
            return Ok(());
        }
        let _settling = self.settling.lock().await;
        if is_settled() {
            return Ok(());
        }
        self.doubt(self.settle_now(store).await)
    }

    /// Asks each time, because files are forgotten for what this returns.
    async fn here(&self, store: &dyn Store) -> Result<(), AssetError> {
        let Numbers { noted, found, is_proposed } = self.doubt(self.numbers(store).await)?;
        match found {
            Some(_) if found == noted => {
                self.seen().mark = Some(Instant::now());
                Ok(())
            }
            _ if is_proposed => {
                let problem = "its mark is not completed yet; that is done before the next picture is written";
                self.doubt(Err(self.bucket.unusable(problem.to_owned())))
            }
            Some(_) => {
                let (found, fix) = marked_by_another(noted);
                self.doubt(Err(self.foreign(noted, found, fix)))
            }
            None => {
                let fix = "correct `storage.url`, or put its objects back";
                self.doubt(Err(self.foreign(noted, "lacks its mark", fix)))
            }
        }
    }

    async fn probe(&self, store: &dyn Store) -> Result<(), AssetError> {
        let Seen { probe, write, .. } = *self.seen();
        if probe.is_some_and(|probe| probe.elapsed() < PROBED) {
            return Ok(());
        }
        let settling = self.settling.lock().await;
        let settled = self.settle_now(store).await;
        drop(settling);
        self.doubt(settled)?;
        if write.is_none_or(|write| write.elapsed() >= WRITTEN) {
            self.doubt(mark::write_probe(&self.bucket).await)?;
            self.seen().write = Some(Instant::now());
        }
        self.seen().probe = Some(Instant::now());
        Ok(())
    }

    /// An empty prefix will be taken, and so will one that is the database's already.
    async fn try_out(&self, store: &dyn Store) -> Result<(), AssetError> {
        let Numbers { noted, found, is_proposed } = self.numbers(store).await?;
        let is_own = is_proposed || found.is_some() && found == noted;
        if !is_own
            && (found.is_some() || self.bucket.has_more_than(mark::OWN).await?)
            && !mark::is_adopted(&self.bucket, noted).await?
            && let Some((found, fix)) = self.lacks(store, noted, found).await?
        {
            return Err(self.foreign(noted, found, fix));
        }
        mark::copy_probe(&self.bucket, number()?).await
    }

    async fn put(&self, token: &AssetToken, payload: PutPayload, kind: &Kind) -> Result<(), AssetError> {
        let bytes = payload.content_length() as u64;
        self.doubt(put(&self.bucket, &self.bucket.place(token), payload, bytes, attributes(kind)).await)
    }

    /// Spawned, so that what is sent is aborted if nobody waits for it any more.
    async fn put_file(&self, token: &AssetToken, from: &Path, kind: &Kind) -> Result<u64, AssetError> {
        let cancel = CancellationToken::new();
        let _cancel = cancel.clone().drop_guard();
        let (place, from) = (self.bucket.place(token), from.to_owned());
        let sent = tokio::spawn(put_file(self.bucket.clone(), place, from, attributes(kind), cancel)).await;
        self.doubt(sent.map_err(|error| AssetError::Files(error.into()))?)
    }

    async fn get(&self, token: &AssetToken, range: Range<u64>) -> Result<Opened, AssetError> {
        // No range says that nothing is to be sent.
        if range.is_empty() {
            let size = self.size(token).await?.ok_or(AssetError::Lost)?;
            return Ok(Opened { size, bytes: stream::empty().boxed() });
        }
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let place = self.bucket.place(token);
        let read = self.doubt(self.bucket.answered(self.bucket.files.get_opts(&place, options)).await)?;
        Ok(Opened { size: read.meta.size, bytes: in_time(read.into_stream()) })
    }

    async fn size(&self, token: &AssetToken) -> Result<Option<u64>, AssetError> {
        self.doubt(self.bucket.size(token).await)
    }

    /// A server says of every object that it was deleted, also of one in another place.
    async fn delete_each(&self, tokens: Vec<AssetToken>, store: &dyn Store) -> (Vec<AssetToken>, Option<AssetError>) {
        if tokens.is_empty() {
            return (tokens, None);
        }
        if let Err(error) = self.here(store).await {
            return (Vec::new(), Some(error));
        }
        let bucket = self.bucket.clone();
        let deletions: Vec<_> = tokens.into_iter().map(|token| delete(bucket.clone(), token)).collect();
        let mut outcomes = stream::iter(deletions).buffered(AT_ONCE);
        let (mut deleted, mut first) = (Vec::new(), None);
        while let Some((token, outcome)) = outcomes.next().await {
            match outcome {
                Ok(()) | Err(AssetError::Files(object_store::Error::NotFound { .. })) => deleted.push(token),
                Err(error) => first = first.or(Some(error)),
            }
        }
        (deleted, first)
    }

    async fn some_names(&self, most: usize) -> Result<Vec<AssetToken>, AssetError> {
        let mut names = Vec::new();
        for shelf in self.bucket.shelves().await? {
            let left = most - names.len();
            let more = self.bucket.on_shelf(&shelf, None).take(left).map_ok(|(token, _)| token);
            names.extend(more.try_collect::<Vec<_>>().await?);
            if names.len() >= most {
                break;
            }
        }
        Ok(names)
    }

    async fn shelves(&self) -> Result<Vec<String>, AssetError> {
        self.doubt(self.bucket.shelves().await)
    }

    async fn page(&self, shelf: &str, after: Option<&AssetToken>, most: usize) -> Result<Vec<AssetToken>, AssetError> {
        let page = self.bucket.page(shelf, after, most).await;
        Ok(self.doubt(page)?.into_iter().map(|(token, _)| token).collect())
    }

    async fn of_run(&self, run: &RunId) -> Result<Vec<AssetToken>, AssetError> {
        let run = run.as_str();
        let mut listed = self.bucket.on_shelf(shelf(run), Some(run));
        let mut names = Vec::new();
        // In the order of names, those of the run come first.
        while let Some((token, _)) = listed.try_next().await? {
            if !token.as_str().starts_with(run) {
                break;
            }
            names.push(token);
        }
        Ok(names)
    }

    /// An object is there as a whole or not at all. Parts of uploads that a killed process has left cannot be named by a run; the
    /// bucket is to delete them by a rule.
    async fn delete_partial(&self, _: &RunId) -> Result<usize, AssetError> {
        Ok(0)
    }

    fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    fn directory(&self) -> Option<&Path> {
        None
    }

    fn shown(&self) -> String {
        self.bucket.shown()
    }
}

/// What the bucket is to say of an object to those who fetch it there.
fn attributes(kind: &Kind) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, kind.media_type.into());
    if let Some(name) = &kind.name {
        attributes.insert(Attribute::ContentDisposition, attachment(name).into());
    }
    attributes
}

async fn put(
    bucket: &Bucket,
    place: &Place,
    payload: PutPayload,
    bytes: u64,
    attributes: Attributes,
) -> Result<(), AssetError> {
    let options = PutOptions { attributes, ..PutOptions::default() };
    let done = bucket.sent(bytes, bucket.files.put_opts(place, payload, options)).await;
    done.map(drop).map_err(|error| mark::on_write(bucket, error))
}

/// Copies a file of this machine, and returns its size. A small one is sent as a whole.
async fn put_file(
    bucket: Arc<Bucket>,
    place: Place,
    from: PathBuf,
    attributes: Attributes,
    cancel: CancellationToken,
) -> Result<u64, AssetError> {
    let mut from = File::open(&from).await.map_err(unread)?;
    let first = part(&mut from).await?;
    if first.len() < PART {
        let bytes = first.len() as u64;
        put(&bucket, &place, first.into(), bytes, attributes).await?;
        return Ok(bytes);
    }
    let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
    let begun = bucket.answered(bucket.files.put_multipart_opts(&place, options)).await;
    let mut upload = begun.map_err(|error| mark::on_write(&bucket, error))?;
    let sent = tokio::select! {
        sent = send(&bucket, &mut *upload, from, first) => sent,
        () = cancel.cancelled() => Err(unread(io::Error::other("nobody waits for it any more"))),
    };
    if sent.is_err()
        && let Err(error) = bucket.answered(upload.abort()).await
    {
        warn!(%error, "an upload could not be aborted; its parts stay until a rule of the bucket deletes them");
    }
    sent
}

/// Sends a file part by part, and returns its size.
async fn send(
    bucket: &Bucket,
    upload: &mut dyn MultipartUpload,
    mut from: File,
    mut next: Vec<u8>,
) -> Result<u64, AssetError> {
    let mut bytes = 0;
    while !next.is_empty() {
        let length = next.len() as u64;
        bucket.sent(length, upload.put_part(next.into())).await?;
        bytes += length;
        next = part(&mut from).await?;
    }
    // The server may put the parts together before it answers.
    bucket.sent(bytes, upload.complete()).await?;
    Ok(bytes)
}

async fn delete(bucket: Arc<Bucket>, token: AssetToken) -> (AssetToken, Result<(), AssetError>) {
    let place = bucket.place(&token);
    let outcome = bucket.answered(bucket.files.delete(&place)).await;
    (token, outcome)
}

/// Waits for each part of an object for as long as for an answer.
fn in_time(object: BoxStream<'static, Result<Bytes, object_store::Error>>) -> BoxStream<'static, io::Result<Bytes>> {
    let parts = try_unfold(object, |mut object| async move {
        let next = timeout(ANSWER, object.next()).await?;
        let next = next.transpose().map_err(io::Error::other)?;
        Ok::<_, io::Error>(next.map(|part| (part, object)))
    });
    parts.boxed()
}
