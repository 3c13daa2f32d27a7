//! A JSON value as it was sent: members in their order, repeated ones included, texts borrowed where they can be.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value that has not been checked yet.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'de> {
    Null,
    Boolean(bool),
    Integer(i64),
    /// A whole number above `i64::MAX`.
    Unsigned(u64),
    /// A number with a fraction or an exponent.
    Number(f64),
    Text(Cow<'de, str>),
    List(Vec<Node<'de>>),
    Object(Vec<(Cow<'de, str>, Node<'de>)>),
}

impl Node<'_> {
    /// Returns the value for an error message: never more than a few words.
    pub(crate) fn glimpse(&self) -> String {
        const LONGEST: usize = 60;
        match self {
            Node::Null => "null".to_owned(),
            Node::Boolean(value) => value.to_string(),
            Node::Integer(value) => value.to_string(),
            Node::Unsigned(value) => value.to_string(),
            // As it was written, so that it is seen why it is not a whole number.
            Node::Number(value) if value.fract() == 0.0 && value.abs() < 1e16 => format!("{value:.1}"),
            Node::Number(value) => value.to_string(),
            Node::Text(text) if text.chars().nth(LONGEST).is_some() => {
                format!("{:?}… ({} characters)", text.chars().take(LONGEST).collect::<String>(), text.chars().count())
            }
            Node::Text(text) => format!("{text:?}"),
            Node::List(items) => format!("a list of {} items", items.len()),
            Node::Object(members) => format!("an object of {} members", members.len()),
        }
    }

    /// The value as it is kept in a type's `extra`.
    pub(crate) fn into_json(self) -> serde_json::Value {
        match self {
            Node::Null => serde_json::Value::Null,
            Node::Boolean(value) => value.into(),
            Node::Integer(value) => value.into(),
            Node::Unsigned(value) => value.into(),
            Node::Number(value) => value.into(),
            Node::Text(text) => text.into_owned().into(),
            Node::List(items) => items.into_iter().map(Node::into_json).collect(),
            Node::Object(members) => {
                members.into_iter().map(|(name, value)| (name.into_owned(), value.into_json())).collect()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

/// How serde_json hands over a number when any crate of the program turns on its feature `arbitrary_precision`: as an
/// object of this one member.
const ARBITRARY_NUMBER: &str = "$serde_json::private::Number";

/// The number that such a text is.
fn number<'de>(text: &str) -> Option<Node<'de>> {
    let whole = text.parse().map(Node::Integer).or_else(|_| text.parse().map(Node::Unsigned));
    whole.ok().or_else(|| text.parse().ok().filter(|value: &f64| value.is_finite()).map(Node::Number))
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Node::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Node::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Node::Unsigned(value), Node::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Owned(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut object = Vec::new();
        while let Some((Name(name), value)) = members.next_entry()? {
            object.push((name, value));
        }
        Ok(match object.as_slice() {
            [(name, Node::Text(text))] if name == ARBITRARY_NUMBER => number(text).unwrap_or(Node::Object(object)),
            _ => Node::Object(object),
        })
    }
}

/// A member's name, borrowed from the text where it holds no escapes. (`Cow` itself is always read as owned.)
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NodeVisitor).and_then(|node| match node {
            Node::Text(text) => Ok(Name(text)),
            _ => Err(D::Error::custom("a member's name must be a text")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_repeated_members() {
        let node: Node<'_> = serde_json::from_str(r#"{"b":1,"a":[true,null],"b":18446744073709551615}"#).unwrap();
        let Node::Object(members) = node else { panic!("not an object") };
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["b", "a", "b"]);
        assert_eq!(members[1].1, Node::List(vec![Node::Boolean(true), Node::Null]));
        assert_eq!(members[2].1, Node::Unsigned(18446744073709551615));
        assert_eq!(members[2].1.clone().into_json().to_string(), "18446744073709551615");
    }

    #[test]
    fn numbers_of_arbitrary_precision_are_numbers() {
        let read = |number: &str| {
            let json = serde_json::json!({ARBITRARY_NUMBER: number}).to_string();
            format!("{:?}", serde_json::from_str::<Node<'_>>(&json).unwrap())
        };
        assert_eq!(read("7.5"), "Number(7.5)");
        assert_eq!(read("-3"), "Integer(-3)");
        assert_eq!(read("18446744073709551615"), "Unsigned(18446744073709551615)");
        assert!(
            read("1e999").starts_with("Object") && read("inf").starts_with("Object") && read("x").starts_with("Object")
        );
    }

    #[test]
    fn borrows_texts_without_escapes() {
        let Node::Object(members) = serde_json::from_str(r#"{"a":"b","c":"d\n"}"#).unwrap() else { panic!() };
        assert!(matches!(&members[0], (Cow::Borrowed("a"), Node::Text(Cow::Borrowed("b")))));
        assert!(matches!(&members[1].1, Node::Text(Cow::Owned(text)) if text == "d\n"));
    }

    #[test]
    fn a_glimpse_is_short() {
        let long = Node::Text("x".repeat(10_000).into());
        assert!(long.glimpse().chars().count() < 100);
        assert_eq!(Node::List(vec![Node::Null]).glimpse(), "a list of 1 items");
    }

    #[test]
    fn a_number_is_shown_as_it_was_written() {
        for (value, shown) in
            [(5.0, "5.0"), (-0.0, "-0.0"), (0.25, "0.25"), (-12.0, "-12.0"), (1e19, "10000000000000000000")]
        {
            assert_eq!(Node::Number(value).glimpse(), shown);
        }
        assert_eq!(Node::Integer(5).glimpse(), "5");
    }
}
