//! Back ends: finding and checking them, and making pictures with them.

use std::net::TcpListener;
use std::path::Path;

use imgopen_tests::calls::call;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::common::program::{Key, Program, imgopen};
use crate::common::rows::task;
use crate::common::until;
use crate::common::webui::{WebUi, request};
use crate::{command, redacted, run};

/// Starts a service without the sandbox.
fn serve(data: &Path, arguments: &[&str]) -> Program {
    let mut serve = imgopen();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data).args(arguments);
    Program::start(serve)
}

/// From the command line to the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_is_made_by_a_back_end_that_was_found() {
    let (folder, webui) = (tempfile::tempdir().unwrap(), WebUi::start());
    let program = serve(&folder.path().join("data"), &["--backend", &webui.url]);
    let key = Key::create(&folder.path().join("data"));
    let mut make = command(folder.path(), &["run", "text_to_image", "--prompt", "a lighthouse", "--batch-size", "1"]);
    make.args(["--width", "64", "--height", "64", "--steps", "1", "--seed", "7", "--sampler-index", "Euler"]);
    make.args(["--sd-model-checkpoint", "random-sd15.safetensors", "--output", "lighthouse.png"]);
    make.env("IMGOPEN_BASE_URL", &program.url).env("IMGOPEN_ACCESS_KEY_ID", &key.id);
    let output = make.env("IMGOPEN_ACCESS_KEY_SECRET", &key.secret).output().unwrap();
    assert!(output.status.success(), "{output:?} {}", program.log());
    let file = std::fs::read(folder.path().join("lighthouse.png")).unwrap();
    let text = imgopen_picture::parameters(&file).unwrap();
    assert!(text.contains("Seed: 7") && text.contains("Model: random-sd15"), "{text}");
    let [call_of_it] = &webui.calls()[..] else { panic!("{:?}", webui.calls()) };
    assert_eq!((&call_of_it["prompt"], &call_of_it["seed"]), (&json!("a lighthouse"), &json!(7)));

    let client = key.client(&program.url);
    let described = call(&client, "describe_server", &json!({})).await.unwrap();
    let described: Value = serde_json::from_str(&described.response).unwrap();
    let operations = described["data"]["operations"].as_array().unwrap();
    let of = |id: &str| operations.iter().find(|row| row["operation"] == id).unwrap();
    let engine = &of("text_to_image")["engines"][0];
    assert_eq!((&engine["name"], &engine["grade"], engine.get("away")), (&json!("sd-webui"), &json!("neural"), None));
    let backend = &engine["backends"][0];
    assert_eq!(
        (&backend["name"], &backend["program"], backend.get("away")),
        (&json!("sd-webui"), &json!("Forge"), None)
    );
    assert!(backend["version"].as_str().unwrap().starts_with("f2.0.1"), "{backend}");
    assert_eq!(engine["models"], json!(["random-sd15.safetensors"]));
    assert_eq!((&of("swap_face")["available"], &of("swap_face")["engines"]), (&json!(false), &json!([])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_waits_for_a_back_end_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    // It finishes nothing.
    let webui = WebUi::at("127.0.0.1:0".parse().unwrap(), 0);
    let address = webui.address();
    let program = serve(folder.path(), &["--backend", &webui.url]);
    let client = Key::create(folder.path()).client(&program.url);
    call(&client, "text_to_image", &request("waits")).await.unwrap();
    until("it is made", async || (!webui.calls().is_empty()).then_some(())).await;
    drop(webui);
    let waits = async || Some(task(&client, "waits").await).filter(|task| task["state"] == "queued");
    let waiting = until("it waits", waits).await;
    assert_eq!(waiting["attempts"], 0, "{waiting}");
    let webui = WebUi::at(address, 1);
    let ended = async || Some(task(&client, "waits").await).filter(|task| task["state"] == "succeeded");
    let done = until("it is done", ended).await;
    assert_eq!((&done["engine"], &done["attempts"], webui.calls().len()), (&json!("sd-webui"), &json!(1), 1));
}

/// The sandbox takes no task of a back end that is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_starts_before_a_back_end_whose_kind_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing listens there once this is dropped.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = folder.path().join("imgopen.toml");
    std::fs::write(
        &config,
        format!("[[backends]]\nurl = \"http://{address}\"\nkind = \"sd-webui\"\nname = \"late\"\n"),
    )
    .unwrap();
    let data = folder.path().join("data");
    let program = serve(&data, &["--sandbox", "--config", config.to_str().unwrap()]);
    let client = Key::create(&data).client(&program.url);
    let error = call(&client, "text_to_image", &request("early")).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 503, "{error}");
    assert!(error.envelope().unwrap().msg.contains("late"), "{error}");
    let _webui = WebUi::at(address, 1);
    let submitted = async || call(&client, "text_to_image", &request("later")).await.ok().map(drop);
    until("it is accepted", submitted).await;
    let ended = async || Some(task(&client, "later").await).filter(|task| task["state"] == "succeeded");
    assert_eq!(until("it is done", ended).await["engine"], "sd-webui");
    // What it does not serve is left to the sandbox.
    let card = json!({"businessTaskId": "card", "prompt": "a lighthouse", "comfyTaskType": "Flux1DevFP8"});
    call(&client, "flux_text_to_image", &card).await.unwrap();
    let ended = async || Some(task(&client, "card").await).filter(|task| task["state"] == "succeeded");
    assert_eq!(until("it is done", ended).await["engine"], "sandbox");
}

