//! Everything that an operator may set. The defaults serve one person on one machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use imgopen_engine::PictureLimits;
use imgopen_types::operations;
use serde::{Deserialize, Serialize};

use crate::friendly;
use ipnet::IpNet;

/// The settings of the service. In files, durations are texts such as `30s` or `2h 30m`, sizes are bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder that holds everything: database, pictures, data sets.
    pub data_dir: PathBuf,
    /// The folder of the models, laid out as the Stable Diffusion web UI or ComfyUI does it. Unless set, `models` in the
    /// data folder, which need not be there.
    pub models: Option<PathBuf>,
    /// The address under which callers reach the service, such as `https://images.example.com`; URLs of pictures begin
    /// with it. Unless set, the address that it listens on.
    pub public_url: Option<String>,
    /// Whether operations without a real engine are served with labelled test cards.
    pub sandbox: bool,
    /// Whether callers need no key. Allowed only while listening on a loopback address.
    pub open: bool,
    /// Private networks that pictures may be fetched from and callbacks pushed to, such as `10.1.0.0/16`.
    pub allow_network: Vec<IpNet>,
    /// How many tasks run at once.
    pub workers: usize,
    /// How many runs of a task may be begun, when the process is killed in the middle of them.
    pub attempts: u32,
    /// How long running tasks, and callers who are being answered, may go on when the service is told to stop. Then the
    /// tasks go back to the queue, which takes five seconds at most.
    #[serde(with = "friendly::required")]
    pub shutdown: Duration,
    /// How the command line writes the service's log.
    pub log: LogForm,
    /// The queue and its limits.
    pub queue: Queue,
    /// Time limits of runs.
    pub time_limit: TimeLimits,
    /// Limits of the pictures that callers name.
    pub pictures: Pictures,
    /// Result pictures.
    pub assets: Assets,
    /// Callbacks.
    pub callbacks: Callbacks,
    /// Requests.
    pub requests: Requests,
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogForm {
    /// A line of text each.
    #[default]
    Human,
    /// A JSON object each.
    Json,
}

/// The queue and its limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// How many tasks may wait; further submits are answered with 429.
    pub length: usize,
    /// How many tasks of one key run at once; unless set, as many as there are workers.
    pub running_per_key: Option<usize>,
}

/// Time limits of runs, from the first byte fetched to the last picture stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeLimits {
    /// For every operation that is not named.
    #[serde(with = "friendly::required")]
    pub default: Duration,
    /// By operation id, such as `enlarge_image = "30s"`.
    pub operations: BTreeMap<String, Limit>,
}

/// One time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limit(#[serde(with = "friendly::required")] pub Duration);

/// Limits of the pictures that callers name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pictures {
    /// The most bytes of one.
    pub bytes: u64,
    /// The most pixels of one, width times height.
    pub pixels: u64,
    /// The most frames of an animated one.
    pub frames: u32,
    /// How long fetching one may take.
    #[serde(with = "friendly::required")]
    pub time: Duration,
    /// How many redirects are followed.
    pub redirects: u8,
}

/// Result pictures, and the data sets of trainings that nothing was trained with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Assets {
    /// How long they are kept and their URLs work; for ever unless set.
    #[serde(with = "friendly::optional")]
    pub lifetime: Option<Duration>,
}

/// Callbacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Callbacks {
    /// The pauses between tries; the last one holds for all further ones.
    pub pauses: Vec<Limit>,
    /// The most tries, the first included.
    pub tries: u32,
    /// How long one try may take.
    #[serde(with = "friendly::required")]
    pub time: Duration,
    /// How many tries are under way at once.
    pub at_once: usize,
    /// How many of them to one scheme, host and port.
    pub at_once_per_host: usize,
}

/// Requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requests {
    /// The most bytes of a body.
    pub body_bytes: usize,
    /// How many calls a key may make a minute, with bursts of as many; unless set, any number.
    pub per_minute: Option<NonZeroU32>,
    /// How long an `Idempotency-Key` is remembered.
    #[serde(with = "friendly::required")]
    pub idempotency: Duration,
    /// How long an operation that answers at once may take.
    #[serde(with = "friendly::required")]
    pub answer_time: Duration,
}

/// Settings that contradict one another or reality. Each names the setting and the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}`: {problem}")]
pub struct InvalidSetting {
    /// Which one, as it stands in the file.
    pub setting: String,
    /// What is wrong and how to put it right.
    pub problem: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            data_dir: PathBuf::from("imgopen-data"),
            models: None,
            public_url: None,
            sandbox: false,
            open: false,
            allow_network: Vec::new(),
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            attempts: 3,
            shutdown: Duration::from_secs(30),
            log: LogForm::default(),
            queue: Queue::default(),
            time_limit: TimeLimits::default(),
            pictures: Pictures::default(),
            assets: Assets::default(),
            callbacks: Callbacks::default(),
            requests: Requests::default(),
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { length: 10_000, running_per_key: None }
    }
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self { default: Duration::from_secs(600), operations: BTreeMap::new() }
    }
}

impl Default for Pictures {
    fn default() -> Self {
        let PictureLimits { bytes, pixels, frames, .. } = PictureLimits::default();
        Self { bytes, pixels, frames, time: Duration::from_secs(20), redirects: 5 }
    }
}

