//! `imgopen demo`.

use std::fs;
use std::path::Path;
use std::process::Command;

use imgopen_nets::Dimension;
use imgopen_nets::onnx::{Builder, Setting, Weights};
use insta::assert_snapshot;
use serde_json::Value;

use crate::common::shell::names;
use crate::common::stand_in::{catalogue, install};
use crate::{command, transcript};

#[test]
fn the_demo_needs_no_set_up_and_leaves_only_its_results() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &["demo"]).output().unwrap();
    let text = transcript(&output).replace(&folder.path().canonicalize().unwrap().display().to_string(), "[folder]");
    let text = text.replace(env!("CARGO_BIN_EXE_imgopen"), "imgopen");
    // What a network computes differs a little from processor to processor.
    let is_found = |line: &&str| line.trim_start().starts_with("faces: [{");
    assert_eq!(text.lines().filter(is_found).count(), 1, "{text}");
    let lines = text.lines().map(|line| if is_found(&line) { "   faces: [one face]" } else { line });
    let text = lines.collect::<Vec<_>>().join("\n");
    assert_snapshot!("demo", text);
    assert_eq!(names(folder.path()), ["imgopen-demo"]);
    let results = names(&folder.path().join("imgopen-demo"));
    assert_eq!(results.len(), 4, "{results:?}");
    for name in &results {
        let picture = image::open(folder.path().join("imgopen-demo").join(name)).unwrap();
        assert_eq!((picture.width(), picture.height()), (512, 512), "{name}");
    }
}

#[test]
fn the_demo_can_keep_its_data_and_print_json() {
    let folder = tempfile::tempdir().unwrap();
    let demo = ["demo", "--json", "--output", "results", "--keep", "data"];
    // The demo stays on this machine and must not use a proxy.
    let mut demo = command(folder.path(), &demo);
    for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        demo.env(proxy, "http://127.0.0.1:9");
    }
    let output = demo.output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tasks = printed["tasks"].as_array().unwrap();
    let grades: Vec<_> = tasks.iter().map(|task| task["grade"].as_str().unwrap()).collect();
    assert_eq!(grades, ["sandbox", "classical", "classical", "classical", "neural"], "{printed}");
    assert_eq!(tasks[4]["answer"]["faces"].as_array().unwrap().len(), 1, "{printed}");
    assert!(tasks.iter().all(|task| task["state"] == "succeeded" && task["engine"].is_string()), "{printed}");
    assert_eq!(names(folder.path()), ["data", "results"]);
    assert!(folder.path().join("data/imgopen.sqlite3").is_file());
}

/// Returns a demo that knows the packs in the directory `models`.
fn demo_with_packs(folder: &Path, arguments: &[&str]) -> Command {
    let mut demo = command(folder, arguments);
    demo.env("IMGOPEN_SERVE_NETS__CATALOGUE", catalogue(&folder.join("models")));
    demo
}

/// A net with the inputs and outputs of that of the pack `portrait`, which finds what is bright.
fn bright(_: &str) -> Vec<u8> {
    let mut builder = Builder::new(12, ["input_1".to_owned(), "activation_10".to_owned()]);
    builder.input("input_1", &[1, 256, 256, 3].map(Dimension::Fixed));
    builder.output("activation_10", &[1, 256, 256, 1].map(Dimension::Fixed));
    let column = builder.weights(Weights::F32, &[3, 1], &[1000.0_f32; 3].map(f32::to_le_bytes).concat());
    let sum = builder.node("MatMul", &["input_1", &column], &[]);
    let half = builder.number(-1500.0);
    let above = builder.node("Add", &[&sum, &half], &[]);
    builder.node_as("Sigmoid", &[&above], "activation_10", &[]);
    builder.finish()
}

