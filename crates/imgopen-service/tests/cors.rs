//! Web pages that call the service from a browser.

use imgopen_client::Credentials;
use reqwest::Method;
use serde_json::json;

use crate::common::{Answer, Bench, Server, enlarge, http};

const PAGE: &str = "https://app.example.com";

/// What a browser asks before a page calls a path.
async fn preflight(server: &Server, origin: &str, path: &str) -> Answer {
    let request = http().request(Method::OPTIONS, format!("{}{path}", server.url)).header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    let headers = "content-type,idempotency-key,x-request-req-accesskeyid,x-request-req-accesskeysecret";
    Answer::of(request.header("access-control-request-headers", headers).send().await.unwrap()).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn pages_of_the_allowed_origins_may_call_every_route() {
    let origins = vec!["HTTPS://App.Example.com/".to_owned(), "http://localhost:3000".to_owned()];
    let server = Bench::new().with(|settings| settings.allow_origin = origins).start().await;
    for path in [
        "/AIGCImgOpenServ/saas/tool/imgEnlarge",
        "/AIGCImgOpenServ/saas/tool/hair/change/queryTask",
        "/imgopen/v1/tasks/list",
        "/assets/unknown",
        "/openapi.json",
        "/metrics",
        "/nothing",
    ] {
        let answer = preflight(&server, PAGE, path).await;
        assert_eq!((answer.status, header(&answer, "access-control-allow-origin")), (200, Some(PAGE)), "{path}");
        let methods = header(&answer, "access-control-allow-methods").unwrap();
        assert!(["GET", "HEAD", "POST"].iter().all(|method| methods.contains(method)), "{methods}");
        let headers = header(&answer, "access-control-allow-headers").unwrap();
        assert!(headers.contains(&Credentials::SECRET_HEADER.to_lowercase()), "{headers}");
        assert_eq!(header(&answer, "access-control-allow-credentials"), None);
        let local = preflight(&server, "http://localhost:3000", path).await;
        assert_eq!(header(&local, "access-control-allow-origin"), Some("http://localhost:3000"));
        for other in ["https://evil.example", "https://app.example.com.evil.example", "http://app.example.com", "null"]
        {
            let answer = preflight(&server, other, path).await;
            assert_eq!(header(&answer, "access-control-allow-origin"), None, "{other}");
        }
    }
    // The answers can be read, failures included.
    let call = server.call_with(&server.key, "enlarge_image", &[("origin", PAGE)], enlarge("1")).await;
    assert_eq!(header(&call, "access-control-allow-origin"), Some(PAGE));
    assert_eq!(header(&call, "access-control-expose-headers"), Some("*"));
    call.ok();
    let path = format!("{}/AIGCImgOpenServ/saas/tool/imgEnlarge", server.url);
    for response in [http().post(path), server.get("/nothing"), server.get("/assets/unknown")] {
        let answer = Answer::of(response.header("origin", PAGE).send().await.unwrap()).await;
        assert!(answer.status >= 400);
        assert_eq!(header(&answer, "access-control-allow-origin"), Some(PAGE));
        assert!(header(&answer, "vary").is_some_and(|vary| vary.contains("origin")));
    }
}

#[tokio::test]
async fn every_page_may_call_if_the_operator_says_so() {
    let server = Bench::new().with(|settings| settings.allow_origin = vec!["*".to_owned()]).start().await;
    for origin in [PAGE, "null", "http://localhost:3000"] {
        let answer = preflight(&server, origin, "/imgopen/v1/tasks/list").await;
        assert_eq!((answer.status, header(&answer, "access-control-allow-origin")), (200, Some("*")), "{origin}");
    }
}

#[tokio::test]
async fn no_page_may_call_unless_allowed() {
    let server = Bench::new().start().await;
    let answer = preflight(&server, PAGE, "/imgopen/v1/tasks/list").await;
    assert_eq!(header(&answer, "access-control-allow-origin"), None);
    answer.refused(405);
    let call = server.call_with(&server.key, "list_tasks", &[("origin", PAGE)], json!({})).await;
    assert_eq!(header(&call, "access-control-allow-origin"), None);
    call.ok();
}
