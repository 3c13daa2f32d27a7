use imgopen_types::operations;
use imgopen_types::schema::{Object, Shape};
use serde_json::json;

use super::table::ROWS;
use super::*;

const OPERATIONS: [&Operation; 4] =
    [&operations::TEXT_TO_IMAGE, &operations::IMAGE_TO_IMAGE, &operations::CONTROLNET, &operations::FLUX_TEXT_TO_IMAGE];

/// The fields of an object by their paths, down to those that are no objects or declare no members.
fn leaves(object: &'static Object, path: &str) -> Vec<String> {
    let of = |shape: Shape, path: String| match shape {
        Shape::Object(object) if !object.fields.is_empty() => leaves(object, &path),
        Shape::List(list) => match list.item {
            Shape::Object(object) => leaves(object, &format!("{path}[0]")),
            _ => vec![path],
        },
        _ => vec![path],
    };
    object.fields.iter().flat_map(|field| of(field.shape, join(path, field.name))).collect()
}

/// A request in which the field at a path has a value.
fn request(path: &str, value: &Value) -> Value {
    path.rsplit('.').fold(value.clone(), |value, part| match part.strip_suffix("[0]") {
        Some(name) => json!({ name: [value] }),
        None => json!({ part: value }),
    })
}

#[test]
fn every_field_of_every_operation_has_a_row_of_its_own() {
    for operation in OPERATIONS {
        let fields = leaves(operation.request, "");
        assert!(fields.len() >= 8, "{}: {fields:?}", operation.id);
        for field in fields {
            let row = row(operation.id, &field).unwrap_or_else(|| panic!("{}: `{field}` has no row", operation.id));
            assert_eq!(row.field, generic(&field), "{}", operation.id);
        }
    }
}

#[test]
fn each_row_is_about_one_field_and_says_why_it_refuses_and_what_would_do_it() {
    for row in ROWS {
        assert!(row.operations.iter().all(|id| OPERATIONS.iter().any(|operation| operation.id == *id)), "{row:?}");
        for id in row.operations {
            let same = ROWS.iter().filter(|other| other.field == row.field && other.operations.contains(id));
            assert_eq!(same.count(), 1, "`{}` of `{id}`", row.field);
        }
        for cell in row.cells {
            let needs_text = matches!(cell.treatment, Treatment::Refused | Treatment::Approximated);
            assert!(!needs_text || !cell.text.is_empty(), "`{}` does not say why", row.field);
            let is_advised = cell.treatment != Treatment::Refused || cell.text.contains("; ");
            assert!(is_advised, "`{}` does not say what would do it: {}", row.field, cell.text);
        }
        for neutral in row.neutral {
            assert!(serde_json::from_str::<Value>(neutral).is_ok(), "`{}`: {neutral} is not JSON", row.field);
        }
    }
}

#[test]
fn requests_are_refused_and_noted_as_the_table_says() {
    for row in ROWS {
        let path = row.field.replace("[]", "[0]").replace('*', "some_member");
        let body = request(&path, &json!("a value that no row takes for nothing"));
        for id in row.operations {
            let operation = imgopen_types::operation::find(id).unwrap();
            for kind in Kind::ALL {
                let result = check(kind, "mine", operation, &body);
                let cell = row.cell(kind);
                match cell.treatment {
                    Treatment::Refused => {
                        let error = result.unwrap_err().to_string();
                        let expected = format!("`{path}`: the back end `mine` ({}) {}", kind.program(), cell.text);
                        assert_eq!(error, expected);
                    }
                    Treatment::Approximated => assert_eq!(result.unwrap(), [format!("`{path}`: {}", cell.text)]),
                    _ => assert_eq!(result, Ok(Vec::new()), "{kind}: `{path}` of `{id}`"),
                }
                for neutral in row.neutral {
                    let body = request(&path, &serde_json::from_str(neutral).unwrap());
                    assert_eq!(check(kind, "mine", operation, &body), Ok(Vec::new()), "{kind}: `{path}` is {neutral}");
                }
            }
        }
    }
}

#[test]
fn controlnet_is_checked_in_both_places() {
    for body in [
        json!({"controlnet": {"args": [{}, {"control_mode": 2}]}}),
        json!({"alwayson_scripts": {"controlnet": {"args": [{}, {"control_mode": 2}]}}}),
    ] {
        let error = check(Kind::SdServer, "mine", &operations::CONTROLNET, &body).unwrap_err().to_string();
        assert!(error.contains("controlnet.args[1].control_mode`: the back end `mine` (sd-server)"), "{error}");
        assert!(check(Kind::SdWebui, "mine", &operations::CONTROLNET, &body).is_ok());
        let error = check(Kind::SdWebui, "mine", &operations::TEXT_TO_IMAGE, &json!({"controlnet": {}}));
        assert!(error.unwrap_err().to_string().contains("does not know this member"));
    }
}

#[test]
fn a_member_that_is_null_asks_for_nothing() {
    let body = json!({"tiling": null, "restore_faces": null});
    assert_eq!(check(Kind::ComfyUi, "mine", &operations::TEXT_TO_IMAGE, &body), Ok(Vec::new()));
}
