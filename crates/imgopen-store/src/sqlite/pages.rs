//! Pages of lists, bounded in rows and in bytes.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, Rows, params_from_iter};

use super::problem::Problem;
use crate::{PAGE_BYTES, Page};

/// A list of rows, the newest first.
pub struct List<const N: usize> {
    /// The columns to select.
    pub columns: &'static str,
    /// The table, which has a `seq`.
    pub table: &'static str,
    /// Conditions with a `?` each. Those that have a value hold.
    pub conditions: [(&'static str, Option<Value>); N],
}

impl<const N: usize> List<N> {
    /// Reads a page of at most `size` rows. `read` returns a row with the bytes that it has beside its columns; `place`
    /// returns its `seq`.
    pub fn page<T>(
        self,
        connection: &Connection,
        size: usize,
        read: impl Fn(&Row<'_>) -> Result<(T, usize), Problem>,
        place: impl Fn(&T) -> i64,
    ) -> Result<Page<T>, Problem> {
        let given = self.conditions.into_iter().filter_map(|(condition, value)| Some((condition, value?)));
        let (conditions, values): (Vec<_>, Vec<_>) = given.unzip();
        let conditions = if conditions.is_empty() { "TRUE".to_owned() } else { conditions.join(" AND ") };
        let (columns, table, most) = (self.columns, self.table, size + 1);
        let sql = format!("SELECT {columns} FROM {table} WHERE {conditions} ORDER BY seq DESC LIMIT {most}");
        let mut statement = connection.prepare(&sql)?;
        page(statement.query(params_from_iter(values))?, size, read, place)
    }
}

/// Reads a page of rows, which the statement returns in the order of the list and one more than `size`.
fn page<T>(
    mut rows: Rows<'_>,
    size: usize,
    read: impl Fn(&Row<'_>) -> Result<(T, usize), Problem>,
    place: impl Fn(&T) -> i64,
) -> Result<Page<T>, Problem> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        bytes += width(row);
        let is_full = page.len() == size || bytes > PAGE_BYTES;
        if let Some(last) = page.last().filter(|_| is_full) {
            let next = Some(place(last));
            return Ok(Page { rows: page, next });
        }
        let (read, more) = read(row)?;
        bytes += more;
        page.push(read);
    }
    Ok(Page { rows: page, next: None })
}

/// The bytes of text in a row.
fn width(row: &Row<'_>) -> usize {
    let columns = 0..row.as_ref().column_count();
    let length = |column| match row.get_ref(column) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => bytes.len(),
        _ => 0,
    };
    columns.map(length).sum()
}
