//! Announcements among processes, by NOTIFY and LISTEN.
//!
//! A transaction with a NOTIFY takes a lock of the whole server when it commits, so none that writes has one. What was written is
//! announced after its commit, at most every 50 milliseconds, in a transaction of its own. An announcement may be lost.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use deadpool_postgres::Pool;
use futures_util::{StreamExt, stream};
use imgopen_store::{Doorbell, KeyId, Ring, RunId};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};
use tokio_postgres::AsyncMessage;

use crate::connect::Servers;
use crate::problem::Problem;
use crate::statement::rows;

const NOTIFY: &str = "SELECT pg_notify('imgopen', payload) FROM unnest($1::text[]) AS payloads(payload)";

const LISTEN: &str = "LISTEN imgopen";

/// The pause between two transactions that announce something.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest time that an announcement takes. It is given up then.
const LONGEST: Duration = Duration::from_secs(5);

/// How many tasks are announced one by one in a transaction, at most. Of more, only their operations are.
const TASKS: usize = 8;

/// The longest needs that are announced, in bytes. A server takes announcements of less than 8,000.
const LONGEST_NEEDS: usize = 4000;

/// How many announcements are gathered at most.
const MOST: usize = 4096;

/// The pause before the connection that listens is made again.
const RETRY: Duration = Duration::from_secs(1);

/// Announces what this process has done. Clones share it.
#[derive(Debug, Clone)]
pub struct Bell {
    rings: Option<UnboundedSender<Ring>>,
}

impl Bell {
    /// Announces on a connection of the pool, until the last clone is dropped.
    pub fn new(pool: Pool) -> Self {
        let (rings, waiting) = unbounded_channel();
        tokio::spawn(announce(pool, waiting));
        Self { rings: Some(rings) }
    }

    /// Announces nothing.
    pub fn silent() -> Self {
        Self { rings: None }
    }

    /// Announces something soon.
    pub fn ring(&self, ring: Ring) {
        if let Some(rings) = &self.rings {
            drop(rings.send(ring));
        }
    }
}

async fn announce(pool: Pool, mut waiting: UnboundedReceiver<Ring>) {
    let mut gathered = Vec::new();
    while waiting.recv_many(&mut gathered, MOST).await > 0 {
        let payloads = payloads(gathered.drain(..));
        // If this fails, the others find out when they look.
        drop(timeout(LONGEST, notify(&pool, payloads)).await);
        sleep(PAUSE).await;
    }
}

async fn notify(pool: &Pool, payloads: BTreeSet<String>) -> Result<(), Problem> {
    let payloads: Vec<_> = payloads.into_iter().collect();
    let client = pool.get().await?;
    rows(&client, NOTIFY, &[&payloads]).await.map(drop)
}

/// Listens on a connection of its own, which is made again whenever it is lost.
pub fn listen(servers: Servers) -> Doorbell {
    let (rings, heard) = unbounded_channel();
    tokio::spawn(hear(servers, rings));
    stream::unfold(heard, |mut heard| async move { heard.recv().await.map(|ring| (ring, heard)) }).boxed()
}

async fn hear(servers: Servers, rings: UnboundedSender<Ring>) {
    loop {
        tokio::select! {
            // It is lost, and what matters is that it is made again.
            _ = hear_until_lost(&servers, &rings) => {}
            () = rings.closed() => return,
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            () = rings.closed() => return,
        }
    }
}

async fn hear_until_lost(servers: &Servers, rings: &UnboundedSender<Ring>) -> Result<Infallible, Problem> {
    let (client, mut messages) = servers.listener().await?;
    let mut listening = pin!(client.batch_execute(LISTEN));
    let mut is_listening = false;
    loop {
        tokio::select! {
            listened = &mut listening, if !is_listening => {
                listened?;
                is_listening = true;
                // Whatever was announced before was missed.
                drop(rings.send(Ring::Work(None)));
                drop(rings.send(Ring::Ended));
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(notification))) => {
                    if let Some(heard) = ring(notification.payload()) {
                        drop(rings.send(heard));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Problem::unreachable("the connection that listens was closed")),
            },
        }
    }
}

