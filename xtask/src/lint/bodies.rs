//! Rules about what operations take and answer.

use super::contract::Contract;
use super::report::Report;
use crate::document::contents::{Operation, body_schema, media};
use crate::document::cursor::Cursor;
use crate::document::outline::Place;

/// Where all schemas of bodies lie.
const SCHEMAS: &str = "#/components/schemas/";

/// One media type, so that one type per body is the whole truth.
pub(super) fn json_only(contract: &Contract<'_>, report: &mut Report) {
    for body in contract.all(Place::Body).chain(contract.all(Place::Response)) {
        if body.has("$ref") {
            continue;
        }
        let types: Vec<_> = body.members_of("content").into_iter().map(|(name, _)| name).collect();
        if types != ["application/json"] {
            report.add(
                &body.or_self("content"),
                "the content is not `application/json` alone",
                "describe one media type, `application/json`",
            );
        }
    }
}

/// A body that may be left out would be a second form of the call.
pub(super) fn request_body(contract: &Contract<'_>, report: &mut Report) {
    for operation in contract.all(Place::Operation).chain(contract.all(Place::Push)) {
        let body = operation.get("requestBody");
        if body.is_none_or(|body| !body.resolved().is_true("required")) {
            report.add(
                &operation.or_self("requestBody"),
                "the operation does not require a body",
                "add a `requestBody` with `required: true`",
            );
        }
    }
}

/// One name for a body everywhere: in the document, in the types, in the client and in the server.
pub(super) fn body_names(contract: &Contract<'_>, report: &mut Report) {
    for operation in contract.operations() {
        let bodies = [("Request", operation.request()), ("Response", operation.response("200"))];
        for (suffix, body) in bodies {
            let Some(body) = body.filter(|body| media(body).is_some()) else { continue };
            let wanted = format!("{SCHEMAS}{}{suffix}", operation.type_name());
            check_body_name(&body, |found| found == wanted, &format!("`$ref: \"{wanted}\"`"), report);
        }
        for push in operation.pushes() {
            let answers = push.members_of("responses").into_iter().map(|(_, answer)| answer);
            for body in push.get("requestBody").into_iter().chain(answers) {
                let is_component = |found: &str| found.starts_with(SCHEMAS);
                check_body_name(&body.resolved(), is_component, "a `$ref` to a component", report);
            }
        }
    }
}

/// Reports a body whose schema is not an accepted reference.
fn check_body_name(body: &Cursor<'_>, accept: impl Fn(&str) -> bool, wanted: &str, report: &mut Report) {
    let Some(media) = media(body) else { return };
    let schema = media.or_self("schema");
    if !schema.text("$ref").is_some_and(accept) {
        report.add(&schema, "the body is not the schema that its operation names", format!("write {wanted}"));
    }
}

/// The client needs one success and one failure; several of either would make it panic or guess.
pub(super) fn responses(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        let mut failure = None;
        for operation in &document.operations {
            check_statuses(&operation.place, &["200", "4XX", "5XX"], report);
            for status in ["4XX", "5XX"] {
                check_failure(operation, status, &mut failure, report);
            }
        }
        for push in document.all(Place::Push) {
            check_statuses(push, &["200"], report);
        }
    }
}

/// Reports an operation that answers other statuses, or in another order.
fn check_statuses(operation: &Cursor<'_>, wanted: &[&str], report: &mut Report) {
    let statuses: Vec<_> = operation.members_of("responses").into_iter().map(|(status, _)| status).collect();
    if statuses != wanted {
        report.add(
            &operation.or_self("responses"),
            format!("it answers {statuses:?} instead of {wanted:?}"),
            "describe exactly these, in this order",
        );
    }
}

/// Reports a failure that is not the response known from the operations before, or does not carry `Envelope`.
fn check_failure<'a>(operation: &Operation<'a>, status: &str, known: &mut Option<&'a str>, report: &mut Report) {
    let Some(answer) = operation.place.get("responses").and_then(|responses| responses.get(status)) else { return };
    let target = answer.text("$ref");
    let envelope = body_schema(&answer.resolved()).and_then(|schema| schema.text("$ref"));
    let is_envelope = envelope == Some("#/components/schemas/Envelope");
    if target.is_none() || !is_envelope || known.is_some_and(|known| Some(known) != target) {
        report.add(
            &answer,
            "a failure is not the one response that carries `Envelope`",
            "write `$ref: \"#/components/responses/Failure\"`",
        );
    }
    *known = known.or(target);
}

/// Tests, mocks and the documentation take their requests and answers from the examples; of several, mocks take the first.
pub(super) fn needed_examples(contract: &Contract<'_>, report: &mut Report) {
    for operation in contract.operations() {
        if let Some(request) = operation.request().as_ref().and_then(media) {
            let missing = ["minimal", "full"].into_iter().filter(|name| !has_example(&request, |key| key == *name));
            for name in missing {
                report.add(
                    &request.or_self("examples"),
                    format!("the request has no example `{name}`"),
                    "add one; `minimal` has only what is required, `full` sets every field",
                );
            }
        }
        let answer = operation.response("200").as_ref().and_then(media);
        if let Some(answer) = answer.as_ref().filter(|answer| !has_example(answer, |_| true)) {
            report.add(&answer.or_self("examples"), "the answer has no valid example", "add one");
        } else if let Some((_, first)) = answer.and_then(|answer| answer.members_of("examples").into_iter().next())
            && !is_success(&first.resolved())
        {
            let fix = "put one first whose `code` is \"200\"";
            report.add(&first, "the first example of the answer, which mocks return, is not a success", fix);
        }
    }
}

/// Whether an example is the valid answer to a call that succeeded.
fn is_success(example: &Cursor<'_>) -> bool {
    let code = example.get("value").and_then(|value| value.text("code"));
    code == Some("200") && !example.has("x-quirk")
}

/// Whether one of the examples so named is meant to be valid.
fn has_example(media: &Cursor<'_>, accept: impl Fn(&str) -> bool) -> bool {
    media.members_of("examples").iter().any(|(name, example)| accept(name) && !example.resolved().has("x-quirk"))
}
