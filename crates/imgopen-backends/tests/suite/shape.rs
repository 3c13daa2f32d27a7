//! The shape of what programs answer: members and types, not values.

use std::collections::BTreeMap;

use serde_json::Value;

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
pub fn drift(recorded: &Value, now: &Value) -> Vec<String> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    shape(recorded, "", &mut before);
    shape(now, "", &mut after);
    let differs = |path: &String, kind: &str| match after.get(path) {
        Some(now) => *now != kind && *now != "null" && kind != "null",
        // A list that it is in may be empty here.
        None => path.rfind("[]").is_none_or(|at| after.contains_key(&path[..at + 2])),
    };
    let found = before.iter().filter(|(path, kind)| differs(path, kind));
    found.map(|(path, kind)| format!("`{path}` was a {kind}, and is {:?}", after.get(path))).collect()
}
