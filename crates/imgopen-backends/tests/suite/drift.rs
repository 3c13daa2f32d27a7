//! Whether a program still answers in the shape that was recorded: members and types, not values.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::recordings::recording;
use crate::target::targets;

/// The answers that the engine reads, and that every version has.
const READ: [&str; 9] = [
    "sd-models",
    "samplers",
    "upscalers",
    "latent-upscale-modes",
    "loras",
    "embeddings",
    "face-restorers",
    "scripts",
    "progress",
];

/// The members of a value by their paths, with their types. Of a list, the first item counts.
fn shape(value: &Value, path: &str, into: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(items) => {
            items.first().into_iter().for_each(|item| shape(item, &format!("{path}[]"), into));
            "list"
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| shape(value, &format!("{path}.{name}"), into));
            "object"
        }
    };
    into.insert(path.to_owned(), kind);
}

/// Returns what was recorded and is not there, or has another type. What is `null` in one of them may be anything.
fn drift(recorded: &Value, now: &Value) -> Vec<String> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    shape(recorded, "", &mut before);
    shape(now, "", &mut after);
    let differs = |path: &String, kind: &str| match after.get(path) {
        Some(now) => *now != kind && *now != "null" && kind != "null",
        // The list is empty here.
        None => !path.contains("[]"),
    };
    let found = before.iter().filter(|(path, kind)| differs(path, kind));
    found.map(|(path, kind)| format!("`{path}` was a {kind}, and is {:?}", after.get(path))).collect()
}

#[tokio::test]
async fn answers_have_the_recorded_shape() {
    for target in targets().await {
        for name in READ {
            let recorded = recording(&format!("webui/{name}"));
            let answer = reqwest::get(format!("{}{}", target.url, recorded.path)).await.unwrap();
            assert_eq!(answer.status().as_u16(), recorded.status, "{name}");
            let mut now: Value = answer.json().await.unwrap();
            let mut expected = recorded.answer;
            if name == "progress" {
                // Newer versions leave `textinfo` out while nothing runs.
                for progress in [&mut now, &mut expected] {
                    progress.as_object_mut().unwrap().remove("textinfo");
                }
            }
            assert_eq!(drift(&expected, &now), [""; 0], "{name} of {}", target.name);
        }
    }
}

#[test]
fn a_change_of_shape_is_found() {
    let recorded = serde_json::json!({"a": [{"b": 1}], "c": null, "d": "x"});
    assert_eq!(drift(&recorded, &serde_json::json!({"a": [], "c": 1, "d": "y", "e": 2})), [""; 0]);
    let drifted = drift(&recorded, &serde_json::json!({"a": [{"b": "1"}], "c": null}));
    assert_eq!(drifted, ["`.a[].b` was a number, and is Some(\"text\")", "`.d` was a text, and is None"]);
}
