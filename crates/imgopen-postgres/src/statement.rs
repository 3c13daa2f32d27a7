//! Running statements. Each is prepared once per connection.

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::problem::Problem;

/// The values of a statement's parameters.
type Values<'a> = [&'a (dyn ToSql + Sync)];

/// Runs a statement that returns rows.
pub async fn rows<C: GenericClient>(client: &C, sql: &str, values: &Values<'_>) -> Result<Vec<Row>, Problem> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, values).await?)
}

/// Runs a statement that returns one row or none.
pub async fn some_row<C: GenericClient>(client: &C, sql: &str, values: &Values<'_>) -> Result<Option<Row>, Problem> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_opt(&statement, values).await?)
}

/// Runs a statement that returns one row.
pub async fn one_row<C: GenericClient>(client: &C, sql: &str, values: &Values<'_>) -> Result<Row, Problem> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_one(&statement, values).await?)
}

/// Runs a statement that returns no rows. Returns how many it changed.
pub async fn change<C: GenericClient>(client: &C, sql: &str, values: &Values<'_>) -> Result<usize, Problem> {
    let statement = client.prepare_cached(sql).await?;
    let changed = client.execute(&statement, values).await?;
    Ok(usize::try_from(changed).unwrap_or(usize::MAX))
}
