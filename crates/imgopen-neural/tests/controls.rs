//! Previews of ControlNet's preprocessors with a tiny net for depth.
#![allow(clippy::unwrap_used)]

mod support;

use image::{DynamicImage, GrayImage, ImageBuffer, Rgb};
use imgopen_engine::{
    Engine, EngineError, Grade, Job, JobRequest, Output, PictureLimits, Preprocessing, Registry, Resolution,
};
use imgopen_neural::ControlNets;
use imgopen_picture::decode;
use imgopen_tools::Preprocessors;
use imgopen_types::operations::PREVIEW_CONTROLNET;
use serde_json::json;
use tempfile::TempDir;

use support::{assert_cancellable, job, nets, own, png, run, runtime};

fn engine() -> (TempDir, ControlNets) {
    let models = tempfile::tempdir().unwrap();
    own::put(models.path(), "depth_anything", "vits.onnx", &own::depth());
    let engine = ControlNets::new(nets(models.path()));
    (models, engine)
}

/// Brighter from left to right.
fn ramp(width: u32, height: u32) -> DynamicImage {
    ImageBuffer::from_fn(width, height, |x, _| Rgb([40 + (x * 200 / width) as u8; 3])).into()
}

fn preview(image: &DynamicImage, preprocessor: &str) -> Job {
    job(&PREVIEW_CONTROLNET, "sourceImage", png(image), json!({"preprocessor": preprocessor}))
}

fn shown(output: &Output) -> DynamicImage {
    decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image
}

