//! Turns tasks into the contract's answers: to submits, to queries and in callbacks. States become published numbers
//! here.
//!
//! An answer has exactly the members that its schema declares, in the declared order, as far as the task has them. So one
//! function serves every operation, and no answer can differ from its document.

use imgopen_store::{State, StoredLabel, TaskRow};
use imgopen_types::schema::{Field, Object, Shape};
use imgopen_types::{
    Answer, ExpandPromptStatus, Operation, SUCCESS_CODE, SUCCESS_MSG, SdStatus, ToolStatus, operations,
};
use serde_json::{Map, Value, json};

use crate::live::Live;
use crate::urls::Urls;

/// The parts of an answer about a task.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The task.
    pub task: &'a TaskRow,
    /// The id that the query gave.
    pub asked: &'a str,
    /// The progress of its run in this process, if any.
    pub live: Option<&'a Live>,
    /// The URLs of pictures.
    pub urls: &'a Urls,
}

/// Returns the answer to a submit: the ids of the task, and that it is queued, whatever its state is by now. So a repeated
/// submit gets the same answer as the first.
pub fn accepted<T: Answer>(task: &TaskRow, urls: &Urls) -> Result<T, serde_json::Error> {
    let waiting = TaskRow { state: State::Queued, output: None, failure: None, ..task.clone() };
    Report { task: &waiting, asked: &task.caller_id, live: None, urls }.answer()
}

/// Returns the message that reports the end of a task, if its operation has callbacks.
pub fn pushed(operation: &Operation, task: &TaskRow, urls: &Urls) -> Option<Value> {
    let schema = operation.callback.as_ref()?.body;
    Some(Report { task, asked: &task.caller_id, live: None, urls }.envelope(schema))
}

/// Returns the part of a tool's path that names it in queries.
pub fn tool_code(operation: &Operation) -> Option<&'static str> {
    let (_, code) = operation.path.split_once("/saas/tool/")?;
    Some(code)
}

impl Report<'_> {
    /// Returns the answer as a type of the contract.
    ///
    /// # Errors
    ///
    /// When the task lacks what the schema requires, which is a bug in this module.
    pub fn answer<T: Answer>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(self.envelope(T::schema()))
    }

    fn envelope(&self, schema: &Object) -> Value {
        self.object(schema, |field| match (field.name, &field.shape) {
            ("code", _) => Some(json!(SUCCESS_CODE)),
            ("msg", _) => Some(json!(SUCCESS_MSG)),
            ("data", Shape::Object(data)) => Some(self.object(data, |field| self.member(data, field))),
            _ => None,
        })
    }

    fn object(&self, schema: &Object, member: impl Fn(&Field) -> Option<Value>) -> Value {
        let members = schema.fields.iter().filter_map(|field| Some((field.name.to_owned(), member(field)?)));
        Value::Object(members.collect::<Map<_, _>>())
    }

    fn member(&self, data: &Object, field: &Field) -> Option<Value> {
        let task = self.task;
        match field.name {
            "taskId" if task.operation == operations::SUBMIT_TRAINING.id => Some(json!(task.caller_id)),
            "taskId" | "task_id" => Some(json!(task.id)),
            "id_task" => Some(json!(self.asked)),
            "businessTaskId" => Some(json!(task.caller_id)),
            "toolTask" => operation(task).and_then(tool_code).map(Value::from),
            "status" => self.status(data, field),
            "desc" => Some(json!(self.desc())),
            "progress" => Some(json!(self.percent())),
            "temporaryImageDto" => Some(self.temporary_image()),
            "epoch" => self.epoch(),
            "maxEpochs" => self.max_epochs(),
            _ => self.result(field),
        }
    }

    /// The members that are an engine's result.
    fn result(&self, field: &Field) -> Option<Value> {
        let output = self.task.output.as_ref()?;
        let urls: Vec<_> = output.pictures.iter().map(|picture| self.urls.asset(&picture.token)).collect();
        match field.name {
            "outputImageUrl" => urls.first().map(|url| json!(url)),
            "outputImageUrlList" if self.task.operation == operations::OUTPAINT.id => Some(json!(urls)),
            "differentialImageRspList" => Some(self.pictures()),
            "modelName" => output.files.first().map(|file| json!(file.name)),
            "modelUrl" => output.files.first().map(|file| json!(self.urls.asset(&file.token))),
            "caption" => output.caption.as_ref().map(|caption| json!(caption)),
            "prompts" => (!output.prompts.is_empty()).then(|| json!(output.prompts)),
            "styleLabels" => output.style_labels.as_ref().map(|labels| json!(labels)),
            "faces" => output.faces.as_ref().map(|faces| json!(faces)),
            _ => None,
        }
    }

    /// The number of the state in the schema's family. In the tools' common query, prompt expansion keeps its own 0 for
    /// success, as the contract says.
    fn status(&self, data: &Object, field: &Field) -> Option<Value> {
        let Shape::IntegerEnum(family) = &field.shape else { return None };
        let is_expansion = self.task.operation == operations::EXPAND_PROMPT.id && data.name == "ToolTask";
        let family = match self.task.state {
            State::Succeeded if is_expansion => "ExpandPromptStatus",
            _ => family.name,
        };
        number(self.task.state, family).map(Value::from)
    }

    fn desc(&self) -> String {
        match (self.task.state, &self.task.failure) {
            (State::Succeeded, _) => SUCCESS_MSG.to_owned(),
            (_, Some(reason)) => reason.clone(),
            (state, None) => state.as_str().to_owned(),
        }
    }

    fn percent(&self) -> f64 {
        match self.task.state {
            State::Succeeded => 100.0,
            State::Running => self.live.map_or(0.0, |live| live.percent),
            _ => 0.0,
        }
    }

    fn temporary_image(&self) -> Value {
        match (self.task.state, self.live) {
            (State::Running, Some(live)) => {
                let mut image = json!({ "progress": live.percent });
                if let Some(url) = &live.preview {
                    image["imageUrl"] = json!(url);
                }
                image
            }
            _ => Value::Null,
        }
    }

    /// Those that were not audited have no members about that.
    fn pictures(&self) -> Value {
        let pictures = self.task.output.iter().flat_map(|output| &output.pictures);
        let shown = pictures.map(|picture| {
            let mut shown = json!({ "image_status": 1, "image_url": self.urls.asset(&picture.token) });
            if let Some(seed) = picture.seed {
                shown["seed"] = json!(seed);
            }
            if let Some(labels) = &picture.audit {
                shown["img_audit"] = findings(labels);
                shown["img_audit_status"] = json!(labels.is_empty());
            }
            shown
        });
        shown.collect()
    }

    /// The number of the epoch that a training is in. All have the same number of steps.
    fn epoch(&self) -> Option<Value> {
        let epochs = self.max_epochs()?.as_u64()?;
        match (self.task.state, self.live) {
            (State::Succeeded, _) => Some(json!(epochs)),
            (State::Running, Some(Live { step, steps: steps @ 1.., .. })) => {
                Some(json!((u64::from(*step) * epochs / u64::from(*steps) + 1).min(epochs)))
            }
            _ => None,
        }
    }

    fn max_epochs(&self) -> Option<Value> {
        let request: Value = serde_json::from_str(&self.task.request).ok()?;
        let default = operations::SUBMIT_TRAINING.request.field("maxEpochs")?.default?;
        request.get("maxEpochs").cloned().or_else(|| serde_json::from_str(default).ok())
    }
}

