//! The contract's documents as data: their operations and examples.

use std::sync::LazyLock;

use serde_json::Value;

use crate::generated;

static DOCUMENTS: LazyLock<Vec<(&str, Value)>> = LazyLock::new(|| {
    let parse = |text| serde_json::from_str(text).expect("the generated document is JSON");
    generated::DOCUMENTS.iter().map(|(name, text)| (*name, parse(text))).collect()
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

/// The vendor's document.
pub fn vendor() -> &'static Value {
    &DOCUMENTS[0].1
}

/// The document of the operations that the vendor lacks.
pub fn extras() -> &'static Value {
    &DOCUMENTS.iter().find(|(name, _)| *name == "imgopen-extras").expect("the document").1
}

/// Every path of the documents with its operation.
pub fn operations() -> impl Iterator<Item = (&'static str, &'static Value)> {
    let paths = DOCUMENTS.iter().map(|(_, document)| document["paths"].as_object().expect("the document has paths"));
    paths.flatten().map(|(path, item)| (path.as_str(), &item["post"]))
}

/// The operation of that id, as its document has it.
pub fn operation(id: &str) -> &'static Value {
    operations().find(|(_, operation)| operation["operationId"] == id).expect("the operation").1
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