/// A net with the inputs and outputs of those of the pack `upscale`, which repeats each pixel.
fn repeater(name: &str) -> Vec<u8> {
    let factor = [("-x2", 2.0), ("-x3", 3.0)].into_iter().find(|(ending, _)| name.contains(ending));
    let factor = factor.map_or(4.0, |(_, factor)| factor);
    let named = |name: &str| Dimension::Named(name.to_owned());
    let mut builder = Builder::new(0, ["data".to_owned(), "output".to_owned()]);
    builder.input("data", &[Dimension::Fixed(1), Dimension::Fixed(3), named("height"), named("width")]);
    builder.output("output", &[Dimension::Fixed(1), Dimension::Fixed(3), Dimension::Unknown, Dimension::Unknown]);
    let scales = builder.floats(&[1.0, 1.0, factor, factor]);
    let way = [
        ("mode", Setting::Text("nearest")),
        ("coordinate_transformation_mode", Setting::Text("asymmetric")),
        ("nearest_mode", Setting::Text("floor")),
    ];
    builder.node_as("Resize", &["data", "", &scales], "output", &way);
    builder.finish()
}

#[test]
fn the_demo_of_networks_shows_what_the_packs_do() {
    let folder = tempfile::tempdir().unwrap();
    install(&folder.path().join("models"), "portrait", bright);
    install(&folder.path().join("models"), "upscale", repeater);
    let demo = ["demo", "--neural", "--models", "models", "--pack", "portrait", "--pack", "upscale"];
    let text = transcript(&demo_with_packs(folder.path(), &demo).output().unwrap());
    assert!(text.starts_with("ends with 0\n1. remove_background: the subject of the photograph"), "{text}");
    assert!(text.contains("512x512 PNG, [size], by segmentation (neural)\n2. super_resolution: "), "{text}");
    assert!(text.contains("by realesrgan (neural)\n"), "{text}");
    assert!(text.contains("of the pack `upscale`") && text.contains("\nThe networks are in "), "{text}");
    assert_eq!(names(folder.path()), ["imgopen-demo", "models"]);
    let enlarged = names(&folder.path().join("imgopen-demo")).into_iter().find(|name| name.starts_with("super_res"));
    let enlarged = image::open(folder.path().join("imgopen-demo").join(enlarged.unwrap())).unwrap();
    assert_eq!((enlarged.width(), enlarged.height()), (512, 512));

    // A photograph of the user's, on which a task fails while the others go on.
    let dark = image::RgbImage::from_pixel(300, 200, image::Rgb([9, 9, 9]));
    dark.save(folder.path().join("dark.png")).unwrap();
    let output =
        demo_with_packs(folder.path(), &[&demo[..], &["--photo", "dark.png", "--json"]].concat()).output().unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tasks = printed["tasks"].as_array().unwrap();
    let of = |operation: &str| tasks.iter().find(|task| task["operation"] == operation).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    let problem = of("remove_background")["error"]["message"].as_str().unwrap();
    assert!(problem.contains("nobody was found in the picture"), "{problem}");
    assert_eq!(of("super_resolution")["state"], "succeeded", "{printed}");
}

#[test]
fn what_the_demo_of_networks_cannot_use_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("photo.png"), "not a picture").unwrap();
    install(&folder.path().join("models"), "portrait", bright);
    let demo = ["demo", "--neural", "--models", "models", "--pack"];
    let ended = |arguments: &[&str]| {
        let text = transcript(&demo_with_packs(folder.path(), &[&demo[..], arguments].concat()).output().unwrap());
        let (first, rest) = text.split_once('\n').unwrap();
        (first.to_owned(), rest.to_owned())
    };
    for (arguments, problem) in [
        (&["background"][..], "--accept-licence AGPL-3.0-only"),
        (&["portrait", "--photo", "photo.png"], "imgopen: --photo: "),
        (&["portrait", "--photo", "nowhere.png"], "imgopen: --photo: cannot read "),
        (&["portrat"], "\"portrait\""),
        (&["portrait", "--accept-licence", "MIT"], "imgopen: --accept-licence: "),
    ] {
        let (code, text) = ended(arguments);
        let expected = if problem.contains("cannot read") { "ends with 1" } else { "ends with 2" };
        assert!(code == expected && text.contains(problem), "{arguments:?}: {code}: {text}");
    }
    let (code, text) = {
        let output = command(folder.path(), &["demo", "--photo", "photo.png"]).output().unwrap();
        (output.status.code(), transcript(&output))
    };
    assert!(code == Some(2) && text.contains("--neural"), "{text}");
    assert_eq!(names(folder.path()), ["models", "photo.png"], "what was refused left something behind");
}
