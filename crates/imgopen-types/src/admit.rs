//! Checks a value against its schema and brings it into canonical form: declared names, declared order, declared types.
//!
//! Every leniency of the document is applied here and nowhere else: other spellings (`x-aliases`), other JSON types
//! (`x-accepts`). All faults are collected, not only the first.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;

use crate::node::Node;
use crate::numbers::{decimal, whole as written_whole};
use crate::schema::{Field, Integer, JsonType, List, Number, Object, Shape, Text, TextEnum, Unknown};
use crate::violation::{Rule, Violation, Violations};

/// A value that fits its schema.
#[derive(Debug)]
pub enum Admitted<'de> {
    Null,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(Cow<'de, str>),
    List(Vec<Admitted<'de>>),
    Record(Record<'de>),
}

/// An object that fits its schema: a slot for each declared field, in order, and the other members if they are kept.
#[derive(Debug)]
pub struct Record<'de> {
    pub(crate) slots: Vec<Option<Admitted<'de>>>,
    pub(crate) extra: Vec<(Cow<'de, str>, Node<'de>)>,
}

impl Admitted<'_> {
    /// The value in canonical form.
    pub(crate) fn into_json(self, shape: &Shape) -> Value {
        match (self, shape) {
            (Admitted::Null, _) => Value::Null,
            (Admitted::Boolean(value), _) => value.into(),
            (Admitted::Integer(value), _) => value.into(),
            (Admitted::Number(value), _) => written_whole(value).map_or_else(|| value.into(), Value::from),
            (Admitted::Text(text), _) => text.into_owned().into(),
            (Admitted::List(items), Shape::List(list)) => {
                items.into_iter().map(|item| item.into_json(&list.item)).collect()
            }
            (Admitted::Record(record), Shape::Object(schema)) => record.into_json(schema),
            // What was admitted has the shape that it was admitted by.
            (Admitted::List(_) | Admitted::Record(_), _) => Value::Null,
        }
    }
}

impl Record<'_> {
    fn into_json(self, schema: &Object) -> Value {
        let fields = schema.fields.iter().zip(self.slots);
        let declared = fields.filter_map(|(field, slot)| Some((field.name.to_owned(), slot?.into_json(&field.shape))));
        let extra = self.extra.into_iter().map(|(name, value)| (name.into_owned(), value.into_json()));
        declared.chain(extra).collect()
    }
}

/// Admits a whole body.
pub(crate) fn admit<'de>(schema: &'static Object, node: Node<'de>) -> Result<Admitted<'de>, Violations> {
    let mut gate = Gate { path: Vec::new(), violations: Violations::none() };
    match gate.object(schema, node) {
        Some(record) if gate.violations.is_empty() => Ok(Admitted::Record(record)),
        _ => Err(gate.violations),
    }
}

/// The state of the check: the current path and the faults found.
struct Gate {
    path: Vec<Step>,
    violations: Violations,
}

enum Step {
    Field(&'static str),
    Index(usize),
}

/// A member as it was sent: its spelling and its value.
type Member<'de> = (Cow<'de, str>, Node<'de>);

impl Gate {
    fn object<'de>(&mut self, schema: &'static Object, node: Node<'de>) -> Option<Record<'de>> {
        let Node::Object(members) = node else {
            return self.mismatch(&node, &Shape::Object(schema));
        };
        let (slots, extra) = self.sort(schema, members);
        self.exactly_one(schema, &slots);
        let mut record = Record { slots: Vec::with_capacity(slots.len()), extra };
        for (field, member) in schema.fields.iter().zip(slots) {
            self.path.push(Step::Field(field.name));
            record.slots.push(self.field(field, member.map(|(_, value)| value)));
            self.path.pop();
        }
        Some(record)
    }

