//! Trainings with a trainer that is made of recordings, and by hand with a real one. Each test names its training by a name of its
//! own, because the processes of a training are found by the id of its task.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod fake;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use imgopen_engine::{
    Devices, Engine, EngineError, FetchInput, Format, Input, Job, JobRequest, Library, Model, Monitor, Output,
    Progress, Watch,
};
use imgopen_trainer::{SdScripts, Trainer};
use imgopen_types::operations::SUBMIT_TRAINING;
use serde_json::{Value, json};
use tempfile::TempDir;

use fake::{FakeTrainer, processes};

#[derive(Debug)]
struct Fetcher(u32);

impl FetchInput for Fetcher {
    fn fetch<'a>(&'a self, field: &'a str) -> BoxFuture<'a, Result<Input, EngineError>> {
        let picture = image::RgbImage::from_fn(self.0, self.0, |x, y| image::Rgb([x as u8, y as u8, 7]));
        let bytes = imgopen_picture::encode(&picture.into(), Format::Png, &Default::default()).unwrap();
        std::future::ready(Ok(Input { field: field.to_owned(), url: String::new(), bytes })).boxed()
    }
}

/// A trainer with its directories.
struct Bench {
    fake: FakeTrainer,
    data: TempDir,
    devices: Devices,
    trainer: Trainer,
}

impl Bench {
    fn new(change: impl FnOnce(&mut SdScripts)) -> Self {
        let (fake, data, devices) = (FakeTrainer::new(), tempfile::tempdir().unwrap(), Devices::default());
        let mut scripts = SdScripts { scripts: fake.scripts(), accelerate: fake.accelerate(), ..SdScripts::default() };
        change(&mut scripts);
        let models = data.path().join("models");
        FakeTrainer::base_model(&models);
        let trainer = Trainer::open(data.path(), Library::open(models, None));
        let trainer = trainer.with_scripts(&scripts, devices.clone()).unwrap();
        Self { fake, data, devices, trainer }
    }

