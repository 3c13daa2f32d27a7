//! Pages of lists, bounded in rows and in bytes.

use rusqlite::types::ValueRef;
use rusqlite::{Row, Rows};

use super::problem::Problem;
use crate::{PAGE_BYTES, Page};

/// Reads a page of rows, which the statement returns in the order of the list and one more than `size`. `read` returns a row
/// with the bytes that it has beside its columns; `place` returns its place in the list.
pub fn page<T>(
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
