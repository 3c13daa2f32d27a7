//! The model of the API: what the documents in `spec/` say, in the terms that the emitters work with.
//!
//! `read` fills it from the parsed YAML once; nothing after it looks at the YAML again.

pub mod read;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Number, Value};

/// Everything that the documents describe.
#[derive(Debug)]
pub struct Api {
    /// The documents, the vendor's (`imgopen`) first, the others by name.
    pub documents: Vec<Document>,
    /// Every schema of every document, in the order of the documents.
    pub schemas: Vec<Schema>,
    /// The two headers that carry the access key.
    pub keys: Vec<KeyHeader>,
}

/// One file of `spec/`.
#[derive(Debug)]
pub struct Document {
    /// The file's name without its ending, such as `imgopen`.
    pub name: String,
    pub title: String,
    pub version: String,
    pub description: String,
    /// Where the API is hosted, if it is.
    pub server: Option<String>,
    /// The groups of operations, in the order of the documentation.
    pub tags: Vec<Tag>,
    pub operations: Vec<Operation>,
    /// What a call that fails answers; the same for all operations.
    pub failure: Option<Body>,
    /// The file as it is written.
    pub yaml: String,
    /// The same as JSON.
    pub json: Value,
}

/// A group of operations.
#[derive(Debug)]
pub struct Tag {
    pub name: String,
    pub description: String,
}

/// One call of the API.
#[derive(Debug)]
pub struct Operation {
    /// The operation id, in snake_case.
    pub id: String,
    pub path: String,
    pub tag: String,
    pub summary: String,
    pub description: String,
    /// The public page it is documented on.
    pub page: Option<String>,
    pub provenance: Provenance,
    /// Where the facts come from, in sentences.
    pub source: Option<String>,
    /// Whether repeating the call changes nothing.
    pub idempotent: bool,
    pub parameters: Vec<PathParameter>,
    /// Name of the request's schema.
    pub request: String,
    pub request_notes: Notes,
    /// Name of the success answer's schema.
    pub response: String,
    pub response_notes: Notes,
    pub caller_id: Option<CallerId>,
    /// Where the request names the model, as member names from the outside in.
    pub model: Option<Vec<String>>,
    pub job: Option<Job>,
    pub callback: Option<Callback>,
}

/// A variable part of a path.
#[derive(Debug)]
pub struct PathParameter {
    pub name: String,
    pub description: String,
    pub source: Option<String>,
    /// Name of its schema, a closed text enum.
    pub schema: String,
    /// Whether a slash in the value separates path segments.
    pub multi_segment: bool,
}

/// Where a request holds the caller's own id for the task.
#[derive(Debug)]
pub struct CallerId {
    /// Member names from the outside in.
    pub path: Vec<String>,
    /// Whether a second task of the same key must not have the same id.
    pub unique: bool,
}

/// How the state of a job is asked for.
#[derive(Debug)]
pub struct Job {
    /// Id of the operation that returns the state.
    pub query: String,
    /// Where the value to ask with lies.
    pub id: IdSource,
    /// Member of the query's request that takes it.
    pub field: String,
    /// The query's path parameters and their values.
    pub parameters: Vec<(String, String)>,
}

/// Where a job's id lies, as member names from the outside in.
#[derive(Debug)]
pub enum IdSource {
    Request(Vec<String>),
    Response(Vec<String>),
}

/// What is pushed to the caller when a job ends.
#[derive(Debug)]
pub struct Callback {
    /// Member of the request that holds the address.
    pub field: String,
    pub description: String,
    pub source: Option<String>,
    /// Name of the pushed body's schema.
    pub body: String,
    pub body_notes: Notes,
    /// What the receiver answers.
    pub receipt: Body,
}

/// A body that is the same wherever it occurs.
#[derive(Debug)]
pub struct Body {
    /// Name of its schema.
    pub schema: String,
    pub notes: Notes,
}

/// What is said of a body beside its schema.
#[derive(Debug)]
pub struct Notes {
    pub description: String,
    pub source: Option<String>,
    pub examples: Vec<Example>,
}

/// A body as it may be on the wire.
#[derive(Debug)]
pub struct Example {
    /// Where it comes from or how much it shows, such as `published` or `minimal`.
    pub key: String,
    pub summary: String,
    /// How a published example breaks its schema, if it does.
    pub quirk: Option<String>,
    pub value: Value,
}

/// A header that carries a part of the access key.
#[derive(Debug)]
pub struct KeyHeader {
    /// Name of the header with its published spelling.
    pub header: String,
    pub description: String,
    pub source: Option<String>,
}

/// A named component.
#[derive(Debug, PartialEq)]
pub struct Schema {
    pub name: String,
    pub description: String,
    pub provenance: Provenance,
    pub source: Option<String>,
    pub kind: SchemaKind,
}

