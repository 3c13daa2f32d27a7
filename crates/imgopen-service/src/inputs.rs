//! What a request names: the pictures to fetch, the address to call back, the caller's id, the model. All read from the
//! request by the tables of the contract.

use imgopen_fetch::Url;
use imgopen_types::Operation;
use imgopen_types::schema::{Object, Shape};
use serde_json::Value;

/// A URL in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Where it stands, such as `alwayson_scripts.image_link` or `fileUrlList[3]`.
    pub field: String,
    /// The URL.
    pub url: String,
}

impl Named {
    /// The URL for people and logs: what follows `?` or `#` may be a secret, such as the signature of a link.
    pub fn shown(&self) -> String {
        let Ok(mut url) = Url::parse(&self.url) else { return "(no URL)".to_owned() };
        url.set_query(None);
        url.set_fragment(None);
        url.to_string()
    }
}

/// The pictures that a request names, in the contract's order.
pub fn pictures(operation: &Operation, request: &Value) -> Vec<Named> {
    let mut found = Vec::new();
    collect(operation.request, request, "", &mut found);
    let callback = operation.callback.as_ref().map(|callback| callback.field);
    found.retain(|named| Some(named.field.as_str()) != callback);
    found
}

/// The address that the job's end is pushed to, with its field.
pub fn callback(operation: &Operation, request: &Value) -> Option<Named> {
    let field = operation.callback.as_ref()?.field;
    let url = request.get(field)?.as_str()?;
    Some(Named { field: field.to_owned(), url: url.to_owned() })
}

/// The id that the caller gave the job.
pub fn caller_id(request: &Value) -> &str {
    let places = ["/businessTaskId", "/taskId", "/alwayson_scripts/id_task"];
    places.iter().find_map(|place| request.pointer(place)?.as_str()).unwrap_or_default()
}

/// The model that a request asks for.
pub fn model(request: &Value) -> Option<&str> {
    request.pointer("/alwayson_scripts/sd_model_checkpoint")?.as_str()
}

/// A URL is a text that the contract checks for the scheme.
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
    use imgopen_types::operations;
    use serde_json::json;

    use super::*;

    fn fields(operation: &Operation, request: &Value) -> Vec<String> {
        pictures(operation, request).into_iter().map(|named| named.field).collect()
    }

    #[test]
    fn pictures_are_found_wherever_they_stand() {
        let request = json!({"businessTaskId": "1", "sourceImage": "https://a/b", "callbackUrl": "https://c"});
        assert_eq!(fields(&operations::ENLARGE_IMAGE, &request), ["sourceImage"]);
        assert_eq!(callback(&operations::ENLARGE_IMAGE, &request).unwrap().url, "https://c");
        let request = json!({"alwayson_scripts": {
            "id_task": "7", "image_link": "https://a", "sd_model_checkpoint": "m",
            "controlnet": {"args": [{"weight": 1}, {"image_link": "https://b"}]}
        }});
        let found = ["alwayson_scripts.image_link", "alwayson_scripts.controlnet.args[1].image_link"];
        assert_eq!(fields(&operations::CONTROLNET, &request), found);
        assert_eq!((caller_id(&request), model(&request)), ("7", Some("m")));
        let request = json!({"sourceUrl": ["https://a", "https://b"], "targetUrl": "https://c"});
        assert_eq!(fields(&operations::SWAP_FACES, &request), ["sourceUrl[0]", "sourceUrl[1]", "targetUrl"]);
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
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
