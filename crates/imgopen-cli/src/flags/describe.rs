//! Descriptions of fields, out of those of the document. The document also tells how well each fact is known and where
//! published pages contradict themselves; here it only matters what to give.

use std::sync::LazyLock;

use imgopen_types::schema::{Field, Shape, TextEnum};
use regex_lite::Regex;
use serde_json::Value;

/// Clauses about where a fact is from, and what stands in their places.
static CLAUSES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let clauses = [
        (
            r"[;,] (?:the published example has|a public client sends|which a public client sends is) (?:true|false)\b",
            "",
        ),
        (r"; the published example has an empty string", ""),
        (r"; the (?:Chinese )?page [^.;]*", ""),
        (r"; `[a-z_]+`, the name in the prose of the pages, is read too", ""),
        (r", (?:an integer |a number )?carried in a string(?: so that no precision is lost| as in `[a-z_0-9]+`)?", ""),
        (r"; (?:the published example (?:has|begins)|a public client sends) ", ", such as "),
        (r", which a public client sends,", ""),
        (r", by analogy with `[a-z_0-9]+`", ""),
        // Local files are served to the server.
        (r", reachable from the public network", ""),
        (r"[;,] (?:the|its) (?:range|values?|unit)s? (?:is|are) not available", ""),
        (r"; this meaning is inferred, and the range is not available", ""),
        (r"; only the (?:name|beginning) is (?:known|available)", ""),
        (r", taken as going", ", going"),
        (r" \((?:inferred|Chinese page|English page)\)", ""),
        (r", in steps of 0\.1", ""),
    ];
    clauses.into_iter().filter_map(|(pattern, with)| Some((Regex::new(pattern).ok()?, with))).collect()
});

/// What sentences about sources and guesses hold.
const SOURCES: &[&str] = &[
    "published",
    "Published",
    "ublic client",
    "Chinese page",
    "English page",
    "inferred",
    "not available",
    "Typed as in",
    "The page ",
    "flag is",
    "declares it",
    "external sheet",
];

/// A description without what only readers of the published pages need.
pub fn plain(about: &str) -> String {
    let about = about.split("Quirk:").next().unwrap_or_default().trim();
    let without_clauses =
        CLAUSES.iter().fold(about.to_owned(), |text, (pattern, with)| pattern.replace_all(&text, *with).into_owned());
    let kept = sentences(&without_clauses).filter(|sentence| !SOURCES.iter().any(|source| sentence.contains(source)));
    let kept = kept.collect::<Vec<_>>().join(" ");
    if kept.is_empty() { about.to_owned() } else { kept }
}

fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // A full stop inside of a number or a name is followed by no space.
        let end = rest.find(". ").map_or(rest.len(), |end| end + 1);
        let sentence = &rest[..end];
        rest = rest[end..].trim_start();
        Some(sentence)
    })
}

/// What follows a description in brackets: bounds, default, known values.
pub fn notes(field: &Field, described: &str) -> String {
    let mut notes = String::new();
    if let Some(bounds) = bounds(&field.shape).filter(|bounds| !described.contains(bounds.as_str())) {
        notes += &format!(" [{bounds}]");
    }
    match field.default.and_then(|default| serde_json::from_str::<Value>(default).ok()) {
        Some(Value::String(default)) => notes += &format!(" [default: {default}]"),
        Some(default) => notes += &format!(" [default: {default}]"),
        None => {}
    }
    if let Shape::TextEnum(TextEnum { open: true, values, .. }) = &field.shape {
        let known = values.iter().map(|choice| choice.value).collect::<Vec<_>>().join(", ");
        notes += &format!(" [known values: {known}]");
    }
    notes
}

/// The bounds of a value, such as "from 1 to 8".
fn bounds(shape: &Shape) -> Option<String> {
    let expectation = match shape {
        Shape::Integer(rules) if !rules.one_of.is_empty() => return Some(shape.expectation()),
        Shape::Integer(_) | Shape::Number(_) => shape.expectation(),
        Shape::Text(text) if text.numeric.is_some() => shape.expectation().replace(" as text", ""),
        Shape::Text(text) if text.min_length.is_some_and(|least| least > 1) || text.max_length.is_some() => {
            shape.expectation()
        }
        Shape::List(_) => shape.expectation(),
        _ => return None,
    };
    let kinds = ["a whole number", "a number", "a text", "a list"];
    let bounds = kinds.iter().find_map(|kind| expectation.strip_prefix(kind))?.trim();
    let bounds = bounds.strip_prefix("of ").unwrap_or(bounds);
    (!bounds.is_empty()).then(|| bounds.to_owned())
}

#[cfg(test)]
mod tests {
    use imgopen_types::schema::{Integer, Number};

    use super::*;

    #[test]
    fn what_is_known_of_a_field_is_told_without_its_sources() {
        for (about, expected) in [
            ("Edge, in pixels. Quirk: a text elsewhere.", "Edge, in pixels."),
            ("Steps for each picture; the published example has 25.", "Steps for each picture, such as 25."),
            ("Whether it is repaired; the published example has false.", "Whether it is repaired."),
            ("Guidance; a public client sends 7. Typed as in `controlnet`.", "Guidance, such as 7."),
            ("What to show. Taken as required, because the published example has it.", "What to show."),
            ("Format, by analogy with `image_to_image`.", "Format."),
            ("Number of tokens; the range is not available.", "Number of tokens."),
            ("Rate, from 0.0000001 to 0.0001.", "Rate, from 0.0000001 to 0.0001."),
            ("Rate, a number carried in a string; the published example has \"1\".", "Rate, such as \"1\"."),
            ("Scale; the Chinese page has no description of it.", "Scale."),
            ("Only this sentence is inferred.", "Only this sentence is inferred."),
        ] {
            assert_eq!(plain(about), expected);
        }
    }

    /// A field is described whatever is left out, and by nothing that means nothing here.
    #[test]
    fn every_field_is_described() {
        let all = imgopen_types::operations::ALL.iter();
        for (id, flag) in
            all.flat_map(|operation| super::super::flags(operation).into_iter().map(|flag| (operation.id, flag)))
        {
            let described = plain(flag.field.about);
            assert!(described.ends_with('.') && described.len() > 8, "{id} --{}: {described:?}", flag.long);
            let left = SOURCES.iter().find(|source| described.contains(*source));
            assert_eq!(left, None, "{id} --{}: {described:?}", flag.long);
        }
    }

    #[test]
    fn bounds_are_short() {
        let bounds = |shape: Shape| bounds(&shape).unwrap_or_default();
        assert_eq!(bounds(Shape::Integer(Integer::ANY.minimum(1))), "at least 1");
        assert_eq!(bounds(Shape::Integer(Integer::ANY.one_of(&[2, 4]))), "one of 2, 4");
        assert_eq!(bounds(Shape::Number(Number::ANY.minimum(1.0).maximum(8.0))), "from 1 to 8");
        assert_eq!(bounds(Shape::Number(Number::ANY)), "");
        assert_eq!(bounds(Shape::Boolean), "");
    }
}
