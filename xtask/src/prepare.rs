//! Prepares what progenitor sees: the operations, with every body reduced to its name.
//!
//! Our own emitter makes the types, so progenitor needs no more of a schema than what it is called. That keeps its
//! type generator, which panics on much that is ordinary, out of the way.

use anyhow::{Context, Result};
use openapiv3::OpenAPI;
use serde_json::{Map, Value, json};

use crate::model::{Api, Operation};

/// Name of the schema of error answers.
const FAILURE: &str = "Envelope";

/// A document of all operations.
pub fn prepare<'a>(api: &Api, operations: impl Iterator<Item = &'a Operation>) -> Result<OpenAPI> {
    let mut paths = Map::new();
    let mut schemas = Map::from_iter([(FAILURE.to_owned(), object_stub())]);
    for operation in operations {
        for name in [&operation.request, &operation.response] {
            schemas.insert(name.clone(), object_stub());
        }
        for parameter in &operation.parameters {
            schemas.insert(parameter.schema.clone(), json!({"type": "string", "enum": ["a", "b"]}));
        }
        paths.insert(operation.path.clone(), json!({"post": operation_stub(operation)}));
    }
    let vendor = api.documents.first().context("there is no document")?;
    let document = json!({
        "openapi": "3.0.3",
        "info": {"title": vendor.title, "version": vendor.version},
        "paths": paths,
        "components": {"schemas": schemas},
    });
    serde_json::from_value(document).context("the prepared document is not OpenAPI")
}

fn object_stub() -> Value {
    json!({"type": "object", "properties": {"code": {"type": "string"}}})
}

fn operation_stub(operation: &Operation) -> Value {
    let parameters: Vec<_> = operation
        .parameters
        .iter()
        .map(|parameter| {
            json!({"name": parameter.name, "in": "path", "required": true, "description": parameter.description, "schema": reference(&parameter.schema)})
        })
        .collect();
    json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "requestBody": {"required": true, "content": body(&operation.request)},
        "responses": {
            "200": {"description": "Success.", "content": body(&operation.response)},
            "4XX": {"description": "Failure.", "content": body(FAILURE)},
            "5XX": {"description": "Failure.", "content": body(FAILURE)},
        },
    })
}

fn body(schema: &str) -> Value {
    json!({"application/json": {"schema": reference(schema)}})
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}
