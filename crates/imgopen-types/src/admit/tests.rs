//! Every rule just inside and just outside, every leniency, and the wording of the messages.

use super::*;
use crate::schema::{Choice, Numeric, Pattern, Provenance};

static URL: Pattern = Pattern::new(crate::address::ADDRESS);
static NAMES: List = List::of(Shape::Text(Text::ANY.min_length(1))).min_items(1).max_items(2).unique(true);
static UNITS: List = List::of(Shape::Object(&INNER));
static COLOURS: [Choice<&str>; 2] = [
    Choice { value: "red", about: "", provenance: Provenance::Published, source: None },
    Choice { value: "dark blue", about: "", provenance: Provenance::Published, source: None },
];
static CLOSED: TextEnum = TextEnum { name: "Colour", about: "", source: None, values: &COLOURS, open: false };
static OPEN: TextEnum = TextEnum { name: "Shade", about: "", source: None, values: &COLOURS, open: true };

static INNER: Object = Object {
    name: "Inner",
    about: "",
    source: None,
    fields: &[Field::required("weight", Shape::Number(Number::ANY.minimum(0.0).maximum(2.0)))],
    unknown: Unknown::Kept,
    exactly_one: &[],
};

const ANY: Shape = Shape::Text(Text::ANY);
const COUNT: Shape = Shape::Integer(Integer::ANY.minimum(10).maximum(50));

static OUTER: Object = Object {
    name: "Outer",
    about: "",
    source: None,
    fields: &[
        Field::optional("count", COUNT).aliases(&["the_count"]).accepts(&[JsonType::String, JsonType::Number]),
        Field::optional("flag", Shape::Boolean).accepts(&[JsonType::Integer]),
        Field::optional("rate", Shape::Text(Text::ANY.numeric(Numeric::ANY.minimum(1e-7).maximum(1e-4))))
            .accepts(&[JsonType::Number]),
        Field::optional("seed", Shape::Text(Text::ANY.numeric(Numeric::ANY.integer(true))))
            .accepts(&[JsonType::Integer]),
        Field::optional("share", Shape::Number(Number::ANY.minimum(0.0).above_minimum(true).maximum(1.0)))
            .accepts(&[JsonType::String]),
        Field::optional("size", Shape::Integer(Integer::ANY.one_of(&[2, 4]))),
        Field::optional("word", Shape::Text(Text::ANY.min_length(2).max_length(3))),
        Field::optional("url", Shape::Text(Text::ANY.pattern(&URL))).accepts(&[JsonType::Array]),
        Field::optional("names", Shape::List(&NAMES)).accepts(&[JsonType::String]),
        Field::optional("closed", Shape::TextEnum(&CLOSED)),
        Field::optional("open", Shape::TextEnum(&OPEN)),
        Field::optional("maybe", ANY).nullable(),
        Field::optional("lenient", ANY).accepts(&[JsonType::Null]),
        Field::optional("inner", Shape::Object(&INNER)),
        Field::optional("units", Shape::List(&UNITS)),
    ],
    unknown: Unknown::Refused,
    exactly_one: &[],
};

fn faults(json: &str) -> Vec<(Rule, String)> {
    match admit(&OUTER, serde_json::from_str(json).unwrap()) {
        Ok(_) => Vec::new(),
        Err(violations) => violations.iter().map(|violation| (violation.rule, violation.to_string())).collect(),
    }
}

/// The value that a field is read as.
fn value(json: &str) -> String {
    let Admitted::Record(record) = admit(&OUTER, serde_json::from_str(json).unwrap()).unwrap() else { panic!() };
    format!("{:?}", record.slots.into_iter().flatten().next())
}

