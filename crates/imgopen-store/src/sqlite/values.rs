//! How the types of rows are stored in columns.

use std::time::Duration;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ids::{AssetToken, CallbackId, ClaimId, KeyId, OwnerId, RunId, TaskId};
use crate::{CallbackState, Clock, Moment, State, TaskOutput, UnknownState};

macro_rules! text {
    ($($name:ident)+) => {
        $(
            impl ToSql for $name {
                fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                    self.0.to_sql()
                }
            }

            impl FromSql for $name {
                fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                    String::column_result(value).map(Self)
                }
            }
        )+
    };
}

/// A duration as a column holds it, in milliseconds. At most half the range, so that a sum with any moment stays within it.
pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 2)
}

/// The duration of a column in milliseconds.
pub(super) fn duration(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

/// The time by the database's clock, which is the machine's.
pub(super) fn system_time() -> Moment {
    Clock::system().now()
}

text! { AssetToken CallbackId ClaimId KeyId OwnerId RunId TaskId }

impl ToSql for Moment {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for Moment {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}

impl ToSql for State {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_str().to_sql()
    }
}

impl FromSql for State {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(|error: UnknownState| FromSqlError::Other(Box::new(error)))
    }
}

impl ToSql for CallbackState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_str().to_sql()
    }
}

impl FromSql for CallbackState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for TaskOutput {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(self);
        Ok(text.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?.into())
    }
}

impl FromSql for TaskOutput {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map_err(|error| FromSqlError::Other(error.into()))
    }
}

/// A column that holds JSON of a type.
pub struct JsonOf<T>(pub T);

/// A column that holds any JSON.
pub type Json = JsonOf<Value>;

impl<T: DeserializeOwned> FromSql for JsonOf<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(|error| FromSqlError::Other(error.into()))
    }
}

/// Several values as one parameter, for `json_each`.
pub fn list(values: impl Serialize) -> String {
    serde_json::json!(values).to_string()
}

/// The same, or `None` if there are none.
pub fn any_of<T: Serialize>(values: &[T]) -> Option<rusqlite::types::Value> {
    (!values.is_empty()).then(|| list(values).into())
}
