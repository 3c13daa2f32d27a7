//! `[safety]` in the settings of `imgopen serve`, with a pack whose net finds every picture as likely unsafe as not.

use std::fs;
use std::path::Path;

use imgopen_client::Client;
use imgopen_nets::Dimension::Fixed;
use imgopen_nets::onnx::{Builder, Setting, Weights};
use imgopen_tests::calls::call;
use serde_json::{Value, json};

use crate::common::program::{Key, Program};
use crate::common::rows::task;
use crate::common::{stand_in, until};
use crate::{command, run};

const MISSING: &str = "the pack `safety` is not installed; pull it with `imgopen models pull safety`";

/// A net with the signature of Open-NSFW's, both of whose shares are a half.
fn undecided() -> Vec<u8> {
    let mut builder = Builder::new(64, ["pictures", "shares"].map(str::to_owned));
    builder.input("pictures", &[1, 224, 224, 3].map(Fixed));
    builder.output("shares", &[1, 2].map(Fixed));
    let columns = builder.weights(Weights::F32, &[3, 2], &[0; 24]);
    let each = builder.node("MatMul", &["pictures", &columns], &[]);
    let axes = [("axes", Setting::Ints(&[1, 2])), ("keepdims", Setting::Int(0))];
    let mean = builder.node("ReduceMean", &[&each], &axes);
    builder.node_as("Softmax", &[&mean], "shares", &[("axis", Setting::Int(-1))]);
    builder.finish()
}

/// Installs the pack as if that net were in it.
fn install(models: &Path) {
    stand_in::install(models, "safety", |_| undecided());
}

/// The setting that has a service know that pack.
fn known(models: &Path) -> String {
    format!("nets.catalogue={}", stand_in::catalogue(models).display())
}

/// Submits a task that draws a small picture.
async fn draw(client: &Client, id: &str) {
    let scripts = json!({"sd_model_checkpoint": "sandbox.safetensors", "id_task": id});
    let request = json!({
        "prompt": "a lighthouse", "batch_size": 1, "width": 64, "height": 64, "steps": 4, "alwayson_scripts": scripts,
    });
    call(client, "text_to_image", &request).await.unwrap();
}

/// Waits until a task has ended.
async fn ended(client: &Client, id: &str) -> Value {
    let finished = async || {
        let row = task(client, id).await;
        row["finishedAt"].is_string().then_some(row)
    };
    until("the task has ended", finished).await
}

async fn drawn(client: &Client, id: &str) -> Value {
    draw(client, id).await;
    ended(client, id).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_are_refused_and_for_one_key_marked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("imgopen-data");
    Program::serve(&data, &[]).stop();
    let [strict, lax] = [(); 2].map(|()| Key::create(&data));
    let models = data.join("models");
    install(&models);
    let file = folder.path().join("imgopen.toml");
    let settings =
        format!("[safety]\naction = \"refuse\"\nthreshold = 0.5\n[safety.keys.{}]\naction = \"mark\"\n", lax.id);
    fs::write(&file, settings).unwrap();
    let program = Program::serve(&data, &["--config", file.to_str().unwrap(), "--set", &known(&models)]);

    let refused = drawn(&strict.client(&program.url), "refused").await;
    let reason = refused["desc"].as_str().unwrap();
    assert_eq!((&refused["state"], &refused["outputImageUrlList"]), (&json!("failed"), &Value::Null), "{refused}");
    assert!(
        reason.starts_with("an audit found `nsfw` (confidence 0.5) in the picture; the server refuses"),
        "{reason}"
    );

    let client = lax.client(&program.url);
    let marked = drawn(&client, "marked").await;
    assert_eq!(marked["state"], "succeeded", "{marked}");
    assert!(marked["notes"].to_string().contains("an audit found `nsfw` (confidence 0.5) in the picture"), "{marked}");
    let answer = call(&client, "query_task", &json!({"businessTaskId": "marked"})).await.unwrap().response;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let picture = &answer["data"]["differentialImageRspList"][0];
    let expected = json!([{"confidence": 0.5, "label": "nsfw"}]);
    assert_eq!((&picture["img_audit"], &picture["img_audit_status"]), (&expected, &json!(false)), "{picture}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_wait_while_the_pack_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("imgopen-data");
    let models = data.join("models");
    install(&models);
    let known = known(&models);
    let program =
        Program::serve(&data, &["--set", "safety.action=blur", "--set", "safety.threshold=0.6", "--set", &known]);
    let client = Key::create(&data).client(&program.url);
    assert_eq!(drawn(&client, "before").await["state"], "succeeded");

    fs::remove_dir_all(models.join("packs")).unwrap();
    let logged = async |text: &str| until(text, async || program.log().contains(text).then_some(())).await;
    logged("pack removed").await;
    draw(&client, "meanwhile").await;
    logged("no task can run that makes pictures").await;
    assert!(program.log().contains(MISSING), "{}", program.log());
    let waiting = task(&client, "meanwhile").await;
    assert!(["queued", "running"].contains(&waiting["state"].as_str().unwrap()), "{waiting}");

    install(&models);
    assert_eq!(ended(&client, "meanwhile").await["state"], "succeeded");
}

#[test]
fn a_service_that_cannot_do_what_is_asked_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |flags: &[&str]| {
        run(folder.path(), &[&["serve", "--sandbox", "--listen", "127.0.0.1:0", "--set"], flags].concat())
    };
    for (set, setting) in
        [("safety.action=mark", "safety.action"), ("safety.keys.ak_1.action=refuse", "safety.keys.ak_1.action")]
    {
        let refused = serve(&[set]);
        assert!(!refused.starts_with("ends with 0\n"), "{refused}");
        assert!(refused.contains(&format!("`{setting}`: pictures cannot be audited: {MISSING}")), "{refused}");
    }
    let models = folder.path().join("imgopen-data/models");
    install(&models);
    let refused = serve(&["safety.keys.ak_1.action=refuse", "--set", &known(&models)]);
    let expected = "`safety.keys.ak_1`: no access key has that id; `imgopen keys list` shows all";
    assert!(!refused.starts_with("ends with 0\n") && refused.contains(expected), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_looks_for_the_pack_if_pictures_are_audited() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("imgopen-data");
    Program::serve(&data, &[]).stop();
    let examined = |flags: &[&str]| -> Value {
        let output = command(folder.path(), &[&["doctor", "--json"], flags].concat()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let has_check = |report: &Value| report["checks"].as_array().unwrap().contains(&json!("safety"));
    let report = examined(&[]);
    assert!(!has_check(&report) && report["findings"] == json!([]), "{report}");
    let asked = ["--set", "safety.action=blur"];
    let report = examined(&asked);
    let finding = json!({
        "check": "safety",
        "problem": "`safety.action` has pictures audited, but the pack `safety` is not installed",
        "fix": "run `imgopen models pull safety`; the service does not start without it",
    });
    assert_eq!(report["findings"], json!([finding]), "{report}");
    let models = data.join("models");
    install(&models);
    let report = examined(&[&asked[..], &["--set", &known(&models)]].concat());
    assert!(has_check(&report) && report["findings"] == json!([]), "{report}");
}
