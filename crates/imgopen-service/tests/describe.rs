//! The capabilities that the server reports.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use imgopen_engine::{Engine, EngineError, FieldValues, Grade, Job, Monitor, Offer, Output};
use imgopen_types::operations;
use serde_json::{Value, json};

use crate::common::{Bench, sandbox};

/// An engine that lists the values it accepts in a field.
struct Edges;

impl Engine for Edges {
    fn name(&self) -> &'static str {
        "edges"
    }

    fn offers(&self) -> Vec<Offer> {
        let values =
            vec![FieldValues { field: "preprocessor", values: ["canny", "invert"].map(str::to_owned).to_vec() }];
        vec![Offer { values, ..Offer::new(&operations::PREVIEW_CONTROLNET, Grade::Classical) }]
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async { Ok(Output::default()) })
    }
}

#[tokio::test]
async fn offers_list_the_values_that_engines_accept() {
    let server = Bench::new().engines(vec![Arc::new(Edges), Arc::new(sandbox())]).start().await;
    let capabilities = server.call("describe_server", json!({})).await.ok();
    let of = |id: &str| -> Value {
        capabilities["operations"].as_array().unwrap().iter().find(|row| row["operation"] == id).unwrap()["engines"]
            .clone()
    };
    let expected = json!([
        {
            "name": "edges",
            "grade": "classical",
            "values": [{"field": "preprocessor", "values": ["canny", "invert"]}]
        },
        {"name": "sandbox", "grade": "sandbox"}
    ]);
    assert_eq!(of("preview_controlnet"), expected);
    assert_eq!(of("enlarge_image"), json!([{"name": "sandbox", "grade": "sandbox"}]));
}
