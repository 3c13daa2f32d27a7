//! What an operator can set. The defaults suit one person on one machine.

pub(crate) mod addresses;
mod check;
mod database;
mod invalid;
mod lists;
mod safety;
pub(crate) mod storage;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use imgopen_engine::PictureLimits;
use imgopen_store::Attempts;
use imgopen_types::operations;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::durations;
pub use addresses::network;
pub use database::{DatabaseSettings, DatabaseUrl, Role};
pub use invalid::InvalidSetting;
pub(crate) use safety::Policy;
pub use safety::{KeySafety, SafetyAction, SafetySettings};
pub use storage::{Secret, Serving, StorageSettings};

/// The most runs that may work at once, or be in places for fetching: each has a task that waits for it.
const MOST_RUNS: usize = 4096;

/// The settings of the service. In files, durations are strings such as `30s` or `2h 30m`, and sizes are bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The address to listen on. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The data directory, which holds everything: database, pictures, data sets.
    pub data_dir: PathBuf,
    /// What the process does of a service of several processes, which share a database.
    pub role: Role,
    /// The models directory, laid out as by the Stable Diffusion web UI or ComfyUI. Unless set, `models` in the data
    /// directory, which need not exist.
    pub models: Option<PathBuf>,
    /// The address under which callers reach the service, such as `https://images.example.com`; URLs of pictures begin
    /// with it. It has no user, query or fragment. Unless set, the address that the service listens on.
    pub public_url: Option<String>,
    /// Whether operations without another engine return labelled test cards.
    pub sandbox: bool,
    /// Whether callers need no key, and may send any placeholder for one. A key that the service has must still be right.
    /// Allowed only while listening on a loopback address.
    pub open: bool,
    /// Private networks that pictures may be fetched from and callbacks pushed to, such as `10.1.0.0/16`.
    #[serde(deserialize_with = "lists::networks")]
    pub allow_network: Vec<IpNet>,
    /// The origins of web pages that may call the service from a browser, such as `https://app.example.com`; `*` for all, but
    /// not for a service without keys. None unless set.
    #[serde(deserialize_with = "lists::deserialize")]
    pub allow_origin: Vec<String>,
    /// The operations that the service is there for, by id: it is not ready while one of them has no engine, or one that is away.
    /// None unless set: back ends that are away make other operations wait.
    #[serde(deserialize_with = "lists::deserialize")]
    pub required: Vec<String>,
    /// How many tasks run at once on engines that use this machine, at most 4096.
    pub workers: usize,
    /// How many times the process may die while a task is its only run, before the task fails. A task that was running when
    /// the process died is run alone before this limit is reached.
    pub attempts: u32,
    /// How long the service may take to stop, at least 2 seconds. Running tasks and open calls may go on until shortly before:
    /// a fifth of the time, 2 to 3 seconds. In that rest, the last calls are answered, tasks are handed back to the queue, and
    /// the database is closed. Without running tasks and open calls, pushes of callbacks have two seconds.
    #[serde(with = "durations::required")]
    pub shutdown: Duration,
    /// The format of the service's log on the command line.
    pub log: LogForm,
    /// The database.
    pub database: DatabaseSettings,
    /// Limits of connections.
    pub connections: ConnectionSettings,
    /// Limits of the queue.
    pub queue: QueueSettings,
    /// Time limits of runs, by operation.
    pub time_limit: TimeLimits,
    /// Limits of input pictures.
    pub pictures: PictureSettings,
    /// How long results are kept.
    pub assets: AssetSettings,
    /// Where the files of results are kept.
    pub storage: StorageSettings,
    /// Room on the disk.
    pub disk: DiskSettings,
    /// Delivery of callbacks.
    pub callbacks: CallbackSettings,
    /// Limits of requests.
    pub requests: RequestSettings,
    /// How long rows of tasks are kept.
    pub tasks: TaskSettings,
    /// What is done about faults of the server itself.
    pub faults: FaultSettings,
    /// Trainings.
    pub training: TrainingSettings,
    /// Neural networks that run in the process.
    pub nets: NetSettings,
    /// Audits of result pictures.
    pub safety: SafetySettings,
}

/// The format of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogForm {
    /// A line of text for each event.
    #[default]
    Human,
    /// A JSON object for each event.
    Json,
}

