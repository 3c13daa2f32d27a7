//! Hand-written code in place of the generated code: the baseline of the benches.
//!
//! Three calls as plain serde structs, without bounds, leniency or a list of faults: a training with many pictures, a
//! large request of many fields, and a small query with a large answer.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use imgopen_types::{Credentials, operations};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The answers of the three calls.
#[derive(Debug, Clone)]
pub struct Answers {
    /// To [`Training`].
    pub training: Answer<()>,
    /// To [`TextToImage`].
    pub text_to_image: Answer<Accepted>,
    /// To [`QueryTask`].
    pub query_task: Answer<Task>,
}

/// A server of the three calls on plain axum: keys, JSON, answer.
pub fn router(answers: Answers) -> Router {
    Router::new()
        .route(operations::SUBMIT_TRAINING.path, post(training))
        .route(operations::TEXT_TO_IMAGE.path, post(text_to_image))
        .route(operations::QUERY_TASK.path, post(query_task))
        .with_state(answers)
}

async fn training(
    State(answers): State<Answers>,
    headers: HeaderMap,
    Json(request): Json<Training>,
) -> Result<Json<Answer<()>>, StatusCode> {
    keys(&headers)?;
    std::hint::black_box(request);
    Ok(Json(answers.training))
}

async fn text_to_image(
    State(answers): State<Answers>,
    headers: HeaderMap,
    Json(request): Json<TextToImage>,
) -> Result<Json<Answer<Accepted>>, StatusCode> {
    keys(&headers)?;
    std::hint::black_box(request);
    Ok(Json(answers.text_to_image))
}

async fn query_task(
    State(answers): State<Answers>,
    headers: HeaderMap,
    Json(request): Json<QueryTask>,
) -> Result<Json<Answer<Task>>, StatusCode> {
    keys(&headers)?;
    std::hint::black_box(request);
    Ok(Json(answers.query_task))
}

fn keys(headers: &HeaderMap) -> Result<(String, String), StatusCode> {
    let key = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let keys = key(Credentials::ID_HEADER).zip(key(Credentials::SECRET_HEADER));
    keys.ok_or(StatusCode::UNAUTHORIZED)
}

/// Returns a client of reqwest with the settings of the generated one.
///
/// # Panics
///
/// When the client cannot be built.
pub fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).timeout(Duration::from_secs(60));
    client.redirect(reqwest::redirect::Policy::none()).build().expect("a client can be made")
}

/// Makes one call with reqwest, as code without further needs would.
///
/// # Errors
///
/// As reqwest's; also when the answer reports a failure.
pub async fn call<T: DeserializeOwned>(
    http: &reqwest::Client,
    url: &str,
    request: &impl Serialize,
) -> Result<Answer<T>, Box<dyn std::error::Error>> {
    let request = http.post(url).header("accept", "application/json").json(request);
    let request = request.header(Credentials::ID_HEADER, "my-id").header(Credentials::SECRET_HEADER, "my-secret");
    let answer: Answer<T> = request.send().await?.error_for_status()?.json().await?;
    if answer.code != imgopen_types::SUCCESS_CODE {
        return Err(answer.msg.into());
    }
    Ok(answer)
}

/// The envelope.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Answer<T> {
    pub code: String,
    pub msg: String,
    #[serde(skip_serializing_if = "Option::is_none", default = "Option::default")]
    pub data: Option<T>,
}

/// `submit_training`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Training {
    pub task_id: String,
    pub file_url_list: Vec<String>,
    pub max_epochs: Option<i64>,
    pub batch_size: Option<i64>,
    pub learning_rate: Option<String>,
    pub max_token_length: Option<i64>,
    pub clip_skip: Option<i64>,
    pub random_crop: Option<bool>,
    pub pretrained_model: Option<String>,
    pub repeats: Option<i64>,
    pub mixed_precision: Option<String>,
    pub save_precision: Option<String>,
    pub num_cpu_threads_per_process: Option<i64>,
    pub seed: Option<i64>,
    pub cache_latents: Option<bool>,
    pub cache_latents_to_disk: Option<bool>,
    pub lr_scheduler: Option<String>,
    pub lr_warmup_steps: Option<i64>,
    pub optimizer_type: Option<String>,
    pub resolution: Option<i64>,
    pub enable_bucket: Option<bool>,
    pub min_bucket_reso: Option<i64>,
    pub max_bucket_reso: Option<i64>,
    pub text_encoder_lr: Option<String>,
    pub unet_lr: Option<String>,
    pub network_dropout: Option<i64>,
    pub rank_dropout: Option<i64>,
    pub module_dropout: Option<i64>,
    pub network_module: Option<String>,
    pub network_dim: Option<i64>,
    pub network_alpha: Option<i64>,
    pub network_args: Option<String>,
    pub v2: Option<bool>,
    pub flip_aug: Option<bool>,
    pub color_aug: Option<bool>,
    pub gradient_accumulation_steps: Option<i64>,
    pub noise_offset: Option<f64>,
    pub callback_url: Option<String>,
}

/// `text_to_image`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct TextToImage {
    pub n_iter: Option<i64>,
    pub batch_size: i64,
    pub steps: Option<i64>,
    pub hr_scale: Option<i64>,
    pub negative_prompt: Option<String>,
    pub prompt: String,
    pub seed: Option<String>,
    pub restore_faces: Option<bool>,
    pub enable_hr: Option<bool>,
    pub width: Option<i64>,
    pub height: Option<i64>,
    pub cfg_scale: Option<f64>,
    pub sampler_index: Option<String>,
    pub hr_second_pass_steps: Option<i64>,
    pub hr_resize_x: Option<i64>,
    pub hr_resize_y: Option<i64>,
    pub denoising_strength: Option<f64>,
    pub alwayson_scripts: Scripts,
    pub hr_upscaler: Option<String>,
}

/// A part of [`TextToImage`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Scripts {
    pub sd_model_checkpoint: String,
    pub id_task: String,
    pub sd_vae: Option<String>,
    pub override_settings: Option<OverrideSettings>,
    pub output_image_format: Option<String>,
    #[serde(rename = "ADetailer")]
    pub a_detailer: Option<ADetailer>,
}

/// A part of [`Scripts`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct OverrideSettings {
    #[serde(rename = "CLIP_stop_at_last_layers")]
    pub clip_stop_at_last_layers: Option<i64>,
}

/// A part of [`Scripts`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ADetailer {
    pub args: Vec<Detailer>,
}

/// A part of [`ADetailer`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Detailer {
    pub ad_model: String,
}

/// `query_task`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct QueryTask {
    pub business_task_id: String,
}

/// What `text_to_image` answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Accepted {
    pub task_id: String,
}

/// What `query_task` answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Task {
    pub id_task: String,
    pub status: i64,
    pub desc: Option<String>,
    #[serde(rename = "temporaryImageDto")]
    pub preview: Option<Value>,
    #[serde(rename = "differentialImageRspList", skip_serializing_if = "Option::is_none")]
    pub pictures: Option<Vec<Picture>>,
}

/// A part of [`Task`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Picture {
    pub img_audit: Option<Vec<Audit>>,
    pub img_audit_status: Option<bool>,
    pub image_status: Option<i64>,
    pub image_url: Option<String>,
    pub seed: Option<i64>,
}

/// A part of [`Picture`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Audit {
    pub confidence: Option<f64>,
    pub label: Option<String>,
}
