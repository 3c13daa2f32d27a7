//! Rules about operations: their method, ids and words.

use std::collections::BTreeMap;

use heck::ToSnakeCase;

use super::contract::Contract;
use super::report::Report;
use crate::document::outline::Place;

/// The API knows no other method, and the generators read no other.
pub(super) fn post_only(contract: &Contract<'_>, report: &mut Report) {
    for item in contract.all(Place::PathItem).chain(contract.all(Place::PushItem)) {
        for (method, place) in item.members() {
            if method != "post" {
                report.add(&place, format!("`{method}` is not read, an operation is a `post`"), "write it as `post`");
            }
        }
        if !item.has("post") {
            report.add(item, "there is no `post` here", "add the operation or remove the path");
        }
    }
}

/// The id names the method, the schemas and the folder of examples.
pub(super) fn operation_id(contract: &Contract<'_>, report: &mut Report) {
    let mut known = BTreeMap::new();
    for operation in contract.all(Place::Operation).chain(contract.all(Place::Push)) {
        let place = operation.or_self("operationId");
        let id = operation.text("operationId").unwrap_or_default();
        if id.is_empty() || id.to_snake_case() != id {
            report.add(
                &place,
                format!("the id `{id}` is not in snake_case"),
                "write an `operationId` such as `query_task`",
            );
        } else if let Some(first) = known.insert(id, place.clone()) {
            let problem = format!("the id `{id}` is that of {} line {} too", first.source.path, first.line);
            report.add(&place, problem, "rename one of them");
        }
    }
}

/// Two operations at one path could not both be served, whatever the names of their variable parts.
pub(super) fn unique_paths(contract: &Contract<'_>, report: &mut Report) {
    let mut known = BTreeMap::new();
    for operation in contract.operations() {
        let segments = operation.path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
        if let Some(first) = known.insert(segments.collect::<Vec<_>>(), operation.id) {
            let problem = format!("the path is that of `{first}` too");
            report.add(&operation.place, problem, "give one of them another path");
        }
    }
}