#[test]
fn an_address_where_nothing_answers_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["backends", "check"]] {
        let errors = run(folder.path(), &[command, &["--backend", "http://127.0.0.1:1"]].concat());
        let problem = "nothing that can be used answers at http://127.0.0.1:1/: no connection can be made; start the program, or \
                       give its `kind` in `[[backends]]` to wait for it";
        assert!(errors.starts_with("ends with 1\n") && errors.contains(problem), "{errors}");
    }
    let errors = run(folder.path(), &["serve", "--backend", "http://127.0.0.1:1", "--backend", "http://127.0.0.1:1"]);
    for place in ["the setting `backends[0]` (command line): ", "the setting `backends[1]` (command line): "] {
        assert!(errors.contains(place), "{errors}");
    }
    let errors = run(folder.path(), &["serve", "--backend", "ftp://127.0.0.1"]);
    assert!(
        errors.starts_with("ends with 2\nerrors:\nimgopen: the setting `backends[0]` (command line): `url`"),
        "{errors}"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "a service that cannot start left something behind"
    );
}

#[test]
fn back_ends_are_checked() {
    let (folder, webui) = (tempfile::tempdir().unwrap(), WebUi::start());
    let config = format!(
        "[[backends]]\nurl = \"{}\"\nname = \"mine\"\nupscaler = \"Lanczos\"\nwithhold = [\"image_to_image\"]\n\
         [[backends]]\nurl = \"http://127.0.0.1:1\"\nkind = \"sd-webui\"\n[[backends]]\nurl = \"http://127.0.0.1:1\"\n",
        webui.url
    );
    std::fs::write(folder.path().join("imgopen.toml"), config).unwrap();
    let check =
        |more: &[&str]| run(folder.path(), &[&["backends", "check", "--config", "imgopen.toml"], more].concat());
    assert_snapshot!("backends_check", check(&[]));
    assert_snapshot!("backends_check_json", check(&["--json"]));
    let good = run(folder.path(), &["backends", "check", "--backend", &webui.url]);
    assert!(good.starts_with("ends with 0\nsd-webui at http://127.0.0.1:[port]/\n"), "{good}");
    let none = run(folder.path(), &["backends", "check"]);
    let fix = "name one with `--backend URL`, or in the settings file as `[[backends]]`";
    assert_eq!(none, format!("ends with 2\nerrors:\nimgopen: the settings name no back end; {fix}\n"));
    // It creates no data directory.
    assert_eq!(crate::common::shell::names(folder.path()), ["imgopen.toml"]);
}

#[test]
fn settings_of_back_ends_are_shown_without_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let config = "workers = 2\n[[backends]]\nurl = \"http://gpu.example:8188\"\nuser = \"me\"\npassword = \"hunter2\"\njobs = 2\n\
                  [[backends]]\nurl = \"http://gpu.example:7860\"\nkind = \"sd-webui\"\n[backends.flux_dev]\ncheckpoint = \"a.gguf\"\n";
    std::fs::write(folder.path().join("imgopen.toml"), config).unwrap();
    let show = |more: &[&str]| {
        let output = command(folder.path(), &[&["config", "show"], more].concat()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = show(&["--config", "imgopen.toml"]);
    assert!(
        !shown.contains("hunter2") && !show(&["--config", "imgopen.toml", "--json"]).contains("hunter2"),
        "{shown}"
    );
    assert_snapshot!("config_show_backends", redacted(&shown[shown.find("[[backends]]").unwrap()..]));
    // It is a settings file.
    std::fs::write(folder.path().join("again.toml"), &shown).unwrap();
    let again = show(&["--config", "again.toml"]);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split('#').next().unwrap().trim().to_owned()).collect()
    };
    assert_eq!(values(&again), values(&shown));
    let json = show(&["--json", "--backend", "http://gpu.example"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let url = json.as_array().unwrap().iter().find(|row| row["setting"] == "backends[0].url").unwrap();
    assert_eq!((&url["value"], &url["source"]), (&json!("http://gpu.example/"), &json!("command line")));
}
