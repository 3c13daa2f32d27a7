//! Finding out what answers at an address.

use axum::routing::get;
use axum::{Json, Router};
use imgopen_backends::{Backend, BackendSettings, DiscoverError, Kind};
use tokio::net::TcpListener;

use crate::fake::{Behaviour, Fake};
use crate::recordings::recording;
use crate::target::settings;

/// Serves one recorded answer.
async fn serve(path: &'static str, name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route(path, get(async move || Json(recording(name).answer)));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn a_web_ui_is_found_and_described() {
    let fake = Fake::start(Behaviour::default()).await;
    let backend = Backend::discover(settings(&fake.url)).await.unwrap();
    assert_eq!(backend.engine().name(), "mine");
    let report = backend.report();
    assert_eq!((report.kind, report.program, report.away.as_deref()), (Kind::SdWebui, "Forge", None));
    assert_eq!(report.models, ["random-sd15.safetensors"]);
    let text = report.to_string();
    let expected = "mine: Forge, 1 model\n  text_to_image: served\n  image_to_image: served\n  controlnet: served\n  \
                    flux_text_to_image: needs its files; name them in the settings `flux_dev` and `flux_schnell`\n  super_resolution: needs an upscaler; name one in the \
                    setting `upscaler`\n  restore_face: needs a face restorer; name one in the setting `face_restorer`\n  \
                    describe_image: needs a model; name some in the setting `interrogators`\n  preview_controlnet: needs the \
                    setting `preprocessors`\n";
    assert_eq!(text, expected);
    assert_eq!(serde_json::to_value(&report).unwrap()["operations"][0]["operation"], "text_to_image");
}

#[tokio::test]
async fn other_programs_are_distinguished() {
    for (path, name, kind) in [
        ("/sdcpp/v1/capabilities", "sd-server/capabilities", Kind::SdServer),
        ("/object_info/KSampler", "comfyui/object_info_KSampler", Kind::ComfyUi),
    ] {
        let url = serve(path, name).await;
        let error = Backend::discover(settings(&url)).await.unwrap_err();
        assert!(matches!(&error, DiscoverError::NotDriven { kind: found, .. } if *found == kind), "{error}");
    }
    let url = serve("/other", "webui/unknown").await;
    let error = Backend::discover(settings(&url)).await.unwrap_err();
    assert!(matches!(error, DiscoverError::Unknown { .. }), "{error}");
    let error = Backend::discover(settings("http://127.0.0.1:1")).await.unwrap_err();
    assert!(matches!(error, DiscoverError::Away { .. }), "{error}");
}

#[tokio::test]
async fn a_program_whose_kind_is_given_may_come_later() {
    let settings = BackendSettings { kind: Some(Kind::SdWebui), ..settings("http://127.0.0.1:1") };
    let backend = Backend::discover(settings).await.unwrap();
    let report = backend.report();
    assert!(report.away.is_some() && report.to_string().starts_with("mine: away: "), "{report}");
}
