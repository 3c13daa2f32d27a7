//! Rules about jobs: how their state is asked for, and what is pushed when they end.

use super::contract::Contract;
use super::parameters::values;
use super::report::Report;
use crate::document::contents::Operation;
use crate::document::cursor::Cursor;
use crate::document::yaml::Data;

/// An operation, its `x-job`, and the operation that it names.
struct Job<'a> {
    operation: Operation<'a>,
    place: Cursor<'a>,
    query: Option<Operation<'a>>,
}

/// Every operation that has an `x-job`.
fn jobs<'a>(contract: &Contract<'a>) -> Vec<Job<'a>> {
    let found = contract.operations().filter_map(|operation| {
        let place = operation.place.get("x-job")?;
        let query = place.text("query").and_then(|id| contract.operation(id)).cloned();
        Some(Job { operation: operation.clone(), place, query })
    });
    found.collect()
}

/// The client waits for a job by this query; a wrong name would only show at run time.
pub(super) fn job_query(contract: &Contract<'_>, report: &mut Report) {
    for job in jobs(contract) {
        let Some(query) = job.query.filter(|query| query.id != job.operation.id) else {
            report.add(
                &job.place.or_self("query"),
                "`query` is not the id of another operation",
                "name the operation that returns the state",
            );
            continue;
        };
        let field = job.place.text("field").unwrap_or_default();
        let member = query.request_schema().and_then(|request| request.property(field));
        if member.and_then(|member| member.schema_type()) != Some("string") {
            report.add(
                &job.place.or_self("field"),
                format!("the request of `{}` has no text member `{field}`", query.id),
                "name the member that takes the job's id",
            );
        }
        check_parameters(&job.place, &query, report);
    }
}

/// Reports path parameters of the query that get no fitting value, and values for none.
fn check_parameters(job: &Cursor<'_>, query: &Operation<'_>, report: &mut Report) {
    let given = job.members_of("parameters");
    let declared = query.parameters();
    let name_of = |parameter: &Cursor<'_>| parameter.text("name").unwrap_or_default().to_owned();
    for parameter in &declared {
        let name = name_of(parameter);
        let value = given.iter().find(|(key, _)| *key == name).and_then(|(_, value)| value.node.text());
        if !value.is_some_and(|value| values(parameter).contains(&value)) {
            report.add(
                &job.or_self("parameters"),
                format!("`{name}` is not given one of the values that `{}` takes in its path", query.id),
                "give the value under `parameters`",
            );
        }
    }
    for (key, place) in given.iter().filter(|(key, _)| !declared.iter().any(|parameter| name_of(parameter) == *key)) {
        report.add(place, format!("the path of `{}` has no part `{key}`", query.id), "remove it");
    }
}

/// The client takes the id to ask with from here.
pub(super) fn job_id(contract: &Contract<'_>, report: &mut Report) {
    for job in jobs(contract) {
        let expression = job.place.text("id").unwrap_or_default();
        let target = match expression.split_once("#/") {
            Some(("$request.body", path)) => member_at(job.operation.request_schema(), path),
            Some(("$response.body", path)) => member_at(job.operation.response_schema(), path),
            _ => None,
        };
        if target.and_then(|target| target.schema_type()) != Some("string") {
            report.add(
                &job.place.or_self("id"),
                format!("`{expression}` does not lead to a text of this operation"),
                "write `$request.body#/NAME` or `$response.body#/data/NAME`",
            );
        }
    }
}

/// The member that a path of names leads to.
fn member_at<'a>(schema: Option<Cursor<'a>>, path: &str) -> Option<Cursor<'a>> {
    path.split('/').try_fold(schema?, |schema, name| schema.property(name))
}

/// Without exactly one state, nobody can know when the job has ended.
pub(super) fn job_state(contract: &Contract<'_>, report: &mut Report) {
    for job in jobs(contract) {
        let Some(query) = job.query else { continue };
        let Some(answer) = query.response_schema() else { continue };
        let data = answer.property("data").map(|data| data.properties()).unwrap_or_default();
        let states = data.iter().chain(&answer.properties()).filter(|(_, member)| has_states(member)).count();
        if states != 1 {
            report.add(
                &job.place.or_self("query"),
                format!("the answer of `{}` has {states} members with states under `data`", query.id),
                "let exactly one of them be a component whose known values all have a `state`",
            );
        }
    }
}

/// Whether the values of a member are states.
fn has_states(member: &Cursor<'_>) -> bool {
    member.resolved().items_of("x-known-values").iter().any(|value| value.has("state"))
}

/// Clients repeat an idempotent call by themselves: a job must never be idempotent, its query must be.
pub(super) fn idempotent(contract: &Contract<'_>, report: &mut Report) {
    for job in jobs(contract) {
        if job.operation.place.is_true("x-idempotent") {
            report.add(
                &job.operation.place.or_self("x-idempotent"),
                "an operation that starts a job changes something",
                "remove `x-idempotent`",
            );
        }
        if let Some(query) = job.query.filter(|query| !query.place.is_true("x-idempotent")) {
            let problem = format!("`{}` asks for its job here, so this must change nothing", job.operation.id);
            report.add(&query.place, problem, "add `x-idempotent: true`");
        }
    }
}

/// The receiver of a push is generated from this: one push for a job, to an address in its request.
pub(super) fn callbacks(contract: &Contract<'_>, report: &mut Report) {
    for operation in contract.operations() {
        let Some(callbacks) = operation.place.get("callbacks") else { continue };
        if !operation.place.has("x-job") {
            report.add(
                &callbacks,
                "the operation pushes a result but has no `x-job`",
                "say how its state is asked for",
            );
        }
        let addresses: Vec<_> = callbacks.members().into_iter().flat_map(|(_, item)| item.members()).collect();
        match &addresses[..] {
            [(expression, item)] => check_callback(operation, expression, item, report),
            _ => report.add(&callbacks, "an operation has one callback with one address", "keep one"),
        }
    }
}

/// Reports a callback whose address, name or security is not as it must be.
fn check_callback(operation: &Operation<'_>, expression: &str, item: &Cursor<'_>, report: &mut Report) {
    let name = expression.strip_prefix("{$request.body#/").and_then(|rest| rest.strip_suffix('}'));
    let address = name.and_then(|name| operation.request_schema()?.property(name));
    if address.and_then(|address| address.schema_type()) != Some("string") {
        report.add(
            item,
            format!("`{expression}` is not a text member of the request"),
            "write `{$request.body#/NAME}` with the member that holds the address",
        );
    }
    let Some(push) = item.get("post") else { return };
    let wanted = format!("{}_callback", operation.id);
    if push.text("operationId") != Some(wanted.as_str()) {
        report.add(
            &push.or_self("operationId"),
            "the push is not named after its operation",
            format!("write `operationId: {wanted}`"),
        );
    }
    if push.node.get("security").is_none_or(|security| security.data != Data::List(Vec::new())) {
        report.add(&push.or_self("security"), "the push would carry the caller's own keys", "write `security: []`");
    }
}