#[test]
fn every_bound_holds_just_inside_and_breaks_just_outside() {
    for (inside, outside, rule) in [
        (r#"{"count":10}"#, r#"{"count":9}"#, Rule::Range),
        (r#"{"count":50}"#, r#"{"count":51}"#, Rule::Range),
        (r#"{"rate":"0.0000001"}"#, r#"{"rate":"0.00000009"}"#, Rule::Range),
        (r#"{"rate":"1e-4"}"#, r#"{"rate":"0.00010001"}"#, Rule::Range),
        (r#"{"rate":"5E-05"}"#, r#"{"rate":"NaN"}"#, Rule::Pattern),
        (r#"{"rate":"+.5e-5"}"#, r#"{"rate":"inf"}"#, Rule::Pattern),
        (r#"{"rate":"0.00001"}"#, r#"{"rate":""}"#, Rule::Pattern),
        (r#"{"seed":"-1"}"#, r#"{"seed":"1.5"}"#, Rule::Pattern),
        (r#"{"seed":"99999999999999999999"}"#, r#"{"seed":"-"}"#, Rule::Pattern),
        (r#"{"share":1}"#, r#"{"share":1.0000001}"#, Rule::Range),
        (r#"{"share":0.0000001}"#, r#"{"share":0}"#, Rule::Range),
        (r#"{"size":4}"#, r#"{"size":3}"#, Rule::Range),
        (r#"{"word":"äö"}"#, r#"{"word":"ä"}"#, Rule::Length),
        (r#"{"word":"äöü"}"#, r#"{"word":"äöüß"}"#, Rule::Length),
        (r#"{"url":"https://a b"}"#, r#"{"url":"ftp://a"}"#, Rule::Pattern),
        (r#"{"url":" HTTP://a"}"#, r#"{"url":"https://"}"#, Rule::Pattern),
        (r#"{"names":["a"]}"#, r#"{"names":[]}"#, Rule::Items),
        (r#"{"names":["a","b"]}"#, r#"{"names":["a","b","c"]}"#, Rule::Items),
        (r#"{"names":["a","A"]}"#, r#"{"names":["a","a"]}"#, Rule::Items),
        (r#"{"closed":"dark blue"}"#, r#"{"closed":"Dark Blue"}"#, Rule::Choice),
        (r#"{"open":"light green"}"#, r#"{"open":7}"#, Rule::Type),
        (r#"{"maybe":null}"#, r#"{"word":null}"#, Rule::Null),
        (r#"{"lenient":null}"#, r#"{"units":[null]}"#, Rule::Null),
        (r#"{"inner":{"weight":2}}"#, r#"{"inner":{"weight":2.5}}"#, Rule::Range),
        (r#"{"inner":{"weight":2,"more":[]}}"#, r#"{"inner":{}}"#, Rule::Missing),
        (r#"{"the_count":20}"#, r#"{"the_count":20,"count":20}"#, Rule::Twice),
        (r#"{}"#, r#"{"counts":20}"#, Rule::Unknown),
        (r#"{}"#, r#"[]"#, Rule::Type),
    ] {
        assert_eq!(faults(inside), [], "{inside}");
        let found = faults(outside);
        assert_eq!(found.iter().map(|(rule, _)| *rule).collect::<Vec<_>>(), [rule], "{outside}: {found:?}");
    }
}

#[test]
fn accepted_types_are_read_as_the_declared_one_and_others_are_not() {
    for (json, expected) in [
        (r#"{"count":"20"}"#, "Some(Integer(20))"),
        (r#"{"count":20.0}"#, "Some(Integer(20))"),
        (r#"{"flag":0}"#, "Some(Boolean(false))"),
        (r#"{"rate":0.00005}"#, r#"Some(Text("0.00005"))"#),
        (r#"{"seed":-7}"#, r#"Some(Text("-7"))"#),
        (r#"{"seed":18446744073709551615}"#, r#"Some(Text("18446744073709551615"))"#),
        (r#"{"share":"5e-1"}"#, "Some(Number(0.5))"),
        (r#"{"url":["https://a"]}"#, r#"Some(Text("https://a"))"#),
        (r#"{"names":"a"}"#, r#"Some(List([Text("a")]))"#),
        (r#"{"lenient":null}"#, "None"),
        (r#"{"maybe":null}"#, "Some(Null)"),
    ] {
        assert_eq!(value(json), expected, "{json}");
    }
    for (json, rule) in [
        (r#"{"count":20.5}"#, Rule::Type),
        (r#"{"count":"twenty"}"#, Rule::Type),
        (r#"{"count":"51"}"#, Rule::Range),
        (r#"{"flag":2}"#, Rule::Type),
        (r#"{"flag":"true"}"#, Rule::Type),
        (r#"{"seed":1.5}"#, Rule::Type),
        (r#"{"share":"inf"}"#, Rule::Type),
        (r#"{"url":["https://a","https://b"]}"#, Rule::Type),
        (r#"{"url":[]}"#, Rule::Type),
        (r#"{"size":"2"}"#, Rule::Type),
        (r#"{"size":9223372036854775808}"#, Rule::Range),
    ] {
        assert_eq!(faults(json).iter().map(|(rule, _)| *rule).collect::<Vec<_>>(), [rule], "{json}");
    }
}

#[test]
fn messages_name_the_field_the_value_and_the_fix() {
    for (json, expected) in [
        (r#"{"count":51}"#, "`count`: 51 given, a whole number from 10 to 50 expected"),
        (r#"{"the_count":1}"#, "`count`: 1 given, a whole number from 10 to 50 expected"),
        (r#"{"closed":"green"}"#, r#"`closed`: "green" given, one of "red", "dark blue" expected"#),
        (
            r#"{"units":[{"weight":1},{"weight":"x"}]}"#,
            r#"`units[1].weight`: "x" given, a number from 0 to 2 expected"#,
        ),
        (r#"{"inner":{}}"#, "`inner.weight`: missing; give a number from 0 to 2"),
        (r#"{"cuont":1}"#, "`cuont`: not a field of Outer; did you mean `count`?"),
        (r#"{"the_Count":1}"#, "`the_Count`: not a field of Outer; did you mean `count`?"),
        (r#"{"zzzzzzzz":1}"#, "`zzzzzzzz`: not a field of Outer; remove it"),
        (r#"{"count":20,"the_count":20}"#, "`count`: given twice, as `count` and as `the_count`; keep one"),
        (r#"{"count":20,"count":20}"#, "`count`: given twice; keep one"),
        (r#"{"word":null}"#, "`word`: null given; leave it out or give a text of 2 to 3 characters"),
        (r#"{"names":["a","b","a"]}"#, "`names`: 3 items given, a list of 1 to 2 items expected"),
        (
            r#"{"size":12054219663806224000000000}"#,
            "`size`: 12054219663806224000000000 given, which no 64 bits hold; give one of 2, 4",
        ),
        (r#"{"url":"a.png"}"#, r#"`url`: "a.png" given, a URL that begins with http:// or https:// expected"#),
        (
            r#"{"url":"data:image/png;base64,iVBORw0KGgo="}"#,
            "`url`: a `data:` URL given, which is not taken; put the file where the server can fetch it, and give a URL that \
             begins with http:// or https://",
        ),
        (
            r#"{"url":"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"}"#,
            "`url`: a file in base64 given, which is not taken; put the file where the server can fetch it, and give a URL \
             that begins with http:// or https://",
        ),
        (r#"7"#, "the body: 7 given, an object expected"),
    ] {
        let found: Vec<_> = faults(json).into_iter().map(|(_, message)| message).collect();
        assert_eq!(found, [expected]);
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let found = faults(r#"{"word":"x","count":9,"names":["",3],"nope":1}"#);
    let fields: Vec<_> = found.iter().map(|(_, text)| text.split(':').next().unwrap()).collect();
    assert_eq!(fields, ["`nope`", "`count`", "`word`", "`names[0]`", "`names[1]`"]);
}

#[test]
fn a_hostile_body_is_judged_without_quadratic_work() {
    // A million steps of the quadratic kind would take minutes here; linear work takes a moment.
    let many = |value: &str| (0..200_000).map(|n| format!("\"x{n}\":{value}")).collect::<Vec<_>>().join(",");
    let refused = admit(&OUTER, serde_json::from_str(&format!("{{{}}}", many("0"))).unwrap()).unwrap_err();
    assert_eq!((refused.len(), refused.iter().count()), (200_000, Violations::MOST));
    let kept = format!(r#"{{"weight":1,{},"x7":0}}"#, many("0"));
    let twice = admit(&INNER, serde_json::from_str(&kept).unwrap()).unwrap_err();
    assert_eq!(twice.to_string(), "`x7`: given twice; keep one");
    let names = format!(r#"{{"names":[{}]}}"#, vec!["0"; 200_000].join(","));
    assert_eq!(admit(&OUTER, serde_json::from_str(&names).unwrap()).unwrap_err().len(), 200_001);
}