impl Default for Callbacks {
    fn default() -> Self {
        // The vendor publishes seven pauses for ten tries.
        let pauses = [3, 5, 15, 30, 60, 600, 3600].map(|seconds| Limit(Duration::from_secs(seconds))).to_vec();
        Self { pauses, tries: 10, time: Duration::from_secs(15), at_once: 128, at_once_per_host: 8 }
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            per_minute: None,
            idempotency: Duration::from_secs(24 * 60 * 60),
            answer_time: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// The time limit of an operation's runs.
    pub fn time_limit(&self, operation: &str) -> Duration {
        self.time_limit.operations.get(operation).map_or(self.time_limit.default, |limit| limit.0)
    }

    /// How many tasks of one key may run at once.
    pub fn running_per_key(&self) -> usize {
        self.queue.running_per_key.unwrap_or(self.workers)
    }

    /// The folder of the models.
    pub fn models_dir(&self) -> PathBuf {
        self.models.clone().unwrap_or_else(|| self.data_dir.join("models"))
    }

    /// The limits of pictures as the engines take them.
    pub fn picture_limits(&self) -> PictureLimits {
        let Pictures { bytes, pixels, frames, .. } = self.pictures;
        PictureLimits { bytes, pixels, frames }
    }

    /// The pause after so many tries, or `None` if there is no other try.
    pub fn callback_pause(&self, tries: u32) -> Option<Duration> {
        let Callbacks { pauses, tries: most, .. } = &self.callbacks;
        let index = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
        let pause = pauses.get(index).or(pauses.last())?;
        (tries < *most).then_some(pause.0)
    }

    /// Checks what one value alone cannot show.
    ///
    /// # Errors
    ///
    /// Names the first setting that cannot stand.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let wrong = |setting: &str, problem: String| Err(InvalidSetting { setting: setting.to_owned(), problem });
        if self.open && !self.listen.ip().is_loopback() {
            let problem = format!(
                "callers without keys are served on a loopback address only, and `listen` is {}; listen on \
                 127.0.0.1 or leave `open` out",
                self.listen
            );
            return wrong("open", problem);
        }
        let counts = [
            ("workers", self.workers),
            ("queue.length", self.queue.length),
            ("queue.running_per_key", self.running_per_key()),
            ("attempts", self.attempts as usize),
            ("callbacks.tries", self.callbacks.tries as usize),
            ("callbacks.at_once", self.callbacks.at_once),
            ("callbacks.at_once_per_host", self.callbacks.at_once_per_host),
            ("requests.body_bytes", self.requests.body_bytes),
        ];
        if let Some((setting, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return wrong(setting, "0 given; give at least 1".to_owned());
        }
        let times = [
            ("time_limit.default", self.time_limit.default),
            ("pictures.time", self.pictures.time),
            ("callbacks.time", self.callbacks.time),
            ("requests.answer_time", self.requests.answer_time),
        ];
        if let Some((setting, _)) = times.into_iter().find(|(_, time)| time.is_zero()) {
            return wrong(setting, "no time at all given; give some, such as \"10s\"".to_owned());
        }
        if self.callbacks.pauses.is_empty() && self.callbacks.tries > 1 {
            return wrong("callbacks.pauses", "empty; give at least one pause, such as \"3s\"".to_owned());
        }
        self.check_names()
    }

    fn check_names(&self) -> Result<(), InvalidSetting> {
        let known = |id: &str| operations::ALL.iter().any(|operation| operation.id == id);
        if let Some(id) = self.time_limit.operations.keys().find(|id| !known(id)) {
            let setting = format!("time_limit.operations.{id}");
            let problem = "no operation has that id; use one such as `enlarge_image`".to_owned();
            return Err(InvalidSetting { setting, problem });
        }
        let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        match &self.public_url {
            Some(url) if !is_url(url) => Err(InvalidSetting {
                setting: "public_url".to_owned(),
                problem: format!("{url:?} is no URL; give one such as `https://images.example.com`"),
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_is_the_published_one() {
        let settings = Settings::default();
        let pauses: Vec<_> =
            (1..=10).map(|tries| settings.callback_pause(tries).map(|pause| pause.as_secs())).collect();
        let expected = [3, 5, 15, 30, 60, 600, 3600, 3600, 3600].map(Some);
        assert_eq!(pauses[..9], expected);
        assert_eq!(pauses[9], None);
    }

    #[test]
    fn open_needs_loopback() {
        let open = Settings { open: true, ..Settings::default() };
        assert_eq!(open.check(), Ok(()));
        let exposed = Settings { listen: "0.0.0.0:80".parse().unwrap(), ..open };
        assert!(exposed.check().unwrap_err().to_string().starts_with("`open`: callers without keys"));
    }

    #[test]
    fn what_cannot_stand_is_named() {
        let idle = Settings { workers: 0, ..Settings::default() };
        assert_eq!(idle.check().unwrap_err().to_string(), "`workers`: 0 given; give at least 1");
        let mut typo = Settings::default();
        typo.time_limit.operations.insert("enlarge".into(), Limit(Duration::from_secs(1)));
        assert!(typo.check().unwrap_err().to_string().starts_with("`time_limit.operations.enlarge`: no operation"));
    }
}
