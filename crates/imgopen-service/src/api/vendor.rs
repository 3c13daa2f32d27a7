//! The vendor's operations.

use std::sync::LazyLock;
use std::time::Duration;

use imgopen_engine::{Model, ModelKind};
use imgopen_server::{Caller, Credentials, Failure, ImgOpen, types};
use imgopen_store::{Find, KeyId, Moment, State, TaskRow};
use imgopen_types::{Answer, Operation, Request, operation, operations};
use types::*;

use super::{Api, failures};
use crate::answers::{Report, accepted, tool_code};
use crate::fleet::progress;
use crate::tasks::submit::{self, IDEMPOTENCY_KEY, SANDBOX, Submit};

/// The operations whose tasks the queries of generation jobs find.
const SD: &[&str] = &["text_to_image", "image_to_image", "controlnet"];

/// The ids of all operations, for a task that a query does not find among its own.
static ALL: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| operations::ALL.iter().map(|operation| operation.id).collect());

/// Implements the operations that start a task and answer with its ids.
macro_rules! jobs {
    ($($operation:ident $request:ident $response:ident;)*) => {
        $(
            async fn $operation(&self, caller: Caller, request: $request) -> Result<$response, Failure> {
                self.start(&caller, &request).await
            }
        )*
    };
}

/// Implements the operations that list models.
macro_rules! lists {
    ($($operation:ident $request:ident $response:ident $page:ident $kind:ident $row:ident, $($name:ident)|+;)*) => {
        $(
            async fn $operation(&self, caller: Caller, request: $request) -> Result<$response, Failure> {
                let names = [$(request.$name.as_deref()),+];
                let models = matching(self.models(&caller, ModelKind::$kind).await?, &names);
                let total = models.len() as i64;
                let (page_size, page_num) = (request.page_size, request.page_num);
                let rows = page(models, page_size, page_num).into_iter().map(|(id, model)| $row(id, model)).collect();
                Ok($response::success($page { rows, total, page_size, page_num }))
            }
        )*
    };
}

impl ImgOpen for Api {
    async fn authorize(&self, _: &'static Operation, credentials: &Credentials) -> Result<(), Failure> {
        self.admit(credentials).await
    }

    jobs! {
        text_to_image TextToImageRequest TextToImageResponse;
        image_to_image ImageToImageRequest ImageToImageResponse;
        controlnet ControlnetRequest ControlnetResponse;
        submit_training SubmitTrainingRequest SubmitTrainingResponse;
        flux_text_to_image FluxTextToImageRequest FluxTextToImageResponse;
        swap_face SwapFaceRequest SwapFaceResponse;
        swap_face_v2 SwapFaceV2Request SwapFaceV2Response;
        instant_id InstantIdRequest InstantIdResponse;
        restore_face RestoreFaceRequest RestoreFaceResponse;
        super_resolution SuperResolutionRequest SuperResolutionResponse;
        describe_image DescribeImageRequest DescribeImageResponse;
        swap_faces SwapFacesRequest SwapFacesResponse;
        detect_faces DetectFacesRequest DetectFacesResponse;
        change_hairstyle ChangeHairstyleRequest ChangeHairstyleResponse;
        remove_object RemoveObjectRequest RemoveObjectResponse;
        recognize_style RecognizeStyleRequest RecognizeStyleResponse;
        outpaint OutpaintRequest OutpaintResponse;
        preview_controlnet PreviewControlnetRequest PreviewControlnetResponse;
        remove_background RemoveBackgroundRequest RemoveBackgroundResponse;
        enlarge_image EnlargeImageRequest EnlargeImageResponse;
        watermark_image WatermarkImageRequest WatermarkImageResponse;
    }

    async fn expand_prompt(
        &self,
        caller: Caller,
        request: ExpandPromptRequest,
    ) -> Result<ExpandPromptResponse, Failure> {
        self.start_and_wait(&caller, &request).await
    }

    lists! {
        list_models ListModelsRequest ListModelsResponse ModelPage Checkpoint model_row, sd_model_checkpoint | sd_model_name;
        list_loras ListLorasRequest ListLorasResponse LoraPage Lora lora_row, sd_lora_name;
        list_vaes ListVaesRequest ListVaesResponse VaePage Vae vae_row, sd_vae_name;
        list_embeddings ListEmbeddingsRequest ListEmbeddingsResponse EmbeddingPage Embedding embedding_row, sd_embedding_name;
    }

    /// Finds active tasks, and those that ended this month.
    async fn query_task(&self, caller: Caller, request: QueryTaskRequest) -> Result<QueryTaskResponse, Failure> {
        let asked = request.business_task_id;
        let month = self.context.clock.now().month_start();
        let task = self.find(&caller, &asked, SD, &State::ALL).await?;
        let task = task.filter(|task| task.finished_at.is_none_or(|end| end >= month));
        self.report_found(&caller, task, &asked).await
    }

