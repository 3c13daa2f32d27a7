//! Values of the contract, made from its own tables: one for any bound, or at random for property tests.

use imgopen_types::schema::{Field, Integer, List, Number, Object, Shape, Text, Unknown};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

/// Values of a field just inside and just outside its rules.
#[derive(Debug, Default)]
pub struct Edges {
    /// Values that must be taken.
    pub inside: Vec<Value>,
    /// Values that must be refused.
    pub outside: Vec<Value>,
}

/// The edges of a shape's rules. A shape without rules has none.
pub fn edges(shape: &Shape) -> Edges {
    match shape {
        Shape::Boolean => Edges { inside: vec![json!(true), json!(false)], outside: vec![json!("yes"), json!(2)] },
        Shape::Integer(rules) => integer_edges(rules),
        Shape::Number(rules) => number_edges(rules),
        Shape::Text(rules) => text_edges(rules),
        Shape::List(rules) => list_edges(rules),
        Shape::TextEnum(set) => {
            let inside = set.values.iter().map(|value| json!(value.value)).collect();
            let beyond = json!("none of them");
            match set.open {
                true => Edges { inside: [inside, vec![beyond]].concat(), outside: vec![json!(true)] },
                false => Edges { inside, outside: vec![beyond, json!("")] },
            }
        }
        Shape::IntegerEnum(_) => Edges { inside: vec![json!(1), json!(-77)], outside: vec![json!(true)] },
        Shape::Object(_) => Edges { inside: vec![], outside: vec![json!([]), json!("text")] },
    }
}

fn integer_edges(rules: &Integer) -> Edges {
    let mut edges = Edges { inside: vec![], outside: vec![json!(true), json!({})] };
    if let Some(least) = rules.minimum {
        edges.inside.push(json!(least));
        edges.outside.push(json!(least - 1));
    }
    if let Some(most) = rules.maximum {
        edges.inside.push(json!(most));
        edges.outside.push(json!(most + 1));
    }
    edges.inside.extend(rules.one_of.iter().map(|value| json!(value)));
    let beside = rules.one_of.iter().flat_map(|value| [value - 1, value + 1]);
    edges.outside.extend(beside.filter(|value| !rules.one_of.contains(value)).map(Value::from));
    edges
}

fn number_edges(rules: &Number) -> Edges {
    const STEP: f64 = 1e-9;
    let mut edges = Edges { inside: vec![], outside: vec![json!(true), json!([])] };
    match (rules.minimum, rules.above_minimum) {
        (Some(least), false) => {
            edges.inside.push(json!(least));
            edges.outside.push(json!(least - STEP));
        }
        (Some(least), true) => {
            edges.inside.push(json!(least + STEP));
            edges.outside.push(json!(least));
        }
        (None, _) => {}
    }
    if let Some(most) = rules.maximum {
        edges.inside.push(json!(most));
        edges.outside.push(json!(most + STEP));
    }
    edges
}

fn text_edges(rules: &Text) -> Edges {
    let mut edges = Edges { inside: vec![], outside: vec![json!(true), json!({})] };
    if let Some(least) = rules.min_length {
        edges.inside.push(json!("ä".repeat(least)));
        edges.outside.extend(least.checked_sub(1).map(|short| json!("ä".repeat(short))));
    }
    if let Some(most) = rules.max_length {
        edges.inside.push(json!("ä".repeat(most)));
        edges.outside.push(json!("ä".repeat(most + 1)));
    }
    if rules.pattern.is_some() {
        edges.inside.extend([json!("https://example.com/a b.png"), json!("http://x"), json!(" HTTPS://x")]);
        edges.outside.extend([json!("https://"), json!("ftp://example.com/a.png"), json!("x https://x")]);
    }
    if let Some(numeric) = rules.numeric {
        edges.outside.extend([json!("NaN"), json!("one"), json!("")]);
        let step = 1e-12;
        edges.inside.extend(numeric.minimum.map(|least| json!(least.to_string())));
        edges.outside.extend(numeric.minimum.map(|least| json!((least - step).to_string())));
        edges.inside.extend(numeric.maximum.map(|most| json!(format!("{most:e}"))));
        edges.outside.extend(numeric.maximum.map(|most| json!((most + step).to_string())));
        edges.outside.extend(numeric.integer.then(|| json!("1.5")));
    }
    edges
}

fn list_edges(rules: &List) -> Edges {
    let item = edges(&rules.item).inside.into_iter().next().unwrap_or_else(|| json!({}));
    let list = |length| Value::from(vec![item.clone(); length]);
    let mut edges = Edges { inside: vec![], outside: vec![json!(true), json!({})] };
    if let Some(least) = rules.min_items {
        edges.inside.push(list(least));
        edges.outside.extend(least.checked_sub(1).map(list));
    }
    if let Some(most) = rules.max_items {
        edges.inside.push(list(most));
        edges.outside.push(list(most + 1));
    }
    if rules.unique {
        edges.outside.push(list(2));
    }
    edges
}

