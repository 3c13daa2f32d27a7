//! The result of a task, as it is kept: what an engine made, with its pictures as assets.

use imgopen_types::{Face, StyleLabel};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

use crate::ids::AssetToken;

/// What a task resulted in.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskOutput {
    /// The pictures, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<StoredPicture>,
    /// The description of a picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// Expanded prompts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,
    /// Recognised styles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style_labels: Option<Vec<StyleLabel>>,
    /// Detected faces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faces: Option<Vec<Face>>,
}

/// A picture of a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredPicture {
    /// Its asset.
    pub token: AssetToken,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
    /// The seed that it was made with, if it was made with one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seed: Option<i64>,
}

impl ToSql for TaskOutput {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let json =
            serde_json::to_string(self).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(json.into())
    }
}

impl FromSql for TaskOutput {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map_err(|error| FromSqlError::Other(error.into()))
    }
}
