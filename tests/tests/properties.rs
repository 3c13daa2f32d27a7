//! Properties that hold for every value of every type of the wire.

use imgopen_client::types::{SubmitTrainingRequest, operations, read};
use imgopen_tests::calls::{build_request, read_request, read_response};
use imgopen_tests::values::object;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value};

/// Few cases for each of many types; together there are many.
fn runner() -> TestRunner {
    TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() })
}

#[test]
fn any_request_survives_write_read_write() {
    for operation in operations::ALL {
        let outcome = runner().run(&object(operation.request), |value| {
            let text = value.to_string();
            let written =
                read_request(operation.id, text.as_bytes()).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(&written, &text, "the canonical form is a fixed point");
            let built = build_request(operation.id, text.as_bytes()).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(&built, &text, "the builder writes the canonical form");
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{}: {error}", operation.id));
    }
}

#[test]
fn any_answer_survives_write_read_write() {
    for operation in operations::ALL {
        let outcome = runner().run(&object(operation.response), |value| {
            let text = value.to_string();
            let written =
                read_response(operation.id, text.as_bytes()).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(&written, &text);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{}: {error}", operation.id));
    }
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_mix_of_spellings_reads_the_same(
        value in object(<SubmitTrainingRequest as imgopen_types::Wire>::schema()),
        mix in proptest::collection::vec(any::<bool>(), 64),
        turn in 0usize..40,
    ) {
        let declared: SubmitTrainingRequest = read(value.to_string().as_bytes()).unwrap();
        let mixed = respelled(&value, &mix, turn);
        let read: SubmitTrainingRequest = read(mixed.to_string().as_bytes()).unwrap();
        prop_assert_eq!(read, declared);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", operation in 0..operations::ALL.len()) {
        let _ = read_request(operations::ALL[operation].id, text.as_bytes());
    }
}

/// The same request with some keys in their other spelling and the members in another order.
fn respelled(value: &Value, mix: &[bool], turn: usize) -> Value {
    let schema = <SubmitTrainingRequest as imgopen_types::Wire>::schema();
    let mut members: Vec<_> = value.as_object().unwrap().iter().collect();
    let count = members.len();
    members.rotate_left(turn % count);
    let respell = |(index, (name, value)): (usize, (&String, &Value))| {
        let alias = schema.field(name).and_then(|field| field.aliases.first()).filter(|_| mix[index % mix.len()]);
        (alias.map_or(name.clone(), |alias| (*alias).to_owned()), value.clone())
    };
    Value::Object(members.into_iter().enumerate().map(respell).collect::<Map<_, _>>())
}
