//! Where a move stands.

use imgopen_store::{AssetToken, Cursor, RowKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a move stands, as the target notes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stand {
    /// Rows follow from there on.
    Rows(Cursor),
    /// Pictures follow after that one.
    Pictures(Option<AssetToken>),
    /// Everything has been put.
    Put,
}

impl Stand {
    /// Where every move begins.
    pub fn first() -> Self {
        Self::Rows(Cursor::before(RowKind::Notes))
    }

    /// What the target has noted. What it does not understand, a later version has noted; rows that are there are put again.
    pub fn of(noted: Value) -> Self {
        serde_json::from_value(noted).unwrap_or_else(|_| Self::first())
    }

    pub fn noted(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        let token = AssetToken("a.png".to_owned());
        for stand in [Stand::first(), Stand::Pictures(None), Stand::Pictures(Some(token)), Stand::Put] {
            assert_eq!(Stand::of(stand.noted()), stand);
        }
        assert_eq!(Stand::of(Value::from("later")), Stand::first());
    }
}
