//! Back ends without preprocessors get control pictures by the networks of the models directory.

use std::path::Path;

use imgopen_engine::{Engine, JobRequest};
use imgopen_neural::ControlNets;
use imgopen_service::NetSettings;
use imgopen_types::operations::PREVIEW_CONTROLNET;
use serde_json::json;

use super::nets_in;
use super::table::pieces::{self, Piece, put};

/// Returns what is wrong with asking for a preprocessor with those models; empty if nothing is.
fn problem(models: &Path, preprocessor: &str) -> String {
    let settings = NetSettings { threads: Some(1), ..NetSettings::default() };
    let engine = ControlNets::new(nets_in(models, &settings, pieces::CATALOGUE.clone()).unwrap());
    let url = "https://example.com/photo.jpg";
    let body = json!({"businessTaskId": "mine", "sourceImage": url, "preprocessor": preprocessor});
    let checked = engine.check(&JobRequest::new("task", &PREVIEW_CONTROLNET, body));
    checked.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn control_pictures_are_made_by_the_networks_that_are_there() {
    let all = pieces::all();
    let is_wanted = |piece: &&Piece| piece.pack.as_deref() == Some("faces") || piece.shown() == "`depth/`";
    let wanted: Vec<&Piece> = all.iter().filter(is_wanted).collect();
    assert_eq!(wanted.len(), 2);
    let models = tempfile::tempdir().unwrap();
    for (module, need) in [
        ("depth", "\"depth\" needs a net for depth, such as Depth Anything as an ONNX file in `depth/`"),
        ("mediapipe_face", "\"mediapipe_face\" needs the pack `faces`, which `imgopen models pull faces` installs"),
    ] {
        let problem = problem(models.path(), module);
        assert!(problem.contains(need), "{problem}");
    }
    put(models.path(), &wanted);
    for module in ["canny", "depth", "mediapipe_face"] {
        assert_eq!(problem(models.path(), module), "", "{module}");
    }
    let openpose = problem(models.path(), "openpose");
    assert!(openpose.contains("depth") && openpose.contains("mediapipe_face"), "{openpose}");
}
