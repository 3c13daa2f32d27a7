//! How the types of rows are stored in columns.

use std::borrow::Cow;
use std::time::Duration;

use imgopen_store::Moment;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use crate::problem::Problem;

/// What stands in a column for the character NUL, which PostgreSQL does not store: this character and a `0`.
const ESCAPE: char = '\u{1}';

/// A text that may hold any character, as a column holds it. Equal texts stay equal, and different ones different.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => escaped.extend([ESCAPE, '0']),
            ESCAPE => escaped.extend([ESCAPE, '1']),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// The text of a column that [`escape`] has written.
pub fn unescape(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            ESCAPE if characters.next() == Some('0') => '\0',
            other => other,
        });
    }
    plain
}

/// The same for a column that may be empty.
pub fn escaped(text: Option<&String>) -> Option<Cow<'_, str>> {
    text.map(|text| escape(text))
}

/// A duration as a column holds it, in milliseconds. At most half the range, so that a sum with any moment stays within it.
pub fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 2)
}

/// The duration of a column in milliseconds.
pub fn duration(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

/// A number of rows as a parameter.
pub fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The moment in a column.
pub fn moment(row: &Row, column: usize) -> Result<Moment, Problem> {
    Ok(Moment(row.try_get(column)?))
}

/// The moment in a column that may be empty.
pub fn some_moment(row: &Row, column: usize) -> Result<Option<Moment>, Problem> {
    Ok(row.try_get::<_, Option<i64>>(column)?.map(Moment))
}

/// The escaped text in a column.
pub fn text(row: &Row, column: usize) -> Result<String, Problem> {
    Ok(unescape(row.try_get(column)?))
}

/// The escaped text in a column that may be empty.
pub fn some_text(row: &Row, column: usize) -> Result<Option<String>, Problem> {
    Ok(row.try_get::<_, Option<String>>(column)?.map(unescape))
}

/// The JSON in a column that may be empty.
pub fn some_json<T: DeserializeOwned>(row: &Row, column: usize) -> Result<Option<T>, Problem> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(json).transpose()
}

/// A value from its JSON.
pub fn json<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| Problem::failed(format!("a column does not hold its JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_kept_and_texts_stay_different() {
        let texts = ["", "plain", "\0", "\u{1}", "\u{1}0", "\u{1}1", "a\0b\u{1}\u{1}0\0", "\u{1}\0"];
        let mut seen = std::collections::HashSet::new();
        for text in texts {
            let escaped = escape(text).into_owned();
            assert!(!escaped.contains('\0'), "{text:?}");
            assert_eq!(unescape(escaped.clone()), text);
            assert!(seen.insert(escaped), "{text:?}");
        }
        assert!(matches!(escape("plain"), Cow::Borrowed("plain")));
    }
}
