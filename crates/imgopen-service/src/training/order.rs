//! The fields of a training's request, with the contract's defaults for those that are left out.

use imgopen_types::operations;
use serde_json::Value;

/// A training as it was ordered, in canonical form.
#[derive(Clone, Copy)]
pub(super) struct Order<'a>(pub &'a Value);

impl Order<'_> {
    /// What the caller said.
    pub fn given(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// The same, or the contract's default.
    pub fn value(&self, field: &str) -> Option<Value> {
        let default = || serde_json::from_str(operations::SUBMIT_TRAINING.request.field(field)?.default?).ok();
        self.given(field).cloned().or_else(default)
    }

    /// Whether a switch is on.
    pub fn is_on(&self, field: &str) -> bool {
        self.given(field).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A whole number.
    pub fn whole(&self, field: &str) -> Option<i64> {
        self.value(field)?.as_i64()
    }

    /// A number, which may be carried in a text.
    pub fn number(&self, field: &str) -> Option<f64> {
        match self.value(field)? {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_f64(),
        }
    }

    /// The value as a word of a command line.
    pub fn word(&self, field: &str) -> Option<String> {
        match self.value(field)? {
            Value::String(text) => Some(text.trim().to_owned()),
            value => Some(value.to_string()),
        }
    }

    /// A text, empty if there is none.
    pub fn text(&self, field: &str) -> String {
        self.word(field).unwrap_or_default()
    }

    /// Whether pictures are sorted into groups of like proportions. Where the caller does not say, they are: without, the
    /// trainer takes pictures of one size only.
    pub fn has_buckets(&self) -> bool {
        self.given("enableBucket").and_then(Value::as_bool).unwrap_or(true)
    }

    /// Whether pictures are encoded once and kept.
    pub fn is_cached(&self) -> bool {
        self.is_on("cacheLatents") || self.is_on("cacheLatentsToDisk")
    }
}