fn gray(output: &Output) -> GrayImage {
    let DynamicImage::ImageLuma8(image) = shown(output) else { panic!("{:?}", shown(output).color()) };
    image
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_near_is_white() {
    let (_models, engine) = engine();
    for name in ["depth", "Depth_Anything_V2", "depth_midas"] {
        let output = run(&engine, preview(&ramp(160, 90), name)).await.unwrap();
        let map = gray(&output);
        assert_eq!(map.dimensions(), (160, 90));
        let row: Vec<u8> = (0..160).map(|x| map.get_pixel(x, 45).0[0]).collect();
        assert!(row.is_sorted() && row[0] < 4 && row[159] > 251, "{row:?}");
        assert!(row[80].abs_diff(128) < 6, "{}", row[80]);
        let [note] = &output.notes[..] else { panic!("{:?}", output.notes) };
        assert!(note.starts_with("depth was found by the net `vits.onnx`"), "{note}");
        assert!(note.ends_with("of your own in `depth_anything/`"), "{note}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_engines_get_the_resolution_that_they_ask_for() {
    let (_models, engine) = engine();
    let asked = |resolution| {
        let body = json!({"businessTaskId": "1", "sourceImage": support::URL, "preprocessor": "depth"});
        let asked = Preprocessing { resolution, threshold_a: None, threshold_b: None };
        let request = JobRequest::new("1", &PREVIEW_CONTROLNET, body).with_preprocessing(asked);
        Job::new(request, "run").with_inputs(preview(&ramp(160, 90), "depth").inputs().to_vec())
    };
    let small = asked(Resolution::Shorter(64));
    assert_eq!(gray(&run(&engine, small.clone()).await.unwrap()).dimensions(), (114, 64));
    let large = asked(Resolution::Shorter(900));
    assert!(engine.memory(&large) > engine.memory(&small) + 17 * 800 * 900);
    let error = run(&engine, asked(Resolution::Shorter(60_000))).await.unwrap_err().to_string();
    assert!(error.starts_with("`resolution`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_others_are_made_without_a_network() {
    let (_models, engine) = engine();
    for name in ["canny", "invert (from white bg & black line)"] {
        let output = run(&engine, preview(&ramp(60, 50), name)).await.unwrap();
        let classical = run(&Preprocessors::new(), preview(&ramp(60, 50), name)).await.unwrap();
        assert_eq!(output.pictures, classical.pictures);
        assert_eq!(output.notes, ["made by the engine `preprocessors`, without a network"]);
    }
    let canny = preview(&ramp(60, 50), "canny");
    assert_eq!(engine.memory(&canny), Preprocessors::new().memory(&canny));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_what_there_is_and_what_to_install() {
    let (models, engine) = engine();
    let values = "canny, scribble, softedge, lineart, threshold, invert, tile, shuffle, color, none, depth";
    for (name, expected) in [
        (
            "openpose",
            format!(
                "`preprocessor`: \"openpose\" needs a network for poses, which A1111 and Forge have, as back ends with \
                 `preprocessors` in their settings; without it, give one of {values}"
            ),
        ),
        (
            "Segmentation",
            format!("a map of these would have all else painted as one thing; without it, give one of {values}"),
        ),
        ("pidinet", format!("\"pidinet\" is not a preprocessor of this engine; give one of {values}")),
        ("cannny", format!("give one of {values}; did you mean canny?")),
        ("mediapipe_face", "needs the pack `faces`, which `imgopen models pull faces` installs".to_owned()),
    ] {
        let job = preview(&ramp(60, 50), name);
        for error in [engine.check(job.checked_request()).unwrap_err(), run(&engine, job).await.unwrap_err()] {
            assert!(matches!(error, EngineError::Rejected { .. }) && error.to_string().contains(&expected), "{error}");
        }
    }
    std::fs::remove_dir_all(models.path().join("depth_anything")).unwrap();
    let without = nets(models.path());
    let job = preview(&ramp(60, 50), "depth");
    for error in [
        ControlNets::new(without).check(job.checked_request()).unwrap_err(),
        Preprocessors::new().check(job.checked_request()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("\"depth\" needs a net for depth"), "{error}");
    }
}

#[test]
fn the_engine_is_there_while_its_nets_are() {
    let models = tempfile::tempdir().unwrap();
    let nets = nets(models.path());
    let registry = Registry::default().with(Preprocessors::new()).with(ControlNets::new(nets.clone()));
    let pick = || registry.pick("preview_controlnet", None).unwrap();
    assert_eq!(pick().engine.name(), "preprocessors");
    own::put(models.path(), "depth", "any.onnx", &own::depth());
    nets.look();
    let choice = pick();
    assert_eq!((choice.engine.name(), choice.offer.grade), ("control-nets", Grade::Neural));
    assert!(choice.offer.values[0].values.ends_with(&["none".to_owned(), "depth".to_owned()]));
}

/// One engine serves all values, but what a network has not made does not count as made by one.
#[test]
fn only_maps_by_networks_have_their_grade() {
    let (_models, engine) = engine();
    let grade = |name: &str| engine.grade(preview(&ramp(60, 50), name).checked_request(), Grade::Neural);
    assert_eq!((grade("depth"), grade("canny"), grade("none")), (Grade::Neural, Grade::Classical, Grade::Classical));
    let job = preview(&ramp(60, 50), "canny");
    assert_eq!(engine.grade(job.checked_request(), Grade::Draft), Grade::Draft);
}

/// It is there, so that asking for one would mislead.
#[test]
fn a_net_that_cannot_be_used_is_named_where_one_is_needed() {
    let models = tempfile::tempdir().unwrap();
    own::put(models.path(), "depth", "cubic.onnx", &own::cubic_depth());
    let engine = ControlNets::new(nets(models.path()));
    let error = engine.check(preview(&ramp(60, 50), "depth").checked_request()).unwrap_err().to_string();
    assert!(
        error.contains("there is one, but the model file \"cubic.onnx\" cannot be used: rten carries out `Resize`"),
        "{error}"
    );
    let files = imgopen_neural::own_files(models.path(), runtime());
    let problem = files[0].problem.as_deref().unwrap();
    assert!(files[0].purpose.is_none() && problem.contains("the mode `cubic`"), "{problem}");
    assert!(engine.offers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_wherever_it_is_cancelled() {
    let (_models, engine) = engine();
    assert!(assert_cancellable(&engine, &preview(&ramp(160, 90), "depth")).await > 90);
}
