//! Trainings from the command line, by a trainer that is made of recordings.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::pictures::scene;
use crate::common::program::{Key, Program, imgopen};
use crate::common::until;
use crate::common::webui::WebUi;
use crate::fake_trainer::{FakeTrainer, processes};

/// A service with a trainer, and the directory that it is used from.
struct Workshop {
    fake: FakeTrainer,
    data: TempDir,
    folder: TempDir,
}

impl Workshop {
    fn new() -> Self {
        let made =
            Self { fake: FakeTrainer::new(), data: tempfile::tempdir().unwrap(), folder: tempfile::tempdir().unwrap() };
        FakeTrainer::base_model(&made.data.path().join("models"));
        std::fs::create_dir(made.folder.path().join("photos")).unwrap();
        for number in 0..10 {
            scene().save(made.folder.path().join(format!("photos/{number}.png"))).unwrap();
        }
        made
    }

    fn serve(&self, further: &[&str]) -> Program {
        let setting = |name: &str, path: &Path| format!("training.{name}={}", path.display());
        let (scripts, accelerate) =
            (setting("scripts", &self.fake.scripts()), setting("accelerate", &self.fake.accelerate()));
        let arguments = ["--set", scripts.as_str(), "--set", accelerate.as_str(), "--set", "shutdown=2s"];
        Program::serve(self.data.path(), &[&arguments[..], further].concat())
    }

    fn run(&self, program: &Program, key: &Key, arguments: &[&str]) -> Output {
        let mut command = imgopen();
        command.current_dir(self.folder.path()).args(arguments).env("IMGOPEN_BASE_URL", &program.url);
        command.env("IMGOPEN_ACCESS_KEY_ID", &key.id).env("IMGOPEN_ACCESS_KEY_SECRET", &key.secret);
        command.output().unwrap()
    }

    fn json(&self, program: &Program, key: &Key, arguments: &[&str]) -> Value {
        let output = self.run(program, key, &[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

/// The arguments that submit a training under an id.
fn submit(id: &str) -> [&str; 8] {
    ["train", "submit", "--images", "photos", "--pretrained-model", "base", "--task-id", id]
}

/// From the pictures to a picture with the LoRA, by a web UI that has the same models directory.
#[test]
fn a_lora_is_saved_listed_and_used() {
    let workshop = Workshop::new();
    let webui = WebUi::with_loras(workshop.data.path().join("models/Lora"));
    let program = workshop.serve(&["--backend", &webui.url]);
    let (key, other) = (Key::create(workshop.data.path()), Key::create(workshop.data.path()));
    let outcome = workshop.json(&program, &key, &submit("ink"));
    assert_eq!((&outcome["state"], &outcome["engine"]), (&"succeeded".into(), &"trainer".into()), "{outcome}");
    assert_eq!(outcome["files"].as_array().unwrap().len(), 1, "{outcome}");
    let saved = workshop.folder.path().join(outcome["files"][0]["path"].as_str().unwrap());
    assert_eq!(saved.extension().unwrap(), "safetensors");
    assert_eq!(std::fs::read(saved).unwrap(), FakeTrainer::lora());
    let loras = |key: &Key| {
        let output = workshop.run(&program, key, &["models", "list", "--kind", "lora"]);
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(loras(&key).contains("ink") && !loras(&other).contains("ink"), "{} {}", loras(&key), loras(&other));
    let taken = workshop.run(&program, &other, &submit("Ink"));
    let errors = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(!taken.status.success() && errors.contains("which is taken"), "{errors}");
    let draw = ["run", "text_to_image", "--prompt", "a cat <lora:ink:0.8>"];
    let draw = [&draw[..], &["--sd-model-checkpoint", "random-sd15.safetensors", "--sampler-index", "Euler"]].concat();
    let draw = [&draw[..], &["--batch-size", "1", "--width", "64", "--height", "64", "--steps", "1"]].concat();
    let drawn = workshop.run(&program, &key, &[&draw[..], &["--output", "cat.png"]].concat());
    assert!(drawn.status.success(), "{drawn:?}");
    let prompts: Vec<_> = webui.calls().iter().map(|call| call["prompt"].clone()).collect();
    assert_eq!(prompts, ["a cat <lora:ink:0.8>"]);
    let picture = std::fs::read(workshop.folder.path().join("cat.png")).unwrap();
    let text = imgopen_picture::parameters(&picture).unwrap();
    assert!(
        text.starts_with("a cat <lora:ink:0.8>\n") && text.contains("Lora hashes: \"ink: 1235fd58d87f\""),
        "{text}"
    );
    let refused = workshop.run(&program, &other, &draw);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && errors.contains("there is no LoRA"), "{errors}");
    assert_eq!(webui.calls().len(), 1, "the back end got what was refused");
    let log = program.stop();
    assert!(log.contains("epoch begins") && log.contains("trained"), "{log}");
}

/// The trainer ends with a killed service, and the next one trains again.
#[tokio::test]
async fn a_training_survives_the_death_of_the_service() {
    let workshop = Workshop::new();
    let (program, key) = (workshop.serve(&[]), Key::create(workshop.data.path()));
    // It waits for the end only so long that the pictures are fetched.
    let mut submitting = imgopen();
    submitting.current_dir(workshop.folder.path()).args(submit("hangs")).env("IMGOPEN_BASE_URL", &program.url);
    submitting.env("IMGOPEN_ACCESS_KEY_ID", &key.id).env("IMGOPEN_ACCESS_KEY_SECRET", &key.secret);
    let mut submitting = submitting.spawn().unwrap();
    let at_work = async |program: &Program| {
        until("the trainer is at work", async || {
            let output = workshop.run(program, &key, &["tasks", "show", "hangs", "--json"]);
            let task: Value = serde_json::from_slice(&output.stdout).ok()?;
            (task["step"] == 9).then(|| task["taskId"].as_str().unwrap().to_owned())
        })
        .await
    };
    let task = at_work(&program).await;
    program.kill();
    submitting.kill().unwrap();
    submitting.wait().unwrap();
    until("the trainer has ended with its service", async || (processes(&task) == 0).then_some(())).await;
    let program = workshop.serve(&[]);
    assert_eq!(at_work(&program).await, task);
    assert_eq!(workshop.fake.starts(), ["hangs", "hangs"]);
    assert!(processes(&task) > 0);
    program.stop();
    until("the trainer has ended", async || (processes(&task) == 0).then_some(())).await;
}
