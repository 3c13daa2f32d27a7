//! Lets tasks go on as soon as back ends that they wait for are there again, rather than when their next try is due.

use std::sync::Arc;
use std::time::Duration;

use crate::context::Context;
use crate::tasks::faults::release_returned;
use crate::tasks::needs::Needs;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks for back ends that are away until the service stops.
pub async fn run(context: Arc<Context>) {
    loop {
        for needs in context.absences.needs() {
            if Needs::parse(&needs).choose(&context.engines).is_ok() {
                release_returned(&context, &needs);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = context.stopping.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use imgopen_engine::Registry;
    use imgopen_store::{Clock, KeyId, Moment, NewTask, TaskId};

    use super::*;
    use crate::absences::Absence;
    use crate::app::Service;
    use crate::dispatch::{Begin, Scope};
    use crate::settings::Settings;

    #[tokio::test]
    async fn tasks_go_on_as_soon_as_their_back_end_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { data_dir: directory.path().to_owned(), sandbox: true, ..Settings::default() };
        let engines = Registry::new(vec![Arc::new(imgopen_tools::Sandbox::new())]);
        let context = Service::open(settings, Clock::system(), engines).await.unwrap().context();
        let (id, key) = (TaskId("img1".to_owned()), KeyId("a".to_owned()));
        let task = NewTask::new(id, key.clone(), "text_to_image", "{}", Moment(0)).row();
        let slot = Needs::parse(&task.needs).slot(&context, key);
        context.dispatch.refill(slot.clone(), 1);
        context.absences.met(&task, Absence::Before, context.clock.read());
        context.dispatch.hold(Scope::Needs(task.needs.clone()), Some(Duration::from_secs(600)));
        assert_eq!(context.dispatch.next(slot.pool, Begin::Working), None);
        let watching = tokio::spawn(run(context.clone()));
        let next = async {
            loop {
                if let Some(next) = context.dispatch.next(slot.pool, Begin::Working) {
                    return next;
                }
                context.dispatch.changed(slot.pool, Begin::Working).await;
            }
        };
        let next = tokio::time::timeout(Duration::from_secs(30), next).await.expect("it waits for its next try");
        assert_eq!((next, context.absences.needs()), (slot, Vec::<String>::new()));
        context.stopping.cancel();
        watching.await.unwrap();
    }
}