    fn request(task: &str, fields: Value) -> JobRequest {
        let urls: Vec<_> = (0..10).map(|number| format!("https://example.com/{number}.png")).collect();
        let mut body = json!({"taskId": task, "fileUrlList": urls, "pretrainedModel": "base"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        // The platform's id is another one than the caller's.
        JobRequest::new(format!("img-{task}"), &SUBMIT_TRAINING, body).with_key("ak_1")
    }

    async fn job(&self, task: &str, run: &str) -> Job {
        let request = Self::request(task, json!({}));
        let plan = self.trainer.plan(&request).await.unwrap();
        Job::new(request, run).with_plan(plan).with_fetcher(Arc::new(Fetcher(64)))
    }

    async fn run(&self, task: &str, run: &str) -> (Result<Output, EngineError>, Watch) {
        let (monitor, watch) = Monitor::new();
        (self.trainer.run(self.job(task, run).await, monitor).await, watch)
    }

    async fn fails(&self, task: &str) -> EngineError {
        self.run(task, "run").await.0.unwrap_err()
    }

    fn data_set(&self, task: &str) -> PathBuf {
        self.data.path().join(format!("datasets/img-{task}"))
    }

    fn loras(&self) -> PathBuf {
        self.data.path().join("models/Lora")
    }

    fn lora(&self, name: &str) -> Option<Model> {
        let models = Library::open(self.data.path().join("models"), None).models();
        models.into_iter().find(|model| model.name == format!("{name}.safetensors"))
    }
}

/// Waits until the trainer has reported that many steps.
async fn reached(watch: &Watch, step: u32) {
    let mut progress = watch.progress.clone();
    let reached = progress.wait_for(|progress| progress.step == step);
    tokio::time::timeout(Duration::from_secs(30), reached).await.expect("the step is not reached").unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_training_ends_with_a_lora_of_its_key() {
    let tokenizers = tempfile::tempdir().unwrap();
    let bench = Bench::new(|scripts| {
        scripts.tokenizers = Some(tokenizers.path().to_owned());
        scripts.arguments = vec!["--sdpa".to_owned()];
    });
    let (output, watch) = bench.run("ink", "run").await;
    let output = output.unwrap();
    assert_eq!((output.files.len(), output.files[0].name.as_str()), (1, "ink.safetensors"));
    assert_eq!(output.files[0].path, bench.loras().join("ink.safetensors"));
    assert_eq!(std::fs::read(&output.files[0].path).unwrap(), FakeTrainer::lora());
    assert_eq!(bench.lora("ink").unwrap().owner.as_deref(), Some("ak_1"));
    assert_eq!(*watch.progress.borrow(), Progress { percent: 100.0, step: 6, steps: 6 });
    let arguments = bench.fake.arguments();
    for word in ["--sdpa", "--output_name=ink", "--pretrained_model_name_or_path=base/base.safetensors"] {
        assert!(arguments.iter().any(|given| given == word), "{arguments:?}");
    }
    assert!(arguments.contains(&format!("--tokenizer_cache_dir={}", tokenizers.path().display())));
    // What is left is a data set that may expire, and the log, without the bars that were overwritten.
    let data_set = bench.data_set("ink");
    assert_eq!(names(&data_set), ["base", "img", "logs", "output", "train.sh"]);
    assert_eq!(names(&data_set.join("output")), Vec::<String>::new());
    let log = std::fs::read_to_string(data_set.join("logs/trainer.log")).unwrap();
    assert!(log.contains("epoch 2/2") && log.contains("model saved."), "{log}");
    // A bar stays only before what was written behind it.
    assert!(!log.lines().any(|line| line.contains("%|") && line.ends_with(']')), "{log}");

    // The process died before the end was written: the next run ends with what is there.
    let (again, _) = bench.run("ink", "next").await;
    assert_eq!((again.unwrap(), bench.fake.starts()), (output, vec!["ink".to_owned()]));
    // The run that was replaced has nothing to remove any more.
    bench.trainer.discard("img-ink", "run").await;
    assert!(bench.lora("ink").is_some());
    // The task was cancelled at last.
    bench.trainer.discard("img-ink", "next").await;
    assert_eq!(names(&bench.loras()), Vec::<String>::new());
}

#[tokio::test]
async fn a_trainer_that_fails_says_why() {
    let bench = Bench::new(|_| {});
    let error = bench.fails("fails").await;
    let cause = "RuntimeError: mixed dtype (CPU): expect parameter to have scalar type of Float";
    assert_eq!(error, EngineError::Failed(format!("the trainer ended with an error: {cause}")));
    let error = bench.fails("nothing").await;
    assert!(matches!(&error, EngineError::Failed(problem) if problem.contains("without a LoRA")), "{error}");
    // The system killed it: not the fault of the training.
    let error = bench.fails("killed").await;
    assert!(matches!(&error, EngineError::Unavailable { reason, .. } if reason.contains("killed")), "{error}");
    assert!(!bench.loras().exists());
    // The data sets stay for the next run, or until they expire.
    assert!(["fails", "nothing", "killed"].iter().all(|task| bench.data_set(task).join("img").exists()));
}

#[tokio::test]
async fn a_trainer_that_cannot_be_started_is_a_fault_of_the_server() {
    let bench = Bench::new(|_| {});
    let job = bench.job("dye", "run").await;
    std::fs::remove_file(bench.fake.accelerate()).unwrap();
    let error = bench.trainer.run(job, Monitor::new().0).await.unwrap_err();
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error}");
    assert!(!error.to_string().contains('/'), "{error}");
}

/// The processes that `accelerate` leaves behind end, too, and only then is the device free.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_training_ends_with_all_its_processes() {
    for is_dropped in [false, true] {
        let bench = Bench::new(|scripts| scripts.device = Some("gpu0".to_owned()));
        let (monitor, watch) = Monitor::new();
        let mut running = bench.trainer.run(bench.job("hangs", "run").await, monitor);
        tokio::select! {
            ended = &mut running => panic!("{ended:?}"),
            () = reached(&watch, 9) => {}
        }
        assert!(bench.devices.is_taken("gpu0") && processes("img-hangs") >= 3);
        if is_dropped {
            drop(running);
        } else {
            watch.cancel.cancel();
            assert_eq!(running.await.unwrap_err(), EngineError::Cancelled);
        }
        tokio::time::timeout(Duration::from_secs(30), watch.ended()).await.expect("the work does not end");
        assert_eq!(processes("img-hangs"), 0);
        drop(bench.devices.take("gpu0", "other").await);
        // What it was writing is not taken for a LoRA by the next run.
        bench.trainer.interrupt("img-hangs", "run").await;
        assert_eq!(names(&bench.data_set("hangs").join("output")), ["hangs.safetensors"]);
        let (monitor, watch) = Monitor::new();
        let mut running = bench.trainer.run(bench.job("hangs", "next").await, monitor);
        tokio::select! {
            ended = &mut running => panic!("{ended:?}"),
            () = reached(&watch, 9) => {}
        }
        // While it trains, its data set is in use, however old it is.
        assert_eq!(bench.trainer.expire(Duration::ZERO).await.unwrap(), 0);
        watch.cancel.cancel();
        assert_eq!(running.await.unwrap_err(), EngineError::Cancelled);
    }
}

#[tokio::test]
async fn what_was_trained_is_not_trained_again() {
    let bench = Bench::new(|_| {});
    // What says whose the LoRA is cannot be written.
    let in_the_way = bench.loras().join("wash.imgopen");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let error = bench.fails("wash").await;
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error}");
    bench.trainer.interrupt("img-wash", "run").await;
    assert_eq!((bench.fake.starts().len(), names(&bench.loras())), (1, vec!["wash.imgopen".to_owned()]));
    std::fs::remove_dir(in_the_way).unwrap();
    bench.run("wash", "next").await.0.unwrap();
    assert_eq!((bench.fake.starts().len(), bench.lora("wash").is_some()), (1, true));
}