/// Any object that fits the schema, in canonical form.
pub fn object(schema: &'static Object) -> BoxedStrategy<Value> {
    let fields: Vec<_> = schema.fields.iter().map(|field| (field.name, maybe(field))).collect();
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let extra = match schema.unknown {
        Unknown::Kept => prop_oneof![Just(Vec::new()), Just(vec![("x_unknown", json!({"a": [1, null]}))])].boxed(),
        _ => Just(Vec::new()).boxed(),
    };
    (values, extra)
        .prop_map(move |(values, extra)| {
            let members = names.iter().copied().zip(values).filter_map(|(name, value)| Some((name, value?)));
            let members: Map<_, _> = members.chain(extra).map(|(name, value)| (name.to_owned(), value)).collect();
            Value::Object(members)
        })
        .prop_map(move |value| exactly_one(schema, value))
        .boxed()
}

fn maybe(field: &'static Field) -> BoxedStrategy<Option<Value>> {
    let value = shape(&field.shape).prop_map(Some);
    match (field.required, field.nullable) {
        (true, false) => value.boxed(),
        (true, true) => prop_oneof![value, Just(Some(Value::Null))].boxed(),
        (false, false) => prop_oneof![value, Just(None)].boxed(),
        (false, true) => prop_oneof![value, Just(None), Just(Some(Value::Null))].boxed(),
    }
}

/// Removes members that exclude one another, and adds those that are required.
fn exactly_one(schema: &'static Object, mut value: Value) -> Value {
    let [first, others @ ..] = schema.exactly_one else { return value };
    for path in others {
        match path {
            [name] => drop(value.as_object_mut().and_then(|members| members.shift_remove(*name))),
            [outer, name, ..] => {
                drop(
                    value
                        .get_mut(*outer)
                        .and_then(Value::as_object_mut)
                        .and_then(|members| members.shift_remove(*name)),
                );
            }
            [] => {}
        }
    }
    let field = schema.field(first[0]).expect("the rule names a field");
    if value.get(field.name).is_none() {
        let given = edges(&field.shape).inside.into_iter().next();
        let filler =
            if matches!(field.shape, Shape::Object(_)) { json!({}) } else { given.unwrap_or_else(|| json!("x")) };
        value[field.name] = filler;
    }
    in_order(schema, value)
}

/// Declared members first, in the declared order, then the others.
fn in_order(schema: &'static Object, mut value: Value) -> Value {
    let Some(members) = value.as_object_mut() else { return value };
    let declared = schema.fields.iter().filter_map(|field| members.shift_remove_entry(field.name)).collect::<Vec<_>>();
    let others = std::mem::take(members);
    Value::Object(declared.into_iter().chain(others).collect())
}

fn shape(shape: &'static Shape) -> BoxedStrategy<Value> {
    match shape {
        Shape::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Shape::Integer(rules) if !rules.one_of.is_empty() => select(rules.one_of).prop_map(Value::from).boxed(),
        Shape::Integer(rules) => {
            (rules.minimum.unwrap_or(i64::MIN)..=rules.maximum.unwrap_or(i64::MAX)).prop_map(Value::from).boxed()
        }
        Shape::Number(rules) => number(rules),
        Shape::Text(rules) => text(rules),
        Shape::List(rules) => {
            let least = rules.min_items.unwrap_or(0);
            let most = rules.max_items.unwrap_or(least + 3).min(least + 3);
            let items = proptest::collection::vec(self::shape(&rules.item), least..=most);
            if rules.unique { items.prop_map(distinct).boxed() } else { items.prop_map(Value::from).boxed() }
        }
        Shape::TextEnum(set) => {
            let known = select(set.values.iter().map(|value| value.value).collect::<Vec<_>>()).prop_map(Value::from);
            if set.open { prop_oneof![known, "\\PC{0,20}".prop_map(Value::from)].boxed() } else { known.boxed() }
        }
        Shape::IntegerEnum(_) => any::<i64>().prop_map(Value::from).boxed(),
        Shape::Object(schema) => object(schema),
    }
}

/// A list without duplicates.
fn distinct(items: Vec<Value>) -> Value {
    let mut kept: Vec<Value> = Vec::new();
    for item in items {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept.into()
}

/// Numbers with and without a fraction; whole ones as the types write them.
fn number(rules: &'static Number) -> BoxedStrategy<Value> {
    let (least, most) = (rules.minimum.unwrap_or(-1e9), rules.maximum.unwrap_or(1e9));
    let above = rules.above_minimum;
    prop_oneof![4 => least..=most, 1 => Just(most), 1 => Just(least.ceil())]
        .prop_map(move |value| if above && value <= least { most } else { value })
        .prop_map(|value| if value.fract() == 0.0 { json!(value as i64) } else { json!(value) })
        .boxed()
}

fn text(rules: &'static Text) -> BoxedStrategy<Value> {
    if let Some(numeric) = rules.numeric {
        if numeric.integer {
            return any::<i64>().prop_map(|value| json!(value.to_string())).boxed();
        }
        let (least, most) = (numeric.minimum.unwrap_or(-1e3), numeric.maximum.unwrap_or(1e3));
        return (least..=most, any::<bool>())
            .prop_map(|(value, exponent)| json!(if exponent { format!("{value:e}") } else { value.to_string() }))
            .boxed();
    }
    if rules.pattern.is_some() {
        return "https?://[a-z]{1,8}\\.example/\\PC{0,20}".prop_map(Value::from).boxed();
    }
    let (least, most) = (rules.min_length.unwrap_or(0), rules.max_length.unwrap_or(40));
    proptest::collection::vec(any::<char>(), least..=most)
        .prop_map(|text| json!(text.into_iter().collect::<String>()))
        .boxed()
}
