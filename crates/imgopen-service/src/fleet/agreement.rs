//! Settings of which all processes must have the same, because each treats the tasks of all by its own. They are published beside
//! what a process offers, and compared.

use imgopen_store::OwnerRow;
use serde_json::{Map, Value};

use crate::settings::Settings;

/// Their name among what a process publishes.
const PUBLISHED: &str = "settings";

/// Those at the top, or groups of them.
const SHARED: [&str; 11] = [
    "allow_network",
    "assets",
    "attempts",
    "callbacks",
    "faults",
    "public_url",
    "requests",
    "safety",
    "sandbox",
    "tasks",
    "time_limit",
];

/// Settings by name, such as `tasks.lifetime`.
pub type Shared = Map<String, Value>;

/// A setting of which another process has another value. Both are JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub setting: String,
    pub here: String,
    pub there: String,
    /// The machine of the other process.
    pub host: String,
}

/// Returns the settings of which all processes must have the same.
pub fn shared(settings: &Settings) -> Shared {
    let mut shared = Shared::new();
    let Ok(all) = serde_json::to_value(settings) else { return shared };
    for name in SHARED {
        match &all[name] {
            Value::Object(members) => {
                shared.extend(members.iter().map(|(member, value)| (format!("{name}.{member}"), value.clone())));
            }
            value => shared.extend([(name.to_owned(), value.clone())]),
        }
    }
    shared.extend([("training.attempts".to_owned(), all["training"]["attempts"].clone())]);
    shared
}

/// Adds settings to what a process publishes.
pub fn publish(shared: Shared, published: &mut Value) {
    if let Value::Object(members) = published {
        members.extend([(PUBLISHED.to_owned(), Value::Object(shared))]);
    }
}

/// Returns the settings that a process has published.
pub fn published(owner: &OwnerRow) -> Option<&Shared> {
    owner.about.offers.get(PUBLISHED)?.as_object()
}

/// Returns where processes that live differ from these settings: for each, the first such process. What only one of two versions
/// knows is not compared.
pub fn differences(own: &Shared, owners: &[OwnerRow]) -> Vec<Difference> {
    let lives = |owner: &&OwnerRow| owner.lease_left.is_none_or(|left| !left.is_zero());
    let of = |(setting, here): (&String, &Value)| {
        owners.iter().filter(lives).find_map(|owner| {
            let there = published(owner)?.get(setting).filter(|there| *there != here)?;
            let (setting, host) = (setting.clone(), owner.about.host.clone());
            Some(Difference { setting, here: here.to_string(), there: there.to_string(), host })
        })
    };
    own.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use imgopen_store::{OwnerAbout, OwnerId};
    use serde_json::json;

    use super::*;

    fn owner(host: &str, left: u64, settings: &Settings) -> OwnerRow {
        let mut offers = json!({});
        publish(shared(settings), &mut offers);
        let about = OwnerAbout { host: host.to_owned(), offers, ..OwnerAbout::default() };
        let lease_left = Some(Duration::from_secs(left));
        OwnerRow { id: OwnerId(host.to_owned()), about, lease_left, draining: false, runs: 0 }
    }

    #[test]
    fn processes_differ_in_what_all_must_share() {
        let mut settings = Settings::default();
        let own = shared(&settings);
        // What each machine has of its own is not compared.
        settings.workers += 1;
        settings.data_dir = "/elsewhere".into();
        assert_eq!(differences(&own, &[owner("a", 9, &settings)]), []);
        settings.tasks.lifetime = Some(Duration::from_secs(24 * 60 * 60));
        settings.attempts = 7;
        settings.training.attempts = 9;
        let expected = |setting: &str, here: &str, there: &str| Difference {
            setting: setting.to_owned(),
            here: here.to_owned(),
            there: there.to_owned(),
            host: "b".to_owned(),
        };
        let mut found = differences(&own, &[owner("a", 9, &Settings::default()), owner("b", 9, &settings)]);
        found.sort_by(|one, other| one.setting.cmp(&other.setting));
        let there = shared(&settings)["tasks.lifetime"].to_string();
        let (attempts, trainings) =
            (Settings::default().attempts.to_string(), Settings::default().training.attempts.to_string());
        assert_eq!(
            found,
            [
                expected("attempts", &attempts, "7"),
                expected("tasks.lifetime", "null", &there),
                expected("training.attempts", &trainings, "9"),
            ]
        );
        // A process that died, and one of a version that publishes less.
        let other = OwnerRow { about: OwnerAbout::default(), ..owner("c", 9, &settings) };
        assert_eq!(differences(&own, &[owner("b", 0, &settings), other]), []);
    }

    #[test]
    fn every_setting_that_is_compared_exists() {
        let shared = shared(&Settings::default());
        for name in SHARED {
            let is_there =
                shared.iter().any(|(setting, _)| setting == name || setting.starts_with(&format!("{name}.")));
            assert!(is_there, "{name}");
        }
        assert_eq!(shared["training.attempts"], json!(Settings::default().training.attempts));
        assert_eq!(shared["public_url"], Value::Null);
    }
}
