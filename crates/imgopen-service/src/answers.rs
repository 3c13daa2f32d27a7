//! From a task to what the contract says of it: submits, queries, callbacks. This is the edge where states become the
//! published numbers.
//!
//! An answer has exactly the members that its schema declares, in the declared order, as far as the task has them. So
//! one function serves every operation, and none can say what its document does not.

use imgopen_types::schema::{Field, Object, Shape};
use imgopen_types::{Answer, Operation, SUCCESS_CODE, SUCCESS_MSG, operations};
use serde_json::{Map, Value, json};

use crate::ids::AssetToken;
use crate::state::State;
use crate::store::TaskRow;

/// How far a running task is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// From 0 to 100.
    pub percent: f64,
    /// Steps done, where the engine counts them.
    pub step: u32,
    /// Steps in all, 0 where it does not.
    pub steps: u32,
    /// The URL of an intermediate picture.
    pub preview: Option<String>,
    /// The engine at work, and its grade.
    pub engine: Option<(String, &'static str)>,
}

/// The URLs under which the service is reached.
#[derive(Debug, Clone)]
pub struct Urls {
    /// Without a slash at its end.
    pub base: String,
}

impl Urls {
    /// Where an asset is.
    pub fn asset(&self, token: &AssetToken) -> String {
        format!("{}/assets/{token}", self.base)
    }

    /// Where the latest intermediate picture of a running task is.
    pub fn preview(&self, token: &AssetToken) -> String {
        format!("{}/previews/{token}", self.base)
    }
}

/// All that an answer about a task is made of.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The task.
    pub task: &'a TaskRow,
    /// The id that it was asked for with.
    pub asked: &'a str,
    /// How far it is, if it runs.
    pub live: Option<&'a Live>,
    /// Where pictures are.
    pub urls: &'a Urls,
}

/// The answer to the submit of a task: its ids, and that it waits. A repeated submit gets the same.
pub fn accepted<T: Answer>(task: &TaskRow, urls: &Urls) -> Result<T, serde_json::Error> {
    let waiting = TaskRow { state: State::Queued, output: None, failure: None, ..task.clone() };
    Report { task: &waiting, asked: &task.caller_id, live: None, urls }.answer()
}

/// What is pushed when a task ends.
pub fn pushed(operation: &Operation, task: &TaskRow, urls: &Urls) -> Option<Value> {
    let schema = operation.callback.as_ref()?.body;
    Some(Report { task, asked: &task.caller_id, live: None, urls }.envelope(schema))
}

/// The part of a tool's path that names it in queries.
pub fn tool_code(operation: &Operation) -> Option<&'static str> {
    let (_, code) = operation.path.split_once("/saas/tool/")?;
    Some(code)
}

impl Report<'_> {
    /// The answer as a type of the contract.
    ///
    /// # Errors
    ///
    /// When the task lacks what the schema requires, which is a fault of this module.
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
            "maxEpochs" => self.max_epochs(),
            _ => self.result(field),
        }
    }

    /// What an engine made.
    fn result(&self, field: &Field) -> Option<Value> {
        let output = self.task.output.as_ref()?;
        let urls: Vec<_> = output.pictures.iter().map(|picture| self.urls.asset(&picture.token)).collect();
        match field.name {
            "outputImageUrl" => urls.first().map(|url| json!(url)),
            "outputImageUrlList" if self.task.operation == operations::OUTPAINT.id => Some(json!(urls)),
            "differentialImageRspList" => Some(self.pictures()),
            "caption" => output.caption.as_ref().map(|caption| json!(caption)),
            "prompts" => (!output.prompts.is_empty()).then(|| json!(output.prompts)),
            "styleLabels" => output.style_labels.as_ref().map(|labels| json!(labels)),
            "faces" => output.faces.as_ref().map(|faces| json!(faces)),
            _ => None,
        }
    }

    /// The number of the state in the schema's family. Asked for in the tools' common query, prompt expansion keeps its
    /// own 0 for success, as the contract says.
    fn status(&self, data: &Object, field: &Field) -> Option<Value> {
        let Shape::IntegerEnum(family) = &field.shape else { return None };
        let is_expansion = self.task.operation == operations::EXPAND_PROMPT.id && data.name == "ToolTask";
        let family = match self.task.state {
            State::Succeeded if is_expansion => "ExpandPromptStatus",
            _ => family.name,
        };
        self.task.state.status(family).map(Value::from)
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

    /// No moderation is done here, so nothing is said of one.
    fn pictures(&self) -> Value {
        let pictures = self.task.output.iter().flat_map(|output| &output.pictures);
        let shown = pictures.map(|picture| {
            let mut shown = json!({ "image_status": 1, "image_url": self.urls.asset(&picture.token) });
            if let Some(seed) = picture.seed {
                shown["seed"] = json!(seed);
            }
            shown
        });
        shown.collect()
    }

    fn max_epochs(&self) -> Option<Value> {
        let request: Value = serde_json::from_str(&self.task.request).ok()?;
        let default = operations::SUBMIT_TRAINING.request.field("maxEpochs")?.default?;
        request.get("maxEpochs").cloned().or_else(|| serde_json::from_str(default).ok())
    }
}

/// The operation of a task.
pub fn operation(task: &TaskRow) -> Option<&'static Operation> {
    operations::ALL.iter().copied().find(|operation| operation.id == task.operation)
}

#[cfg(test)]
mod tests;