/// Limits of connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionSettings {
    /// How many may be open. Beyond it, a new one takes the place of another: of the address that has most, the longest idle
    /// one, or else one whose caller has been slow for 5 seconds. If all requests are being answered, callers wait. Unless set,
    /// four fifths of the limit of open files less 64, from 16 to 4096. A key may wait for results on a quarter of them.
    pub at_most: Option<usize>,
    /// How long one may take for the head of a request, and be idle between requests.
    #[serde(with = "durations::required")]
    pub idle: Duration,
    /// How long a caller may read nothing of an answer. One who reads a little now and then may keep the service waiting for
    /// four times that long, and for a second more with each KiB that it reads.
    #[serde(with = "durations::required")]
    pub stall: Duration,
}

/// Limits of the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueSettings {
    /// How many tasks may wait; further submits are answered with the status 429.
    pub length: usize,
    /// How many tasks of one key run at once on engines that share the workers, and on each engine with its own slots, those
    /// that fetch their pictures included.
    /// Unless set, one key may take all slots, and its share of the places for fetching.
    pub running_per_key: Option<usize>,
    /// How many runs fetch their pictures, or have them and wait for a slot, beside those that work; for the workers, and for
    /// each engine with its own slots. A key takes a further place only while it holds fewer than are free, so about half of
    /// them. Their files are not counted in `pictures.memory`: each run holds what its request names, at most
    /// `pictures.bytes` a picture. From 2 to 4096. Unless set, twice as many as there are slots, so that a single key can fetch
    /// for all of them.
    pub fetching: Option<usize>,
}

/// Time limits of runs, from the first byte fetched to the last picture stored, without the wait for a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeLimits {
    /// The limit of every operation without its own.
    #[serde(with = "durations::required")]
    pub default: Duration,
    /// Limits by operation id, such as `enlarge_image = "30s"`.
    pub operations: BTreeMap<String, Limit>,
}

/// A duration in a list or a map, written as elsewhere in the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limit(#[serde(with = "durations::required")] pub Duration);

/// Limits of input pictures, which callers name by URL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PictureSettings {
    /// The largest file in bytes.
    pub bytes: u64,
    /// The largest picture in pixels, width times height.
    pub pixels: u64,
    /// The largest number of frames of an animated picture, or of pages of a TIFF file.
    pub frames: u32,
    /// How many bytes all runs that work take together for their pictures, decoded and as files, and for the processes that
    /// their engines start. A run waits until enough is free. One that needs more than there is waits until it has all of it,
    /// so no other run that needs memory works beside it.
    pub memory: u64,
    /// How long it may take to fetch one.
    #[serde(with = "durations::required")]
    pub time: Duration,
    /// How many redirects are followed for one.
    pub redirects: u8,
    /// Whether results keep where the pictures that they are made of were taken (GPS), with what else those carry.
    pub keep_location: bool,
}

/// How long result pictures, and data sets with an empty `output/`, are kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AssetSettings {
    /// How long they are kept and their URLs work. Forever unless set.
    #[serde(with = "durations::optional")]
    pub lifetime: Option<Duration>,
    /// How many bytes of result pictures are kept for one key: as soon as it has that many, its further submits that make
    /// pictures are answered with the status 429, until some have expired. What was accepted before still ends. Any number unless set.
    pub bytes_per_key: Option<u64>,
}

/// Room on the disk of the data directory.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskSettings {
    /// How many bytes are kept free, so that accepted tasks can end: with less, submits are rejected with the status 503, and
    /// the service is not ready. Unless set, 64 MiB, or a twentieth of a disk that is smaller than 1280 MiB.
    pub reserve: Option<u64>,
}

/// Delivery of callbacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallbackSettings {
    /// The retry ladder (backoff): the pauses between delivery attempts. The last one repeats.
    #[serde(deserialize_with = "lists::deserialize")]
    pub pauses: Vec<Limit>,
    /// The largest number of delivery attempts, the first included.
    pub tries: u32,
    /// How long one attempt may take.
    #[serde(with = "durations::required")]
    pub time: Duration,
    /// How many attempts are in progress at once. One access key makes at most half of them, so that its slow receivers
    /// delay no other key.
    pub at_once: usize,
    /// How many of a key's attempts go to one scheme, host and port.
    pub at_once_per_host: usize,
    /// What becomes of the callbacks of a revoked access key.
    pub revoked: RevokedCallbacks,
}

/// What becomes of the callbacks of a revoked access key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevokedCallbacks {
    /// They are abandoned. A key is revoked because nothing more is to be done in its name, and its holder chose the
    /// receivers.
    #[default]
    Stop,
    /// They are delivered as those of any other key.
    Deliver,
}

/// How long rows of tasks are kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskSettings {
    /// How long ended tasks are kept, with their callbacks. Forever unless set. A task with a pending callback, or with
    /// result pictures that are still kept, stays until those are done with.
    #[serde(with = "durations::optional")]
    pub lifetime: Option<Duration>,
}

