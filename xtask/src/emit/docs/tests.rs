//! The page as a whole: everything is on it, nothing is loaded, nothing gets out of its place.

use serde_json::Value;

use crate::document::source::{self, Source};
use crate::model::{self, Api, SchemaKind};

/// The project's documents and a small one beside them.
fn api() -> Api {
    let mut sources = source::load(&source::workspace_root().unwrap()).unwrap();
    let text = include_str!("../../../testdata/imgopen-second.yaml").to_owned();
    sources.push(Source::parse("imgopen-second".into(), text).unwrap());
    model::read::read(&sources).unwrap()
}

/// What stands on the page from that id to the next section or schema.
fn part<'a>(page: &'a str, id: &str) -> &'a str {
    let start = page.find(&format!(" id=\"{id}\"")).unwrap_or_else(|| panic!("nothing has the id {id}"));
    let rest = &page[start + 1..];
    let end = [" id=\"op-", " id=\"schema-"].iter().filter_map(|next| rest.find(next)).min();
    &rest[..end.unwrap_or(rest.len())]
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The words between `before` and `after`, wherever they occur.
fn between<'a>(page: &'a str, before: &'a str, after: &str) -> Vec<&'a str> {
    page.split(before).skip(1).map(|rest| rest.split(after).next().unwrap()).collect()
}

#[test]
fn every_operation_has_its_section_once() {
    let (api, page) = (api(), super::emit(&api()).unwrap());
    assert_eq!(page.matches("<section class=\"operation\"").count(), api.operations().count());
    for operation in api.operations() {
        let section = part(&page, &format!("op-{}", operation.id));
        assert!(section.contains(&escaped(&operation.summary)), "{}", operation.id);
        assert!(section.replace("<wbr>", "").contains(&operation.path), "{}", operation.id);
        assert!(
            section.contains("class=\"badge published\"") == (format!("{:?}", operation.provenance) == "Published")
        );
    }
}

#[test]
fn every_schema_property_and_value_appears_once() {
    let (api, page) = (api(), super::emit(&api()).unwrap());
    for schema in &api.schemas {
        assert_eq!(page.matches(&format!(" id=\"schema-{}\"", schema.name)).count(), 1, "{}", schema.name);
        let shown = part(&page, &format!("schema-{}", schema.name));
        let values: Vec<_> = between(shown, "<code class=\"value\">", "</code>");
        match &schema.kind {
            SchemaKind::Object(object) => {
                let rows: Vec<_> = between(shown, "<tr id=\"", "\"");
                let names = object.properties.iter().map(|property| format!("{}.{}", schema.name, property.name));
                assert_eq!(rows, names.collect::<Vec<_>>());
            }
            SchemaKind::TextEnum(set) => {
                let expected = set.values.iter().map(|known| escaped(&Value::from(known.value.as_str()).to_string()));
                assert_eq!(values, expected.collect::<Vec<_>>(), "{}", schema.name);
            }
            SchemaKind::IntegerEnum(set) => {
                assert_eq!(values, set.values.iter().map(|known| known.value.to_string()).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn a_property_shows_all_its_rules() {
    let page = super::emit(&api()).unwrap();
    let row = |id: &str| {
        let start = page.find(&format!("<tr id=\"{id}\"")).unwrap();
        page[start..].split("</tr>").next().unwrap().to_owned()
    };
    let rate = row("SubmitTrainingRequest.learningRate");
    for expected in [
        "also <code>learning_rate</code>",
        "string holding a number",
        "also reads integer, number",
        "0.0000001 to 0.0001",
    ] {
        assert!(rate.contains(expected), "{expected} is not in {rate}");
    }
    let list = row("SubmitTrainingRequest.fileUrlList");
    assert!(
        list.contains("10 to 100 items") && list.contains(">required<") && !list.contains("class=\"badge"),
        "{list}"
    );
    let inferred = row("SubmitTrainingRequest.callbackUrl");
    assert!(inferred.contains("badge inferred") && inferred.contains(">optional<"), "{inferred}");
}

#[test]
fn published_quirks_stand_with_the_example() {
    let (api, page) = (api(), super::emit(&api()).unwrap());
    let quirks = api.operations().flat_map(|operation| &operation.request_notes.examples);
    let quirks: Vec<_> = quirks.filter_map(|example| example.quirk.as_ref()).collect();
    assert!(!quirks.is_empty());
    for quirk in quirks {
        let words = quirk.split(['_', '`']).next().unwrap();
        assert!(page.contains(&escaped(words)), "{quirk}");
    }
}

#[test]
fn every_link_into_the_page_leads_somewhere() {
    let page = super::emit(&api()).unwrap();
    let ids = between(&page, " id=\"", "\"");
    let mut once = ids.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), ids.len(), "an id stands twice");
    for target in between(&page, " href=\"#", "\"") {
        assert!(ids.contains(&target), "nothing has the id {target}");
    }
}

/// Addresses are followed by readers, never by the page.
#[test]
fn nothing_is_loaded() {
    let page = super::emit(&api()).unwrap();
    for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let loads =
            [" src=", " srcset=", " data=", " action=", " poster="].iter().any(|attribute| tag.contains(attribute));
        assert!(!loads, "<{tag}>");
        let name = tag.split(' ').next().unwrap();
        assert!(!["img", "iframe", "object", "embed", "video", "audio", "base", "form"].contains(&name), "<{tag}>");
        assert!(!tag.contains(" href=\"http") || name == "a", "<{tag}>");
        assert!(name != "link" || tag.contains("href=\"data:,\""), "<{tag}>");
    }
    let style = between(&page, "<style>", "</style>")[0];
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[test]
fn what_looks_like_a_tag_stays_text() {
    let mut api = api();
    let hostile = "A <lora:x:1> prompt, <b onclick=\"x\">bold</b>, [l](javascript:x), \
                   ![p](https://example.com/p.png) `<i>`.\n\n<script>x</script>";
    let operation = &mut api.documents[0].operations[0];
    operation.description = hostile.into();
    operation.summary = "A <lora:x:1>".into();
    operation.request_notes.examples[0].value = serde_json::json!({"</script>": "<lora:x:1>"});
    let page = super::emit(&api).unwrap();
    let id = &api.documents[0].operations[0].id;
    let section = part(&page, &format!("op-{id}"));
    assert!(section.contains("A &lt;lora:x:1&gt; prompt, &lt;b onclick="), "{section}");
    assert!(section.contains("<code>&lt;i&gt;</code>") && section.contains("&lt;script&gt;"), "{section}");
    for raw in ["<lora", "<b ", "<i>", "javascript:", "<img", "</script>"] {
        assert!(!section.contains(raw), "{raw} is in {section}");
    }
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("</script").count(), 1);
    assert!(page.contains("&lt;lora:x:1&gt;&quot;"));
}
