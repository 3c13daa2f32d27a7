//! The mocks: the client gets what a user's test sets up.

use imgopen_client::{Client, Error};
use imgopen_mock::MockServerExt;
use imgopen_mock::httpmock::MockServer;
use imgopen_mock::types::{
    Answer, Envelope, QueryToolTaskRequest, QueryToolTaskResponse, ToolCode, ToolStatus, ToolTask,
};

fn task() -> QueryToolTaskResponse {
    let task = ToolTask::builder().task_id("p1").business_task_id("7").status(ToolStatus::Succeeded).build().unwrap();
    QueryToolTaskResponse::success(task)
}

#[tokio::test]
async fn a_tool_code_with_a_slash_is_matched() {
    let server = MockServer::start_async().await;
    let client = Client::builder(&server.base_url()).build().unwrap();
    let request = QueryToolTaskRequest { business_task_id: "7".into() };
    let hair = server.query_tool_task(|when, then| {
        when.tool_code(ToolCode::HairChange).body(&request);
        then.ok(&task());
    });
    let query = |code| client.query_tool_task().tool_code(code).body(request.clone()).send();
    assert_eq!(query(ToolCode::HairChange).await.unwrap().data, task().data);
    hair.assert();
    assert!(matches!(query(ToolCode::Roop).await, Err(Error::Status { .. })));
    hair.assert_calls(1);

    let any = server.query_tool_task(|_, then| {
        then.ok(&task());
    });
    query(ToolCode::V2Roop).await.unwrap();
    any.assert();
}

#[tokio::test]
async fn a_failure_is_the_envelope() {
    let server = MockServer::start_async().await;
    let client = Client::builder(&server.base_url()).build().unwrap();
    server.list_models(|_, then| {
        then.client_error(429, &Envelope { code: "429".into(), msg: "slow down".into() });
    });
    let call = client.list_models().body_map(|body| body.page_size(1).page_num(1));
    let error = call.send().await.unwrap_err();
    assert_eq!(error.envelope().unwrap().msg, "slow down");
}