/// What is done about faults that are not the tasks' own: of the server's disk, database, memory or network, or of a back end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultSettings {
    /// How long tasks and callbacks that such a fault prevents are tried again without counting it. Then the task fails, and
    /// for the callback it counts as an attempt.
    #[serde(with = "durations::required")]
    pub give_up: Duration,
    /// How long tasks wait for back ends that went away. Then they fail. Those for back ends that have not answered since the start
    /// are not accepted. A stop of the service begins to count again.
    #[serde(with = "durations::required")]
    pub away: Duration,
}

/// Trainings. Their time limit is that of `submit_training` among the time limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSettings {
    /// The same as `attempts`, for trainings.
    pub attempts: u32,
    /// How many bytes of `pictures.memory` a training takes, for the processes that it starts; less than all of them. It holds
    /// them from its start, while it fetches its pictures.
    pub memory: u64,
    /// The directory of sd-scripts of kohya-ss, which trains. Unless set, data sets are only prepared.
    pub scripts: Option<PathBuf>,
    /// The program `accelerate`, which runs the scripts: its path, or its name if it is in one of the directories of `PATH`.
    pub accelerate: PathBuf,
    /// The directory with the tokenizers, so that the trainer need not fetch them: `openai_clip-vit-large-patch14`, and for SDXL
    /// `laion_CLIP-ViT-bigG-14-laion2B-39B-b160k`.
    pub tokenizers: Option<PathBuf>,
    /// Further words for the scripts, such as `--sdpa`. They count more than what a request says.
    pub arguments: Vec<String>,
    /// The device that a training needs for itself. Back ends with the same name for theirs take turns with it.
    pub device: Option<String>,
    /// Whether to train on the processor, where `mixedPrecision` does not work.
    pub cpu: bool,
}

/// Neural networks that run in the process, with the weights of installed packs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetSettings {
    /// How long a network that no run uses stays loaded.
    #[serde(with = "durations::required")]
    pub idle: Duration,
    /// How many bytes the weights of networks take together that no run uses; the one that was used longest ago is dropped first.
    /// They are not counted in `pictures.memory`, as those in use are.
    pub resident: u64,
    /// The threads on which all networks run together, at most 4096. Unless set, one for each core. ONNX Runtime has so many for
    /// each network.
    pub threads: Option<usize>,
    /// A catalogue of packs, in TOML, in place of the built-in one; its packs have the names of the built-in ones that they stand
    /// for.
    pub catalogue: Option<PathBuf>,
    /// The library of ONNX Runtime, which then runs the networks, for programs that are built with it.
    pub library: Option<PathBuf>,
    /// What ONNX Runtime runs the networks on, such as `cuda` or `cuda:1`, the preferred first: each takes the operators that it has,
    /// and leaves the others to those after it, in the end to the processor.
    #[serde(deserialize_with = "lists::deserialize")]
    pub providers: Vec<String>,
}

/// Limits of requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestSettings {
    /// The largest body in bytes, as it is sent and as it is decoded.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    #[serde(with = "durations::required")]
    pub body_time: Duration,
    /// How many calls a key may make in a minute, and in one burst, of each process. Any number unless set.
    pub per_minute: Option<NonZeroU32>,
    /// How long an `Idempotency-Key` is remembered.
    #[serde(with = "durations::required")]
    pub idempotency: Duration,
    /// How long a caller waits for an operation that answers with its result.
    #[serde(with = "durations::required")]
    pub answer_time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            data_dir: PathBuf::from("imgopen-data"),
            role: Role::default(),
            models: None,
            public_url: None,
            sandbox: false,
            open: false,
            allow_network: Vec::new(),
            allow_origin: Vec::new(),
            required: Vec::new(),
            workers: std::thread::available_parallelism().map_or(2, usize::from).min(MOST_RUNS),
            attempts: 3,
            shutdown: Duration::from_secs(30),
            log: LogForm::default(),
            database: DatabaseSettings::default(),
            connections: ConnectionSettings::default(),
            queue: QueueSettings::default(),
            time_limit: TimeLimits::default(),
            pictures: PictureSettings::default(),
            assets: AssetSettings::default(),
            storage: StorageSettings::default(),
            disk: DiskSettings::default(),
            callbacks: CallbackSettings::default(),
            requests: RequestSettings::default(),
            tasks: TaskSettings::default(),
            faults: FaultSettings::default(),
            training: TrainingSettings::default(),
            nets: NetSettings::default(),
            safety: SafetySettings::default(),
        }
    }
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self { at_most: None, idle: Duration::from_secs(60), stall: Duration::from_secs(30) }
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { length: 10_000, running_per_key: None, fetching: None }
    }
}

