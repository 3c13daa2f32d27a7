//! The vendor's thirty operations on the service.

use imgopen_engine::{Model, ModelKind};
use imgopen_server::{Caller, Credentials, Failure, ImgOpen, types};
use imgopen_types::{Answer, Operation, operations};

use crate::answers::{Report, tool_code};
use crate::ids::KeyId;
use crate::keys::OPEN;
use crate::service::Service;
use crate::state::State;
use crate::store::TaskRow;
use crate::submit::broken;
use types::*;

/// The operations whose tasks the two queries of generation jobs find.
const SD: &[&str] = &["text_to_image", "image_to_image", "controlnet"];

/// Operations that start a job and answer with its ids.
macro_rules! jobs {
    ($($operation:ident $request:ident $response:ident;)*) => {
        $(
            async fn $operation(&self, caller: Caller, request: $request) -> Result<$response, Failure> {
                self.start(&caller, &request).await
            }
        )*
    };
}

/// Operations that list models.
macro_rules! lists {
    ($($operation:ident $request:ident $response:ident $page:ident $kind:ident $row:ident, $($name:ident)|+;)*) => {
        $(
            async fn $operation(&self, _: Caller, request: $request) -> Result<$response, Failure> {
                let names = [$(request.$name.as_deref()),+];
                let models = matching(self.models(ModelKind::$kind).await?, &names);
                let total = models.len() as i64;
                let (page_size, page_num) = (request.page_size, request.page_num);
                let rows = page(models, page_size, page_num).into_iter().map(|(id, model)| $row(id, model)).collect();
                Ok($response::success($page { rows, total, page_size, page_num }))
            }
        )*
    };
}

impl ImgOpen for Service {
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
        self.finish(&caller, &request).await
    }

    lists! {
        list_models ListModelsRequest ListModelsResponse ModelPage Checkpoint model_row, sd_model_checkpoint | sd_model_name;
        list_loras ListLorasRequest ListLorasResponse LoraPage Lora lora_row, sd_lora_name;
        list_vaes ListVaesRequest ListVaesResponse VaePage Vae vae_row, sd_vae_name;
        list_embeddings ListEmbeddingsRequest ListEmbeddingsResponse EmbeddingPage Embedding embedding_row, sd_embedding_name;
    }

    /// Live tasks, and those that ended this month.
    async fn query_task(&self, caller: Caller, request: QueryTaskRequest) -> Result<QueryTaskResponse, Failure> {
        let asked = request.business_task_id;
        let month = self.inner.clock.now().month_start();
        let task = self.find(&caller, &asked, SD, &State::ALL).await?;
        let task = task.filter(|task| task.finished_at.is_none_or(|end| end >= month));
        let hint = "check the id; what ended before this month is found by `query_archived_task`";
        self.report(&task.ok_or_else(|| unknown(&asked, hint))?, &asked)
    }

    /// Tasks that have ended, whenever that was.
    async fn query_archived_task(
        &self,
        caller: Caller,
        request: QueryArchivedTaskRequest,
    ) -> Result<QueryArchivedTaskResponse, Failure> {
        let asked = request.business_task_id;
        let task = self.find(&caller, &asked, SD, &State::FINAL).await?;
        let hint = "check the id; what has not ended yet is found by `query_task`";
        self.report(&task.ok_or_else(|| unknown(&asked, hint))?, &asked)
    }

    /// The tasks of one tool.
    async fn query_tool_task(
        &self,
        caller: Caller,
        tool: ToolCode,
        request: QueryToolTaskRequest,
    ) -> Result<QueryToolTaskResponse, Failure> {
        let asked = request.business_task_id;
        let operation = operations::ALL.iter().find(|operation| tool_code(operation) == Some(tool.as_str()));
        let task = match operation {
            Some(operation) => self.find(&caller, &asked, std::slice::from_ref(&operation.id), &State::ALL).await?,
            None => None,
        };
        let hint = format!("check the id, and that its tool is `{tool}`");
        self.report(&task.ok_or_else(|| unknown(&asked, &hint))?, &asked)
    }

    async fn query_training(
        &self,
        caller: Caller,
        request: QueryTrainingRequest,
    ) -> Result<QueryTrainingResponse, Failure> {
        let asked = request.task_id;
        let task = self.find(&caller, &asked, &["submit_training"], &State::ALL).await?;
        self.report(&task.ok_or_else(|| unknown(&asked, "check the id"))?, &asked)
    }
}

impl Service {
    /// All models of a kind by their names, each with its number in the list.
    async fn models(&self, kind: ModelKind) -> Result<Vec<(i64, Model)>, Failure> {
        let engines = self.inner.engines.clone();
        let models = tokio::task::spawn_blocking(move || engines.models(kind)).await;
        let mut models = models.map_err(|error| {
            tracing::error!(%error, "the models cannot be listed");
            Failure::internal("the server failed on this request; its log tells more")
        })?;
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((1..).zip(models).collect())
    }

    /// Lets a key in, and counts the call.
    pub(crate) async fn admit(&self, credentials: &Credentials) -> Result<(), Failure> {
        let id = KeyId(credentials.access_key_id().to_owned());
        let is_open = self.inner.settings.open && id.as_str() == OPEN && credentials.expose_secret().is_empty();
        if !is_open && !self.inner.keys.admits(credentials).await? {
            let msg = "the access key is wrong or revoked; make one with `imgopen keys create`";
            return Err(Failure::unauthorized(msg));
        }
        self.count(&id)
    }

    async fn find(
        &self,
        caller: &Caller,
        asked: &str,
        operations: &'static [&'static str],
        states: &'static [State],
    ) -> Result<Option<TaskRow>, Failure> {
        let key = KeyId(caller.access_key_id().to_owned());
        Ok(self.inner.store.find(key, asked.to_owned(), operations, states).await?)
    }

    fn report<T: Answer>(&self, task: &TaskRow, asked: &str) -> Result<T, Failure> {
        let live = match task.state {
            State::Running => self.inner.running.live(&task.id, self.urls()),
            _ => None,
        };
        let report = Report { task, asked, live: live.as_ref(), urls: self.urls() };
        report.answer().map_err(|error| broken(&error))
    }
}

fn unknown(asked: &str, hint: &str) -> Failure {
    let shown: String = asked.chars().take(100).collect();
    Failure::not_found(format!("no task has the id {shown:?}; {hint}"))
}

/// Models whose name holds every text that was asked for, whatever the case.
fn matching(models: Vec<(i64, Model)>, names: &[Option<&str>]) -> Vec<(i64, Model)> {
    let wanted: Vec<_> = names.iter().flatten().map(|name| name.to_lowercase()).collect();
    let fits = |(_, model): &(i64, Model)| {
        let (name, title) = (model.name.to_lowercase(), model.title.to_lowercase());
        wanted.iter().all(|wanted| name.contains(wanted) || title.contains(wanted))
    };
    models.into_iter().filter(fits).collect()
}

/// The rows of a page, counted from 1.
fn page<T>(rows: Vec<T>, size: i64, number: i64) -> Vec<T> {
    let size = usize::try_from(size).unwrap_or(0);
    let skipped = size.saturating_mul(usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX));
    rows.into_iter().skip(skipped).take(size).collect()
}

/// A row of a list; the four kinds differ in the names of their first members only.
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
