//! The outline of a document: which objects it has and what each of them is. The one place that knows OpenAPI's shape.

use super::cursor::Cursor;

/// What an object of a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The whole document.
    Document,
    /// Title, version and description.
    Info,
    /// An address that serves the API.
    Server,
    /// A group of operations.
    Tag,
    /// The shelf of all components.
    Components,
    /// A part of the access key.
    SecurityScheme,
    /// What can be sent to a path.
    PathItem,
    /// A call of the API.
    Operation,
    /// What an address in a callback can be sent.
    PushItem,
    /// The call that a callback makes.
    Push,
    /// A page outside the document.
    Page,
    /// How the state of a job is asked for.
    Job,
    /// A variable part of a path.
    Parameter,
    /// What a call takes.
    Body,
    /// What a call answers.
    Response,
    /// A body in one media type.
    Media,
    /// A value of a body.
    Example,
    /// The schema of a media type or of a parameter.
    Carried,
    /// A named schema.
    Component,
    /// A member of an object schema.
    Property,
    /// A schema inside another one: the items of a list, the one reference of an `allOf`.
    Inner,
    /// What an object schema has in its `allOf`: the choice between members.
    Choice,
    /// One of the forms of a `oneOf`.
    Branch,
    /// One value of an open set.
    KnownValue,
    /// The rule for a number that travels as text.
    Numeric,
}

impl Place {
    /// The keys that an object may have here, in the order that `member-order` asks for.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Place::Document => {
                &["openapi", "info", "externalDocs", "servers", "security", "tags", "paths", "components"]
            }
            Place::Info => &["title", "version", "description", "termsOfService", "contact", "license"],
            Place::Server => &["url", "description"],
            Place::Tag => &["name", "description", "externalDocs"],
            Place::Components => {
                &["securitySchemes", "parameters", "requestBodies", "responses", "examples", "schemas"]
            }
            Place::SecurityScheme => &["type", "in", "name", "description", "x-provenance", "x-source"],
            Place::PathItem | Place::PushItem => &["post"],
            Place::Operation => OPERATION,
            Place::Push => &[
                "operationId",
                "summary",
                "description",
                "x-provenance",
                "x-source",
                "security",
                "requestBody",
                "responses",
            ],
            Place::Page => &["description", "url"],
            Place::Job => &["query", "id", "field", "parameters"],
            Place::Parameter => PARAMETER,
            Place::Body => &["$ref", "description", "x-source", "required", "content"],
            Place::Response => &["$ref", "description", "x-source", "content"],
            Place::Media => &["schema", "examples"],
            Place::Example => &["$ref", "summary", "description", "value", "x-quirk"],
            Place::Carried => &["$ref"],
            Place::Component => COMPONENT,
            Place::Property => PROPERTY,
            Place::Inner => INNER,
            Place::Choice => &["oneOf"],
            Place::Branch => &["required", "properties"],
            Place::KnownValue => &["value", "name", "description", "state", "x-provenance", "x-source"],
            Place::Numeric => &["minimum", "maximum", "integer"],
        }
    }

    /// The objects inside one that stands here; `*` is any member or item.
    pub fn inside(self) -> &'static [(&'static str, Place)] {
        match self {
            Place::Document => &[
                ("info", Place::Info),
                ("servers/*", Place::Server),
                ("tags/*", Place::Tag),
                ("paths/*", Place::PathItem),
                ("components", Place::Components),
            ],
            Place::Components => &[
                ("securitySchemes/*", Place::SecurityScheme),
                ("parameters/*", Place::Parameter),
                ("requestBodies/*", Place::Body),
                ("responses/*", Place::Response),
                ("examples/*", Place::Example),
                ("schemas/*", Place::Component),
            ],
            Place::PathItem => &[("post", Place::Operation)],
            Place::PushItem => &[("post", Place::Push)],
            Place::Operation | Place::Push => &[
                ("externalDocs", Place::Page),
                ("x-job", Place::Job),
                ("parameters/*", Place::Parameter),
                ("requestBody", Place::Body),
                ("responses/*", Place::Response),
                ("callbacks/*/*", Place::PushItem),
            ],
            Place::Body | Place::Response => &[("content/*", Place::Media)],
            Place::Media | Place::Parameter => &[("schema", Place::Carried), ("examples/*", Place::Example)],
            Place::Component => &[
                ("properties/*", Place::Property),
                ("allOf/*", Place::Choice),
                ("oneOf/*", Place::Branch),
                ("x-known-values/*", Place::KnownValue),
            ],
            Place::Choice => &[("oneOf/*", Place::Branch)],
            Place::Property | Place::Inner => &[
                ("properties/*", Place::Property),
                ("items", Place::Inner),
                ("allOf/*", Place::Inner),
                ("x-known-values/*", Place::KnownValue),
                ("x-numeric", Place::Numeric),
            ],
            _ => &[],
        }
    }

    /// What the components of a section are, and what a `$ref` to one stands for.
    pub fn of_section(section: &str) -> Option<Place> {
        let sections = Place::Components.inside().iter();
        sections.into_iter().find(|(path, _)| path.strip_suffix("/*") == Some(section)).map(|(_, place)| *place)
    }
}

/// The keys of an operation.
const OPERATION: &[&str] = &[
    "tags",
    "operationId",
    "summary",
    "description",
    "externalDocs",
    "x-provenance",
    "x-source",
    "x-idempotent",
    "x-job",
    "parameters",
    "requestBody",
    "responses",
    "callbacks",
];

/// The keys of a parameter.
const PARAMETER: &[&str] = &[
    "$ref",
    "name",
    "in",
    "required",
    "description",
    "x-provenance",
    "x-source",
    "x-multi-segment",
    "schema",
    "examples",
];

/// The keys of a named schema. `oneOf` is known so that the rule `composition` can say where it belongs.
const COMPONENT: &[&str] = &[
    "type",
    "description",
    "x-provenance",
    "x-source",
    "nullable",
    "required",
    "properties",
    "additionalProperties",
    "allOf",
    "oneOf",
    "enum",
    "x-known-values",
];

/// The keys of a property.
const PROPERTY: &[&str] = &[
    "$ref",
    "description",
    "type",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "nullable",
    "allOf",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "enum",
    "default",
    "x-provenance",
    "x-source",
    "x-caller-id",
    "x-picture",
    "x-model",
    "x-aliases",
    "x-accepts",
    "x-numeric",
];

/// The keys of a schema inside another one.
const INNER: &[&str] = &[
    "$ref",
    "description",
    "type",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "enum",
    "x-numeric",
];

/// An object and everything inside it, outer objects before inner ones.
pub fn outline<'a>(place: Place, start: &Cursor<'a>) -> Vec<(Place, Cursor<'a>)> {
    let mut found = vec![(place, start.clone())];
    let mut next = 0;
    while let Some((place, object)) = found.get(next).cloned() {
        for (path, inner) in place.inside() {
            found.extend(select(&object, path).into_iter().map(|object| (*inner, object)));
        }
        next += 1;
    }
    found
}

/// Every place that the path leads to.
fn select<'a>(start: &Cursor<'a>, path: &str) -> Vec<Cursor<'a>> {
    path.split('/').fold(vec![start.clone()], |places, token| {
        let inside = |place: &Cursor<'a>| match token {
            "*" => place.members().into_iter().map(|(_, inner)| inner).chain(place.items()).collect(),
            key => place.get(key).into_iter().collect::<Vec<_>>(),
        };
        places.iter().flat_map(inside).collect()
    })
}
