//! The command line of the program: what the operator gives, and what is added where the program knows it.

use std::ffi::OsString;

use super::disk::Disk;
use super::served::Files;
use crate::settings::BackendSettings;

/// The option for the way in which LoRAs are applied.
pub(super) const LORA_MODE: &str = "--lora-apply-mode";
/// The way that leaves no traces in the weights.
pub(super) const AT_RUNTIME: &str = "at_runtime";

/// What the program's help says.
#[derive(Debug, Clone)]
pub(super) struct Options {
    help: String,
}

/// What the operator gives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub settings: &'a BackendSettings,
    pub models: &'a [Files],
}

impl Options {
    pub(super) fn new(help: String) -> Self {
        Self { help }
    }

    /// Returns whether the program has an option.
    pub(super) fn has(&self, option: &str) -> bool {
        self.help.split_whitespace().any(|word| word.trim_end_matches(',') == option)
    }

    /// Returns the line about the version.
    pub(super) fn version(&self) -> Option<&str> {
        self.help.lines().find(|line| line.contains("version"))
    }
}

impl<'a> Given<'a> {
    /// Returns the value that is given for an option, whatever the model.
    pub(super) fn value(&self, option: &str) -> Option<&'a str> {
        let models = self.models.iter().flat_map(|files| &files.arguments);
        let mut given = self.settings.arguments.iter().chain(models).skip_while(|argument| *argument != option);
        given.nth(1).map(String::as_str)
    }

    /// Returns whether a seed is given for a model.
    pub(super) fn names_seed(&self, files: &Files) -> bool {
        let mut given = self.settings.arguments.iter().chain(&files.arguments);
        given.any(|argument| argument == "-s" || argument.starts_with("--seed"))
    }
}

/// Returns the arguments that the program is started with for a model.
pub(super) fn arguments(
    given: &Given<'_>,
    files: &Files,
    disk: &Disk,
    options: Option<&Options>,
    seed: Option<i64>,
) -> Vec<OsString> {
    let knows = |option: &str| options.is_some_and(|options| options.has(option));
    let mut arguments = Vec::new();
    let mut add = |option: &str, value: OsString| arguments.extend([option.into(), value]);
    files.roles.iter().for_each(|(role, path)| add(role, path.into()));
    disk.folders().filter(|(option, _)| knows(option)).for_each(|(option, folder)| add(option, folder.into()));
    if given.value(LORA_MODE).is_none() && knows(LORA_MODE) {
        add(LORA_MODE, AT_RUNTIME.into());
    }
    if let Some(seed) = seed {
        add("--seed", seed.to_string().into());
    }
    arguments.extend(given.settings.arguments.iter().chain(&files.arguments).map(OsString::from));
    arguments
}