/// What an audit found in a picture. That it found nothing is a finding, too, as in the published examples.
fn findings(labels: &[StoredLabel]) -> Value {
    match labels {
        [] => json!([{ "confidence": null, "label": "nonLabel" }]),
        labels => labels.iter().map(|found| json!({ "confidence": found.confidence, "label": found.label })).collect(),
    }
}

/// Returns the operation of a task; `None` if this version does not know it.
pub fn operation(task: &TaskRow) -> Option<&'static Operation> {
    operations::ALL.iter().copied().find(|operation| operation.id == task.operation)
}

/// Returns the id of a task's operation as in the contract; `unknown` if this version does not know it.
pub fn operation_id(task: &TaskRow) -> &'static str {
    operation(task).map_or("unknown", |operation| operation.id)
}

/// The number of a state in a published family, by the name of the family's schema.
fn number(state: State, family: &str) -> Option<i64> {
    match family {
        "SdStatus" => Some(sd(state).value()),
        "ToolStatus" => Some(tool(state).value()),
        "ExpandPromptStatus" => Some(expand_prompt(state).value()),
        _ => None,
    }
}

fn sd(state: State) -> SdStatus {
    match state {
        State::Queued => SdStatus::Queued,
        State::Running => SdStatus::Running,
        State::Succeeded => SdStatus::Succeeded,
        State::Failed => SdStatus::Failed,
        State::Cancelled => SdStatus::Cancelled,
    }
}

/// The tools' scale has no number for cancelled tasks, so callers see a failure.
fn tool(state: State) -> ToolStatus {
    match state {
        State::Queued | State::Running => ToolStatus::Running,
        State::Succeeded => ToolStatus::Succeeded,
        State::Failed | State::Cancelled => ToolStatus::Failed,
    }
}

/// Only the number of success is published. The other states use those of the generation jobs, which differ from it.
fn expand_prompt(state: State) -> ExpandPromptStatus {
    match state {
        State::Succeeded => ExpandPromptStatus::Succeeded,
        other => ExpandPromptStatus::from(sd(other).value()),
    }
}

#[cfg(test)]
mod tests;
