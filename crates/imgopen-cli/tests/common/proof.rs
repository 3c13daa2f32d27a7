//! What must hold at the end, according to the API's lists, the receiver, the log, the files and the database.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use imgopen_client::Client;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::load::{Cancel, Load, Submitted, Truth};
use super::pictures::{fetch, parameters, pixels, seed};
use super::postgres::instead_of;
use super::receiver::{Receiver, Reply, Seen};
use super::rows::{all, text};
use super::until;

/// Everything that is observable from outside.
pub struct Proof {
    submitted: Vec<Submitted>,
    /// The tasks of each caller id.
    tasks: HashMap<String, Vec<Value>>,
    /// The pictures of each task.
    pictures: HashMap<String, Vec<Vec<u8>>>,
    callbacks: Vec<Value>,
    seen: Vec<Seen>,
}

impl Proof {
    /// Reads the lists and the receiver's record, and fetches every picture.
    pub async fn read(client: &Client, load: &Load, receiver: &Receiver) -> Self {
        let http = reqwest::Client::new();
        let (mut tasks, mut pictures): (HashMap<String, Vec<Value>>, _) = (HashMap::new(), HashMap::new());
        for task in all(client, "list_tasks", json!({})).await {
            let mut fetched = Vec::new();
            for url in task["outputImageUrlList"].as_array().into_iter().flatten() {
                fetched.push(fetch(&http, url.as_str().unwrap()).await);
            }
            pictures.insert(text(&task, "taskId").to_owned(), fetched);
            tasks.entry(text(&task, "callerId").to_owned()).or_default().push(task);
        }
        let callbacks = all(client, "list_callbacks", json!({})).await;
        Self { submitted: load.book(), tasks, pictures, callbacks, seen: receiver.seen() }
    }

    fn all_tasks(&self) -> impl Iterator<Item = &Value> {
        self.tasks.values().flatten()
    }

    /// Every answer names an existing task. Each request made one task; one without a complete answer made at most one.
    pub fn no_task_is_lost_or_duplicated(&self) {
        let mut known = 0;
        for submitted in &self.submitted {
            let tasks = self.tasks.get(&submitted.caller_id).map_or(&[][..], Vec::as_slice);
            known += tasks.len();
            assert!(tasks.len() <= 1, "{submitted:?} made {tasks:?}");
            assert!(!tasks.is_empty() || submitted.answers.is_empty(), "{submitted:?} is lost");
            for id in submitted.answers.iter().flatten() {
                assert_eq!(text(&tasks[0], "taskId"), id, "{submitted:?}");
            }
        }
        assert_eq!(known, self.all_tasks().count(), "there are tasks that nobody submitted");
        let ids: HashSet<_> = self.all_tasks().map(|task| text(task, "taskId")).collect();
        assert_eq!(ids.len(), known, "two tasks share an id");
    }

    /// The number of submits that were repeated after an answer.
    pub fn repeated(&self) -> usize {
        self.submitted.iter().filter(|submitted| submitted.answers.len() > 1).count()
    }

    /// The number of accepted requests.
    pub fn accepted(&self) -> usize {
        self.submitted.iter().filter(|submitted| !submitted.answers.is_empty()).count()
    }

    /// The number of tasks in a state.
    pub fn count(&self, state: &str) -> usize {
        self.all_tasks().filter(|task| task["state"] == state).count()
    }

    /// The number of callbacks, and of pushes that arrived.
    pub fn pushed(&self) -> (usize, usize) {
        (self.callbacks.len(), self.seen.len())
    }

    /// With the requested result, or, for a training, with the reason why it always fails, unless it was cancelled.
    pub fn every_task_ended_as_expected(&self) {
        let by_caller: HashMap<_, _> =
            self.submitted.iter().map(|submitted| (submitted.caller_id.as_str(), submitted)).collect();
        for task in self.all_tasks() {
            let (truth, cancel) = (&by_caller[text(task, "callerId")].truth, by_caller[text(task, "callerId")].cancel);
            let pictures = &self.pictures[text(task, "taskId")];
            if task["state"] == "cancelled" {
                assert!(cancel != Cancel::Never && pictures.is_empty(), "{task}");
                continue;
            }
            assert!(cancel != Cancel::Answered, "its cancel was answered: {task}");
            let state = if *truth == Truth::Training { "failed" } else { "succeeded" };
            assert_eq!(text(task, "state"), state, "{task}");
            check(truth, task, pictures);
        }
    }

