//! Settings as they are shown: each by its full name, without secrets.

use std::collections::BTreeMap;

use serde::Serialize;

/// The replacement for secrets in output.
pub const HIDDEN: &str = "(hidden)";

/// A setting in force.
#[derive(Debug)]
pub struct Setting {
    /// The full name, such as `queue.length`.
    pub name: String,
    /// The value, without secrets; none if the setting is unset.
    pub value: Option<toml::Value>,
    /// The source: `default`, `unset`, `environment`, `command line` or a file.
    pub source: String,
}

/// Returns every setting by its full name. As JSON, because TOML leaves out what is unset; here it is null.
pub fn by_name(settings: &impl Serialize) -> serde_json::Result<BTreeMap<String, serde_json::Value>> {
    let mut values = BTreeMap::new();
    flatten(String::new(), serde_json::to_value(settings)?, &mut values);
    Ok(values)
}

/// Adds every value inside a value, by the path to it.
fn flatten(path: String, value: serde_json::Value, values: &mut BTreeMap<String, serde_json::Value>) {
    match value {
        serde_json::Value::Object(members) => {
            for (member, value) in members {
                let path = if path.is_empty() { member } else { format!("{path}.{member}") };
                flatten(path, value, values);
            }
        }
        value => {
            values.insert(path, value);
        }
    }
}

/// Hides the user name and password of a URL, the only place for a secret. A password may contain an `@`, so everything before
/// the last one is hidden.
pub fn hide(value: toml::Value) -> toml::Value {
    match &value {
        toml::Value::String(text) => {
            match text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
                Some((scheme, (_, rest))) => format!("{scheme}://{HIDDEN}@{rest}").into(),
                None => value,
            }
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        assert_eq!(hide("https://me:secret@host/x".into()), "https://(hidden)@host/x".into());
        assert_eq!(hide("https://me:sec@ret@host/x".into()), "https://(hidden)@host/x".into());
        assert_eq!(hide("https://host/a@b".into()), "https://(hidden)@b".into());
        assert_eq!(hide(7.into()), 7.into());
    }
}
