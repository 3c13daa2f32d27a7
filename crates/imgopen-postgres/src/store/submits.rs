//! Submits, alone or together with others that wait.

use imgopen_store::{NewTask, StoreError, Submitted};
use tokio::sync::oneshot;

use super::{PostgresStore, Repeat, TRIES, Tries, timeout};
use crate::gathering::{Answer, Turn, Waiting};
use crate::problem::Problem;
use crate::submit;

impl PostgresStore {
    /// Submits a task, together with others that wait if it may share a statement.
    pub(super) async fn submit_soon(&self, task: NewTask) -> Answer {
        if !submit::may_share(&task) {
            return self.submit_alone(&task).await;
        }
        let ((answer, mut answered), id) = (oneshot::channel(), task.id.clone());
        if self.gathering.add(Waiting { task, answer }) {
            // Spawned, so that others do not wait for a caller that has gone away.
            tokio::spawn(submit_waiting(self.clone(), self.gathering.turn()));
        }
        // While the server is silent, statements take long to fail. Those that wait for one fail as calls without a connection do.
        let longest = self.pool.timeouts().wait.unwrap_or(self.limit);
        let answered = match timeout(longest, &mut answered).await {
            Ok(answered) => answered,
            Err(_) if self.gathering.withdraw(&id) => {
                return Err(Problem::unreachable("no statement began in time").at(&self.path));
            }
            Err(_) => answered.await,
        };
        answered.unwrap_or_else(|_| Err(StoreError::Closed { path: self.path.to_string() }))
    }

    async fn submit_alone(&self, task: &NewTask) -> Answer {
        call!(self, Always, |client, again| submit::submit(&mut client, task, again))
    }

    async fn submit_all(&self, tasks: &[NewTask]) -> Result<Vec<bool>, StoreError> {
        call!(self, Always, |client, again| submit::submit_all(&mut client, tasks, again))
    }

    async fn submit_together(&self, tasks: &[NewTask]) -> Vec<Answer> {
        if let [task] = tasks {
            return vec![self.submit_alone(task).await];
        }
        let accepted = match self.submit_all(tasks).await {
            Ok(accepted) => accepted,
            Err(error) => return tasks.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut answers = Vec::with_capacity(tasks.len());
        for (task, is_accepted) in tasks.iter().zip(accepted) {
            answers.push(if is_accepted { Ok(Submitted::New) } else { self.submit_alone(task).await });
        }
        answers
    }
}

/// Submits what waits, until nothing does.
async fn submit_waiting(store: PostgresStore, mut turn: Turn) {
    loop {
        let taken = turn.take();
        if taken.is_empty() {
            return;
        }
        let (tasks, answers): (Vec<_>, Vec<_>) =
            taken.into_iter().map(|waiting| (waiting.task, waiting.answer)).unzip();
        for (answer, submitted) in answers.into_iter().zip(store.submit_together(&tasks).await) {
            // Its caller may have gone away.
            drop(answer.send(submitted));
        }
    }
}
