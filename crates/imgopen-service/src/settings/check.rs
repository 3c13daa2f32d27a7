//! Checks of the settings.

use imgopen_types::operations;

use super::addresses::{EVERY_ORIGIN, base, origin};
use super::database::{EXAMPLE, Role};
use super::invalid::InvalidSetting;
use super::{MOST_RUNS, Settings};

impl Settings {
    /// Checks the settings against each other and against the contract.
    ///
    /// # Errors
    ///
    /// When a setting is invalid; names the first one.
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
        if self.open && self.allow_origin.iter().any(|origin| origin == EVERY_ORIGIN) {
            let problem = "\"*\" would let every page that is open in a browser call the service without a key, and `open` is \
                           set; list the origins of your pages, or leave `open` out";
            return wrong("allow_origin", problem.to_owned());
        }
        let counts = [
            ("workers", self.workers),
            ("connections.at_most", self.connections.at_most.unwrap_or(usize::MAX)),
            ("queue.length", self.queue.length),
            ("queue.running_per_key", self.running_per_key(self.workers)),
            ("attempts", self.attempts as usize),
            ("training.attempts", self.training.attempts as usize),
            ("callbacks.tries", self.callbacks.tries as usize),
            ("callbacks.at_once", self.callbacks.at_once),
            ("callbacks.at_once_per_host", self.callbacks.at_once_per_host),
            ("requests.body_bytes", self.requests.body_bytes),
            ("pictures.memory", usize::try_from(self.pictures.memory).unwrap_or(usize::MAX)),
            ("nets.threads", self.nets.threads.unwrap_or(1)),
            ("assets.bytes_per_key", self.assets.bytes_per_key.map_or(1, |bytes| bytes.min(1) as usize)),
        ];
        if let Some((setting, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return wrong(setting, "0 given; give at least 1".to_owned());
        }
        if let Some(count @ 0..2) = self.queue.fetching {
            return wrong("queue.fetching", format!("{count} given; give at least 2, so that no key takes them all"));
        }
        let runs = [
            ("workers", self.workers),
            ("queue.fetching", self.queue.fetching.unwrap_or_default()),
            ("nets.threads", self.nets.threads.unwrap_or_default()),
        ];
        if let Some((setting, count)) = runs.into_iter().find(|(_, count)| *count > MOST_RUNS) {
            return wrong(setting, format!("{count} given; give at most {MOST_RUNS}"));
        }
        if self.nets.library.is_none() && !self.nets.providers.is_empty() {
            let problem =
                "they are of ONNX Runtime, which is not used; name its library in `nets.library`, or leave them out";
            return wrong("nets.providers", problem.to_owned());
        }
        if self.training.memory >= self.pictures.memory {
            let problem = format!(
                "{} given, which leaves nothing of `pictures.memory` ({}) to other tasks for as long as a training takes; \
                 give less, or raise that",
                self.training.memory, self.pictures.memory
            );
            return wrong("training.memory", problem);
        }
        let times = [
            ("time_limit.default", self.time_limit.default),
            ("pictures.time", self.pictures.time),
            ("callbacks.time", self.callbacks.time),
            ("requests.answer_time", self.requests.answer_time),
            ("requests.body_time", self.requests.body_time),
            ("connections.idle", self.connections.idle),
            ("connections.stall", self.connections.stall),
        ];
        if let Some((setting, _)) = times.into_iter().find(|(_, time)| time.is_zero()) {
            return wrong(setting, "0 given; give a time such as \"10s\"".to_owned());
        }
        if self.callbacks.pauses.is_empty() && self.callbacks.tries > 1 {
            return wrong("callbacks.pauses", "empty; give at least one pause, such as \"3s\"".to_owned());
        }
        let mut thresholds = self.safety.thresholds();
        if let Some((setting, threshold)) = thresholds.find(|(_, threshold)| !(0.0..=1.0).contains(threshold)) {
            return wrong(&setting, format!("{threshold} given; give a number from 0 to 1"));
        }
        self.storage.check()?;
        self.check_database()?;
        self.check_names()
    }

    /// Checks the database, and what the role needs.
    pub(super) fn check_database(&self) -> Result<(), InvalidSetting> {
        self.database.check()?;
        if self.role == Role::All {
            return Ok(());
        }
        let role = self.role.as_str();
        if !self.is_in_fleet() {
            let problem = format!(
                "\"{role}\" given without `database.url`; processes with roles share a database of PostgreSQL; {EXAMPLE} \
                 there, or leave `role` out"
            );
            return Err(InvalidSetting { setting: "role".to_owned(), problem });
        }
        if self.public_url.is_none() {
            let problem = format!(
                "missing; the role is \"{role}\", and the URLs of pictures must be the same from every process; give the address \
                 at which callers reach those that answer calls, such as `https://images.example.com`"
            );
            return Err(InvalidSetting { setting: "public_url".to_owned(), problem });
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), InvalidSetting> {
        let known = |id: &str| operations::ALL.iter().any(|operation| operation.id == id);
        if let Some(id) = self.time_limit.operations.keys().find(|id| !known(id)) {
            let setting = format!("time_limit.operations.{id}");
            let problem = "no operation has that id; use one such as `enlarge_image`".to_owned();
            return Err(InvalidSetting { setting, problem });
        }
        if let Some(id) = self.required.iter().find(|id| !known(id)) {
            let problem = format!("no operation has the id {id:?}; use one such as `text_to_image`");
            return Err(InvalidSetting { setting: "required".to_owned(), problem });
        }
        if let Some(problem) = self.allow_origin.iter().find_map(|text| origin(text).err()) {
            return Err(InvalidSetting { setting: "allow_origin".to_owned(), problem });
        }
        let public_url = self.public_url.as_deref().map(base).transpose();
        public_url.map(drop).map_err(|problem| InvalidSetting { setting: "public_url".to_owned(), problem })
    }
}
