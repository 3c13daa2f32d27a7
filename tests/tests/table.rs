//! The tables of the contract: a snapshot of all operations, and what holds for every one of them.

use imgopen_tests::document::request_examples;
use imgopen_tests::spec::{self, Rules};
use imgopen_types::operations;
use imgopen_types::schema::{Field, JsonType, Numeric, Object, Shape, TextEnum, Unknown};
use serde_json::{Map, Value, json};

#[test]
fn operations() {
    let mut table = String::new();
    for operation in operations::ALL {
        let job = operation.job.as_ref();
        let query = job.map(|job| {
            let parameters: Vec<_> = job.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}({}) {}", job.query, job.field, parameters.join(",")).trim_end().to_owned()
        });
        table += &format!(
            "{}\n    {} {}\n    request     {}\n    answer      {}\n    query       {}\n    callback    {}\n    provenance  {}{}\n",
            operation.id,
            operation.method,
            operation.path,
            operation.request.name,
            operation.response.name,
            query.as_deref().unwrap_or("-"),
            operation.callback.as_ref().map_or("-", |callback| callback.body.name),
            operation.provenance.word(),
            if operation.idempotent { ", idempotent" } else { "" },
        );
    }
    insta::assert_snapshot!(table);
}

/// Every property of every body, with all that bounds it, as the documents have it.
#[test]
fn the_tables_have_every_rule_of_the_documents() {
    let (mut known, mut documented) = (Rules::new(), Rules::new());
    for operation in operations::ALL {
        collect(operation.request, &mut known);
        collect(operation.response, &mut known);
    }
    for operation in spec::operations() {
        documented.extend(operation.rules(operation.request()));
        documented.extend(operation.rules(operation.response()));
    }
    for (property, rules) in &documented {
        assert_eq!(known.get(property), Some(rules), "{property:?}");
    }
    let more: Vec<_> = known.keys().filter(|property| !documented.contains_key(*property)).collect();
    assert!(more.is_empty(), "no document has {more:?}");
}

fn collect(object: &'static Object, found: &mut Rules) {
    if !object.exactly_one.is_empty() {
        found.insert((object.name, ""), json!(object.exactly_one));
    }
    for field in object.fields {
        found.insert((object.name, field.name), rules(field));
        let mut shape = &field.shape;
        while let Shape::List(list) = shape {
            shape = &list.item;
        }
        if let Shape::Object(inner) = shape {
            collect(inner, found);
        }
    }
}

/// The rules of a field by the document's keywords.
fn rules(field: &Field) -> Value {
    let mut rules = form(&field.shape);
    rules.insert("required".to_owned(), json!(field.required));
    rules.insert("nullable".to_owned(), json!(field.nullable));
    rules.extend(given([
        ("x-aliases", json!(field.aliases)),
        ("x-accepts", field.accepts.iter().map(|other| word(*other)).collect()),
        ("x-picture", json!(field.picture)),
    ]));
    // A default may be false or zero.
    let default = field.default.map(|text| serde_json::from_str::<Value>(text).unwrap());
    rules.extend(default.map(|value| ("default".to_owned(), value)));
    spec::with_floats(Value::Object(rules))
}

fn form(shape: &Shape) -> Map<String, Value> {
    match shape {
        Shape::Boolean => given([("type", json!("boolean"))]),
        Shape::Integer(rules) => given([
            ("type", json!("integer")),
            ("minimum", json!(rules.minimum)),
            ("maximum", json!(rules.maximum)),
            ("enum", json!(rules.one_of)),
        ]),
        Shape::Number(rules) => given([
            ("type", json!("number")),
            ("minimum", json!(rules.minimum)),
            ("maximum", json!(rules.maximum)),
            ("exclusiveMinimum", json!(rules.above_minimum)),
        ]),
        Shape::Text(rules) => given([
            ("type", json!("string")),
            ("minLength", json!(rules.min_length)),
            ("maxLength", json!(rules.max_length)),
            ("pattern", json!(rules.pattern.map(|pattern| pattern.as_str()))),
            ("x-numeric", rules.numeric.map_or(Value::Null, numeric)),
        ]),
        Shape::List(rules) => given([
            ("type", json!("array")),
            ("minItems", json!(rules.min_items)),
            ("maxItems", json!(rules.max_items)),
            ("uniqueItems", json!(rules.unique)),
            ("items", Value::Object(form(&rules.item))),
        ]),
        Shape::TextEnum(set) => {
            given([("component", json!(set.name)), ("type", json!("string")), (kind(set), texts(set))])
        }
        Shape::IntegerEnum(set) => given([
            ("component", json!(set.name)),
            ("type", json!("integer")),
            ("known", set.values.iter().map(|choice| json!(choice.value)).collect()),
        ]),
        Shape::Object(object) => given([
            ("component", json!(object.name)),
            ("type", json!("object")),
            ("unknown", json!(unknown(object.unknown))),
        ]),
    }
}

/// The keywords that have a value: not null, not false, not an empty list.
fn given<const N: usize>(keywords: [(&str, Value); N]) -> Map<String, Value> {
    let says_something =
        |value: &Value| !value.is_null() && *value != false && value.as_array().is_none_or(|list| !list.is_empty());
    let keywords = keywords.into_iter().filter(|(_, value)| says_something(value));
    keywords.map(|(keyword, value)| (keyword.to_owned(), value)).collect()
}

