//! Reads a YAML file into a tree that remembers the line of every node, and whether a text was quoted.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use saphyr::Scalar;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

/// One value of the file and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Line in the file, from 1.
    pub line: usize,
    /// The value itself.
    pub data: Data,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    Null,
    Boolean(bool),
    Number(Number),
    Text { text: String, style: Style },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub line: usize,
    pub text: String,
}

/// How a text was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Quoted,
}

/// Parses one YAML document. Anchors, aliases, merge keys, tags and repeated keys are errors, because a reader of the file
/// must find each thing where it stands and other tools resolve them differently.
pub fn parse(text: &str) -> Result<Node> {
    let mut events = Events { parser: Parser::new_from_str(text) };
    events.expect(&Event::StreamStart)?;
    match events.next()? {
        (Event::DocumentStart(_), _) => {}
        (_, span) => bail!("line {}: the file is empty", span.start.line()),
    }
    let (event, span) = events.next()?;
    let root = events.node(event, span)?;
    events.expect(&Event::DocumentEnd)?;
    events.expect(&Event::StreamEnd)?;
    Ok(root)
}

struct Events<'input> {
    parser: Parser<'input, saphyr_parser::StrInput<'input>>,
}

impl<'input> Events<'input> {
    fn next(&mut self) -> Result<(Event<'input>, Span)> {
        self.parser
            .next()
            .context("the file ends too early")?
            .map_err(|e| anyhow::anyhow!("line {}: {}", e.marker().line(), e.info()))
    }

    fn expect(&mut self, wanted: &Event<'_>) -> Result<()> {
        let (event, span) = self.next()?;
        if event != *wanted {
            bail!("line {}: expected {wanted:?}, found {event:?}: keep one YAML document in a file", span.start.line());
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'input>, span: Span) -> Result<Node> {
        let line = span.start.line();
        let data = match event {
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                bail!("line {line}: anchors are not allowed: write the value out or make it a component")
            }
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, Some(tag))
            | Event::MappingStart(_, Some(tag)) => {
                bail!("line {line}: the tag {tag} is not allowed: remove it")
            }
            Event::Alias(_) => {
                bail!("line {line}: aliases are not allowed: write the value out or make it a component")
            }
            Event::Scalar(text, style, _, None) => scalar(text, style, line)?,
            Event::SequenceStart(..) => self.list()?,
            Event::MappingStart(..) => self.map()?,
            other => bail!("line {line}: unexpected {other:?}"),
        };
        Ok(Node { line, data })
    }

    fn list(&mut self) -> Result<Data> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Data::List(items)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Data> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let line = span.start.line();
            let text = match event {
                Event::MappingEnd => return Ok(Data::Map(entries)),
                Event::Scalar(text, _, 0, None) => text.into_owned(),
                _ => bail!("line {line}: a key must be a plain text"),
            };
            if text == "<<" {
                bail!("line {line}: merge keys are not allowed: write the members out");
            }
            if let Some((first, _)) = entries.iter().find(|(key, _)| key.text == text) {
                bail!("line {line}: the key `{text}` stands already on line {}: keep one of them", first.line);
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            entries.push((Key { line, text }, value));
        }
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, line: usize) -> Result<Data> {
    if style != ScalarStyle::Plain {
        return Ok(Data::Text { text: text.into_owned(), style: Style::Quoted });
    }
    Ok(match Scalar::parse_from_cow(text) {
        Scalar::Null => Data::Null,
        Scalar::Boolean(value) => Data::Boolean(value),
        Scalar::Integer(value) => Data::Number(value.into()),
        Scalar::FloatingPoint(value) => Data::Number(
            Number::from_f64(value.0).with_context(|| format!("line {line}: {value} is not a number JSON can hold"))?,
        ),
        Scalar::String(text) => Data::Text { text: text.into_owned(), style: Style::Plain },
    })
}

impl Node {
    /// The member of a map, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(found, _)| found.text == key).map(|(_, node)| node)
    }

    /// The members of a map in the file's order; nothing for other nodes.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; nothing for other nodes.
    pub fn items(&self) -> &[Node] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a text node.
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The value of a boolean node.
    pub fn boolean(&self) -> Option<bool> {
        match self.data {
            Data::Boolean(value) => Some(value),
            _ => None,
        }
    }

    /// The value of a number node.
    pub fn number(&self) -> Option<&Number> {
        match &self.data {
            Data::Number(value) => Some(value),
            _ => None,
        }
    }

    /// The node that a `#/…` reference or JSON pointer leads to.
    pub fn at(&self, pointer: &str) -> Option<&Node> {
        let path = pointer.trim_start_matches('#');
        if path.is_empty() {
            return Some(self);
        }
        path.strip_prefix('/')?.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).try_fold(
            self,
            |node, token| match &node.data {
                Data::List(items) => items.get(token.parse::<usize>().ok()?),
                _ => node.get(&token),
            },
        )
    }

    /// The same value as JSON, members in the file's order.
    pub fn to_json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Boolean(value) => Value::Bool(*value),
            Data::Number(value) => Value::Number(value.clone()),
            Data::Text { text, .. } => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Data::Map(entries) => Value::Object(
                entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }
}

/// Adds one step to a JSON pointer.
pub fn step(pointer: &str, token: &str) -> String {
    format!("{pointer}/{}", token.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_lines_order_and_quotes() {
        let node = parse("b: 1\na:\n  - \"16:9\"\n  - no\n").unwrap();
        assert_eq!(node.to_json().to_string(), r#"{"b":1,"a":["16:9","no"]}"#);
        let items = node.get("a").unwrap().items();
        assert_eq!(items[1].line, 4);
        assert!(matches!(items[0].data, Data::Text { style: Style::Quoted, .. }));
        assert!(matches!(items[1].data, Data::Text { style: Style::Plain, .. }));
    }

    #[test]
    fn refuses_what_other_tools_read_differently() {
        for (text, problem) in [
            ("a: &x 1\nb: *x\n", "line 1: anchors"),
            ("a: 1\na: 2\n", "line 2: the key `a` stands already on line 1"),
            ("a:\n  <<: {b: 1}\n", "line 2: merge keys"),
            ("a: !!str 1\n", "line 1: the tag"),
            ("a: 1\n---\nb: 2\n", "keep one YAML document"),
            ("a: [1\n", "line"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn follows_pointers_with_escapes() {
        let node = parse("paths:\n  /a/~b: {post: [7]}\n").unwrap();
        let found = node.at("#/paths/~1a~1~0b/post/0").unwrap();
        assert_eq!(found.to_json(), Value::from(7));
        assert_eq!(step("/paths", "/a/~b"), "/paths/~1a~1~0b");
    }
}