impl Default for TimeLimits {
    fn default() -> Self {
        let training = (operations::SUBMIT_TRAINING.id.to_owned(), Limit(Duration::from_secs(24 * 60 * 60)));
        Self { default: Duration::from_secs(600), operations: BTreeMap::from([training]) }
    }
}

impl Default for PictureSettings {
    fn default() -> Self {
        let PictureLimits { bytes, pixels, frames, .. } = PictureLimits::default();
        let (memory, time) = (1024 * 1024 * 1024, Duration::from_secs(20));
        Self { bytes, pixels, frames, memory, time, redirects: 5, keep_location: false }
    }
}

impl Default for CallbackSettings {
    fn default() -> Self {
        // The vendor publishes seven pauses for ten tries.
        let pauses = [3, 5, 15, 30, 60, 600, 3600].map(|seconds| Limit(Duration::from_secs(seconds))).to_vec();
        Self {
            pauses,
            tries: 10,
            time: Duration::from_secs(15),
            at_once: 128,
            at_once_per_host: 8,
            revoked: RevokedCallbacks::default(),
        }
    }
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            body_time: Duration::from_secs(30),
            per_minute: None,
            idempotency: Duration::from_secs(24 * 60 * 60),
            answer_time: Duration::from_secs(60),
        }
    }
}

impl Default for FaultSettings {
    fn default() -> Self {
        Self { give_up: Duration::from_secs(24 * 60 * 60), away: Duration::from_secs(10 * 60) }
    }
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            attempts: 10,
            memory: 0,
            scripts: None,
            accelerate: PathBuf::from("accelerate"),
            tokenizers: None,
            arguments: Vec::new(),
            device: None,
            cpu: false,
        }
    }
}

impl Default for NetSettings {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5 * 60),
            resident: 256 * 1024 * 1024,
            threads: None,
            catalogue: None,
            library: None,
            providers: Vec::new(),
        }
    }
}

impl Settings {
    /// Whether the process is one of several that share a database.
    pub fn is_in_fleet(&self) -> bool {
        self.database.url.is_some()
    }

    /// Returns how many times the process may die while a task of an operation is its only run.
    pub(crate) fn attempts(&self, operation: &str) -> u32 {
        self.all_attempts().of(operation)
    }

    /// Returns the same for every operation.
    pub(crate) fn all_attempts(&self) -> Attempts {
        let training = (operations::SUBMIT_TRAINING.id.to_owned(), self.training.attempts);
        Attempts { default: self.attempts, operations: vec![training] }
    }

    /// Returns the time limit of an operation's runs.
    pub fn time_limit(&self, operation: &str) -> Duration {
        self.time_limit.operations.get(operation).map_or(self.time_limit.default, |limit| limit.0)
    }

    /// Returns how many tasks of one key may run at once in a pool with this number of slots, those that fetch included.
    pub fn running_per_key(&self, slots: usize) -> usize {
        self.queue.running_per_key.unwrap_or(slots.saturating_add(self.fetching(slots)))
    }

    /// Returns how many runs of a pool with this number of slots fetch pictures without working yet.
    pub(crate) fn fetching(&self, slots: usize) -> usize {
        self.queue.fetching.unwrap_or(slots.saturating_mul(2).clamp(2, MOST_RUNS))
    }

    /// Returns the limits of fetching an input picture.
    pub(crate) fn fetch_limits(&self) -> imgopen_fetch::Limits {
        let PictureSettings { bytes, time, redirects, .. } = self.pictures;
        imgopen_fetch::Limits::default().bytes(bytes).time(time).redirects(redirects)
    }

    /// Returns the models directory: `models`, or else `models` in the data directory.
    pub fn models_dir(&self) -> PathBuf {
        self.models.clone().unwrap_or_else(|| self.data_dir.join("models"))
    }

    /// Returns the limits of pictures as engines take them.
    pub fn picture_limits(&self) -> PictureLimits {
        let PictureSettings { bytes, pixels, frames, keep_location, .. } = self.pictures;
        PictureLimits { bytes, pixels, frames, location: keep_location }
    }

    /// Returns the pause after this number of delivery attempts, or `None` if it was the last one.
    pub fn callback_pause(&self, tries: u32) -> Option<Duration> {
        let CallbackSettings { pauses, tries: most, .. } = &self.callbacks;
        let index = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
        let pause = pauses.get(index).or(pauses.last())?;
        (tries < *most).then_some(pause.0)
    }

    /// Returns the longest pause between delivery attempts.
    pub(crate) fn longest_callback_pause(&self) -> Duration {
        self.callbacks.pauses.iter().map(|pause| pause.0).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
