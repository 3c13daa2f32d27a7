//! Rules about the names of schemas and properties.

use std::collections::BTreeMap;

use heck::ToUpperCamelCase;

use super::contract::Contract;
use super::report::Report;
use super::reserved::can_be_field;
use crate::document::outline::Place;
use crate::names::field_name;

/// The name is that of the generated type, on file systems that ignore case too.
pub(super) fn component_names(contract: &Contract<'_>, report: &mut Report) {
    let mut known = BTreeMap::new();
    for component in contract.all(Place::Component) {
        let name = component.name();
        if !name.is_ascii() || name.to_upper_camel_case() != name {
            let wanted = name.to_upper_camel_case();
            report.add(
                component,
                format!("`{name}` is not in UpperCamelCase"),
                format!("rename it, for example to `{wanted}`"),
            );
        }
        let first = known.entry(name.to_lowercase()).or_insert(component);
        if first.name() != name || first.node.to_json() != component.node.to_json() {
            let problem = format!("`{}` of {} line {} has the same name", first.name(), first.source.path, first.line);
            report.add(component, problem, "rename one of them, or make them equal if they stand in two documents");
        }
    }
}

/// Two properties must not become one field.
pub(super) fn property_names(contract: &Contract<'_>, report: &mut Report) {
    for component in contract.all(Place::Component) {
        let mut known = BTreeMap::new();
        for (name, property) in component.properties() {
            if !can_be_field(name) {
                report.add(
                    &property,
                    format!("`{name}` cannot become a field"),
                    "use a name that begins with an ASCII letter",
                );
                continue;
            }
            let field = field_name(name).to_string();
            if let Some(first) = known.insert(field.clone(), name) {
                report.add(
                    &property,
                    format!("`{first}` and `{name}` both become the field `{field}`"),
                    "rename one of them",
                );
            }
        }
    }
}