    /// Finds tasks that have ended, in any month.
    async fn query_archived_task(
        &self,
        caller: Caller,
        request: QueryArchivedTaskRequest,
    ) -> Result<QueryArchivedTaskResponse, Failure> {
        let asked = request.business_task_id;
        let task = self.find(&caller, &asked, SD, &State::FINAL).await?;
        self.report_found(&caller, task, &asked).await
    }

    /// Finds the tasks of one tool.
    async fn query_tool_task(
        &self,
        caller: Caller,
        tool: ToolCode,
        request: QueryToolTaskRequest,
    ) -> Result<QueryToolTaskResponse, Failure> {
        let asked = request.business_task_id;
        let operation = operations::ALL.iter().find(|operation| tool_code(operation) == Some(tool.as_str()));
        let operation = operation.filter(|_| ToolCode::KNOWN.contains(&tool)).ok_or_else(|| unknown_tool(&tool))?;
        let task = self.find(&caller, &asked, std::slice::from_ref(&operation.id), &State::ALL).await?;
        self.report_found(&caller, task, &asked).await
    }

    async fn query_training(
        &self,
        caller: Caller,
        request: QueryTrainingRequest,
    ) -> Result<QueryTrainingResponse, Failure> {
        let asked = request.task_id;
        let task = self.find(&caller, &asked, &["submit_training"], &State::ALL).await?;
        self.report_found(&caller, task, &asked).await
    }
}

impl Api {
    /// Accepts a task and answers with its ids.
    async fn start<T: Request>(&self, caller: &Caller, request: &T) -> Result<T::Response, Failure> {
        let task = self.submit(caller, request).await?;
        accepted(&task, self.context.urls()).map_err(|error| failures::of_answer(&error))
    }

    /// Accepts a task whose result is the answer, and waits for it.
    async fn start_and_wait<T: Request>(&self, caller: &Caller, request: &T) -> Result<T::Response, Failure> {
        let key = KeyId(caller.access_key_id().to_owned());
        let _wait = self.waiting.enter(&key).map_err(|count| {
            self.context.metrics.refused(T::operation().id, 429);
            let msg = format!(
                "{count} calls of the key `{key}` wait for their results already; call again when one of them is answered"
            );
            Failure::too_many_requests(msg, Duration::from_secs(1))
        })?;
        let endings = self.context.endings.subscribe();
        let task = self.submit(caller, request).await?;
        let _looked_for = self.context.fleet.as_ref().map(|fleet| fleet.waiting.enter(&task.id));
        let task = submit::wait(&self.context, endings, &task).await?;
        let report = Report { task: &task, asked: &task.caller_id, live: None, urls: self.context.urls() };
        report.answer().map_err(|error| failures::of_answer(&error))
    }

    async fn submit<T: Request>(&self, caller: &Caller, request: &T) -> Result<TaskRow, Failure> {
        let operation = T::operation();
        let submitted = async {
            let request = serde_json::to_value(request).map_err(|error| failures::of_answer(&error))?;
            let directives = caller.header(SANDBOX)?.map(str::to_owned);
            let idempotency_key = caller.header(IDEMPOTENCY_KEY)?.map(str::to_owned);
            let key = KeyId(caller.access_key_id().to_owned());
            let submit = Submit { key, operation, request, idempotency_key, directives };
            Ok::<_, Failure>(submit::submit(&self.context, submit).await?)
        };
        let submitted = submitted.await;
        submitted.inspect_err(|failure| self.context.metrics.refused(operation.id, failure.status().as_u16()))
    }

    /// Returns all models of a kind that the caller may see, sorted by name, each with its number in the list.
    async fn models(&self, caller: &Caller, kind: ModelKind) -> Result<Vec<(i64, Model)>, Failure> {
        let engines = self.context.engines.everywhere();
        let models = tokio::task::spawn_blocking(move || engines.models(kind)).await;
        let mut models = models.map_err(|error| failures::of_panic("the list of models", &error))?;
        models.retain(|model| model.is_for(caller.access_key_id()));
        models.sort_by(|a, b| a.name.cmp(&b.name));
        // Several processes may have it, as that of the caller or as everybody's.
        models.dedup_by(|a, b| a.name == b.name);
        Ok((1..).zip(models).collect())
    }

