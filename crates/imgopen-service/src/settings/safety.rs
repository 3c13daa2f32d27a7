//! Settings of audits: what becomes of result pictures that are not safe for work.

use std::collections::BTreeMap;

use imgopen_store::KeyId;
use serde::{Deserialize, Serialize};

/// Audits of result pictures, before they are given out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SafetySettings {
    /// What becomes of pictures in which something is found. Anything but `off` has every picture audited, and withholds the
    /// previews of running tasks, which are not audited.
    pub action: SafetyAction,
    /// The confidence from which something counts as found, from 0 to 1.
    pub threshold: f64,
    /// What differs for a key, by its id, such as `ak_0123456789abcdef`. The service does not start if there is no such key.
    pub keys: BTreeMap<String, KeySafety>,
}

/// What becomes of pictures in which an audit finds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SafetyAction {
    /// Nothing is audited.
    #[default]
    Off,
    /// They are given out, and the result says what was found.
    Mark,
    /// They are replaced by blurred ones, in which nothing can be recognised.
    Blur,
    /// Their task fails, with all its pictures.
    Refuse,
}

impl SafetyAction {
    /// Returns its name in settings and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Mark => "mark",
            Self::Blur => "blur",
            Self::Refuse => "refuse",
        }
    }
}

/// What differs for a key. What is not set is as for the others.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeySafety {
    /// What becomes of pictures in which something is found.
    pub action: Option<SafetyAction>,
    /// The confidence from which something counts as found, from 0 to 1.
    pub threshold: Option<f64>,
}

/// What holds for the pictures of one key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Policy {
    pub action: SafetyAction,
    pub threshold: f64,
}

impl Default for SafetySettings {
    fn default() -> Self {
        Self { action: SafetyAction::Off, threshold: 0.8, keys: BTreeMap::new() }
    }
}

impl SafetySettings {
    /// Returns the setting that has pictures audited, of all keys or of the first one; `None` if none does.
    pub fn audits(&self) -> Option<String> {
        if self.action != SafetyAction::Off {
            return Some("safety.action".to_owned());
        }
        let audited = |key: &KeySafety| key.action.is_some_and(|action| action != SafetyAction::Off);
        let (id, _) = self.keys.iter().find(|(_, key)| audited(key))?;
        Some(format!("safety.keys.{id}.action"))
    }

    /// Returns what holds for the pictures of a key.
    pub(crate) fn policy(&self, key: &KeyId) -> Policy {
        let own = self.keys.get(key.as_str());
        Policy {
            action: own.and_then(|own| own.action).unwrap_or(self.action),
            threshold: own.and_then(|own| own.threshold).unwrap_or(self.threshold),
        }
    }

    /// Returns every threshold, with the name of its setting.
    pub(super) fn thresholds(&self) -> impl Iterator<Item = (String, f64)> {
        let of_keys =
            self.keys.iter().filter_map(|(id, key)| Some((format!("safety.keys.{id}.threshold"), key.threshold?)));
        std::iter::once(("safety.threshold".to_owned(), self.threshold)).chain(of_keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    fn settings(text: &str) -> SafetySettings {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_key_has_what_it_sets_and_the_rest_of_all() {
        let settings = settings(
            r#"{"action": "blur", "threshold": 0.7,
                "keys": {"a": {"action": "off"}, "b": {"threshold": 0.9}, "c": {"action": "refuse", "threshold": 0}}}"#,
        );
        let policy = |key: &str| {
            let Policy { action, threshold } = settings.policy(&KeyId(key.to_owned()));
            (action, threshold)
        };
        assert_eq!(policy("a"), (SafetyAction::Off, 0.7));
        assert_eq!(policy("b"), (SafetyAction::Blur, 0.9));
        assert_eq!(policy("c"), (SafetyAction::Refuse, 0.0));
        assert_eq!(policy("d"), (SafetyAction::Blur, 0.7));
    }

    #[test]
    fn audits_are_on_for_all_or_for_a_key() {
        assert_eq!(SafetySettings::default().audits(), None);
        assert_eq!(settings(r#"{"action": "mark"}"#).audits().as_deref(), Some("safety.action"));
        let by_key = r#"{"keys": {"a": {"threshold": 0.5}, "b": {"action": "off"}, "c": {"action": "mark"}}}"#;
        assert_eq!(settings(by_key).audits().as_deref(), Some("safety.keys.c.action"));
        assert_eq!(settings(r#"{"keys": {"a": {"threshold": 0.5}}}"#).audits(), None);
    }

    #[test]
    fn a_threshold_is_from_0_to_1() {
        let check = |threshold: f64, own: f64| {
            let key = KeySafety { threshold: Some(own), ..KeySafety::default() };
            let safety = SafetySettings { threshold, keys: [("a".to_owned(), key)].into(), ..Default::default() };
            Settings { safety, ..Settings::default() }.check().map_err(|error| error.to_string())
        };
        assert_eq!((check(0.0, 1.0), check(1.0, 0.0)), (Ok(()), Ok(())));
        let problem =
            |setting: &str, given: &str| Err(format!("`{setting}`: {given} given; give a number from 0 to 1"));
        assert_eq!(check(1.01, 0.5), problem("safety.threshold", "1.01"));
        assert_eq!(check(f64::NAN, 0.5), problem("safety.threshold", "NaN"));
        assert_eq!(check(0.5, -0.1), problem("safety.keys.a.threshold", "-0.1"));
    }
}
