//! `imgopen train`.

use imgopen_types::operations;

use super::{run as call, tasks};
use crate::args::train::Train;
use crate::files::local::{self, LocalNames};
use crate::job::handle::Job;
use crate::remote::Remote;

/// Runs the command.
pub fn run(command: Train, as_json: bool) -> anyhow::Result<()> {
    match command {
        Train::Submit(submit) => {
            let mut submitted = submit.call;
            if let Some(directory) = &submit.images {
                submitted.images = local::pictures_of(directory)?;
            }
            call::run(submitted, as_json)
        }
        Train::Wait { id, wait, connection } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let job = Job {
                operation: &operations::SUBMIT_TRAINING,
                id,
                platform_id: None,
                network: None,
                local: LocalNames::default(),
            };
            runtime.block_on(async { tasks::wait_for(&Remote::open(&connection)?, &job, &wait, as_json).await })
        }
    }
}
