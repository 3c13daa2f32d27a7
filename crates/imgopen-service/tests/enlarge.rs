//! Enlarging real pictures from a real host, and what is said of those that cannot be.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use imgopen_client::IntoData;
use imgopen_client::types::EnlargeImageRequest;
use imgopen_tools::Lanczos;
use serde_json::{Value, json};

use crate::common::web::host;
use crate::common::{Bench, Server};

/// Left half red, right half blue.
fn halves() -> DynamicImage {
    let colour = |x| if x < 20 { Rgb([220, 20, 20]) } else { Rgb([20, 20, 220]) };
    RgbImage::from_fn(40, 30, |x, _| colour(x)).into()
}

fn file(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    halves().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

async fn lanczos() -> Server {
    let bench = Bench::new().engines(vec![Arc::new(Lanczos::new())]).with(|settings| {
        settings.pictures.pixels = 100_000;
        settings.pictures.bytes = 50_000;
        settings.pictures.time = Duration::from_millis(400);
        // What may pass is tried again for a tenth of it.
        settings.time_limit.default = Duration::from_secs(60);
    });
    bench.start().await
}

fn request(url: &str, scale: f64) -> Value {
    json!({"businessTaskId": "mine", "sourceImage": url, "scale": scale})
}

fn served(bytes: Vec<u8>) -> axum::routing::MethodRouter {
    get(move || async move { bytes.clone() })
}

#[tokio::test]
async fn an_enlarged_picture_keeps_its_content_and_format() {
    let server = lanczos().await;
    let formats = [
        ("png", ImageFormat::Png, "image/png"),
        ("jpg", ImageFormat::Jpeg, "image/jpeg"),
        ("webp", ImageFormat::WebP, "image/webp"),
    ];
    let routes = formats
        .iter()
        .fold(Router::new(), |routes, (name, format, _)| routes.route(&format!("/{name}"), served(file(*format))));
    let address = host(routes).await;
    let client = server.client();
    for (name, format, media_type) in formats {
        let wanted = EnlargeImageRequest::builder()
            .business_task_id(name)
            .source_image(format!("http://{address}/{name}?size=small"))
            .scale(2.5)
            .build()
            .unwrap();
        let job = client.submit(&wanted).await.unwrap();
        let report = client.wait(&job).await.unwrap();
        let got = server.get(report.output_image_url.as_ref().unwrap()).send().await.unwrap();
        assert_eq!(got.headers()["content-type"], media_type);
        let bytes = got.bytes().await.unwrap();
        assert_eq!(image::guess_format(&bytes).unwrap(), format);
        let larger = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(larger.dimensions(), (100, 75));
        for (x, expected) in [(10, [220, 20, 20]), (90, [20, 20, 220])] {
            let pixel = larger.get_pixel(x, 37).0;
            let distance = pixel.iter().zip(expected).map(|(one, other)| one.abs_diff(other)).max();
            assert!(distance < Some(12), "{name}: {pixel:?} at {x}");
        }
        let row = server.task(&report.task_id).await;
        assert_eq!(
            (&row["engine"], &row["grade"], &row["progress"]),
            (&json!("lanczos"), &json!("classical"), &json!(100))
        );
    }
    let query = client.query_tool_task().tool_code(imgopen_client::types::ToolCode::ImgEnlarge);
    let report = query.body_map(|body| body.business_task_id("webp")).send().await.into_data().unwrap();
    assert_eq!(report.status.value(), 1);
    let query = client.query_tool_task().tool_code("sky/replace").body_map(|body| body.business_task_id("webp"));
    let error = query.send().await.unwrap_err();
    let msg = &error.envelope().unwrap().msg;
    assert_eq!(error.status().unwrap(), 404);
    assert!(msg.starts_with("`toolCode`: this server has no tool \"sky/replace\"; use one of comfyui/"), "{msg}");
}

/// A PNG whose header claims more pixels than are allowed.
fn bomb() -> Vec<u8> {
    let mut bytes = file(ImageFormat::Png);
    bytes[16..20].copy_from_slice(&30_000u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&30_000u32.to_be_bytes());
    bytes
}

fn bad_pictures() -> Router {
    let cut_off = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    let endless = || async {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0u8; 10_000]));
        Body::from_stream(chunks)
    };
    let dripping = || async {
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>("a")]);
        Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending()))
    };
    Router::new()
        .route("/text", served(b"<html>not a picture</html>".to_vec()))
        .route("/empty", served(Vec::new()))
        .route("/cut-off.png", served(cut_off(file(ImageFormat::Png))))
        .route("/cut-off.jpg", served(cut_off(file(ImageFormat::Jpeg))))
        .route("/bomb.png", served(bomb()))
        .route("/good.png", served(file(ImageFormat::Png)))
        .route("/large.png", served(vec![0; 50_001]))
        .route("/endless.png", get(endless))
        .route("/silent.png", get(std::future::pending::<()>))
        .route("/dripping.png", get(dripping))
        .route("/broken.png", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/home.png", get(|| async { Redirect::temporary("http://10.0.0.1/private.png") }))
        .route("/round.png", get(|| async { Redirect::temporary("/round.png").into_response() }))
}

