//! Rules about the variable parts of paths.

use super::contract::Contract;
use super::report::Report;
use crate::document::contents::Operation;
use crate::document::cursor::Cursor;
use crate::document::yaml::Node;

/// A router and a client can only be made of a path whose variable parts are all declared, with the values that they have.
pub(super) fn path_parameters(contract: &Contract<'_>, report: &mut Report) {
    for operation in contract.operations() {
        let declared = operation.parameters();
        for parameter in &declared {
            check_parameter(operation, parameter, report);
        }
        for name in variables(operation.path) {
            if !declared.iter().any(|parameter| parameter.text("name") == Some(name)) {
                report.add(
                    &operation.place.or_self("parameters"),
                    format!("the path's part `{{{name}}}` is not declared"),
                    "declare it under `parameters`, with `in: path`",
                );
            }
        }
    }
}

/// Reports the first thing that is wrong with a parameter.
fn check_parameter(operation: &Operation<'_>, parameter: &Cursor<'_>, report: &mut Report) {
    let name = parameter.text("name").unwrap_or_default();
    if parameter.text("in") != Some("path") || !parameter.is_true("required") {
        report.add(
            parameter,
            "it is not a required part of the path",
            "write `in: path` and `required: true`, or use the body",
        );
    } else if !variables(operation.path).contains(&name) {
        report.add(parameter, format!("the path has no part `{{{name}}}`"), "remove it or add the part to the path");
    } else if values(parameter).is_empty() {
        report.add(
            &parameter.or_self("schema"),
            "its schema is not a component with an `enum` or `x-known-values` of texts",
            "name the values in a component and write `$ref` to it",
        );
    }
}

/// A value with a slash takes several segments, which routers and clients must know.
pub(super) fn multi_segment(contract: &Contract<'_>, report: &mut Report) {
    for parameter in contract.operations().flat_map(Operation::parameters) {
        let needed = values(&parameter).iter().any(|value| value.contains('/'));
        match (needed, parameter.is_true("x-multi-segment")) {
            (true, false) => {
                report.add(&parameter, "some of its values hold a slash", "add `x-multi-segment: true`");
            }
            (false, true) => {
                report.add(
                    &parameter.or_self("x-multi-segment"),
                    "none of its values holds a slash",
                    "remove `x-multi-segment`",
                );
            }
            _ => {}
        }
    }
}

/// The values of a parameter whose schema is a set of texts, closed or open.
pub(super) fn values<'a>(parameter: &Cursor<'a>) -> Vec<&'a str> {
    let component = parameter.get("schema").filter(|schema| schema.has("$ref")).map(|schema| schema.resolved());
    let items = |key| component.as_ref().and_then(|component| component.node.get(key)).map(Node::items);
    let closed = items("enum").unwrap_or_default().iter();
    let open = items("x-known-values").unwrap_or_default().iter().filter_map(|known| known.get("value"));
    closed.chain(open).filter_map(Node::text).collect()
}

/// The names between braces in a path.
fn variables(path: &str) -> Vec<&str> {
    path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
}