    /// The ids of the tasks of an operation that have ended, each with the number of its runs.
    pub fn runs(&self, operation: &str) -> Vec<(&str, usize)> {
        let tasks = self.all_tasks().filter(|task| task["operation"] == operation);
        tasks.map(|task| (text(task, "taskId"), task["attempts"].as_u64().unwrap() as usize)).collect()
    }

    /// The number of runs that were interrupted and repeated.
    pub fn interrupted(&self) -> i64 {
        self.all_tasks().map(|task| task["attempts"].as_i64().unwrap() - 1).sum()
    }

    /// Each ended task with a callback URL has one callback, acknowledged by one delivery attempt. The receiver saw nothing
    /// else.
    pub fn every_push_is_acknowledged_once(&self) {
        let with_address = self.submitted.iter().filter(|submitted| submitted.body.get("callbackUrl").is_some());
        let with_address: HashSet<_> = with_address.map(|submitted| submitted.caller_id.as_str()).collect();
        let expected = self.all_tasks().filter(|task| with_address.contains(text(task, "callerId")));
        let expected: BTreeSet<_> = expected.map(|task| text(task, "taskId")).collect();
        let found: BTreeSet<_> = self.callbacks.iter().map(|callback| text(callback, "taskId")).collect();
        assert_eq!(found, expected);
        assert_eq!(self.callbacks.len(), expected.len(), "a task has two callbacks");
        let mut pushes: HashMap<&str, Vec<&Seen>> = HashMap::new();
        self.seen.iter().for_each(|seen| pushes.entry(seen.id.as_str()).or_default().push(seen));
        for callback in &self.callbacks {
            assert_eq!(text(callback, "state"), "acknowledged", "{callback}");
            let tries = callback["tries"].as_array().unwrap();
            let good = tries.iter().filter(|one| one["outcome"] == "acknowledged").count();
            assert_eq!((good, &tries.last().unwrap()["outcome"]), (1, &json!("acknowledged")), "{callback}");
            check_pushes(callback, &pushes.remove(text(callback, "callbackId")).unwrap_or_default());
        }
        assert!(pushes.is_empty(), "a push that belongs to no callback");
    }

    /// Receivers reject what was signed while the clock was wrong; otherwise they trust every push.
    pub fn every_push_is_trusted(&self) {
        assert!(self.seen.iter().all(|seen| seen.is_trusted), "a push with a wrong signature");
    }

    /// A kill may precede the log line, but no end is logged twice.
    pub fn every_end_is_logged_at_most_once(&self, logs: &[String]) {
        let mut ended: HashMap<String, usize> = HashMap::new();
        // The last line may be cut off.
        let lines = logs.iter().flat_map(|log| log.lines()).filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for line in lines.filter(|line| line["fields"]["message"] == "task ended") {
            *ended.entry(text(&line["fields"], "task").to_owned()).or_default() += 1;
        }
        let twice: Vec<_> = ended.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "ended more than once: {twice:?}");
        let count = self.all_tasks().count();
        assert!(ended.len() * 2 > count, "{} of {count} ends are logged", ended.len());
    }

    /// The number of pictures that the tasks name.
    pub fn kept(&self) -> usize {
        self.pictures.values().flatten().count()
    }

    /// The data sets are complete, and those of the trainings.
    pub fn every_data_set_is_complete(&self, folder: &Path) {
        let trainings = self.all_tasks().filter(|task| task["operation"] == "submit_training");
        let trainings: BTreeSet<_> = trainings.map(|task| text(task, "taskId").to_owned()).collect();
        let datasets = names(&folder.join("datasets"));
        let pictures = |dataset: &PathBuf| names(&dataset.join("img")).iter().flat_map(|inner| names(inner)).count();
        let is_complete = |dataset: &PathBuf| pictures(dataset) == 10 && dataset.join("train.sh").is_file();
        assert!(datasets.iter().all(is_complete), "a data set is incomplete");
        assert_eq!(datasets.into_iter().map(name).collect::<BTreeSet<_>>(), trainings);
    }

    /// Counts of everything, for the test's output.
    pub fn figures(&self) -> String {
        let (submits, tasks, pushes) = (self.submitted.len(), self.all_tasks().count(), self.seen.len());
        let cut_off = self.submitted.iter().filter(|submitted| submitted.answers.is_empty()).count();
        let (pictures, callbacks) = (self.kept(), self.callbacks.len());
        let interrupted = self.interrupted();
        format!(
            "{submits} submits, {cut_off} of them cut off for good, {tasks} tasks, {interrupted} interrupted runs, \
             {pictures} pictures, {callbacks} callbacks in {pushes} pushes"
        )
    }
}

