//! `imgopen train`: training a LoRA from a folder of pictures.

use crate::args::remote::Train;
use crate::{files, task};

/// Carries the command out.
pub fn run(command: Train) -> anyhow::Result<()> {
    match command {
        Train::Submit(submit) => {
            let mut call = submit.call;
            if let Some(folder) = &submit.images {
                call.images = files::pictures_of(folder)?;
            }
            crate::run::run(call)
        }
        Train::Wait { id, wait, json, connection } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { task::wait_for_training(&connection.open()?, &id, &wait, json).await })
        }
    }
}
