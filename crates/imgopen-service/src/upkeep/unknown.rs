//! Notices that the pictures belong to another database: it was made again, emptied, or an older copy was put in its place.
//! Nothing is deleted for that reason.

use imgopen_store::StoreError;
use tracing::warn;

use crate::context::Context;

/// How many files are looked at, because all of them may be a million.
const SAMPLE: usize = 256;

/// Warns if there are pictures without a row among some of the files. Only while nothing writes pictures.
pub async fn warn_of_unknown(context: &Context) -> Result<(), StoreError> {
    let names = match context.assets.some_names(SAMPLE).await {
        Ok(names) => names,
        Err(error) => {
            warn!(%error, "the pictures cannot be listed");
            return Ok(());
        }
    };
    let looked_at = names.len();
    let unknown = context.store.unaccounted_files(names).await?.len();
    if unknown == 0 {
        return Ok(());
    }
    let problem = match context.store.last_place().await? {
        0 => "the database is new, but there are pictures of another one",
        _ => "there are pictures that the database does not know",
    };
    warn!(
        looked_at,
        unknown,
        "{problem}; they are kept; if the database was lost or replaced, stop the service and restore it (`imgopen restore`); \
         `imgopen doctor` lists them"
    );
    Ok(())
}
