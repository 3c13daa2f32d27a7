//! Rules for paths, operations, callbacks and their bodies.

use super::shared::{Rules, agreed, code_name, reference, security, words};
use crate::breaking::compare::Comparison;
use crate::breaking::effect::Effect;
use crate::breaking::pair::{Edit, Matched, named};
use crate::document::cursor::Cursor;
use crate::document::outline::Place;

/// The methods of a path.
pub const PATH_ITEM: Rules = &[("post", operation)];

/// The methods of an address that a callback calls.
pub const PUSH_ITEM: Rules = &[("post", push)];

/// The keys of an operation and of the call that a callback makes.
pub const OPERATION: Rules = &[
    ("tags", words),
    ("operationId", code_name),
    ("summary", words),
    ("description", words),
    ("externalDocs", words),
    ("x-provenance", words),
    ("x-source", words),
    ("x-idempotent", idempotent),
    ("x-job", job),
    ("security", security),
    ("parameters", super::members::parameters),
    ("requestBody", request_body),
    ("responses", responses),
    ("callbacks", callbacks),
];

/// The keys that say how a job is asked for.
pub const JOB: Rules = &[("query", agreed), ("id", agreed), ("field", agreed), ("parameters", agreed)];

/// The keys of a parameter. Its name and place are what it is known by.
pub const PARAMETER: Rules = &[
    ("$ref", reference),
    ("name", agreed),
    ("in", agreed),
    ("required", required),
    ("description", words),
    ("x-provenance", words),
    ("x-source", words),
    ("x-multi-segment", multi_segment),
    ("schema", schema),
    ("examples", examples),
];

/// The keys of a body, taken or answered.
pub const BODY: Rules =
    &[("$ref", reference), ("description", words), ("x-source", words), ("required", required), ("content", content)];

/// The keys of a body in one media type.
pub const MEDIA: Rules = &[("schema", schema), ("examples", examples)];

/// Operations, by path. One that went and came under another path with its id has moved.
pub fn paths(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let paths = Matched::new(edit, "");
    let moved =
        |old: &Cursor<'_>, new: &Cursor<'_>| operation_id(old).is_some() && operation_id(old) == operation_id(new);
    for (path, old) in &paths.removed {
        match paths.added.iter().find(|(_, new)| moved(old, new)) {
            Some((_, new)) => {
                comparison.report_at(new, Effect::BREAKING, format!("the path changed from `{path}`"));
                comparison.object(Place::PathItem, old.clone(), new.clone(), edit.flow);
            }
            None => comparison.report_gone(old, Effect::BREAKS_CALLERS, "the operation removed"),
        }
    }
    let is_new = |new: &Cursor<'_>| !paths.removed.iter().any(|(_, old)| moved(old, new));
    for (_, new) in paths.added.iter().filter(|(_, new)| is_new(new)) {
        comparison.report_at(
            new,
            Effect::ADDITIVE,
            "the operation added; a service without a method for it answers 501",
        );
    }
    if paths.is_reordered {
        comparison.report(edit, Effect::DOCUMENTATION, "the paths stand in another order");
    }
    for (_, old, new) in paths.both {
        comparison.object(Place::PathItem, old, new, edit.flow);
    }
}

fn operation_id<'a>(item: &Cursor<'a>) -> Option<&'a str> {
    item.get("post")?.text("operationId")
}

fn operation(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.inner(Place::Operation, edit, Effect::ADDITIVE, Effect::BREAKS_CALLERS);
}

fn push(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.inner(Place::Push, edit, Effect::BREAKS_SERVERS, Effect::BREAKS_CALLERS);
}

/// Clients repeat an idempotent operation by themselves, and its service must bear that.
fn idempotent(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    match edit.new {
        Some(_) => comparison.report(edit, Effect::BREAKS_SERVERS, "may be repeated now, which services must allow"),
        None => {
            comparison.report(edit, Effect::BREAKS_CALLERS, "may no longer be repeated, as clients do by themselves")
        }
    }
}

/// Clients wait for a job by its query, which the service must answer.
fn job(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.inner(Place::Job, edit, Effect::BREAKS_SERVERS, Effect::BREAKS_CALLERS);
}

/// Something that must be there: fewer values are allowed with it.
fn required(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let is_true = |place: &Option<Cursor<'_>>| place.as_ref().and_then(|place| place.node.boolean()).unwrap_or(false);
    match (is_true(&edit.old), is_true(&edit.new)) {
        (false, true) => comparison.report(edit, edit.flow.narrower(), "required now"),
        (true, false) => comparison.report(edit, edit.flow.wider(), "no longer required"),
        _ => comparison.report(edit, Effect::DOCUMENTATION, "that it is optional is written in another form"),
    }
}

/// A service takes the escaped form in any case, but only with the mark do clients send bare slashes.
fn multi_segment(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    match edit.new {
        Some(_) => comparison.report(edit, Effect::BREAKS_SERVERS, "slashes in the value are sent as they are now"),
        None => comparison.report(edit, Effect::BREAKS_CALLERS, "slashes in the value must be escaped now"),
    }
}

fn schema(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.inner(Place::Carried, edit, edit.flow.narrower(), edit.flow.wider());
}

fn examples(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.members(Place::Example, "", edit, Effect::DOCUMENTATION, Effect::DOCUMENTATION);
}

fn request_body(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.inner(Place::Body, edit, Effect::BREAKING, Effect::BREAKING);
}

/// Media types of a body, each another form that it may have.
fn content(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.members(Place::Media, "", edit, edit.flow.wider(), edit.flow.narrower());
}

/// Statuses, each another way to answer; without the one of a success, callers wait for it in vain.
fn responses(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let (flow, statuses) = (edit.flow.turned(), Matched::new(edit, ""));
    for (status, response) in &statuses.removed {
        let effect = if status.starts_with('2') { Effect::BREAKING } else { flow.narrower() };
        comparison.report_gone(response, effect, format!("the status {status} removed"));
    }
    for (status, response) in &statuses.added {
        comparison.report_at(response, flow.wider(), format!("the status {status} added"));
    }
    if statuses.is_reordered {
        comparison.report(edit, Effect::DOCUMENTATION, "the statuses stand in another order");
    }
    for (_, old, new) in statuses.both {
        comparison.object(Place::Response, old, new, flow);
    }
}

/// Pushes, by name and address: services must make them, callers may rely on them.
fn callbacks(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let pushes = Matched::of(addresses(edit.old.as_ref()), addresses(edit.new.as_ref()));
    for (name, push) in &pushes.removed {
        comparison.report_gone(push, Effect::BREAKS_CALLERS, format!("the callback `{name}` removed"));
    }
    for (name, push) in &pushes.added {
        let what = format!("the callback `{name}` added, which services must make");
        comparison.report_at(push, Effect::BREAKS_SERVERS, what);
    }
    for (_, old, new) in pushes.both {
        comparison.object(Place::PushItem, old, new, edit.flow.turned());
    }
}

/// Every address in the callbacks, with the callback's name before it.
fn addresses<'a>(callbacks: Option<&Cursor<'a>>) -> Vec<(String, Cursor<'a>)> {
    let callbacks = named(callbacks, "").into_iter();
    let inside = |(name, callback): (String, Cursor<'a>)| {
        named(Some(&callback), "").into_iter().map(move |(address, item)| (format!("{name} {address}"), item)).collect()
    };
    callbacks.flat_map::<Vec<_>, _>(inside).collect()
}
