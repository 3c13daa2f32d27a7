//! The text that the web UI and sd-server write about each picture: prompt, negative prompt, and a last line of settings.

use std::sync::LazyLock;

use regex_lite::Regex;

/// The settings in the last line, such as `Steps: 20, Sampler: Euler a, Lora hashes: "a: 12ab"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Infotext {
    settings: Vec<(String, String)>,
}

impl Infotext {
    /// Reads a text. One without settings has none.
    pub(crate) fn parse(text: &str) -> Self {
        static SETTING: LazyLock<Regex> = LazyLock::new(|| {
            let pattern = r#"\s*(\w[\w \-/]*):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)"#;
            Regex::new(pattern).expect("the pattern is valid")
        });
        // A prompt may look like settings, but only the last line is.
        let last = text.trim_end().rsplit('\n').next().unwrap_or_default();
        if !last.starts_with("Steps: ") {
            return Self::default();
        }
        let settings = SETTING.captures_iter(last).map(|found| {
            let value = found[2].trim();
            let value = serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_owned());
            (found[1].trim().to_owned(), value)
        });
        Self { settings: settings.collect() }
    }

    /// Returns whether it has no settings.
    pub(crate) fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// Returns a setting.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the names in a list such as `Lora hashes`: "a: 0123, b: 4567".
    pub(crate) fn names(&self, setting: &str) -> Vec<&str> {
        let list = self.get(setting).unwrap_or_default();
        list.split(',').filter_map(|entry| Some(entry.rsplit_once(':')?.0.trim())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_the_last_line() {
        let text = "a cat\nSteps: 9, Seed: 1\nNegative prompt: blurry\nSteps: 1, Sampler: DPM++ 2M, Seed: 7, Size: 64x64, \
                    Lora hashes: \"one: 12ab, two/b: 34\", ControlNet 0: \"Module: None, Model: a [8bd0]\", Version: f2.0";
        let info = Infotext::parse(text);
        assert_eq!(info.get("Steps"), Some("1"));
        assert_eq!(
            (info.get("Sampler"), info.get("Seed"), info.get("Version")),
            (Some("DPM++ 2M"), Some("7"), Some("f2.0"))
        );
        assert_eq!(info.get("ControlNet 0"), Some("Module: None, Model: a [8bd0]"));
        assert_eq!(info.names("Lora hashes"), ["one", "two/b"]);
        assert_eq!(info.names("Nothing"), [""; 0]);
    }

    #[test]
    fn a_prompt_alone_has_no_settings() {
        for text in ["", "a cat", "Steps: 3\na cat"] {
            assert!(Infotext::parse(text).is_empty(), "{text:?}");
        }
    }
}
