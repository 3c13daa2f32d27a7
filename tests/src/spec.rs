//! The contract as it is written: `spec/*.yaml`, read without the generator and without anything that it writes. Tests take from
//! here what they expect of generated code.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// The name of the vendor's document.
pub const VENDOR: &str = "imgopen";

/// The documents, each with its name; the vendor's is the first, as everywhere.
static DOCUMENTS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec");
    let mut documents = Vec::new();
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|ending| ending == "yaml") {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            documents.push((name, parse(&fs::read_to_string(&file).unwrap())));
        }
    }
    documents.sort_by_key(|(name, _)| (name != VENDOR, name.clone()));
    documents
});

/// Returns a document of YAML as JSON. What it repeats by a reference stands in each place.
pub fn parse(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap();
    let [document] = &documents[..] else { panic!("{} documents in a file", documents.len()) };
    to_json(document)
}

fn to_json(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.0),
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Sequence(items) => Value::Array(items.iter().map(to_json).collect()),
        Yaml::Mapping(members) => {
            let name = |name: &Yaml<'_>| name.as_str().expect("a name is a text").to_owned();
            Value::Object(members.iter().map(|(key, value)| (name(key), to_json(value))).collect())
        }
        other => panic!("{other:?} has no form in JSON"),
    }
}

/// An operation as its document has it.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// The name of the document, such as `imgopen`.
    pub document: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// What stands below `post`.
    pub post: &'static Value,
    /// The schemas that it refers to.
    schemas: &'static Value,
}

/// The rules of properties, by the name of the component and their own; below an empty name, of which members a component needs
/// exactly one.
pub type Rules = BTreeMap<(&'static str, &'static str), Value>;

/// All operations, in the documents' order.
pub fn operations() -> impl Iterator<Item = Operation> + Clone {
    DOCUMENTS.iter().flat_map(|(document, root)| {
        let paths = root["paths"].as_object().expect("the document has paths");
        let schemas = &root["components"]["schemas"];
        paths.iter().map(move |(path, item)| Operation { document, path, post: &item["post"], schemas })
    })
}

/// The operation with that id.
pub fn operation(id: &str) -> Operation {
    operations().find(|operation| operation.id() == id).expect("the operation")
}

impl Operation {
    /// Its id, such as `enlarge_image`.
    pub fn id(&self) -> &'static str {
        self.post["operationId"].as_str().expect("the operation has an id")
    }

    /// The request body: its schema and examples.
    pub fn request(&self) -> &'static Value {
        &self.post["requestBody"]["content"]["application/json"]
    }

    /// The body of an answer that reports a success.
    pub fn response(&self) -> &'static Value {
        &self.post["responses"]["200"]["content"]["application/json"]
    }

    /// The rules of every property of a body and of what it holds.
    pub fn rules(&self, body: &'static Value) -> Rules {
        let mut found = Rules::new();
        self.collect(schema_name(body), &mut found);
        found
    }

    fn collect(&self, component: &'static str, found: &mut Rules) {
        let schema = &self.schemas[component];
        let branches =
            schema["allOf"].as_array().into_iter().flatten().filter_map(|part| part["oneOf"].as_array()).flatten();
        let branches: Vec<_> = branches.map(branch).collect();
        if !branches.is_empty() {
            found.insert((component, ""), json!(branches));
        }
        let is_required =
            |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name));
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let key = (component, name.as_str());
            if found.contains_key(&key) {
                continue;
            }
            found.insert(key, self.rules_of(property, is_required(name)));
            let inner = reference(property).or_else(|| reference(&property["items"]));
            inner.into_iter().for_each(|inner| self.collect(inner, found));
        }
    }

    /// What callers and readers of a property must keep to, numbers as floats.
    fn rules_of(&self, property: &Value, required: bool) -> Value {
        let mut rules = self.form(property);
        let is_nullable = |schema: &Value| schema["nullable"] == true;
        let nullable =
            is_nullable(property) || reference(property).is_some_and(|name| is_nullable(&self.schemas[name]));
        rules.insert("required".to_owned(), json!(required));
        rules.insert("nullable".to_owned(), json!(nullable));
        for keyword in ["x-aliases", "x-accepts", "x-picture", "default"] {
            rules.extend(property.get(keyword).map(|value| (keyword.to_owned(), value.clone())));
        }
        with_floats(Value::Object(rules))
    }

    /// The form of a value: a component by its name, anything else by its keywords.
    fn form(&self, schema: &Value) -> Map<String, Value> {
        let mut form = Map::new();
        let Some(name) = reference(schema) else {
            for keyword in KEYWORDS {
                form.extend(schema.get(*keyword).map(|value| ((*keyword).to_owned(), value.clone())));
            }
            form.extend(schema.get("items").map(|items| ("items".to_owned(), Value::Object(self.form(items)))));
            return form;
        };
        let component = &self.schemas[name];
        form.insert("component".to_owned(), json!(name));
        form.insert("type".to_owned(), component["type"].clone());
        match (component["type"] == "object", component["x-known-values"].as_array()) {
            (true, _) => {
                let unknown = match component.get("additionalProperties") {
                    None => "ignored",
                    Some(Value::Bool(false)) => "refused",
                    Some(_) => "kept",
                };
                form.insert("unknown".to_owned(), json!(unknown));
            }
            (false, Some(known)) => {
                form.insert("known".to_owned(), known.iter().map(|choice| choice["value"].clone()).collect());
            }
            (false, None) => {
                form.insert("enum".to_owned(), component["enum"].clone());
            }
        }
        form
    }

    /// The properties of the request that have an extension, such as `x-model`: where each is, and the extension's value.
    pub fn marks(&self, extension: &str) -> Vec<(String, &'static Value)> {
        let mut found = Vec::new();
        self.collect_marks(schema_name(self.request()), "", extension, &mut found);
        found
    }

    fn collect_marks(
        &self,
        component: &'static str,
        path: &str,
        extension: &str,
        found: &mut Vec<(String, &'static Value)>,
    ) {
        for (name, property) in self.schemas[component]["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            found.extend(property.get(extension).map(|value| (path.clone(), value)));
            if let Some(inner) = reference(property) {
                self.collect_marks(inner, &path, extension, found);
            }
        }
    }
}

/// The keywords that bound a value.
const KEYWORDS: &[&str] = &[
    "type",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "enum",
    "minLength",
    "maxLength",
    "pattern",
    "x-numeric",
    "minItems",
    "maxItems",
    "uniqueItems",
];

/// The name of the component that a body is.
pub fn schema_name(body: &'static Value) -> &'static str {
    reference(&body["schema"]).expect("a body is a component")
}

/// The member that one branch of a `oneOf` requires, as the path to it.
fn branch(schema: &Value) -> Vec<&str> {
    if let Some(name) = schema["required"][0].as_str() {
        return vec![name];
    }
    let (outer, inner) =
        schema["properties"].as_object().and_then(|members| members.iter().next()).expect("one member");
    [vec![outer.as_str()], branch(inner)].concat()
}

/// The component that a schema refers to, directly or beside a description of its own.
fn reference(schema: &Value) -> Option<&str> {
    let target = schema.get("$ref").or_else(|| schema["allOf"][0].get("$ref"))?;
    target.as_str()?.strip_prefix("#/components/schemas/")
}

/// A value with all numbers as floats, so that 1 and 1.0 are equal.
pub fn with_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.into_iter().map(with_floats).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, with_floats(value))).collect(),
        other => other,
    }
}