#[tokio::test]
async fn a_name_that_was_taken_meanwhile_is_not_overwritten() {
    let bench = Bench::new(|_| {});
    std::fs::create_dir_all(bench.loras()).unwrap();
    std::fs::write(bench.loras().join("chalk.safetensors"), "of the operator").unwrap();
    let error = bench.fails("chalk").await;
    assert!(matches!(&error, EngineError::Rejected { field: Some(field), .. } if field == "taskId"), "{error}");
    bench.trainer.discard("img-chalk", "run").await;
    assert_eq!(std::fs::read_to_string(bench.loras().join("chalk.safetensors")).unwrap(), "of the operator");
    assert_eq!(names(&bench.loras()), ["chalk.safetensors"]);
}

#[tokio::test]
async fn what_a_killed_service_left_running_is_ended() {
    let bench = Bench::new(|_| {});
    let mut left = tokio::process::Command::new("sleep");
    left.arg("600").env("IMGOPEN_TRAINING", "img-left").stdout(Stdio::null());
    let (mut of_run, mut of_next) = (left.spawn().unwrap(), left.spawn().unwrap());
    bench.trainer.interrupt("img-left", "run").await;
    assert!(!of_run.wait().await.unwrap().success() && !of_next.wait().await.unwrap().success());
    let mut at_start = left.spawn().unwrap();
    bench.run("left", "next").await.0.unwrap();
    assert!(!at_start.wait().await.unwrap().success());
}