#[derive(Debug, PartialEq)]
pub enum SchemaKind {
    Object(Object),
    /// A text with a set of values.
    TextEnum(Enum<String>),
    /// A number with a set of known values; always open.
    IntegerEnum(Enum<i64>),
}

#[derive(Debug, PartialEq)]
pub struct Object {
    pub properties: Vec<Property>,
    pub unknown: Unknown,
    /// Exactly one of these members (paths of names) must be there.
    pub exactly_one: Vec<Vec<String>>,
}

/// What happens to members that the document does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    Ignored,
    Kept,
    Refused,
}

#[derive(Debug, PartialEq)]
pub struct Property {
    /// Its name on the wire.
    pub name: String,
    pub description: String,
    pub provenance: Provenance,
    pub source: Option<String>,
    /// What it is for, where the document marks it.
    pub role: Option<Role>,
    pub required: bool,
    pub nullable: bool,
    pub aliases: Vec<String>,
    pub accepts: Vec<JsonType>,
    pub default: Option<Value>,
    pub shape: Shape,
}

/// What a property of a request is for, beyond its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It holds the caller's own id for the task.
    CallerId { unique: bool },
    /// It names pictures.
    Picture,
    /// It names the model to use.
    Model,
}

/// The form of a value.
#[derive(Debug, PartialEq)]
pub enum Shape {
    Boolean,
    Integer {
        minimum: Option<i64>,
        maximum: Option<i64>,
        /// The only values allowed; empty if there is no such list.
        one_of: Vec<i64>,
    },
    Number {
        minimum: Option<Number>,
        maximum: Option<Number>,
        /// Whether the minimum itself is refused.
        above_minimum: bool,
    },
    Text {
        min_length: Option<u64>,
        max_length: Option<u64>,
        pattern: Option<String>,
        numeric: Option<Numeric>,
    },
    List {
        item: Box<Shape>,
        min_items: Option<u64>,
        max_items: Option<u64>,
        unique: bool,
    },
    /// A named schema.
    Named(String),
}

/// The rule for a number that travels as text.
#[derive(Debug, PartialEq)]
pub struct Numeric {
    pub minimum: Option<Number>,
    pub maximum: Option<Number>,
    pub integer: bool,
}

/// A set of named values.
#[derive(Debug, PartialEq)]
pub struct Enum<T> {
    pub values: Vec<EnumValue<T>>,
    /// Whether other values may come.
    pub open: bool,
}

#[derive(Debug, PartialEq)]
pub struct EnumValue<T> {
    pub value: T,
    /// The name the document gives it, if it does.
    pub name: Option<String>,
    pub description: Option<String>,
    pub state: Option<State>,
    pub provenance: Provenance,
    pub source: Option<String>,
}

/// What a status value says of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// How well a fact is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    Published,
    Partial,
    Observed,
    Inferred,
}

/// A type of JSON value, as `x-accepts` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonType {
    Integer,
    Number,
    String,
    Boolean,
    Array,
    Null,
}

impl Api {
    /// The schema of that name.
    pub fn schema(&self, name: &str) -> Result<&Schema> {
        match self.schemas.iter().find(|schema| schema.name == name) {
            Some(schema) => Ok(schema),
            None => bail!("no schema is called `{name}`"),
        }
    }

    /// The object schema of that name.
    pub fn object(&self, name: &str) -> Result<&Object> {
        match &self.schema(name)?.kind {
            SchemaKind::Object(object) => Ok(object),
            _ => bail!("the schema `{name}` is not an object"),
        }
    }

    /// Every operation of every document.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.documents.iter().flat_map(|document| &document.operations)
    }

    /// The operation of that id.
    pub fn operation(&self, id: &str) -> Result<&Operation> {
        match self.operations().find(|operation| operation.id == id) {
            Some(operation) => Ok(operation),
            None => bail!("no operation is called `{id}`"),
        }
    }

    /// Joins the documents: a schema may stand in several of them, but only with one meaning.
    pub fn join(documents: Vec<(Document, Vec<Schema>, Vec<KeyHeader>)>) -> Result<Self> {
        let mut api = Api { documents: Vec::new(), schemas: Vec::new(), keys: Vec::new() };
        let mut operations = BTreeMap::new();
        for (document, schemas, keys) in documents {
            for operation in &document.operations {
                if let Some(first) = operations.insert(operation.id.clone(), document.name.clone()) {
                    bail!(
                        "the operation `{}` stands in `{first}` and in `{}`: rename one",
                        operation.id,
                        document.name
                    );
                }
            }
            for schema in schemas {
                match api.schemas.iter().find(|known| known.name == schema.name) {
                    Some(known) if *known == schema => {}
                    Some(_) => bail!(
                        "the schema `{}` of `{}` differs from the one of the same name in another document: rename one or make them equal",
                        schema.name,
                        document.name
                    ),
                    None => api.schemas.push(schema),
                }
            }
            if api.keys.is_empty() {
                api.keys = keys;
            }
            api.documents.push(document);
        }
        Ok(api)
    }
}
