//! Finding out what answers at an address.

use axum::routing::get;
use axum::{Json, Router};
use imgopen_backends::{Backend, BackendSettings, DiscoverError, Kind, Surroundings};
use tokio::net::TcpListener;

use crate::fake::{Behaviour, Fake};
use crate::recordings::recording;
use crate::targets::settings;

async fn discover(settings: BackendSettings) -> Result<Backend, DiscoverError> {
    Backend::discover(settings, &Surroundings::default()).await
}

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
    let backend = discover(settings(&fake.url)).await.unwrap();
    assert_eq!(backend.driver().name(), "mine");
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
    let kinds = [
        ("/sdcpp/v1/capabilities", "sd-server/capabilities", Kind::SdServer),
        ("/object_info/KSampler", "comfyui/object_info_KSampler", Kind::ComfyUi),
    ];
    for (path, name, kind) in kinds {
        let url = serve(path, name).await;
        assert_eq!(discover(settings(&url)).await.unwrap().kind(), kind);
    }
    let url = serve("/other", "webui/unknown").await;
    let error = discover(settings(&url)).await.unwrap_err();
    assert!(matches!(error, DiscoverError::Unknown { .. }), "{error}");
    let error = discover(settings("http://127.0.0.1:1")).await.unwrap_err();
    assert!(matches!(error, DiscoverError::Away { .. }), "{error}");
}

#[tokio::test]
async fn a_program_whose_kind_is_given_may_come_later() {
    let settings = BackendSettings { kind: Some(Kind::SdWebui), ..settings("http://127.0.0.1:1") };
    let backend = discover(settings).await.unwrap();
    let report = backend.report();
    assert!(report.away.is_some() && report.to_string().starts_with("mine: away: "), "{report}");
}

#[tokio::test]
async fn several_are_named_by_their_kinds_in_order() {
    let fake = Fake::start(Behaviour::default()).await;
    let unnamed = |url: &str| BackendSettings::new(url.parse().unwrap());
    let all = vec![unnamed(&fake.url), unnamed("http://127.0.0.1:1"), settings(&fake.url), unnamed(&fake.url)];
    let found = Backend::discover_all(all, &Surroundings::default()).await.unwrap();
    let names: Vec<_> = found
        .iter()
        .map(|backend| match backend {
            Ok(backend) => backend.report().name,
            Err(DiscoverError::Away { .. }) => "away".to_owned(),
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(names, ["sd-webui", "away", "mine", "sd-webui-2"]);
    let twice = Backend::discover_all(vec![settings(&fake.url), settings(&fake.url)], &Surroundings::default()).await;
    assert!(twice.unwrap_err().starts_with("two back ends have the name `mine`"));
}
