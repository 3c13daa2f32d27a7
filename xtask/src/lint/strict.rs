//! Checks values against the schemas of a document, without any of the leniency that readers are allowed.

use jsonschema::paths::Location;
use jsonschema::{Draft, Keyword, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};

use crate::document::cursor::Cursor;
use crate::document::outline::{Place, outline};

/// The schemas of one document, compiled once; each is known by its pointer.
pub(super) struct Strict {
    validator: Validator,
}

/// One way in which a value breaks its schema.
#[derive(Debug, PartialEq)]
pub(super) struct Violation {
    /// Where in the value, as a JSON pointer; empty for the value itself.
    pub(super) path: String,
    /// What is wrong there.
    pub(super) problem: String,
}

impl Strict {
    /// Compiles every named schema, and every property that has a default.
    pub(super) fn new(root: &Cursor<'_>) -> Result<Self, String> {
        let pointers = checked_pointers(root);
        let entries = pointers.into_iter().map(|pointer| (pointer.clone(), json!({ "$ref": pointer })));
        let schemas = root.get("components").map(|components| components.members_of("schemas")).unwrap_or_default();
        let schemas = schemas.into_iter().map(|(name, schema)| (name.to_owned(), convert(&schema.node.to_json())));
        let document = json!({
            "properties": entries.collect::<Map<_, _>>(),
            "components": { "schemas": schemas.collect::<Map<_, _>>() },
        });
        let validator = jsonschema::options()
            .with_draft(Draft::Draft7)
            .with_pattern_options(PatternOptions::regex())
            .with_keyword("x-numeric", |_, limits, _: Location| Ok(Box::new(NumericText::new(limits))))
            .build(&document)
            .map_err(|error| error.to_string())?;
        Ok(Self { validator })
    }

    /// All the ways in which a value breaks the schema at the pointer.
    pub(super) fn violations(&self, pointer: &str, value: &Value) -> Vec<Violation> {
        let wrapped = json!({ pointer: value });
        self.validator.iter_errors(&wrapped).map(|error| violation(&error)).collect()
    }
}

/// The pointers of the schemas that values will be checked against.
fn checked_pointers(root: &Cursor<'_>) -> Vec<String> {
    let objects = outline(Place::Document, root).into_iter();
    let checked = objects.filter(|(place, object)| match place {
        Place::Component => true,
        Place::Property => object.has("default"),
        _ => false,
    });
    checked.map(|(_, object)| object.pointer).collect()
}

/// Takes what is needed out of an error, without the values of whole objects.
fn violation(error: &ValidationError<'_>) -> Violation {
    let wrapped = error.instance_path().as_str();
    let path = wrapped.get(1..).and_then(|rest| rest.split_once('/'));
    let problem = if error.instance().is_object() || error.instance().is_array() {
        error.masked().to_string()
    } else {
        error.to_string()
    };
    Violation { path: path.map(|(_, path)| format!("/{path}")).unwrap_or_default(), problem }
}

/// What means the same in both kinds of schema; other members say nothing of values, or have rules that refuse them.
const COPIED: [&str; 13] = [
    "$ref",
    "type",
    "required",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "x-numeric",
];

/// Turns a schema of OpenAPI 3.0 into one of JSON Schema draft 7, in which `$ref` hides its neighbours as well.
fn convert(schema: &Value) -> Value {
    let Value::Object(members) = schema else { return schema.clone() };
    let mut converted: Map<_, _> = members.iter().filter_map(convert_member).collect();
    if members.get("exclusiveMinimum") == Some(&Value::Bool(true))
        && let Some(minimum) = converted.remove("minimum")
    {
        converted.insert("exclusiveMinimum".to_owned(), minimum);
    }
    match members.get("nullable") {
        Some(Value::Bool(true)) => json!({ "anyOf": [{ "type": "null" }, converted] }),
        _ => Value::Object(converted),
    }
}

/// Turns one member of a schema; nothing is left of what says nothing of values.
fn convert_member((key, value): (&String, &Value)) -> Option<(String, Value)> {
    let converted = match (key.as_str(), value) {
        ("properties", Value::Object(members)) => {
            Value::Object(members.iter().map(|(name, schema)| (name.clone(), convert(schema))).collect())
        }
        ("items" | "additionalProperties", schema) => convert(schema),
        ("allOf" | "oneOf", Value::Array(schemas)) => schemas.iter().map(convert).collect(),
        (key, value) if COPIED.contains(&key) => value.clone(),
        _ => return None,
    };
    Some((key.clone(), converted))
}

/// The rule `x-numeric`: the text is a number within limits.
struct NumericText {
    minimum: Option<f64>,
    maximum: Option<f64>,
    integer: bool,
}

impl NumericText {
    /// Reads the limits.
    fn new(limits: &Value) -> Self {
        let limit = |key: &str| limits.get(key).and_then(Value::as_f64);
        let integer = limits.get("integer") == Some(&Value::Bool(true));
        Self { minimum: limit("minimum"), maximum: limit("maximum"), integer }
    }

    /// What is wrong with a text, if anything.
    fn problem(&self, text: &str) -> Option<String> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if self.integer && (digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit())) {
            return Some(format!("{text:?} is not a whole number"));
        }
        let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) else {
            return Some(format!("{text:?} is not a number"));
        };
        if let Some(minimum) = self.minimum.filter(|minimum| number < *minimum) {
            return Some(format!("{text:?} is less than the minimum of {minimum}"));
        }
        let maximum = self.maximum.filter(|maximum| number > *maximum)?;
        Some(format!("{text:?} is greater than the maximum of {maximum}"))
    }
}

impl<'i> Keyword<'i> for NumericText {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        match instance.as_str().and_then(|text| self.problem(text)) {
            Some(problem) => Err(ValidationError::custom(problem)),
            None => Ok(()),
        }
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        self.validate(instance).is_ok()
    }
}
