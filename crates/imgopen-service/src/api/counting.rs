//! Counts calls by operation and status, and what they are refused for before their operation begins.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::middleware::Next;
use axum::response::Response;
use imgopen_server::Refusal;
use imgopen_types::operations;

use crate::context::Context;

/// The name under which all other routes are counted.
const OTHER: &str = "other";

/// The operations whose paths have no parameter, by path.
static FIXED: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let fixed = operations::ALL.iter().filter(|operation| operation.parameters.is_empty());
    fixed.map(|operation| (operation.path, operation.id)).collect()
});

/// The operations whose paths have one, with what is before and after it.
static VARIABLE: LazyLock<Vec<(&str, &str, &str)>> = LazyLock::new(|| {
    let variable = operations::ALL.iter().filter(|operation| !operation.parameters.is_empty());
    let parts = variable.filter_map(|operation| {
        let (before, rest) = operation.path.split_once('{')?;
        let (_, after) = rest.rsplit_once('}')?;
        Some((before, after, operation.id))
    });
    parts.collect()
});

/// Counts a call when it is answered.
pub async fn count(State(context): State<Arc<Context>>, request: Request<Body>, next: Next) -> Response {
    let operation = operation(request.uri().path());
    let response = next.run(request).await;
    context.metrics.called(operation, response.status().as_u16());
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        context.metrics.call_refused(operation, refusal.as_str());
    }
    response
}

/// Returns the id of the operation at a path. There are only so many, whatever callers send.
fn operation(path: &str) -> &'static str {
    let variable = || {
        let inside = |before: &str, after: &str| path.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        let found =
            VARIABLE.iter().find(|(before, after, _)| inside(before, after).is_some_and(|inside| !inside.is_empty()));
        found.map(|(.., id)| *id)
    };
    FIXED.get(path).copied().or_else(variable).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_counted_under_a_known_name() {
        for (path, expected) in [
            ("/AIGCImgOpenServ/saas/tool/imgEnlarge", "enlarge_image"),
            ("/imgopen/v1/tasks/list", "list_tasks"),
            ("/AIGCImgOpenServ/saas/tool/roop/queryTask", "query_tool_task"),
            ("/AIGCImgOpenServ/saas/tool/hair/change/queryTask", "query_tool_task"),
            ("/AIGCImgOpenServ/saas/tool/hair%2Fchange/queryTask", "query_tool_task"),
            ("/AIGCImgOpenServ/saas/tool//queryTask", "other"),
            ("/AIGCImgOpenServ/saas/tool/queryTask", "other"),
            ("/assets/0123", "other"),
            ("/nothing", "other"),
        ] {
            assert_eq!(operation(path), expected, "{path}");
        }
        for known in operations::ALL.iter().filter(|operation| operation.parameters.is_empty()) {
            assert_eq!(operation(known.path), known.id);
        }
    }
}
