//! Reads single members of a node. An error names the line, the member and what it must be.

use anyhow::{Context, Result, anyhow};
use serde_json::Number;

use crate::document::yaml::Node;

/// Returns a member that must be there.
pub fn member<'a>(node: &'a Node, key: &str) -> Result<&'a Node> {
    node.get(key).ok_or_else(|| anyhow!("line {}: `{key}` is missing", node.line))
}

/// Returns a text that must be there, without blanks at its end.
pub fn text(node: &Node, key: &str) -> Result<String> {
    let value = member(node, key)?;
    let text = value.text().with_context(|| format!("line {}: `{key}` must be a text", value.line))?;
    Ok(text.trim_end().to_owned())
}

/// Returns a text that may be missing.
pub fn optional_text(node: &Node, key: &str) -> Result<Option<String>> {
    node.get(key).map(|_| text(node, key)).transpose()
}

/// Returns a list of texts, empty if it is missing.
pub fn texts(node: &Node, key: &str) -> Result<Vec<String>> {
    let items = node.get(key).map(Node::items).unwrap_or_default();
    let text = |item: &Node| item.text().map(str::to_owned);
    items.iter().map(|item| text(item).with_context(|| format!("line {}: `{key}` lists texts", item.line))).collect()
}

/// Returns a truth value, `false` if it is missing.
pub fn boolean(node: &Node, key: &str) -> Result<bool> {
    match node.get(key) {
        None => Ok(false),
        Some(value) => value.boolean().with_context(|| format!("line {}: `{key}` is true or false", value.line)),
    }
}

/// Returns a whole number from 0 that may be missing.
pub fn unsigned(node: &Node, key: &str) -> Result<Option<u64>> {
    let Some(value) = node.get(key) else { return Ok(None) };
    let number = value.number().and_then(Number::as_u64);
    Ok(Some(number.with_context(|| format!("line {}: `{key}` is a whole number from 0", value.line))?))
}
