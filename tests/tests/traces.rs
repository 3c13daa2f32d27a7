//! The traces of a call. Alone in its file, because other tests in the process would influence what is traced.

use std::io::Write;
use std::sync::{Arc, Mutex};

use imgopen_client::{Client, Credentials};
use imgopen_tests::wire::{Script, answer, url};

/// Everything that is traced, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_call_is_traced_without_the_keys() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let body = r#"{"code":"200","msg":"success","data":{"id_task":"1","status":2}}"#;
    let script = Script::new([answer("200 OK", "", body)]).await;
    let client = Client::new(&url(script.address), Credentials::new("my-id", "my-secret")).unwrap();
    client.query_task().body_map(|body| body.business_task_id("1")).send().await.unwrap();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for part in ["imgopen.call", "operation=\"query_task\"", "status=200", "duration_ms=", "tries=1"] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    assert!(!text.contains("my-secret") && !text.contains("my-id"), "{text}");
}
