//! The published training example, verbatim, with all its faults.

use imgopen_client::types::{LrScheduler, MixedPrecision, OptimizerType, SavePrecision, SubmitTrainingRequest};
use imgopen_client::{Client, Credentials};
use imgopen_server::router;
use imgopen_tests::recorder::Recorder;
use imgopen_tests::wire::{Tap, serve, url};
use imgopen_types::{ReadError, Rule, read};
use serde_json::{Value, json};

/// The text as published, with a comma after the last member.
const PUBLISHED: &str = include_str!("../../spec/examples/submit_training/request.as-published.txt");

fn without_the_comma() -> String {
    let comma = PUBLISHED.rfind(',').unwrap();
    format!("{}{}", &PUBLISHED[..comma], &PUBLISHED[comma + 1..])
}

/// The published example with what it lacks: an id and enough pictures.
fn completed() -> Value {
    let mut value: Value = serde_json::from_str(&without_the_comma()).unwrap();
    value["taskId"] = json!("train-0001");
    value["file_url_list"] = (1..=10).map(|n| json!(format!("https://example.com/train/{n:02}.png"))).collect();
    value
}

#[test]
fn the_published_text_is_not_json() {
    let error = read::<SubmitTrainingRequest>(PUBLISHED.as_bytes()).unwrap_err();
    assert!(matches!(error, ReadError::Syntax(_)));
    assert_eq!(error.to_string(), "not valid JSON: trailing comma at line 36 column 1");
}

#[test]
fn without_the_comma_what_is_missing_is_reported() {
    let error = read::<SubmitTrainingRequest>(without_the_comma().as_bytes()).unwrap_err();
    let ReadError::Violations(violations) = error else { panic!("{error}") };
    let found: Vec<_> = violations.iter().map(|violation| (violation.field.as_str(), violation.rule)).collect();
    assert_eq!(found, [("taskId", Rule::Missing), ("fileUrlList", Rule::Items)]);
    insta::assert_snapshot!(violations, @"`taskId`: missing; give a text of 1 to 255 characters; `fileUrlList`: 0 items given, a list of 10 to 100 items expected");
}

#[test]
fn every_value_lands_in_its_field() {
    let request: SubmitTrainingRequest = serde_json::from_value(completed()).unwrap();
    let expected = SubmitTrainingRequest {
        task_id: "train-0001".into(),
        file_url_list: (1..=10).map(|n| format!("https://example.com/train/{n:02}.png")).collect(),
        max_epochs: Some(20),
        batch_size: Some(2),
        learning_rate: Some("0.0001".into()),
        max_token_length: Some(225),
        clip_skip: Some(2),
        random_crop: Some(false),
        pretrained_model: None,
        repeats: Some(10),
        mixed_precision: Some(MixedPrecision::Bf16),
        save_precision: Some(SavePrecision::Bf16),
        num_cpu_threads_per_process: Some(4),
        seed: Some(1234),
        cache_latents: Some(true),
        cache_latents_to_disk: Some(false),
        lr_scheduler: Some(LrScheduler::Constant),
        lr_warmup_steps: Some(0),
        optimizer_type: Some(OptimizerType::Lion),
        resolution: Some(384),
        enable_bucket: Some(true),
        min_bucket_reso: Some(256),
        max_bucket_reso: Some(2048),
        text_encoder_lr: Some("5e-05".into()),
        unet_lr: Some("0.0001".into()),
        network_dropout: Some(0.0),
        rank_dropout: Some(0.0),
        module_dropout: Some(0.0),
        network_module: Some("networks.lora".into()),
        network_dim: Some(128),
        network_alpha: Some(128),
        network_args: Some(String::new()),
        v2: Some(false),
        flip_aug: Some(false),
        color_aug: Some(false),
        gradient_accumulation_steps: None,
        noise_offset: Some(0.05),
        callback_url: None,
    };
    assert_eq!(request, expected);
}

#[tokio::test]
async fn completed_it_is_accepted_and_written_canonically() {
    let recorder = Recorder::default();
    let tap = Tap::before(serve(router(recorder.clone())).await).await.unwrap();
    let client = Client::new(&url(tap.address), Credentials::new("my-id", "my-secret")).unwrap();
    let request: SubmitTrainingRequest = serde_json::from_value(completed()).unwrap();
    client.submit_training().body(request).send().await.unwrap();

    assert_eq!(recorder.take()[0].operation, "submit_training");
    let sent = tap.traffic()[0].sent.replace("\r\n", "\n").replace(&tap.address.to_string(), "[server]");
    insta::assert_snapshot!("training_as_sent", sent);
}

#[test]
fn one_key_in_two_spellings_is_an_error() {
    let pairs = [
        ("fileUrlList", "file_url_list"),
        ("maxEpochs", "max_epochs"),
        ("batchSize", "batch_size"),
        ("learningRate", "learning_rate"),
        ("maxTokenLength", "max_token_length"),
        ("clipSkip", "clip_skip"),
        ("randomCrop", "random_crop"),
    ];
    for (declared, alias) in pairs {
        let mut both = completed();
        both[declared] = both[alias].clone();
        let error = read::<SubmitTrainingRequest>(both.to_string().as_bytes()).unwrap_err();
        let ReadError::Violations(violations) = error else { panic!("{error}") };
        let found: Vec<_> = violations.iter().map(|violation| (violation.field.as_str(), violation.rule)).collect();
        assert_eq!(found, [(declared, Rule::Twice)]);
        assert!(violations.to_string().contains(&format!("as `{alias}` and as `{declared}`")), "{violations}");
    }
}

#[test]
fn what_the_caller_did_not_set_is_not_written() {
    let urls = (1..=10).map(|n| format!("https://example.com/{n}.png"));
    let request = SubmitTrainingRequest::builder().task_id("t").file_url_list(urls).build().unwrap();
    let written = serde_json::to_value(&request).unwrap();
    assert_eq!(written.as_object().unwrap().keys().collect::<Vec<_>>(), ["taskId", "fileUrlList"]);
    assert_eq!(request.max_epochs_or_default(), 20);
    assert_eq!(request.learning_rate_or_default(), "0.00001");
}