    async fn find(
        &self,
        caller: &Caller,
        asked: &str,
        operations: &'static [&'static str],
        states: &'static [State],
    ) -> Result<Option<TaskRow>, Failure> {
        let find = Find { key: KeyId(caller.access_key_id().to_owned()), id: asked.to_owned(), operations, states };
        self.context.store.find(find).await.map_err(failures::of_store)
    }

    /// Reports the task that a query has found, or says which query finds the task that has the id.
    async fn report_found<T: Answer>(
        &self,
        caller: &Caller,
        found: Option<TaskRow>,
        asked: &str,
    ) -> Result<T, Failure> {
        if let Some(task) = found {
            return self.report(&task, asked).await;
        }
        let elsewhere = self.find(caller, asked, ALL.as_slice(), &State::ALL).await?;
        Err(elsewhere.map_or_else(|| unknown(asked), |task| misplaced(&task, asked, self.context.clock.now())))
    }

    async fn report<T: Answer>(&self, task: &TaskRow, asked: &str) -> Result<T, Failure> {
        let live = progress::watched(&self.context, task).await;
        let report = Report { task, asked, live: live.as_ref(), urls: self.context.urls() };
        report.answer().map_err(|error| failures::of_answer(&error))
    }
}

/// Returns the beginning of an id, which may be anything.
fn shown(asked: &str) -> String {
    asked.chars().take(100).collect()
}

fn unknown(asked: &str) -> Failure {
    Failure::not_found(format!("no task has the id {:?}; check the id", shown(asked)))
}

/// Returns the failure for a query of a task that another query finds.
fn misplaced(task: &TaskRow, asked: &str, now: Moment) -> Failure {
    let is_old = SD.contains(&task.operation.as_str()) && task.finished_at.is_some_and(|end| end < now.month_start());
    let ended = if is_old { " and ended before this month" } else { "" };
    let query = query_of(task, is_old);
    Failure::not_found(format!(
        "the task {:?} is one of `{}`{ended}; query it with {query}",
        shown(asked),
        task.operation
    ))
}

/// Returns the query that finds a task, with its path.
fn query_of(task: &TaskRow, is_old: bool) -> String {
    let code = operation::find(&task.operation).and_then(tool_code);
    if let Some(code) = code {
        let path = operations::QUERY_TOOL_TASK.path.replace("{toolCode}", code);
        return format!("`query_tool_task` and the `toolCode` `{code}` (`{path}`)");
    }
    let query = match task.operation == operations::SUBMIT_TRAINING.id {
        true => &operations::QUERY_TRAINING,
        false if is_old => &operations::QUERY_ARCHIVED_TASK,
        false => &operations::QUERY_TASK,
    };
    format!("`{}` (`{}`)", query.id, query.path)
}

fn unknown_tool(tool: &ToolCode) -> Failure {
    let shown: String = tool.as_str().chars().take(60).collect();
    let known: Vec<_> = ToolCode::KNOWN.iter().map(ToolCode::as_str).collect();
    Failure::not_found(format!("`toolCode`: this server has no tool {shown:?}; use one of {}", known.join(", ")))
}

/// Returns the models whose name or title contains every given text, ignoring case.
fn matching(models: Vec<(i64, Model)>, names: &[Option<&str>]) -> Vec<(i64, Model)> {
    let wanted: Vec<_> = names.iter().flatten().map(|name| name.to_lowercase()).collect();
    let fits = |(_, model): &(i64, Model)| {
        let (name, title) = (model.name.to_lowercase(), model.title.to_lowercase());
        wanted.iter().all(|wanted| name.contains(wanted) || title.contains(wanted))
    };
    models.into_iter().filter(fits).collect()
}

/// Returns the rows of a page; the first page is 1.
fn page<T>(rows: Vec<T>, size: i64, number: i64) -> Vec<T> {
    let size = usize::try_from(size).unwrap_or(0);
    let skipped = size.saturating_mul(usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX));
    rows.into_iter().skip(skipped).take(size).collect()
}

/// Defines the function that makes a list's row. The four kinds differ only in the names of their first members.
macro_rules! row {
    ($function:ident $row:ident $kind:ident { $($name:ident: $value:expr),+ }) => {
        fn $function(id: i64, model: Model) -> $row {
            $(let $name = $value(&model);)+
            $row {
                id,
                $($name,)+
                model_base_model: model.base_model,
                model_hash: model.hash,
                model_type: Some(types::ModelKind::$kind),
                model_version: model.version,
                model_status: None,
                model_upload_status: None,
                model_img_url2: None,
                extra: Default::default(),
            }
        }
    };
}

fn name(model: &Model) -> String {
    model.name.clone()
}

fn short_name(model: &Model) -> String {
    model.short_name().to_owned()
}

fn title(model: &Model) -> String {
    model.title.clone()
}

row!(model_row ModelRow Checkpoint { sd_model_checkpoint: name, sd_model_name: title });
row!(lora_row LoraRow Lora { sd_lora_file_name: name, sd_lora_file_simplify_name: short_name, sd_lora_name: title });
row!(vae_row VaeRow Vae { sd_vae: name, sd_vae_name: title });
row!(embedding_row EmbeddingRow TextualInversion { sd_embedding_file_name: name, sd_embedding_name: title });