fn numeric(rules: Numeric) -> Value {
    let Numeric { minimum, maximum, integer } = rules;
    Value::Object(given([("minimum", json!(minimum)), ("maximum", json!(maximum)), ("integer", json!(integer))]))
}

fn kind(set: &TextEnum) -> &'static str {
    if set.open { "known" } else { "enum" }
}

fn texts(set: &TextEnum) -> Value {
    set.values.iter().map(|choice| json!(choice.value)).collect()
}

fn unknown(unknown: Unknown) -> &'static str {
    match unknown {
        Unknown::Ignored => "ignored",
        Unknown::Kept => "kept",
        Unknown::Refused => "refused",
    }
}

fn word(json_type: JsonType) -> Value {
    json!(match json_type {
        JsonType::Integer => "integer",
        JsonType::Number => "number",
        JsonType::String => "string",
        JsonType::Boolean => "boolean",
        JsonType::Array => "array",
        JsonType::Null => "null",
    })
}

/// A URL of a request by its pattern: every text, and every list of texts, that must begin with `http://` or `https://`.
fn urls(object: &'static Object, path: &str, found: &mut Vec<(String, bool)>) {
    for field in object.fields {
        let path = format!("{path}/{}", field.name);
        let mut shape = &field.shape;
        while let Shape::List(list) = shape {
            shape = &list.item;
        }
        match shape {
            Shape::Object(inner) => urls(inner, &path, found),
            Shape::Text(rules) if rules.pattern.is_some_and(|pattern| pattern.as_str().contains("://")) => {
                found.push((path, field.picture));
            }
            _ => assert!(!field.picture, "{path} is not a URL"),
        }
    }
}

#[test]
fn every_url_of_a_request_but_the_callback_address_is_a_picture() {
    let mut pictures = 0;
    for operation in operations::ALL {
        let mut found = Vec::new();
        urls(operation.request, "", &mut found);
        let address = operation.callback.as_ref().map(|callback| format!("/{}", callback.field));
        for (path, picture) in found {
            assert_eq!(picture, Some(&path) != address.as_ref(), "{}: {path}", operation.id);
            pictures += usize::from(picture);
        }
    }
    assert!(pictures > 20, "{pictures}");
}

#[test]
fn every_job_has_a_caller_id_which_its_examples_hold() {
    for operation in operations::ALL {
        let marked = spec::operation(operation.id).marks("x-caller-id");
        let marked = marked.first().map(|(path, kind)| (path.clone(), *kind == "unique"));
        let known = operation.caller_id.map(|caller_id| (caller_id.path.join("."), caller_id.unique));
        assert_eq!(known, marked, "{}", operation.id);
        let Some(caller_id) = operation.caller_id else {
            assert!(operation.job.is_none(), "{} has no caller id", operation.id);
            continue;
        };
        for example in request_examples(operation.id).iter().filter(|example| !example.is_quirk) {
            let id = caller_id.find(&example.value);
            assert!(id.is_some_and(|id| !id.is_empty()), "{}, example {}", operation.id, example.name);
        }
    }
}

#[test]
fn every_example_of_an_operation_with_a_model_names_one() {
    for operation in operations::ALL {
        let marked = spec::operation(operation.id).marks("x-model");
        let marked = marked.first().map(|(path, _)| path.clone());
        assert_eq!(operation.model.map(|path| path.join(".")), marked, "{}", operation.id);
        if operation.model.is_some() {
            let examples = request_examples(operation.id);
            assert!(examples.iter().all(|example| operation.model_of(&example.value).is_some()), "{}", operation.id);
        }
    }
}

/// Phrases that only sentences about the sources of a fact hold.
const SOURCE_WORDS: &[&str] = &[
    "Quirk",
    "published",
    "Published",
    "Public client",
    "public client",
    "Chinese page",
    "English page",
    "nferred",
    "not available",
    "Typed as in",
    "The page ",
    "flag is",
    "declares it",
    "external sheet",
    "by analogy",
];

fn assert_clean(place: &str, about: &str) {
    let word = SOURCE_WORDS.iter().find(|word| about.contains(*word));
    assert_eq!(word, None, "{place}: {about}");
    assert!(about.len() > 8 && about.ends_with(['.', '`']), "{place}: {about}");
}

fn assert_clean_object(object: &'static Object) {
    assert_clean(object.name, object.about);
    for field in object.fields {
        if !field.about.is_empty() {
            assert_clean(&format!("{}.{}", object.name, field.name), field.about);
        }
        let mut shape = &field.shape;
        while let Shape::List(list) = shape {
            shape = &list.item;
        }
        match shape {
            Shape::Object(inner) => assert_clean_object(inner),
            Shape::TextEnum(set) => assert_clean(set.name, set.about),
            Shape::IntegerEnum(set) => assert_clean(set.name, set.about),
            _ => {}
        }
    }
}

#[test]
fn descriptions_say_what_things_mean_and_not_where_that_is_from() {
    for operation in operations::ALL {
        assert_clean(operation.id, operation.about);
        operation.parameters.iter().for_each(|parameter| assert_clean(parameter.name, parameter.about));
        assert_clean_object(operation.request);
        assert_clean_object(operation.response);
    }
    // The vendor's facts have sources to name; what a server of this project adds has none but the document.
    let vendor = operations::ALL.iter().filter(|operation| operation.document == spec::VENDOR);
    assert!(vendor.clone().all(|operation| operation.source.is_some()));
    assert_eq!(vendor.count(), spec::operations().filter(|operation| operation.document == spec::VENDOR).count());
}