/// The process that accepts a training knows only the names of the models of the one that runs it.
#[tokio::test]
async fn a_plan_of_another_process_is_made_to_fit_here() {
    let (bench, other) = (Bench::new(|_| {}), tempfile::tempdir().unwrap());
    let elsewhere = Trainer::open(other.path(), Library::open(other.path().join("models"), None));
    let offer = bench.trainer.offers().remove(0);
    let listed = Library::open(bench.data.path().join("models"), None).models();
    let listed: Vec<_> = listed.into_iter().map(|model| Model { path: None, ..model }).collect();
    let plan = async |task: &str, models: &[Model]| {
        elsewhere.plan_elsewhere(&Bench::request(task, json!({})), &offer, models).await
    };
    let error = plan("near", &[]).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Rejected { field: Some(field), .. } if field == "pretrainedModel"),
        "{error}"
    );
    for (task, base_model) in [("near", None), ("far", Some("/nowhere/base.safetensors"))] {
        let mut plan = plan(task, &listed).await.unwrap().unwrap();
        assert_eq!((plan["name"].as_str(), plan.get("base_model")), (Some(task), None));
        if let Some(base_model) = base_model {
            plan["base_model"] = base_model.into();
        }
        let job = Job::new(Bench::request(task, json!({})), "run");
        let job = job.with_plan(Some(plan)).with_fetcher(Arc::new(Fetcher(64)));
        bench.trainer.run(job, Monitor::new().0).await.unwrap();
        assert!(bench.lora(task).is_some() && bench.data_set(task).join("base/base.safetensors").exists());
    }
}

#[tokio::test]
async fn what_cannot_be_trained_is_rejected_at_submit() {
    let bench = Bench::new(|scripts| scripts.cpu = true);
    for (fields, field) in [
        (json!({"pretrainedModel": "runwayml/stable-diffusion-v1-5"}), "pretrainedModel"),
        (json!({"mixedPrecision": "bf16"}), "mixedPrecision"),
    ] {
        let error = bench.trainer.plan(&Bench::request("pastel", fields)).await.unwrap_err();
        assert!(matches!(&error, EngineError::Rejected { field: Some(named), .. } if named == field), "{error}");
    }
    // It was there when the training was submitted.
    let job = bench.job("pastel", "run").await;
    std::fs::remove_file(bench.data.path().join("models/checkpoints/base.safetensors")).unwrap();
    let error = bench.trainer.run(job, Monitor::new().0).await.unwrap_err();
    assert!(error.to_string().contains("base"), "{error}");
    assert_eq!(bench.fake.starts(), Vec::<String>::new());
}

/// A real training of ten pictures of 64 pixels. It takes some minutes without a GPU.
#[tokio::test]
#[ignore = "needs sd-scripts in IMGOPEN_TEST_SD_SCRIPTS, a base model in _BASE_MODEL; _ACCELERATE and _TOKENIZERS may be set"]
async fn sd_scripts_trains_a_lora() {
    let set = |name: &str| std::env::var_os(format!("IMGOPEN_TEST_{name}")).map(PathBuf::from);
    let data = tempfile::tempdir().unwrap();
    let scripts = SdScripts {
        scripts: set("SD_SCRIPTS").expect("IMGOPEN_TEST_SD_SCRIPTS is the directory of sd-scripts"),
        accelerate: set("ACCELERATE").unwrap_or_else(|| "accelerate".into()),
        tokenizers: set("TOKENIZERS"),
        ..SdScripts::default()
    };
    let models = data.path().join("models");
    std::fs::create_dir_all(models.join("checkpoints")).unwrap();
    let base = set("BASE_MODEL").expect("IMGOPEN_TEST_BASE_MODEL is a checkpoint");
    std::os::unix::fs::symlink(base, models.join("checkpoints/base.safetensors")).unwrap();
    let library = Library::open(models, None);
    let trainer = Trainer::open(data.path(), library.clone()).with_scripts(&scripts, Devices::default()).unwrap();
    let fields = json!({
        "maxEpochs": 10, "repeats": 1, "batchSize": 4, "resolution": 64, "networkDim": 4, "clipSkip": 1,
    });
    let request = Bench::request("real", fields);
    let plan = trainer.plan(&request).await.unwrap();
    let (monitor, watch) = Monitor::new();
    let output = trainer.run(Job::new(request, "run").with_plan(plan).with_fetcher(Arc::new(Fetcher(64))), monitor);
    let output = output.await.unwrap();
    assert_eq!(*watch.progress.borrow(), Progress { percent: 100.0, step: 30, steps: 30 });
    let lora = library.models().into_iter().find(|model| model.name == "real.safetensors").unwrap();
    assert_eq!((lora.path.as_ref(), lora.base_model.as_deref()), (Some(&output.files[0].path), Some("SD 1.5")));
}