    /// Puts every member into its field's slot; the rest is kept, ignored or rejected, as the schema says.
    fn sort<'de>(
        &mut self,
        schema: &'static Object,
        members: Vec<Member<'de>>,
    ) -> (Vec<Option<Member<'de>>>, Vec<Member<'de>>) {
        let mut slots: Vec<Option<Member<'de>>> = Vec::new();
        slots.resize_with(schema.fields.len(), || None);
        let mut extra: Vec<Member<'de>> = Vec::new();
        let mut expected = 0;
        for (name, value) in members {
            let Some(index) = schema.position(&name, expected) else {
                self.unknown(schema, name, value, &mut extra);
                continue;
            };
            expected = index + 1;
            if let Some((first, _)) = &slots[index] {
                self.fault_in(schema.fields[index].name, Rule::Twice, || match *first == name {
                    true => "given twice; keep one".to_owned(),
                    false => format!("given twice, as `{first}` and as `{name}`; keep one"),
                });
            } else {
                slots[index] = Some((name, value));
            }
        }
        self.repeated_extra(&extra);
        (slots, extra)
    }

    fn unknown<'de>(
        &mut self,
        schema: &'static Object,
        name: Cow<'de, str>,
        value: Node<'de>,
        extra: &mut Vec<Member<'de>>,
    ) {
        match schema.unknown {
            Unknown::Ignored => {}
            Unknown::Kept => extra.push((name, value)),
            Unknown::Refused => self.fault_in(&name, Rule::Unknown, || match nearest(schema, &name) {
                Some(near) => format!("not a field of {}; did you mean `{near}`?", schema.name),
                None => format!("not a field of {}; remove it", schema.name),
            }),
        }
    }

    fn repeated_extra(&mut self, extra: &[Member<'_>]) {
        let mut seen = HashSet::new();
        for (name, _) in extra.iter().filter(|(name, _)| !seen.insert(name.as_ref())) {
            self.fault_in(name, Rule::Twice, || "given twice; keep one".to_owned());
        }
    }

    fn exactly_one(&mut self, schema: &'static Object, slots: &[Option<Member<'_>>]) {
        if schema.exactly_one.is_empty() {
            return;
        }
        let given = schema.exactly_one.iter().filter(|path| present(schema, slots, path));
        let problem = match given.count() {
            1 => return,
            // It has a fault of its own, and may have been meant to hold the member.
            0 if schema.exactly_one.iter().any(|path| is_held_by_another_type(schema, slots, path)) => return,
            0 => "missing",
            _ => "given together with others",
        };
        self.fault_in(schema.exactly_one[0][0], Rule::ExactlyOne, || {
            let names: Vec<_> = schema.exactly_one.iter().map(|path| format!("`{}`", path.join("."))).collect();
            format!("{problem}; give exactly one of {}", names.join(" and "))
        });
    }

    fn field<'de>(&mut self, field: &'static Field, value: Option<Node<'de>>) -> Option<Admitted<'de>> {
        let Some(node) = value else {
            if field.required {
                self.fault(Rule::Missing, || format!("missing; give {}", field.shape.expectation()));
            }
            return None;
        };
        if node != Node::Null {
            return self.value(&field.shape, field.accepts, node);
        }
        if field.nullable {
            return Some(Admitted::Null);
        }
        if !field.accepts.contains(&JsonType::Null) {
            self.fault(Rule::Null, || {
                let fix = if field.required { "give" } else { "leave it out or give" };
                format!("null given; {fix} {}", field.shape.expectation())
            });
        }
        None
    }

    fn value<'de>(&mut self, shape: &'static Shape, accepts: &[JsonType], node: Node<'de>) -> Option<Admitted<'de>> {
        match (shape, convert(shape, accepts, node)) {
            (Shape::Boolean, Node::Boolean(value)) => Some(Admitted::Boolean(value)),
            (Shape::Integer(rules), Node::Integer(value)) => self.integer(shape, rules, value),
            (Shape::IntegerEnum(_), Node::Integer(value)) => Some(Admitted::Integer(value)),
            (Shape::Number(rules), Node::Integer(value)) => self.number(shape, rules, value as f64),
            (Shape::Number(rules), Node::Unsigned(value)) => self.number(shape, rules, value as f64),
            (Shape::Number(rules), Node::Number(value)) => self.number(shape, rules, value),
            (Shape::Text(rules), Node::Text(text)) => self.text(shape, rules, text),
            (Shape::TextEnum(set), Node::Text(text)) => self.choice(shape, set, text),
            (Shape::List(rules), Node::List(items)) => self.list(shape, rules, items),
            (Shape::Object(schema), node @ Node::Object(_)) => self.object(schema, node).map(Admitted::Record),
            (Shape::Integer(_) | Shape::IntegerEnum(_), node) if is_beyond_64_bits(&node) => {
                self.fault(Rule::Range, || {
                    format!("{} given, which no 64 bits hold; give {}", node.glimpse(), shape.expectation())
                });
                None
            }
            (shape, node) => self.mismatch(&node, shape),
        }
    }

    fn integer<'de>(&mut self, shape: &Shape, rules: &Integer, value: i64) -> Option<Admitted<'de>> {
        if !rules.allows(value) {
            self.fault(Rule::Range, || given(value, shape));
            return None;
        }
        Some(Admitted::Integer(value))
    }

    fn number<'de>(&mut self, shape: &Shape, rules: &Number, value: f64) -> Option<Admitted<'de>> {
        if !rules.allows(value) {
            self.fault(Rule::Range, || given(value, shape));
            return None;
        }
        Some(Admitted::Number(value))
    }

    fn text<'de>(&mut self, shape: &Shape, rules: &Text, text: Cow<'de, str>) -> Option<Admitted<'de>> {
        if let Some(rule) = rules.broken(&text) {
            self.fault(rule, || rules.complaint(&text).unwrap_or_else(|| given(Node::Text(text).glimpse(), shape)));
            return None;
        }
        Some(Admitted::Text(text))
    }

    fn choice<'de>(&mut self, shape: &Shape, set: &TextEnum, text: Cow<'de, str>) -> Option<Admitted<'de>> {
        if !set.open && !set.values.iter().any(|choice| choice.value == text) {
            self.fault(Rule::Choice, || given(Node::Text(text).glimpse(), shape));
            return None;
        }
        Some(Admitted::Text(text))
    }

    fn list<'de>(&mut self, shape: &Shape, rules: &'static List, items: Vec<Node<'de>>) -> Option<Admitted<'de>> {
        let few = rules.min_items.is_some_and(|least| items.len() < least);
        let many = rules.max_items.is_some_and(|most| items.len() > most);
        if few || many {
            self.fault(Rule::Items, || given(format!("{} items", items.len()), shape));
        } else if let Some(index) = rules.unique.then(|| repeated(&items)).flatten() {
            self.fault(Rule::Items, || format!("item {index} stands there twice; give each item once"));
        }
        let mut admitted = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            self.path.push(Step::Index(index));
            admitted.extend(self.value(&rules.item, &[], item));
            self.path.pop();
        }
        Some(Admitted::List(admitted))
    }

    fn mismatch<T>(&mut self, node: &Node<'_>, shape: &Shape) -> Option<T> {
        let rule = match node {
            Node::Null => Rule::Null,
            _ => Rule::Type,
        };
        self.fault(rule, || given(node.glimpse(), shape));
        None
    }

    fn fault(&mut self, rule: Rule, message: impl FnOnce() -> String) {
        let Self { path, violations } = self;
        violations.push(|| Violation { field: place(path), rule, message: message() });
    }

    /// A fault of a member of the object that the path leads to.
    fn fault_in(&mut self, name: &str, rule: Rule, message: impl FnOnce() -> String) {
        let Self { path, violations } = self;
        violations.push(|| {
            let mut field = place(path);
            if !field.is_empty() {
                field.push('.');
            }
            field.extend(name.chars().take(100));
            Violation { field, rule, message: message() }
        });
    }
}