/// Returns what announces these, each once.
fn payloads(rings: impl Iterator<Item = Ring>) -> BTreeSet<String> {
    let (tasks, others): (Vec<_>, Vec<_>) = rings.partition(|ring| matches!(ring, Ring::Task { .. }));
    let mut payloads: BTreeSet<String> = others.iter().map(payload).collect();
    let each: BTreeSet<String> = tasks.iter().map(payload).collect();
    match each.len() <= TASKS {
        true => payloads.extend(each),
        false => payloads.extend(tasks.into_iter().map(|task| payload(&without_key(task)))),
    }
    payloads
}

/// Announces a task by its operation alone.
fn without_key(task: Ring) -> Ring {
    match task {
        Ring::Task { operation, .. } => Ring::Work(Some(operation)),
        other => other,
    }
}

fn payload(ring: &Ring) -> String {
    match ring {
        Ring::Work(None) => "w".to_owned(),
        Ring::Work(Some(operation)) => format!("w:{operation}"),
        // A payload has no NUL.
        Ring::Task { operation, needs, .. } if needs.len() > LONGEST_NEEDS || needs.contains('\0') => {
            format!("w:{operation}")
        }
        Ring::Task { operation, key, needs } => format!("t:{operation}:{}:{needs}", key.as_str()),
        Ring::Ended => "e".to_owned(),
        Ring::Cancelled(run) => format!("c:{run}"),
    }
}

/// `None` for what another version announces, or something else that uses the database.
fn ring(payload: &str) -> Option<Ring> {
    match payload {
        "w" => Some(Ring::Work(None)),
        "e" => Some(Ring::Ended),
        other => match other.split_once(':')? {
            ("w", operation) => Some(Ring::Work(Some(operation.to_owned()))),
            ("t", task) => {
                let (operation, rest) = task.split_once(':')?;
                let (key, needs) = rest.split_once(':')?;
                let (operation, key, needs) = (operation.to_owned(), KeyId(key.to_owned()), needs.to_owned());
                Some(Ring::Task { operation, key, needs })
            }
            ("c", run) => Some(Ring::Cancelled(RunId(run.to_owned()))),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task of the key with that number.
    fn task(key: usize, needs: &str) -> Ring {
        Ring::Task { operation: "outpaint".to_owned(), key: KeyId(key.to_string()), needs: needs.to_owned() }
    }

    #[test]
    fn many_tasks_are_announced_by_their_operation() {
        let few = payloads((0..20).map(|number| task(number % 8, "outpaint")));
        assert_eq!((few.len(), few.first().map(String::as_str)), (8, Some("t:outpaint:0:outpaint")));
        let many = payloads((0..9).map(|number| task(number, "outpaint")).chain([Ring::Ended]));
        assert_eq!(many.iter().collect::<Vec<_>>(), ["e", "w:outpaint"]);
        for needs in ["a\0b".to_owned(), "n".repeat(LONGEST_NEEDS + 1)] {
            assert_eq!(payload(&task(1, &needs)), "w:outpaint");
        }
    }

    #[test]
    fn an_announcement_is_read_as_it_was_written() {
        let work = Ring::Work(Some("outpaint".to_owned()));
        let cancelled = Ring::Cancelled(RunId("0a:b".to_owned()));
        for announced in [Ring::Work(None), work, task(1, "outpaint+lora=a:m:1"), task(1, ""), Ring::Ended, cancelled] {
            assert_eq!(ring(&payload(&announced)), Some(announced));
        }
        assert_eq!([ring("x:y"), ring("t:outpaint:a")], [None, None]);
        assert_eq!(ring("something else"), None);
    }
}
