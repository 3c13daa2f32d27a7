//! The contract's document as data: its operations and their examples.

use std::sync::LazyLock;

use serde_json::Value;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../crates/imgopen-server/src/imgopen.json");
    serde_json::from_str(text).expect("the generated document is JSON")
});

/// One example of the document.
#[derive(Debug, Clone)]
pub struct Example {
    /// Its key, such as `published`.
    pub name: String,
    /// The body.
    pub value: Value,
    /// Whether it breaks the schema on purpose, because the published page does.
    pub is_quirk: bool,
}

/// The whole document.
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// The operation of that id, as the document has it.
pub fn operation(id: &str) -> &'static Value {
    let paths = DOCUMENT["paths"].as_object().expect("the document has paths");
    paths.values().map(|item| &item["post"]).find(|operation| operation["operationId"] == id).expect("the operation")
}

/// The examples of an operation's request.
pub fn request_examples(id: &str) -> Vec<Example> {
    examples(&operation(id)["requestBody"])
}

/// The examples of an operation's success answer.
pub fn response_examples(id: &str) -> Vec<Example> {
    examples(&operation(id)["responses"]["200"])
}

/// The first success answer that fits the schema and reports a success.
pub fn success(id: &str) -> Value {
    let examples = response_examples(id).into_iter();
    let mut fitting = examples.filter(|example| !example.is_quirk && example.value["code"] == "200");
    fitting.next().expect("every operation has an example of success").value
}

fn examples(body: &'static Value) -> Vec<Example> {
    let examples = body["content"]["application/json"]["examples"].as_object().into_iter().flatten();
    examples
        .map(|(name, example)| Example {
            name: name.clone(),
            value: example["value"].clone(),
            is_quirk: example.get("x-quirk").is_some(),
        })
        .collect()
}