/// The path as a person would write it: `alwayson_scripts.controlnet.args[0].weight`.
fn place(path: &[Step]) -> String {
    let mut place = String::new();
    for step in path {
        match step {
            Step::Field(name) if place.is_empty() => place += name,
            Step::Field(name) => place += &format!(".{name}"),
            Step::Index(index) => place += &format!("[{index}]"),
        }
    }
    place
}

fn given(value: impl std::fmt::Display, shape: &Shape) -> String {
    format!("{value} given, {} expected", shape.expectation())
}

fn nearest(schema: &'static Object, name: &str) -> Option<&'static str> {
    let name: String = name.chars().take(100).filter(|c| *c != '_').collect::<String>().to_lowercase();
    let distance = |field: &Field| strsim::damerau_levenshtein(&field.name.replace('_', "").to_lowercase(), &name);
    let best = schema.fields.iter().map(|field| (distance(field), field.name)).min()?;
    (best.0 <= 1 + name.chars().count() / 4).then_some(best.1)
}

/// Returns whether a member is present; used by the rule that exactly one of several must be.
fn present(schema: &'static Object, slots: &[Option<Member<'_>>], path: &[&str]) -> bool {
    let Some(index) = path.first().and_then(|name| schema.position(name, 0)) else { return false };
    let Some((_, node)) = &slots[index] else { return false };
    match (path.len(), &schema.fields[index].shape, node) {
        (1, _, _) => true,
        (_, Shape::Object(inner), Node::Object(members)) => members
            .iter()
            .any(|(name, _)| inner.position(name, 0).is_some_and(|index| inner.fields[index].name == path[1])),
        _ => false,
    }
}

