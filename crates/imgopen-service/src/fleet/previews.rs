//! Stores the previews of runs here that somebody elsewhere waits for, where the files of results are.
//!
//! They are files of their run without a row, so those that a killed process has left are deleted as its other files are.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use imgopen_engine::{Format, Picture};
use imgopen_store::{AssetToken, RunId};
use tracing::debug;

use crate::context::Context;

/// The pause between two previews of a run.
const PAUSE: Duration = Duration::from_secs(1);

/// Stores previews until the service stops.
pub async fn run(context: Arc<Context>) {
    loop {
        let due = context.running.take_previews(context.clock.uptime());
        join_all(due.into_iter().map(|(run, picture)| store(&context, run, picture))).await;
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = context.stopping.cancelled() => return,
        }
    }
}

async fn store(context: &Context, run: RunId, picture: Picture) {
    let old = match context.assets.put(&run, &picture, &[], None).await {
        Ok(stored) => context.running.stored(&run, stored.token),
        // A run without previews is as good as another.
        Err(error) => {
            debug!(run = run.as_str(), %error, "a preview could not be stored");
            return;
        }
    };
    delete(context, &old).await;
}

/// Deletes previews. What cannot be deleted now is deleted as other files of its run.
pub async fn delete(context: &Context, tokens: &[AssetToken]) {
    if let Err(error) = context.assets.delete(tokens).await {
        debug!(%error, "previews could not be deleted; they are deleted later");
    }
}

/// Returns the format of a preview by its name; `None` if it is not the name of one.
pub fn format(token: &AssetToken) -> Option<Format> {
    token.run()?;
    let (stem, extension) = token.as_str().split_once('.')?;
    let is_plain = stem.bytes().all(|byte| byte.is_ascii_hexdigit());
    let formats = [Format::Png, Format::Jpeg, Format::WebP];
    formats.into_iter().find(|format| is_plain && format.extension() == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_pictures_of_runs_are_previews() {
        let run = RunId::new().unwrap();
        let named = |extension: &str| AssetToken::new(&run, extension).unwrap();
        assert_eq!(format(&named("png")), Some(Format::Png));
        assert_eq!(format(&named("webp")), Some(Format::WebP));
        assert_eq!(format(&named("safetensors")), None);
        for other in ["", "x.png", "../../etc/passwd", "0.png/../x"] {
            assert_eq!(format(&AssetToken(other.to_owned())), None, "{other}");
        }
        let dots = AssetToken(format!("{}.png", "/.".repeat(32)));
        assert_eq!(format(&dots), None);
    }
}
