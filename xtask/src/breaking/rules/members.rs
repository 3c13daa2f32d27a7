//! Rules for what is sent by name: properties and parameters, their presence, their other spellings.

use crate::breaking::compare::Comparison;
use crate::breaking::effect::{Effect, Flow};
use crate::breaking::pair::{Edit, Matched, Pair};
use crate::document::cursor::Cursor;
use crate::document::outline::Place;

/// Properties, by name. One that went but stays as another's alias was renamed.
pub fn properties(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let Matched { removed, added, both, is_reordered } = Matched::new(edit, "");
    for (name, old) in &removed {
        match successor(name, &added) {
            Some((new_name, new)) => rename(comparison, edit, (name, old), (new_name, new)),
            None => comparison.report_gone(old, removal(edit, name), format!("`{name}` removed")),
        }
    }
    let follows = |new: &(String, Cursor<'_>)| removed.iter().any(|(name, _)| has_alias(&new.1, name));
    for (name, new) in added.iter().filter(|new| !follows(new)) {
        let (effect, what) = addition(edit, name);
        comparison.report_at(new, effect, format!("`{name}` added, {what}"));
    }
    if is_reordered {
        comparison.report(edit, Effect::ADDITIVE, "the members are written in another order; readers take any");
    }
    for (_, old, new) in both {
        comparison.object(Place::Property, old, new, edit.flow);
    }
}

/// The property among the new ones that takes the name as an alias.
fn successor<'p, 'a>(name: &str, added: &'p [(String, Cursor<'a>)]) -> Option<&'p (String, Cursor<'a>)> {
    added.iter().find(|(_, new)| has_alias(new, name))
}

fn has_alias(property: &Cursor<'_>, name: &str) -> bool {
    property.texts_of("x-aliases").contains(&name)
}

/// Readers by the new document accept the old name; readers by the old one do not know the new name.
fn rename(
    comparison: &mut Comparison,
    edit: &Edit<'_, '_>,
    (old_name, old): (&str, &Cursor<'_>),
    (new_name, new): (&str, &Cursor<'_>),
) {
    let effect = edit.flow.effect(Effect::BREAKS_SERVERS, Effect::BREAKS_CALLERS);
    comparison.report_at(new, effect, format!("renamed from `{old_name}`, which is still read"));
    let presence = (edit.pair.old.requires(old_name), edit.pair.new.requires(new_name));
    report_presence(comparison, new, edit.flow, presence);
    comparison.object(Place::Property, old.clone(), new.clone(), edit.flow);
}

/// Callers can no longer send or read the member; services can no longer rely on it or send it.
fn removal(edit: &Edit<'_, '_>, name: &str) -> Effect {
    let breaks = |breaks: bool| if breaks { Effect::BREAKING } else { Effect::BREAKS_CALLERS };
    edit.flow.effect(breaks(edit.pair.old.requires(name)), breaks(edit.pair.new.is_closed()))
}

/// An optional member need not be known; a required one is missing from a side that does not know it.
fn addition(edit: &Edit<'_, '_>, name: &str) -> (Effect, &'static str) {
    let Pair { old, new } = edit.pair;
    let refused = old.is_closed();
    let (in_requests, in_answers) = match (new.requires(name), refused) {
        (true, true) => (Effect::BREAKING, Effect::BREAKING),
        (true, false) => (Effect::BREAKS_CALLERS, Effect::BREAKS_SERVERS),
        (false, true) => (Effect::ADDITIVE, Effect::BREAKS_CALLERS),
        (false, false) => (Effect::ADDITIVE, Effect::ADDITIVE),
    };
    let what = match (new.requires(name), old.keeps_unknown()) {
        (true, _) => "required",
        (false, true) => "optional; what came under this name was kept as it was and must fit now",
        (false, false) => "optional; a service that does not look at it stays right",
    };
    (edit.flow.effect(in_requests, in_answers), what)
}

/// The members that must be there, where both documents have them; others are reported as added or removed.
pub fn required(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let Matched { removed, added, is_reordered, .. } = Matched::new(edit, "");
    for (name, gone) in removed {
        match (edit.pair.old.property(&name), edit.pair.new.property(&name)) {
            (Some(_), Some(property)) => report_presence(comparison, &property, edit.flow, (true, false)),
            (Some(_), None) => comparison.reported_elsewhere(),
            (None, _) => comparison.report_gone(&gone, edit.flow.wider(), format!("`{name}` is no longer required")),
        }
    }
    for (name, come) in added {
        match (edit.pair.old.property(&name), edit.pair.new.property(&name)) {
            (Some(_), Some(property)) => report_presence(comparison, &property, edit.flow, (false, true)),
            (None, Some(_)) => comparison.reported_elsewhere(),
            (_, None) => comparison.report_at(&come, edit.flow.narrower(), format!("`{name}` is required now")),
        }
    }
    if is_reordered {
        comparison.report(edit, Effect::DOCUMENTATION, "the required members are listed in another order");
    }
}

fn report_presence(comparison: &mut Comparison, property: &Cursor<'_>, flow: Flow, presence: (bool, bool)) {
    match presence {
        (false, true) => comparison.report_at(property, flow.narrower(), "required now"),
        (true, false) => comparison.report_at(property, flow.wider(), "no longer required"),
        _ => {}
    }
}

/// Parameters, by name.
pub fn parameters(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let is_required = |parameter: &Cursor<'_>| parameter.resolved().is_true("required");
    let matched = Matched::new(edit, "name");
    for (name, old) in &matched.removed {
        let effect = if is_required(old) { Effect::BREAKING } else { Effect::BREAKS_CALLERS };
        comparison.report_gone(old, effect, format!("the parameter `{name}` removed"));
    }
    for (name, new) in &matched.added {
        let effect = if is_required(new) { Effect::BREAKS_CALLERS } else { Effect::ADDITIVE };
        comparison.report_at(new, effect, format!("the parameter `{name}` added"));
    }
    if matched.is_reordered {
        comparison.report(edit, Effect::DOCUMENTATION, "the parameters are listed in another order");
    }
    for (_, old, new) in matched.both {
        comparison.object(Place::Parameter, old, new, edit.flow);
    }
}

/// Other spellings or types that readers take: nobody must write them, but those who did may rely on them.
pub fn leniency(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let kind = if edit.key == "x-aliases" { "the spelling" } else { "the type" };
    let matched = Matched::new(edit, "");
    for (name, place) in &matched.removed {
        let effect = edit.flow.effect(Effect::BREAKS_CALLERS, Effect::BREAKS_SERVERS);
        comparison.report_gone(place, effect, format!("{kind} `{name}` is no longer read"));
    }
    for (name, place) in &matched.added {
        comparison.report_at(place, Effect::ADDITIVE, format!("{kind} `{name}` is read too"));
    }
    if matched.is_reordered {
        comparison.report(edit, Effect::DOCUMENTATION, format!("`{}` is listed in another order", edit.key));
    }
}
