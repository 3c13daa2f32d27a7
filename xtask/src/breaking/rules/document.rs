//! Rules for what stands around the operations: addresses, keys, tags, the shelf of components.

use super::shared::{Rules, agreed, security, words};
use crate::breaking::compare::Comparison;
use crate::breaking::effect::Effect;
use crate::breaking::pair::{Edit, Matched};
use crate::document::outline::Place;

/// The keys of the document itself.
pub const DOCUMENT: Rules = &[
    ("openapi", version_of_openapi),
    ("info", info),
    ("externalDocs", words),
    ("servers", servers),
    ("security", security),
    ("tags", tags),
    ("paths", super::calls::paths),
    ("components", components),
];

/// The sections of the components.
pub const COMPONENTS: Rules = &[
    ("securitySchemes", security_schemes),
    ("parameters", shared_parts),
    ("requestBodies", shared_parts),
    ("responses", shared_parts),
    ("examples", shared_parts),
    ("schemas", schemas),
];

/// The keys of a part of the access key.
pub const SECURITY_SCHEME: Rules = &[
    ("type", agreed),
    ("in", agreed),
    ("name", agreed),
    ("description", words),
    ("x-provenance", words),
    ("x-source", words),
];

/// Another version of OpenAPI may read every schema otherwise.
fn version_of_openapi(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.report(edit, Effect::UNCLASSIFIED, "the version of OpenAPI changed, and with it the meaning of schemas");
}

fn info(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.inner(Place::Info, edit, Effect::DOCUMENTATION, Effect::DOCUMENTATION);
}

fn tags(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.members(Place::Tag, "name", edit, Effect::DOCUMENTATION, Effect::DOCUMENTATION);
}

/// Callers may call an address until it is gone.
fn servers(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.members(Place::Server, "url", edit, Effect::ADDITIVE, Effect::BREAKS_CALLERS);
}

fn components(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.inner(Place::Components, edit, Effect::ADDITIVE, Effect::BREAKING);
}

fn security_schemes(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.members(Place::SecurityScheme, "", edit, Effect::ADDITIVE, Effect::BREAKING);
}

/// Schemas give types their names, so that code may depend on one even where the wire does not.
fn schemas(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let schemas = Matched::new(edit, "");
    for (name, schema) in &schemas.removed {
        let what = format!("the schema `{name}` removed, and with it the type of that name in generated code");
        comparison.report_gone(schema, Effect::BREAKING, what);
    }
    for (name, schema) in &schemas.added {
        comparison.report_at(schema, Effect::ADDITIVE, format!("the schema `{name}` added"));
    }
    compare_components(comparison, edit, Place::Component, schemas);
}

/// Other components bear no name in code: what their coming or going changes is seen where they were used.
fn shared_parts(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let Some(place) = Place::of_section(edit.key) else { return };
    let parts = Matched::new(edit, "");
    for (name, part) in &parts.removed {
        comparison.report_gone(part, Effect::DOCUMENTATION, format!("the component `{name}` removed"));
    }
    for (name, part) in &parts.added {
        comparison.report_at(part, Effect::DOCUMENTATION, format!("the component `{name}` added"));
    }
    compare_components(comparison, edit, place, parts);
}

/// Compares each component by the ways that it travels.
fn compare_components(comparison: &mut Comparison, edit: &Edit<'_, '_>, place: Place, found: Matched<'_>) {
    if found.is_reordered {
        comparison.report(edit, Effect::DOCUMENTATION, format!("`{}` stand in another order", edit.key));
    }
    for (_, old, new) in found.both {
        let flow = comparison.flow_of(&new.pointer);
        comparison.object(place, old, new, flow);
    }
}
