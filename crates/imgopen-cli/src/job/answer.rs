//! What the last answer about a job contains: URLs of results, and words.

use imgopen_types::JobState;
use serde_json::Value;

/// Members that are shown in other ways, or of no interest.
const HIDDEN: &[&str] = &[
    "taskId",
    "task_id",
    "id_task",
    "businessTaskId",
    "toolTask",
    "status",
    "desc",
    "progress",
    "temporaryImageDto",
    "differentialImageRspList",
    "epoch",
    "maxEpochs",
    "loss",
];

/// Returns the name of a state as JSON has it.
pub fn state_name(state: JobState) -> String {
    match state {
        JobState::Queued => "queued".to_owned(),
        JobState::Running => "running".to_owned(),
        JobState::Succeeded => "succeeded".to_owned(),
        JobState::Failed => "failed".to_owned(),
        JobState::Cancelled => "cancelled".to_owned(),
        JobState::Unknown(number) => format!("unknown ({number})"),
    }
}

/// Returns the URLs of the results: texts and lists in members whose names say so.
pub fn urls(data: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(data, false, &mut found);
    found
}

fn collect(value: &Value, is_url: bool, found: &mut Vec<String>) {
    match value {
        Value::String(text) if is_url && is_http(text) && !found.contains(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_url, found)),
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| *name != "temporaryImageDto") {
                collect(value, names_url(name), found);
            }
        }
        _ => {}
    }
}

fn is_http(text: &str) -> bool {
    text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"))
}

fn names_url(name: &str) -> bool {
    let name = name.to_lowercase();
    name.ends_with("url") || name.ends_with("urllist")
}

/// Returns a line for each result that is not a picture, such as a caption.
pub fn words(data: &Value) -> Vec<String> {
    let members = data.as_object().into_iter().flatten();
    let shown =
        members.filter(|(name, value)| !HIDDEN.contains(&name.as_str()) && !names_url(name) && !value.is_null());
    shown
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}: {text}"),
            value => format!("{name}: {value}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_are_found_by_the_names_of_their_members() {
        let data = json!({
            "outputImageUrl": "http://a/1", "outputImageUrlList": ["http://a/1", "HTTPS://a/2"], "caption": "http://b",
            "temporaryImageDto": {"imageUrl": "http://c"},
            "differentialImageRspList": [{"image_url": "http://d", "seed": 1}],
        });
        assert_eq!(urls(&data), ["http://a/1", "HTTPS://a/2", "http://d"]);
        assert_eq!(words(&data), ["caption: http://b"]);
    }
}
