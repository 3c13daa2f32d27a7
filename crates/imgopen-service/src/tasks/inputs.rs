//! What a request names: pictures to fetch, and the address of the callback.

use futures_util::future::BoxFuture;
use imgopen_engine::{EngineError, FetchInput, Input};
use imgopen_fetch::{Fetcher, Limits, Url};
use imgopen_types::Operation;
use imgopen_types::schema::{Field, Object, Shape};
use serde_json::Value;
use tracing::info;

use super::fetch::{self, Time};
use crate::context::Context;

/// A URL in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its place in the request, such as `alwayson_scripts.image_link` or `fileUrlList[3]`.
    pub field: String,
    /// The URL.
    pub url: String,
}

impl Named {
    /// Returns the URL for people and logs, without what follows `?` or `#`, which may be secret.
    pub fn shown(&self) -> String {
        let Ok(mut url) = Url::parse(self.url.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')) else {
            return "(no URL)".to_owned();
        };
        url.set_query(None);
        url.set_fragment(None);
        url.to_string()
    }
}

/// Fetches the pictures that a request names.
#[derive(Debug)]
pub struct RequestPictures {
    named: Vec<Named>,
    fetcher: Fetcher,
    limits: Limits,
    time: Time,
}

impl RequestPictures {
    pub fn new(context: &Context, operation: &Operation, request: &Value) -> Self {
        let (fetcher, limits) = (context.fetcher.clone(), context.settings.fetch_limits());
        let time = Time::of(context.settings.time_limit(operation.id));
        Self { named: pictures(operation, request), fetcher, limits, time }
    }

    /// Fetches all of them, in the contract's order.
    pub async fn fetch_all(&self) -> Result<Vec<Input>, EngineError> {
        let mut fetched = Vec::new();
        for named in &self.named {
            fetched.push(self.fetch_one(named).await?);
        }
        Ok(fetched)
    }

    async fn fetch_one(&self, named: &Named) -> Result<Input, EngineError> {
        let fetched = fetch::fetch(&self.fetcher, &named.url, &self.limits, &self.time).await.map_err(|error| {
            if let Some(detail) = error.detail() {
                info!(field = named.field, url = named.shown(), detail, "the host of a picture cannot be reached");
            }
            match error.is_fault_of_server() {
                true => EngineError::Unavailable { reason: error.to_string(), retry_after: None },
                false => EngineError::rejected(&named.field, fetch::message(&error, &self.time)),
            }
        })?;
        Ok(Input { field: named.field.clone(), url: named.shown(), bytes: fetched.bytes })
    }
}

impl FetchInput for RequestPictures {
    fn fetch<'a>(&'a self, field: &'a str) -> BoxFuture<'a, Result<Input, EngineError>> {
        Box::pin(async move {
            match self.named.iter().find(|named| named.field == field) {
                Some(named) => self.fetch_one(named).await,
                None => Err(EngineError::rejected(field, "does not name a picture")),
            }
        })
    }
}

/// Returns the pictures that a request names, in the contract's order.
pub fn pictures(operation: &Operation, request: &Value) -> Vec<Named> {
    let mut found = Vec::new();
    collect(operation.request, request, "", &mut found);
    found
}

/// Whether requests of that form may name pictures.
pub fn may_name_pictures(request: &Object) -> bool {
    let may = |shape: &Shape| matches!(shape, Shape::Object(inner) if may_name_pictures(inner));
    request.fields.iter().any(|field| {
        field.picture
            || match &field.shape {
                Shape::List(list) => may(&list.item),
                shape => may(shape),
            }
    })
}

/// Returns the address of the callback, with its field.
pub fn callback(operation: &Operation, request: &Value) -> Option<Named> {
    let field = operation.callback.as_ref()?.field;
    let url = request.get(field)?.as_str()?;
    Some(Named { field: field.to_owned(), url: url.to_owned() })
}

fn collect(schema: &'static Object, value: &Value, place: &str, found: &mut Vec<Named>) {
    for field in schema.fields {
        let Some(value) = value.get(field.name) else { continue };
        let place = if place.is_empty() { field.name.to_owned() } else { format!("{place}.{}", field.name) };
        match &field.shape {
            Shape::List(list) => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    collect_value(field, &list.item, item, format!("{place}[{index}]"), found);
                }
            }
            shape => collect_value(field, shape, value, place, found),
        }
    }
}

fn collect_value(field: &Field, shape: &Shape, value: &Value, place: String, found: &mut Vec<Named>) {
    match (shape, value) {
        (Shape::Object(schema), value) => collect(schema, value, &place, found),
        (_, Value::String(url)) if field.picture => found.push(Named { field: place, url: url.clone() }),
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
        let request = json!({"sourceUrl": ["https://a", "https://b"], "targetUrl": "https://c"});
        assert_eq!(fields(&operations::SWAP_FACES, &request), ["sourceUrl[0]", "sourceUrl[1]", "targetUrl"]);
    }

    #[test]
    fn operations_without_pictures_are_known() {
        for operation in [&operations::ENLARGE_IMAGE, &operations::CONTROLNET, &operations::SWAP_FACES] {
            assert!(may_name_pictures(operation.request), "{}", operation.id);
        }
        assert!(!may_name_pictures(operations::EXPAND_PROMPT.request));
    }

    #[test]
    fn a_query_or_fragment_is_not_shown() {
        let shown = |url: &str| Named { field: "image".into(), url: url.into() }.shown();
        assert_eq!(shown("https://a.example/b c.png?signature=1#2"), "https://a.example/b%20c.png");
        assert_eq!(shown("https://"), "(no URL)");
    }
}
