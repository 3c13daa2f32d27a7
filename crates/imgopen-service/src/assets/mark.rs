//! The mark by which a prefix of a bucket is known to be that of a database: an object with the number that the database has.
//!
//! A prefix is never away as a disk is, but the settings may name another one, or that of another service, whose files would be
//! mixed with ours. Unlike a directory, a prefix has one mark, which is overwritten.
//!
//! A prefix gets a provisional mark, an object that is named after its number, before the database has that number. So a process
//! that finds a number in the database knows by the prefix alone whether it is meant, and completes the mark, whichever process has
//! begun. The server makes the mark by copying that object, which is then deleted. A process that stood still in between therefore
//! makes no mark where the objects have been deleted since, or another number counts.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path as Place;
use object_store::{ObjectStoreExt, PutPayload};

use super::error::AssetError;
use super::requests::Bucket;

/// The name of the object.
const MARK: &str = "imgopen-mark";

/// How the name of a provisional mark begins. What follows is its number.
const PROVISIONAL: &str = "imgopen-mark-";

/// How the name of an order to take a prefix begins. What follows is the number that the database has.
const ADOPT: &str = "imgopen-adopt-";

/// The object that is written to find out whether one can be, and how the names of those begin by which copying is tried.
const PROBE: &str = "imgopen-probe";

/// How the names of all objects begin that are not files of results.
pub const OWN: &str = "imgopen-";

/// The largest mark that is read, in bytes.
const LARGEST: u64 = 64;

/// Reads the number. `None` if there is no mark.
pub async fn read(bucket: &Bucket) -> Result<Option<i64>, AssetError> {
    let Some(text) = text(bucket, &bucket.named(MARK)).await? else { return Ok(None) };
    i64::from_str_radix(&text, 16).map(Some).map_err(|_| {
        bucket.unusable(format!("its object `{MARK}` is not a mark; give another prefix, or delete that object"))
    })
}

/// Finds out whether an object can be written, copied and deleted: a mark is made by copying one. The number keeps processes apart
/// that try at once.
pub async fn copy_probe(bucket: &Bucket, number: i64) -> Result<(), AssetError> {
    let [from, to] = ["from", "to"].map(|end| bucket.named(&format!("{PROBE}-{number:016x}-{end}")));
    let wanted = format!("{number:016x}");
    let payload = PutPayload::from(wanted.clone().into_bytes());
    bucket.answered(bucket.files.put(&from, payload)).await.map_err(|error| on_write(bucket, error))?;
    let copied = async {
        bucket.answered(bucket.files.copy(&from, &to)).await?;
        text(bucket, &to).await
    };
    let copied = copied.await;
    forget(bucket, &from).await?;
    forget(bucket, &to).await?;
    let problem = match copied {
        Ok(Some(found)) if found == wanted => return Ok(()),
        Ok(_) => "the server answered that it is done, but it is not; see the log of the server".to_owned(),
        Err(AssetError::Bucket { problem, .. }) => problem,
        Err(error) => error.to_string(),
    };
    let problem = format!("its mark is made by copying an object, which failed: {problem}");
    Err(AssetError::Bucket { bucket: bucket.shown(), problem })
}

/// Gives the prefix a provisional mark with a number.
pub async fn propose(bucket: &Bucket, number: i64) -> Result<(), AssetError> {
    let payload = PutPayload::from(format!("{number:016x}\n").into_bytes());
    let place = provisional(bucket, number);
    bucket.answered(bucket.files.put(&place, payload)).await.map(drop).map_err(|error| on_write(bucket, error))
}

/// Whether the prefix has a provisional mark with that number.
pub async fn is_proposed(bucket: &Bucket, number: i64) -> Result<bool, AssetError> {
    exists(bucket, &provisional(bucket, number)).await
}

/// Makes the mark of the provisional one with that number. Does nothing if there is none any more, because another process has done
/// so, or the objects were deleted.
///
/// Other provisional marks are removed before: a database that had the prefix earlier would make its own mark of one that it left.
pub async fn complete(bucket: &Arc<Bucket>, number: i64) -> Result<(), AssetError> {
    let (from, to) = (provisional(bucket, number), bucket.named(MARK));
    for other in bucket.begin_with(PROVISIONAL).await? {
        if other != from {
            forget(bucket, &other).await?;
        }
    }
    match bucket.answered(bucket.files.copy(&from, &to)).await {
        Ok(()) => {}
        Err(AssetError::Files(_)) => return Ok(()),
        Err(error) => return Err(error),
    }
    // Nothing else proves that the prefix is the database's, so the server's word is not enough.
    if read(bucket).await? == Some(number) {
        forget_proposal(bucket, number).await;
    }
    Ok(())
}

/// Removes a provisional mark. One that cannot be removed is removed at the next start, or before another one is completed.
pub async fn forget_proposal(bucket: &Bucket, number: i64) {
    drop(forget(bucket, &provisional(bucket, number)).await);
}

/// Whether an operator orders the database with that number, 0 if it has none, to take the prefix.
pub async fn is_adopted(bucket: &Bucket, noted: Option<i64>) -> Result<bool, AssetError> {
    exists(bucket, &adoption(bucket, noted)).await
}

/// Removes such an order. What cannot be removed does no harm: the number has changed.
pub async fn forget_adoption(bucket: &Bucket, noted: Option<i64>) {
    drop(forget(bucket, &adoption(bucket, noted)).await);
}

/// Returns the address of the object that orders a database with that number to take the prefix.
pub fn shown_adoption(bucket: &Bucket, noted: Option<i64>) -> String {
    bucket.shown_object(&adoption_name(noted))
}

/// Writes an object and deletes it, to find out whether one can be.
pub async fn write_probe(bucket: &Bucket) -> Result<(), AssetError> {
    let place = bucket.named(PROBE);
    let payload = PutPayload::from_static(b"written to see whether that is possible");
    let put = bucket.answered(bucket.files.put(&place, payload)).await;
    put.map_err(|error| on_write(bucket, error))?;
    bucket.answered(bucket.files.delete(&place)).await
}

/// An object that is missing where one is written means that the bucket is.
pub fn on_write(bucket: &Bucket, error: AssetError) -> AssetError {
    match error {
        AssetError::Files(error) => bucket.unusable(format!("there is no such bucket: {error}")),
        error => error,
    }
}

/// Reads an object that is as short as a mark. `None` if there is none.
async fn text(bucket: &Bucket, place: &Place) -> Result<Option<String>, AssetError> {
    let read = async {
        let found = bucket.files.get(place).await?;
        let bytes = if found.meta.size > LARGEST { Bytes::new() } else { found.bytes().await? };
        Ok::<_, object_store::Error>(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    match bucket.answered(read).await {
        Ok(text) => Ok(Some(text)),
        Err(AssetError::Files(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes an object, if there is one.
async fn forget(bucket: &Bucket, place: &Place) -> Result<(), AssetError> {
    match bucket.answered(bucket.files.delete(place)).await {
        Ok(()) | Err(AssetError::Files(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn exists(bucket: &Bucket, place: &Place) -> Result<bool, AssetError> {
    match bucket.answered(bucket.files.head(place)).await {
        Ok(_) => Ok(true),
        Err(AssetError::Files(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn provisional(bucket: &Bucket, number: i64) -> Place {
    bucket.named(&format!("{PROVISIONAL}{number:016x}"))
}

fn adoption(bucket: &Bucket, noted: Option<i64>) -> Place {
    bucket.named(&adoption_name(noted))
}

fn adoption_name(noted: Option<i64>) -> String {
    format!("{ADOPT}{:016x}", noted.unwrap_or_default())
}