/// Returns whether what should hold the member of that path is not an object.
fn is_held_by_another_type(schema: &'static Object, slots: &[Option<Member<'_>>], path: &[&str]) -> bool {
    let [outer, _, ..] = path else { return false };
    let holder = schema.position(outer, 0).and_then(|index| slots[index].as_ref());
    holder.is_some_and(|(_, node)| !matches!(node, Node::Object(_)))
}

/// The index of the first item that stood before.
fn repeated(items: &[Node<'_>]) -> Option<usize> {
    let mut seen = HashSet::new();
    items.iter().position(|item| !seen.insert(format!("{item:?}")))
}

/// Turns a value of another JSON type that the document accepts into the declared type; leaves all else as it is.
fn convert<'de>(shape: &Shape, accepts: &[JsonType], node: Node<'de>) -> Node<'de> {
    let accepted = match &node {
        Node::Null => false,
        Node::Boolean(_) => accepts.contains(&JsonType::Boolean),
        Node::Integer(_) | Node::Unsigned(_) => {
            accepts.contains(&JsonType::Integer) || accepts.contains(&JsonType::Number)
        }
        Node::Number(_) => accepts.contains(&JsonType::Number),
        Node::Text(_) => accepts.contains(&JsonType::String),
        Node::List(_) => accepts.contains(&JsonType::Array),
        Node::Object(_) => false,
    };
    if !accepted {
        return node;
    }
    match (shape, node) {
        (Shape::Boolean, Node::Integer(value @ (0 | 1))) => Node::Boolean(value == 1),
        (Shape::Text(_) | Shape::TextEnum(_), Node::Integer(value)) => Node::Text(value.to_string().into()),
        (Shape::Text(_) | Shape::TextEnum(_), Node::Unsigned(value)) => Node::Text(value.to_string().into()),
        (Shape::Text(_) | Shape::TextEnum(_), Node::Number(value)) => Node::Text(value.to_string().into()),
        (Shape::Text(_) | Shape::TextEnum(_), Node::List(mut items)) if items.len() == 1 => {
            items.pop().unwrap_or(Node::Null)
        }
        (Shape::Integer(_) | Shape::IntegerEnum(_), Node::Number(value)) => {
            whole(value).map_or(Node::Number(value), Node::Integer)
        }
        (Shape::Integer(_) | Shape::IntegerEnum(_), Node::Text(text)) => match text.parse() {
            Ok(value) => Node::Integer(value),
            Err(_) => Node::Text(text),
        },
        (Shape::Number(_), Node::Text(text)) => match decimal(&text) {
            Some(value) => Node::Number(value),
            None => Node::Text(text),
        },
        (
            Shape::List(_),
            node @ (Node::Text(_) | Node::Integer(_) | Node::Unsigned(_) | Node::Number(_) | Node::Boolean(_)),
        ) => Node::List(vec![node]),
        (_, node) => node,
    }
}

/// Whether it is a whole number that does not fit the type of whole numbers.
fn is_beyond_64_bits(node: &Node<'_>) -> bool {
    match node {
        Node::Unsigned(_) => true,
        Node::Number(value) => value.fract() == 0.0 && value.abs() >= 9_223_372_036_854_775_808.0,
        _ => false,
    }
}

/// The whole number that a number without a fraction stands for, as far as it is exact.
fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

#[cfg(test)]
mod tests;
