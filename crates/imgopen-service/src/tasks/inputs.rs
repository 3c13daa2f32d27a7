//! What a request names: pictures to fetch, the address of the callback, the caller's id, the model.

use imgopen_fetch::Url;
use imgopen_types::schema::{Object, Shape};
use imgopen_types::{Operation, operations};
use serde_json::Value;

/// A URL in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its place in the request, such as `alwayson_scripts.image_link` or `fileUrlList[3]`.
    pub field: String,
    /// The URL.
    pub url: String,
}

/// The caller's own id for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerId<'a> {
    /// Its place in the request.
    pub field: &'static str,
    /// The id; empty if there is none.
    pub value: &'a str,
    /// Whether the contract says that it is unique among the key's tasks of the operation.
    pub unique: bool,
}

impl Named {
    /// Returns the URL for people and logs, without what follows `?` or `#`, which may be secret.
    pub fn shown(&self) -> String {
        let Ok(mut url) = Url::parse(&self.url) else { return "(no URL)".to_owned() };
        url.set_query(None);
        url.set_fragment(None);
        url.to_string()
    }
}

/// Returns the pictures that a request names, in the contract's order.
pub fn pictures(operation: &Operation, request: &Value) -> Vec<Named> {
    let mut found = Vec::new();
    collect(operation.request, request, "", &mut found);
    let callback = operation.callback.as_ref().map(|callback| callback.field);
    found.retain(|named| Some(named.field.as_str()) != callback);
    found
}

/// Returns the address that the task's end is pushed to, with its field.
pub fn callback(operation: &Operation, request: &Value) -> Option<Named> {
    let field = operation.callback.as_ref()?.field;
    let url = request.get(field)?.as_str()?;
    Some(Named { field: field.to_owned(), url: url.to_owned() })
}

/// Returns the caller's id for a task.
pub fn caller_id<'a>(operation: &Operation, request: &'a Value) -> CallerId<'a> {
    let places = ["businessTaskId", "taskId", "alwayson_scripts.id_task"];
    let found = places.into_iter().find_map(|field| {
        let value = field.split('.').try_fold(request, |value, name| value.get(name))?.as_str()?;
        Some((field, value))
    });
    let (field, value) = found.unwrap_or_default();
    CallerId { field, value, unique: *operation == operations::SUBMIT_TRAINING }
}

/// Returns the model that a request names.
pub fn model(request: &Value) -> Option<&str> {
    request.pointer("/alwayson_scripts/sd_model_checkpoint")?.as_str()
}

/// Whether a text is a URL, which the contract checks for the scheme.
fn is_url(shape: &Shape) -> bool {
    matches!(shape, Shape::Text(rules) if rules.pattern.is_some_and(|pattern| pattern.as_str().starts_with("^https?://")))
}

fn collect(schema: &'static Object, value: &Value, place: &str, found: &mut Vec<Named>) {
    for field in schema.fields {
        let Some(value) = value.get(field.name) else { continue };
        let place = if place.is_empty() { field.name.to_owned() } else { format!("{place}.{}", field.name) };
        collect_value(&field.shape, value, place, found);
    }
}

fn collect_value(shape: &Shape, value: &Value, place: String, found: &mut Vec<Named>) {
    match (shape, value) {
        (Shape::Object(schema), value) => collect(schema, value, &place, found),
        (Shape::List(list), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                collect_value(&list.item, item, format!("{place}[{index}]"), found);
            }
        }
        (shape, Value::String(url)) if is_url(shape) => found.push(Named { field: place, url: url.clone() }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(operation: &Operation, request: &Value) -> Vec<String> {
        pictures(operation, request).into_iter().map(|named| named.field).collect()
    }

    #[test]
    fn pictures_are_found_at_any_depth() {
        let request = json!({"businessTaskId": "1", "sourceImage": "https://a/b", "callbackUrl": "https://c"});
        assert_eq!(fields(&operations::ENLARGE_IMAGE, &request), ["sourceImage"]);
        assert_eq!(callback(&operations::ENLARGE_IMAGE, &request).unwrap().url, "https://c");
        let request = json!({"alwayson_scripts": {
            "id_task": "7", "image_link": "https://a", "sd_model_checkpoint": "m",
            "controlnet": {"args": [{"weight": 1}, {"image_link": "https://b"}]}
        }});
        let found = ["alwayson_scripts.image_link", "alwayson_scripts.controlnet.args[1].image_link"];
        assert_eq!(fields(&operations::CONTROLNET, &request), found);
        let id = CallerId { field: "alwayson_scripts.id_task", value: "7", unique: false };
        assert_eq!((caller_id(&operations::CONTROLNET, &request), model(&request)), (id, Some("m")));
        let id = CallerId { field: "taskId", value: "lora", unique: true };
        assert_eq!(caller_id(&operations::SUBMIT_TRAINING, &json!({"taskId": "lora"})), id);
        let request = json!({"sourceUrl": ["https://a", "https://b"], "targetUrl": "https://c"});
        assert_eq!(fields(&operations::SWAP_FACES, &request), ["sourceUrl[0]", "sourceUrl[1]", "targetUrl"]);
    }

    #[test]
    fn a_query_or_fragment_is_not_shown() {
        let shown = |url: &str| Named { field: "image".into(), url: url.into() }.shown();
        assert_eq!(shown("https://a.example/b c.png?signature=1#2"), "https://a.example/b%20c.png");
        assert_eq!(shown("https://"), "(no URL)");
    }

    /// Every job's caller's id lies where it is looked for.
    #[test]
    fn every_job_has_an_id() {
        for operation in operations::ALL.iter().filter(|operation| operation.job.is_some()) {
            let places = ["businessTaskId", "taskId"].into_iter();
            let direct = places.filter_map(|name| operation.request.field(name)).count();
            let nested = operation.request.field("alwayson_scripts").is_some();
            assert!(direct == 1 || nested, "{}", operation.id);
        }
    }
}