/// A push may arrive several times, but always with the same body, and is acknowledged at least once.
fn check_pushes(callback: &Value, seen: &[&Seen]) {
    assert!(seen.iter().any(|seen| seen.is_trusted && seen.reply == Reply::Acknowledge), "{callback}");
    for one in seen {
        assert_eq!(one.body, seen[0].body);
        assert!(one.task().is_none_or(|id| id == text(callback, "taskId") || one.operation == "submit_training"));
    }
}

/// Every file belongs to a row, every row has its file, no partial files remain, and there are as many as expected.
pub fn no_file_is_orphaned(folder: &Path, expected: usize) {
    if instead_of(folder).is_none() {
        let whole: String = open(folder).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok");
    }
    let rows = kept_rows(folder);
    assert_eq!(files(folder), rows);
    assert_eq!(rows.len(), expected);
}

/// Waits until what killed runs left is deleted, if that does not happen at the start of the service: another process may be
/// writing it.
pub async fn orphans_are_deleted(folder: &Path) {
    if instead_of(folder).is_some() {
        until("every file belongs to a row", async || (files(folder) == kept_rows(folder)).then_some(())).await;
    }
}

fn files(folder: &Path) -> BTreeSet<String> {
    names(&folder.join("assets")).iter().flat_map(|inner| names(inner)).map(name).collect()
}

/// The tokens of the rows whose files are kept.
fn kept_rows(folder: &Path) -> BTreeSet<String> {
    let sql = "SELECT token FROM assets WHERE deleted_at IS NULL";
    if let Some(database) = instead_of(folder) {
        return database.rows(sql).into_iter().collect();
    }
    let database = open(folder).unwrap();
    let mut statement = database.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn check(truth: &Truth, task: &Value, files: &[Vec<u8>]) {
    match truth {
        Truth::Cards { count, size, prompt, seed: first } => {
            assert_eq!(files.len(), *count, "{task}");
            for (number, file) in (0..).zip(files) {
                let text = parameters(file);
                assert_eq!(pixels(file).dimensions(), *size, "{task}");
                assert!(text.starts_with(prompt), "{task} shows {text}");
                assert_eq!(seed(&text), first.map(|first| first + number), "{task} shows {text}");
            }
        }
        Truth::Plain { size, color } => {
            assert_eq!(files.len(), 1, "{task}");
            let (picture, color) = (pixels(&files[0]), color.to_be_bytes());
            assert_eq!(picture.dimensions(), *size, "{task}");
            assert!(picture.pixels().all(|pixel| pixel.0 == color[1..]), "{task} is not of the colour {color:?}");
        }
        Truth::Training => {
            assert!(files.is_empty());
            assert!(text(task, "desc").starts_with("no training engine configured"), "{task}");
        }
    }
}

/// Returns the stored state of the task behind a callback.
pub fn state_behind(folder: &Path, callback: &str) -> Result<String, String> {
    if let Some(database) = instead_of(folder) {
        let sql = "SELECT state FROM tasks WHERE id = (SELECT task_id FROM callbacks WHERE id = ";
        return database.ask(&format!("{sql}'{callback}')"))?.pop().ok_or_else(|| "no such row".to_owned());
    }
    let sql = "SELECT state FROM tasks WHERE id = (SELECT task_id FROM callbacks WHERE id = ?1)";
    let read = |database: Connection| database.query_row(sql, [callback], |row| row.get(0));
    open(folder).and_then(read).map_err(|error| error.to_string())
}

fn open(folder: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = Connection::open_with_flags(folder.join("imgopen.sqlite3"), flags)?;
    database.busy_timeout(super::PATIENCE)?;
    Ok(database)
}

fn names(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn name(path: impl AsRef<Path>) -> String {
    path.as_ref().file_name().unwrap().to_str().unwrap().to_owned()
}
