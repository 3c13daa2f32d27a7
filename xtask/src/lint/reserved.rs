//! The rule about names that the generated crates have already.
//!
//! A clash is found by the compiler only after the code was generated, or never, where one name hides the other. The
//! lists are kept true by tests that read the crates.

use std::collections::BTreeMap;

use heck::ToSnakeCase;

use super::contract::Contract;
use super::report::Report;
use crate::document::contents::Operation;
use crate::document::cursor::Cursor;
use crate::document::outline::Place;
use crate::names::{field_name, is_keyword};

/// Names, and what has them.
type Taken = (&'static str, &'static [&'static str]);

/// What no operation can be called.
pub(super) const OPERATIONS: &[Taken] = &[
    (
        "the client",
        &[
            "attempt",
            "attempts",
            "base_url",
            "builder",
            "call",
            "call_as",
            "call_at",
            "dynamic",
            "from_env",
            "new",
            "new_with_client",
            "progress",
            "send",
            "settings",
            "submit",
            "until_answered",
            "wait",
            "wait_for",
            "without_retries",
        ],
    ),
    ("the server's trait", &["authorize"]),
    ("the list of all operations", &["all"]),
    ("every shared value", &["as_ref", "clone", "drop", "into", "to_owned", "try_into"]),
    (
        "the mock server",
        &[
            "address",
            "forward_to",
            "forward_to_async",
            "host",
            "mock",
            "mock_async",
            "playback",
            "playback_async",
            "playback_from_yaml",
            "playback_from_yaml_async",
            "port",
            "proxy",
            "proxy_async",
            "record",
            "record_async",
            "reset",
            "reset_async",
            "url",
        ],
    ),
];

/// What the client's builder of no call can be called.
pub(super) const CALLS: &[Taken] = &[("the client", &["Error", "OperationInfo", "ResponseValue"]), PRELUDE];

/// What no variable part of a path can be called.
const PARAMETERS: &[Taken] = &[
    ("the server's methods", &["call", "caller", "request", "service", "uri"]),
    ("the client's builders", &["body", "body_map", "client", "info", "new", "send", "url"]),
    ("the mocks", &["into_inner"]),
];

/// What no field can be called.
const FIELDS: &[Taken] =
    &[("every builder", &["build"]), ("every type", &["builder"]), ("Rust", &["crate", "self", "super"])];

/// What no schema can be called.
pub(super) const SCHEMAS: &[Taken] = &[
    (
        "the types crate",
        &[
            "Answer",
            "Callback",
            "CallerId",
            "Choice",
            "Credentials",
            "Field",
            "HostedUrl",
            "IdSource",
            "Integer",
            "IntegerEnum",
            "JobQuery",
            "JobReport",
            "JobRequest",
            "JobState",
            "JsonType",
            "List",
            "MissingKey",
            "NotUtf8",
            "Number",
            "Numeric",
            "Object",
            "Operation",
            "PathParameter",
            "Pattern",
            "Provenance",
            "ReadError",
            "Request",
            "Rule",
            "Shape",
            "Text",
            "TextEnum",
            "Unknown",
            "UnknownChoice",
            "Violation",
            "Violations",
            "Wire",
        ],
    ),
    PRELUDE,
];

/// What Rust has everywhere.
const PRELUDE: Taken = (
    "Rust",
    &[
        "AsMut",
        "AsRef",
        "AsyncFn",
        "AsyncFnMut",
        "AsyncFnOnce",
        "Box",
        "Clone",
        "Copy",
        "Debug",
        "Default",
        "DoubleEndedIterator",
        "Drop",
        "Eq",
        "Err",
        "ExactSizeIterator",
        "Extend",
        "Fn",
        "FnMut",
        "FnOnce",
        "From",
        "FromIterator",
        "Future",
        "Hash",
        "Into",
        "IntoFuture",
        "IntoIterator",
        "Iterator",
        "None",
        "Ok",
        "Option",
        "Ord",
        "PartialEq",
        "PartialOrd",
        "Result",
        "Self",
        "Send",
        "Sized",
        "Some",
        "String",
        "Sync",
        "ToOwned",
        "ToString",
        "TryFrom",
        "TryInto",
        "Unpin",
        "Vec",
    ],
);

/// Names of the document that would become names which something else has.
pub(super) fn reserved_names(contract: &Contract<'_>, report: &mut Report) {
    for operation in contract.operations() {
        check_operation(contract, operation, report);
    }
    for parameter in contract.all(Place::Parameter) {
        let name = parameter.text("name").unwrap_or_default();
        if let Some(owner) = owner(PARAMETERS, &name.to_snake_case()) {
            report.add(parameter, taken(name, owner), "rename it, in the path too");
        }
    }
    for component in contract.all(Place::Component) {
        if let Some(owner) = owner(SCHEMAS, component.name()) {
            report.add(component, taken(component.name(), owner), "rename the schema");
        }
        check_fields(component, report);
    }
}

/// What has the name already.
pub(super) fn owner(lists: &[Taken], name: &str) -> Option<&'static str> {
    lists.iter().find(|(_, names)| names.contains(&name)).map(|(owner, _)| *owner)
}

/// The problem in words.
fn taken(name: &str, owner: &str) -> String {
    format!("the name `{name}` is taken by {owner}")
}

/// An operation becomes a method in three crates, a builder in the client, and a table beside those of the schemas.
fn check_operation(contract: &Contract<'_>, operation: &Operation<'_>, report: &mut Report) {
    let type_name = operation.type_name();
    let schema = || contract.all(Place::Component).any(|schema| schema.name() == type_name).then_some("a schema");
    let keyword = is_keyword(operation.id).then_some("Rust");
    let owner = keyword.or_else(|| owner(OPERATIONS, operation.id)).or_else(|| owner(CALLS, &type_name));
    if let Some(owner) = owner.or_else(schema) {
        report.add(&operation.place.or_self("operationId"), taken(operation.id, owner), "rename the operation");
    }
}

/// A property becomes a field, a method of the builder and, where it has a default, a method that applies it.
fn check_fields(component: &Cursor<'_>, report: &mut Report) {
    let keeps_unknown = component.node.get("additionalProperties").is_some_and(|node| node.boolean().is_none());
    let mut methods = BTreeMap::new();
    for (name, _) in component.properties().iter().filter(|(_, property)| property.has("default")) {
        methods.insert(format!("{}_or_default", name.to_snake_case()), format!("the default of `{name}`"));
    }
    for (name, property) in component.properties().iter().filter(|(name, _)| can_be_field(name)) {
        let kept = (keeps_unknown && field_name(name) == "extra").then_some("what keeps unknown members");
        let method = || methods.get(&field_name(name).to_string()).map(String::as_str);
        if let Some(owner) = owner(FIELDS, &name.to_snake_case()).or(kept).or_else(method) {
            let fix = "rename it; if the name is published, have `xtask/src/names.rs` make another field of it";
            report.add(property, taken(name, owner), fix);
        }
    }
}

/// Whether the name can become a field at all; a rule of its own reports others.
pub(super) fn can_be_field(name: &str) -> bool {
    name.is_ascii() && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}
