//! Stores the previews of runs here that somebody elsewhere waits for, where the files of results are.
//!
//! They are files of their run without a row, so those that a killed process has left are deleted as its other files are. Nothing is
//! deleted before the run is over: a new preview overwrites the one before the last.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use imgopen_engine::{Format, Picture};
use imgopen_store::{AssetToken, RunId};
use tokio::task::JoinHandle;
use tracing::debug;

use crate::assets::AssetError;
use crate::context::Context;
use crate::live::Preview;

/// The pause between two previews of a run.
const PAUSE: Duration = Duration::from_secs(1);

/// Stores previews until the service stops.
pub async fn run(context: Arc<Context>) {
    // Of each run, one is stored at a time. A slow one keeps no other run waiting.
    let mut storing = HashMap::<RunId, JoinHandle<()>>::new();
    loop {
        storing.retain(|_, stored| !stored.is_finished());
        for preview in context.running.take_previews(context.clock.uptime(), |run| storing.contains_key(run)) {
            let (run, context) = (preview.run.clone(), context.clone());
            storing.insert(run, tokio::spawn(async move { store(&context, preview).await }));
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = context.stopping.cancelled() => return,
        }
    }
}

async fn store(context: &Context, preview: Preview) {
    let Preview { run, picture, over } = preview;
    match put(context, &run, &picture, over).await {
        Ok(token) => {
            if let Some(late) = context.running.stored(&run, token) {
                delete(context, vec![late]).await;
            }
        }
        // A run without previews is as good as another.
        Err(error) => debug!(run = run.as_str(), %error, "a preview could not be stored"),
    }
}

/// Stores a preview, and returns its name.
async fn put(
    context: &Context,
    run: &RunId,
    picture: &Picture,
    over: Option<AssetToken>,
) -> Result<AssetToken, AssetError> {
    match over.filter(|token| format(token) == Some(picture.format)) {
        Some(token) => context.assets.put_again(&token, picture).await.map(|()| token),
        None => Ok(context.assets.put(run, picture, &[], None).await?.token),
    }
}

/// Deletes previews of a run that is over. What cannot be deleted now is deleted as other files of its run.
pub async fn delete(context: &Context, tokens: Vec<AssetToken>) {
    let deletion = async { context.assets.delete(tokens).await?.deleted() };
    if let Err(error) = deletion.await {
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