#[tokio::test]
async fn an_invalid_picture_is_named_with_the_problem() {
    let server = lanczos().await;
    let address = host(bad_pictures()).await;
    let cases = [
        ("missing.png", "answered 404"),
        ("broken.png", "answered 500"),
        ("text", "is an HTML page"),
        ("empty", "is an empty file"),
        ("cut-off.png", "ends too early"),
        ("cut-off.jpg", "ends too early"),
        ("bomb.png", "is 30000x30000 pixels; at most 100000 pixels"),
        ("large.png", "is larger than 50000 bytes"),
        ("endless.png", "is larger than 50000 bytes"),
        ("silent.png", "did not answer within 0.4 s"),
        ("dripping.png", "answered too slowly"),
        ("home.png", "10.0.0.1"),
        ("round.png", "more than 5 redirects"),
    ];
    let mut tasks = Vec::new();
    for (name, _) in cases {
        let url = format!("http://{address}/{name}?secret=1");
        tasks.push(server.submitted("enlarge_image", request(&url, 2.0)).await);
    }
    for ((name, problem), task) in cases.iter().zip(&tasks) {
        let reason = server.failed(task).await;
        assert!(reason.starts_with("`sourceImage`: "), "{reason}");
        assert!(reason.contains(&format!("http://{address}/{name}")) && reason.contains(problem), "{reason}");
        assert!(!reason.contains("secret"), "{reason}");
        let data = server.tool("imgEnlarge", task).await.ok();
        assert_eq!((&data["status"], &data["desc"]), (&json!(2), &json!(reason)));
        assert!(data.get("outputImageUrl").is_none());
    }
    // A result may be too large as well.
    let task = server.submitted("enlarge_image", request(&format!("http://{address}/good.png"), 8.0)).await;
    server.reached(&task, "succeeded").await;
    let bench = server.stop().await.with(|settings| settings.pictures.pixels = 10_000);
    let server = bench.start().await;
    let task = server.submitted("enlarge_image", request(&format!("http://{address}/good.png"), 8.0)).await;
    let reason = server.failed(&task).await;
    assert!(reason.starts_with("`scale`: 8 given") && reason.contains("10000 pixels"), "{reason}");
    let kept = std::fs::read_dir(server.data_dir().join("assets")).unwrap();
    let kept = kept.flat_map(|shelf| std::fs::read_dir(shelf.unwrap().path()).unwrap());
    assert_eq!(kept.count(), 1);
}

#[tokio::test]
async fn an_unreachable_host_is_named() {
    let server = lanczos().await;
    // A port that was free a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let task = server.submitted("enlarge_image", request(&format!("http://{closed}/a.png"), 2.0)).await;
    let reason = server.failed(&task).await;
    assert!(reason.contains(&format!("http://{closed}/a.png")), "{reason}");
}
