//! The tables of the contract: a snapshot of all operations, and what holds for every one of them.

use imgopen_tests::document::request_examples;
use imgopen_types::schema::{Object, Shape};
use imgopen_types::{Operation, operations};

#[test]
fn operations() {
    let mut table = String::new();
    for operation in operations::ALL {
        let job = operation.job.as_ref();
        let query = job.map(|job| {
            let parameters: Vec<_> = job.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}({}) {}", job.query, job.field, parameters.join(",")).trim_end().to_owned()
        });
        table += &format!(
            "{}\n    {} {}\n    request     {}\n    answer      {}\n    query       {}\n    callback    {}\n    provenance  {}{}\n",
            operation.id,
            operation.method,
            operation.path,
            operation.request.name,
            operation.response.name,
            query.as_deref().unwrap_or("-"),
            operation.callback.as_ref().map_or("-", |callback| callback.body.name),
            operation.provenance.word(),
            if operation.idempotent { ", idempotent" } else { "" },
        );
    }
    insta::assert_snapshot!(table);
}

/// A URL of a request by its pattern: every text, and every list of texts, that must begin with `http://` or `https://`.
fn urls(object: &'static Object, path: &str, found: &mut Vec<(String, bool)>) {
    for field in object.fields {
        let path = format!("{path}/{}", field.name);
        let mut shape = &field.shape;
        while let Shape::List(list) = shape {
            shape = &list.item;
        }
        match shape {
            Shape::Object(inner) => urls(inner, &path, found),
            Shape::Text(rules) if rules.pattern.is_some_and(|pattern| pattern.as_str().contains("://")) => {
                found.push((path, field.picture));
            }
            _ => assert!(!field.picture, "{path} is not a URL"),
        }
    }
}

#[test]
fn every_url_of_a_request_but_the_callback_address_is_a_picture() {
    let mut pictures = 0;
    for operation in operations::ALL {
        let mut found = Vec::new();
        urls(operation.request, "", &mut found);
        let address = operation.callback.as_ref().map(|callback| format!("/{}", callback.field));
        for (path, picture) in found {
            assert_eq!(picture, Some(&path) != address.as_ref(), "{}: {path}", operation.id);
            pictures += usize::from(picture);
        }
    }
    assert!(pictures > 20, "{pictures}");
}

#[test]
fn every_job_has_a_caller_id_which_its_examples_hold() {
    for operation in operations::ALL {
        let Some(caller_id) = operation.caller_id else {
            assert!(operation.job.is_none(), "{} has no caller id", operation.id);
            continue;
        };
        for example in request_examples(operation.id).iter().filter(|example| !example.is_quirk) {
            let id = caller_id.find(&example.value);
            assert!(id.is_some_and(|id| !id.is_empty()), "{}, example {}", operation.id, example.name);
        }
    }
    let is_unique = |operation: &Operation| operation.caller_id.is_some_and(|caller_id| caller_id.unique);
    assert!(is_unique(&operations::SUBMIT_TRAINING) && !is_unique(&operations::TEXT_TO_IMAGE));
}

#[test]
fn every_example_of_an_operation_with_a_model_names_one() {
    assert!(operations::TEXT_TO_IMAGE.model.is_some() && operations::ENLARGE_IMAGE.model.is_none());
    for operation in operations::ALL.iter().filter(|operation| operation.model.is_some()) {
        let examples = request_examples(operation.id);
        assert!(examples.iter().all(|example| operation.model_of(&example.value).is_some()), "{}", operation.id);
    }
}

/// Phrases that only sentences about the sources of a fact hold.
const SOURCE_WORDS: &[&str] = &[
    "Quirk",
    "published",
    "Published",
    "Public client",
    "public client",
    "Chinese page",
    "English page",
    "nferred",
    "not available",
    "Typed as in",
    "The page ",
    "flag is",
    "declares it",
    "external sheet",
    "by analogy",
];

fn assert_clean(place: &str, about: &str) {
    let word = SOURCE_WORDS.iter().find(|word| about.contains(*word));
    assert_eq!(word, None, "{place}: {about}");
    assert!(about.len() > 8 && about.ends_with(['.', '`']), "{place}: {about}");
}

fn assert_clean_object(object: &'static Object) {
    assert_clean(object.name, object.about);
    for field in object.fields {
        if !field.about.is_empty() {
            assert_clean(&format!("{}.{}", object.name, field.name), field.about);
        }
        let mut shape = &field.shape;
        while let Shape::List(list) = shape {
            shape = &list.item;
        }
        match shape {
            Shape::Object(inner) => assert_clean_object(inner),
            Shape::TextEnum(set) => assert_clean(set.name, set.about),
            Shape::IntegerEnum(set) => assert_clean(set.name, set.about),
            _ => {}
        }
    }
}

#[test]
fn descriptions_say_what_things_mean_and_not_where_that_is_from() {
    for operation in operations::ALL {
        assert_clean(operation.id, operation.about);
        operation.parameters.iter().for_each(|parameter| assert_clean(parameter.name, parameter.about));
        assert_clean_object(operation.request);
        assert_clean_object(operation.response);
    }
    // The vendor's facts have sources to name; what a server of this project adds has none but the document.
    let mut vendor = operations::ALL.iter().filter(|operation| operation.document == "imgopen");
    assert!(vendor.all(|operation| operation.source.is_some()));
}
