//! Rules about examples: in the document, and as published files beside it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::contract::Contract;
use super::report::Report;
use crate::document::contents::{Document, Operation, media};
use crate::document::cursor::Cursor;
use crate::document::outline::Place;

/// People copy examples: each is exactly what a strict writer would write.
pub(super) fn examples(contract: &Contract<'_>, report: &mut Report) {
    for (document, strict) in contract.checked() {
        let Ok(strict) = strict else { continue };
        for (schema, example) in schema_examples(document).iter().filter(|(_, example)| !example.has("x-quirk")) {
            let value = example.or_self("value");
            for violation in strict.violations(schema, &value.node.to_json()) {
                let place =
                    value.follow(&format!("{}{}", value.pointer, violation.path)).unwrap_or_else(|| value.clone());
                report.add(
                    &place,
                    violation.problem,
                    "correct the example or the schema; a published one may say why in `x-quirk`",
                );
            }
        }
    }
}

/// An example without a value shows nothing, one without a summary does not say what it shows.
pub(super) fn example_forms(contract: &Contract<'_>, report: &mut Report) {
    for example in contract.all(Place::Example).filter(|example| !example.has("$ref")) {
        if !example.has("value") || example.text("summary").is_none_or(str::is_empty) {
            report.add(example, "the example lacks its `summary` or its `value`", "write both");
        }
    }
}

/// Tests rely on the names: `minimal` shows that nothing more is needed, `full` that every field is written.
pub(super) fn example_extents(contract: &Contract<'_>, report: &mut Report) {
    for operation in contract.operations() {
        let (Some(schema), Some(request)) = (operation.request_schema(), operation.request()) else { continue };
        let examples = media(&request).map(|media| media.members_of("examples")).unwrap_or_default();
        for (name, value) in
            examples.iter().filter_map(|(name, example)| Some((name, example.resolved().get("value")?)))
        {
            match *name {
                "minimal" => check_minimal(&schema, &value, &mut Vec::new(), report),
                "full" => check_full(&schema, &value, &mut Vec::new(), report),
                _ => {}
            }
        }
    }
}

/// Reports optional members that are set, but for those of which one must be.
fn check_minimal<'a>(schema: &Cursor<'a>, value: &Cursor<'_>, choices: &mut Vec<&'a str>, report: &mut Report) {
    choices.extend(chosen_members(&schema.resolved()));
    for (name, property) in schema.properties() {
        let Some(member) = value.get(name) else { continue };
        if !schema.requires(name) && !choices.contains(&name) {
            report.add(&member, format!("`minimal` sets `{name}`, which is optional"), "remove it from the example");
        } else {
            check_minimal(&property, &member, choices, report);
        }
    }
}

/// Reports members that are not set, but for those which exclude one another.
fn check_full<'a>(schema: &Cursor<'a>, value: &Cursor<'_>, choices: &mut Vec<&'a str>, report: &mut Report) {
    choices.extend(chosen_members(&schema.resolved()));
    for (name, property) in schema.properties() {
        match value.get(name) {
            None if choices.contains(&name) => {}
            None => report.add(value, format!("`full` does not set `{name}`"), "add it to the example"),
            Some(member) => check_full(&property, &member, choices, report),
        }
    }
}

/// The members between which a schema chooses.
fn chosen_members<'a>(schema: &Cursor<'a>) -> Vec<&'a str> {
    let branches = schema.choices().into_iter();
    let nested = branches.flat_map(|branch| {
        let inner = branch.members_of("properties").into_iter().flat_map(|(_, inner)| inner.texts_of("required"));
        inner.chain(branch.texts_of("required")).collect::<Vec<_>>()
    });
    nested.collect()
}

/// The schemas are only broken in a way that no other rule reports if nothing else was found.
pub(super) fn sound_schemas(contract: &Contract<'_>, report: &mut Report) {
    for (document, strict) in contract.checked() {
        if let (Err(problem), true) = (strict, report.is_empty()) {
            let problem = format!("values cannot be checked against the schemas: {problem}");
            report.add(&document.root.or_self("components"), problem, "correct the schema that it names");
        }
    }
}

/// An excuse that is no longer needed hides the next mistake.
pub(super) fn quirks(contract: &Contract<'_>, report: &mut Report) {
    for (document, strict) in contract.checked() {
        let Ok(strict) = strict else { continue };
        for (schema, example) in schema_examples(document) {
            let Some(quirk) = example.get("x-quirk") else { continue };
            if strict.violations(&schema, &example.or_self("value").node.to_json()).is_empty() {
                report.add(&quirk, "the example keeps all rules of its schema", "remove `x-quirk`");
            }
        }
    }
}

/// The examples of every body and parameter, each with the pointer of its schema.
fn schema_examples<'a>(document: &Document<'a>) -> Vec<(String, Cursor<'a>)> {
    let holders = document.all(Place::Media).chain(document.all(Place::Parameter));
    let found = holders.flat_map(|holder| {
        let schema = holder.get("schema").map(|schema| schema.resolved().pointer);
        let examples = holder.members_of("examples").into_iter().map(|(_, example)| example.resolved());
        examples.filter_map(move |example| Some((schema.clone()?, example)))
    });
    found.collect()
}

/// The published pages may vanish: their examples are kept as they were, and the document quotes them truly.
pub(super) fn example_files(contract: &Contract<'_>, report: &mut Report) {
    for operation in contract.operations() {
        let folder = format!("spec/examples/{}", operation.id);
        check_file(contract.root, &format!("{folder}/request"), operation, operation.request(), report);
        check_file(contract.root, &format!("{folder}/response"), operation, operation.response("200"), report);
    }
    let Ok(folders) = fs::read_dir(contract.root.join("spec/examples")) else { return };
    for folder in folders.flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        if contract.operation(&name).is_none() {
            report.add_file(
                format!("spec/examples/{name}"),
                "it is not named after an operation",
                "rename or remove it",
            );
        }
    }
}

/// Compares the `published` example of a body with its file.
fn check_file(root: &Path, stem: &str, operation: &Operation<'_>, body: Option<Cursor<'_>>, report: &mut Report) {
    let example = body.as_ref().and_then(media).and_then(|media| media.get("examples")?.get("published"));
    let file = format!("{stem}.json");
    let Ok(text) = fs::read_to_string(root.join(&file)) else {
        // A published text that is not JSON is kept as a text.
        let is_text = root.join(format!("{stem}.as-published.txt")).exists();
        if let Some(example) = example.filter(|_| !is_text) {
            report.add(&example, format!("{file} is missing"), "put the published example there, byte by byte");
        }
        return;
    };
    let place = example.as_ref().unwrap_or(&operation.place);
    match (serde_json::from_str::<Value>(&text), &example) {
        (Err(error), _) => {
            report.add(place, format!("{file} is not JSON: {error}"), "restore it from the published page")
        }
        (Ok(_), None) => {
            report.add(place, format!("no example `published` shows {file}"), "add the example or remove the file")
        }
        (Ok(value), Some(example)) if example.or_self("value").node.to_json() != value => {
            report.add(place, format!("it differs from {file}"), "copy the file's values");
        }
        _ => {}
    }
}
