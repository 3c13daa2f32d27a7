//! Back ends without preprocessors get control pictures by the networks of the models directory.

use std::path::Path;
use std::sync::Arc;

use figment::Figment;
use figment::providers::Serialized;
use imgopen_engine::{Engine, JobRequest, Library};
use imgopen_service::{NetSettings, Settings};
use imgopen_types::operations::CONTROLNET;
use serde_json::json;

use super::engines;
use super::table::pieces::{self, Piece, put};
use crate::settings::Backends;

/// Returns the engine of a back end that does not answer, in a service with a models directory.
async fn driven(kind: &str, models: &Path) -> Arc<dyn Engine> {
    // Nothing listens at the port for discarded data.
    let settings = json!({"backends": [{"url": "http://127.0.0.1:9", "kind": kind}]});
    let backends = Backends::read(&Figment::from(Serialized::defaults(settings))).unwrap();
    let nets = NetSettings { threads: Some(1), ..NetSettings::default() };
    let settings = Settings { models: Some(models.to_owned()), nets, ..Settings::default() };
    let registry = engines(&settings, &backends, Library::open(models, None)).await.unwrap();
    registry.engines().iter().find(|engine| !engine.backends().is_empty()).unwrap().clone()
}

/// Returns what is wrong with a request whose control picture is to be made by a preprocessor; empty if nothing is.
fn problem(engine: &dyn Engine, module: &str) -> String {
    let url = "https://example.com/photo.jpg";
    let unit = json!({"module": module, "model": "n", "image_link": url});
    let body = json!({
        "prompt": "a lighthouse", "batch_size": 1, "width": 64, "height": 64, "steps": 2, "seed": "7", "sampler_index": "Euler",
        "cfg_scale": 7, "alwayson_scripts": {"sd_model_checkpoint": "m", "id_task": "mine"}, "resize_mode": 1,
        "controlnet": {"args": [unit]},
    });
    let checked = engine.check(&JobRequest::new("task", &CONTROLNET, body));
    checked.err().map(|error| error.to_string()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn control_pictures_are_made_by_the_networks_that_are_there() {
    let all = pieces::all();
    let is_wanted = |piece: &&Piece| piece.pack.as_deref() == Some("faces") || piece.shown() == "`depth/`";
    let wanted: Vec<&Piece> = all.iter().filter(is_wanted).collect();
    assert_eq!(wanted.len(), 2);
    for kind in ["sd-server", "comfyui"] {
        let models = tempfile::tempdir().unwrap();
        let without = driven(kind, models.path()).await;
        for (module, need) in [
            ("depth", "\"depth\" needs a net for depth, such as Depth Anything as an ONNX file in `depth/`"),
            ("mediapipe_face", "\"mediapipe_face\" needs the pack `faces`, which `imgopen models pull faces` installs"),
        ] {
            let problem = problem(&*without, module);
            assert!(problem.contains("does not offer preprocessors") && problem.contains(need), "{kind}: {problem}");
        }
        put(models.path(), &wanted);
        let with = driven(kind, models.path()).await;
        for module in ["canny", "depth", "mediapipe_face"] {
            let problem = problem(&*with, module);
            assert!(!problem.contains("preprocessor"), "{kind}: {module}: {problem}");
        }
        let problem = problem(&*with, "openpose");
        assert!(
            problem.contains("color, none, depth, mediapipe_face; A1111 and Forge have others"),
            "{kind}: {problem}"
        );
    }
}
