//! Each rule against a small document after one edit, and the table of rules against the keys that the lint allows.

mod cases;

use std::fs;
use std::path::Path;
use std::process::Command;

use super::compare::compare;
use super::*;
use crate::document::outline::Place;
use crate::document::yaml;
use cases::Case;

/// The document that the lint is tested with; it has nearly every key.
const SMALL: &str = include_str!("../../testdata/small.yaml");

fn source(text: &str) -> Source {
    Source { name: "small".into(), path: "spec/small.yaml".into(), text: text.into(), root: yaml::parse(text).unwrap() }
}

/// The small document after an edit of the first place where `old` stands.
fn edited(old: &str, new: &str) -> String {
    assert!(SMALL.contains(old), "{old:?} must stand in small.yaml");
    SMALL.replacen(old, new, 1)
}

/// What is reported of two documents: pointer, class for callers, class for servers.
fn reported(old: &str, new: &str) -> Vec<(String, Class, Class)> {
    let changes = compare(&source(old), &source(new), rules::rule).into_iter();
    changes.map(|change| (change.pointer, change.effect.callers, change.effect.servers)).collect()
}

#[test]
fn each_edit_is_classified_for_both_sides() {
    let mut wrong = Vec::new();
    for Case { old, new, reported: wanted } in cases::all() {
        let found = reported(SMALL, &edited(old, new));
        let wanted: Vec<_> = wanted.iter().map(|(place, a, b)| (cases::pointer(place), *a, *b)).collect();
        if found != wanted {
            wrong.push(format!("{old:?} became {new:?}:\n  reported   {found:?}\n  wanted {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What narrows one way widens back, so nothing that breaks one side can be undone without a word.
#[test]
fn each_edit_is_reported_when_it_is_undone() {
    for Case { old, new, reported: wanted } in cases::all() {
        let found = reported(&edited(old, new), SMALL);
        assert_eq!(found.is_empty(), wanted.is_empty(), "{new:?} became {old:?}: {found:?}");
    }
}

#[test]
fn an_unchanged_document_has_no_changes() {
    assert_eq!(reported(SMALL, SMALL), []);
}

/// Every kind of object that a document can hold.
fn places() -> Vec<Place> {
    let mut found = vec![Place::Document];
    let mut next = 0;
    while let Some(place) = found.get(next).copied() {
        for (_, inner) in place.inside() {
            if !found.contains(inner) {
                found.push(*inner);
            }
        }
        next += 1;
    }
    found
}

#[test]
fn each_known_key_has_a_rule() {
    let places = places();
    for kind in [Place::Push, Place::Job, Place::KnownValue, Place::Numeric, Place::Branch, Place::Carried] {
        assert!(places.contains(&kind), "{kind:?} was not walked");
    }
    for place in places {
        for key in place.keys() {
            assert!(rules::rule(place, key).is_some(), "`{key}` of {place:?} has no rule: add one in breaking/rules");
        }
    }
}

#[test]
fn a_schema_that_holds_itself_comes_to_an_end() {
    let list = |name: &str, least: u8| {
        let schema = format!(
            "    {name}:\n      type: object\n      properties:\n        inner:\n          $ref: \"#/components/schemas/{name}\"\n        count:\n          type: integer\n          minimum: {least}\n"
        );
        let held = format!("          type: string\n        size:\n          $ref: \"#/components/schemas/{name}\"\n");
        let text = edited(
            "          type: string\n        size:\n          description: Width of the picture in pixels, 20 if left out.\n          type: integer\n          minimum: 10\n          maximum: 30\n          default: 20\n          x-accepts: [\"string\"]\n",
            &held,
        );
        text + &schema
    };
    let found = reported(&list("Old", 1), &list("New", 2));
    let inside = found.iter().filter(|(pointer, ..)| pointer == "#/components/schemas/New/properties/count/minimum");
    assert_eq!(
        inside.map(|(_, callers, servers)| (*callers, *servers)).collect::<Vec<_>>(),
        [(Class::Breaking, Class::Additive)]
    );
}

/// A checkout with the small document, committed.
fn checkout() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("spec")).unwrap();
    fs::write(root.path().join("spec/imgopen.yaml"), SMALL).unwrap();
    let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"];
    let commands: [&[&str]; 3] = [&["init", "--quiet"], &["add", "."], &["commit", "--quiet", "--message", "Old"]];
    for command in commands {
        let status = Command::new("git").arg("-C").arg(root.path()).args(identity).args(command).status().unwrap();
        assert!(status.success(), "git {command:?}");
    }
    root
}

/// What is written and how it ends.
fn outcome(root: &Path, against: &str) -> (String, Result<(), String>) {
    let mut out = anstream::StripStream::new(Vec::new());
    let result = run(root, against, &mut out).map_err(|error| format!("{error:#}"));
    (String::from_utf8(out.into_inner()).unwrap(), result)
}

#[test]
fn the_working_tree_is_compared_with_a_revision_or_a_file() {
    let root = checkout();
    let document = root.path().join("spec/imgopen.yaml");
    assert_eq!(outcome(root.path(), "HEAD"), ("nothing has changed since HEAD\n".to_owned(), Ok(())));

    fs::write(&document, edited("minimum: 10", "minimum: 12")).unwrap();
    let (text, result) = outcome(root.path(), "HEAD");
    let place = "spec/imgopen.yaml:196 #/components/schemas/PaintRequest/properties/size/minimum";
    assert!(text.contains(&format!("breaking       callers  {place}: minimum raised from 10 to 12\n")), "{text}");
    assert!(text.contains(&format!("additive       servers  {place}: minimum raised from 10 to 12\n")), "{text}");
    let summary = "since HEAD, for callers: 1 breaking, 0 unclassified, 0 additive, 0 documentation; for servers: 0 breaking, 0 unclassified, 1 additive, 0 documentation\n";
    assert!(text.ends_with(summary), "{text}");
    assert_eq!(result, Err("1 of the changes are breaking for callers or servers".to_owned()));

    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("imgopen.yaml");
    fs::copy(&document, &old).unwrap();
    assert_eq!(outcome(root.path(), &old.display().to_string()).1, Ok(()));
    let stray = folder.path().join("other.yaml");
    fs::rename(&old, &stray).unwrap();
    assert!(outcome(root.path(), &stray.display().to_string()).1.unwrap_err().contains("there is no spec/other.yaml"));
    assert!(outcome(root.path(), "no-such").1.unwrap_err().contains("neither a file nor a git revision"));
}

#[test]
fn what_cannot_be_classified_fails_in_words_of_its_own() {
    let root = checkout();
    fs::write(root.path().join("spec/imgopen.yaml"), edited("^https?://.+", "^https://.+")).unwrap();
    let (text, result) = outcome(root.path(), "HEAD");
    assert!(text.starts_with("unclassified   both     spec/imgopen.yaml:"), "{text}");
    assert!(result.unwrap_err().contains("could not be classified: read them"));
}

#[test]
fn documents_come_and_go() {
    let root = checkout();
    fs::write(root.path().join("spec/more.yaml"), SMALL).unwrap();
    let (text, result) = outcome(root.path(), "HEAD");
    assert!(text.contains("additive       both     spec/more.yaml:1 #: the document added"), "{text}");
    assert_eq!(result, Ok(()));
    let only = [source(SMALL)];
    let gone = changes(&Against::Revision("HEAD".into()), &only, &[]).unwrap();
    assert_eq!(gone[0].effect, Effect::BREAKS_CALLERS);
}
