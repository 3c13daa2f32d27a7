//! The operations of the contract as data.

use serde_json::Value;

use crate::schema::{Object, Provenance, TextEnum};
use crate::wire::{ReadError, Wire, read};
use crate::{Answer, JobReport, Rule, Violations};

/// Returns the operation with that id.
///
/// ```
/// let operation = imgopen_types::operation::find("enlarge_image").unwrap();
/// assert_eq!(operation.summary, "Enlarge a picture by any factor");
/// ```
pub fn find(id: &str) -> Option<&'static Operation> {
    crate::operations::ALL.iter().copied().find(|operation| operation.id == id)
}

/// The operations whose jobs have other results than pictures: texts, faces, a LoRA. A test compares them with what the document
/// says of each operation.
const WITHOUT_PICTURES: [&str; 4] = ["submit_training", "describe_image", "detect_faces", "recognize_style"];

/// One call of the API.
#[derive(Debug)]
pub struct Operation {
    /// Its id, such as `submit_training`.
    pub id: &'static str,
    /// The document that describes it: `imgopen` is the vendor's, `imgopen-extras` what a self-hosted server adds.
    pub document: &'static str,
    /// The HTTP method, always `POST`.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// The group it belongs to, such as "image tool".
    pub tag: &'static str,
    /// What it does, in a few words: an imperative without a full stop.
    pub summary: &'static str,
    /// What it does, the kind of answer and the caller's id: Markdown, one line for each paragraph and list item.
    pub about: &'static str,
    /// The URL of the public page that documents it.
    pub page: Option<&'static str>,
    /// How well it is known.
    pub provenance: Provenance,
    /// Where the facts about it come from: pages, what is available of them, and what they contradict.
    pub source: Option<&'static str>,
    /// Whether repeating the call changes nothing.
    pub idempotent: bool,
    /// The variable parts of its path.
    pub parameters: &'static [PathParameter],
    /// The request body.
    pub request: &'static Object,
    /// The body of a success.
    pub response: &'static Object,
    /// Where the request holds the caller's own id for the task, if it has one.
    pub caller_id: Option<CallerId>,
    /// Where the request names the model to use, as a path of member names.
    pub model: Option<&'static [&'static str]>,
    /// How to query its job, if it starts one.
    pub job: Option<JobQuery>,
    /// What is pushed to the caller when the job ends, if the request has a field for the address.
    pub callback: Option<Callback>,
}

/// A variable part of a path.
#[derive(Debug)]
pub struct PathParameter {
    /// The name between the braces of the path.
    pub name: &'static str,
    /// What the part stands for.
    pub about: &'static str,
    /// Where the facts about it come from, if there is anything to say.
    pub source: Option<&'static str>,
    /// The values that it takes; if the set is open, others as well.
    pub values: &'static TextEnum,
    /// Whether a slash in a value separates path segments on the wire.
    pub multi_segment: bool,
}

impl PathParameter {
    /// Returns the given value, if it is one of the parameter's. An open set takes every text that leads to the operation.
    ///
    /// # Errors
    ///
    /// Names what is given instead, and the values that are known.
    pub fn check<'a>(&self, given: Option<&'a str>) -> Result<&'a str, String> {
        let known: Vec<_> = self.values.values.iter().map(|choice| choice.value).collect();
        let fits = |given: &&str| known.contains(given) || (self.values.open && stays_in_path(given));
        given.filter(fits).ok_or_else(|| {
            let shown = |given: &str| format!("{:?} given", given.chars().take(60).collect::<String>());
            let others = if self.values.open { ", or another value without empty parts, `.` and `..`" } else { "" };
            format!("{}; give one of {}{others}", given.map_or("missing".to_owned(), shown), known.join(", "))
        })
    }
}

/// Returns whether a text is valid in the path of an operation. One with an empty part, `.` or `..` between its slashes
/// is not, because URLs are resolved and would lead elsewhere. A backslash counts as a slash there.
pub fn stays_in_path(value: &str) -> bool {
    value.split(['/', '\\']).all(|part| !["", ".", ".."].contains(&part))
}

/// Where a request holds the caller's own id for the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerId {
    /// The members that lead to it, outermost first, such as `alwayson_scripts`, `id_task`.
    pub path: &'static [&'static str],
    /// Whether a second task of the same key must not have the same id.
    pub unique: bool,
}

impl CallerId {
    /// Returns the id in a request, if it is there.
    ///
    /// ```
    /// let operation = imgopen_types::operation::find("text_to_image").unwrap();
    /// let request = serde_json::json!({"alwayson_scripts": {"id_task": "text-0001"}});
    /// assert_eq!(operation.caller_id.unwrap().find(&request), Some("text-0001"));
    /// ```
    pub fn find<'a>(&self, request: &'a Value) -> Option<&'a str> {
        text_at(request, self.path)
    }
}

impl Operation {
    /// Returns whether its results are pictures.
    ///
    /// ```
    /// use imgopen_types::operations;
    ///
    /// assert!(operations::TEXT_TO_IMAGE.makes_pictures() && !operations::DETECT_FACES.makes_pictures());
    /// ```
    pub fn makes_pictures(&self) -> bool {
        self.job.is_some() && !WITHOUT_PICTURES.contains(&self.id)
    }

    /// Returns the model that a request of this operation names, if it names one.
    ///
    /// ```
    /// let operation = imgopen_types::operation::find("text_to_image").unwrap();
    /// let request = serde_json::json!({"alwayson_scripts": {"sd_model_checkpoint": "a.safetensors"}});
    /// assert_eq!(operation.model_of(&request), Some("a.safetensors"));
    /// ```
    pub fn model_of<'a>(&self, request: &'a Value) -> Option<&'a str> {
        text_at(request, self.model?)
    }
}

fn text_at<'a>(root: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(root, |value, name| value.get(name))?.as_str()
}

/// How to query the state of a job.
#[derive(Debug)]
pub struct JobQuery {
    /// Id of the operation that returns the state.
    pub query: &'static str,
    /// The field of that operation's request that takes the job's id.
    pub field: &'static str,
    /// That operation's path parameters, names and values.
    pub parameters: &'static [(&'static str, &'static str)],
    /// Where the id to query with lies.
    pub id: IdSource,
    /// Reads that operation's answer: the state of the job.
    pub report: ReadReport,
}

/// Reads the state of a job from an answer.
pub type ReadReport = fn(&[u8]) -> Result<Box<dyn JobReport + Send>, ReadError>;

/// Where the id of a job lies, as a path of member names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdSource {
    /// In the request that starts it.
    Request(&'static [&'static str]),
    /// In the answer to that.
    Response(&'static [&'static str]),
}

impl IdSource {
    /// Returns the id, from the request that started the job or the answer to it.
    pub fn find<'a>(&self, request: &'a Value, response: &'a Value) -> Option<&'a str> {
        let (root, path) = match self {
            IdSource::Request(path) => (request, path),
            IdSource::Response(path) => (response, path),
        };
        text_at(root, path)
    }
}

/// What every [`JobQuery::report`] does for its type of answer.
pub(crate) fn report<T>(json: &[u8]) -> Result<Box<dyn JobReport + Send>, ReadError>
where
    T: Answer<Data: JobReport + Send + 'static>,
{
    match read::<T>(json)?.into_data() {
        Some(data) => Ok(Box::new(data)),
        None => Err(Violations::of("data", Rule::Missing, "missing; give the job's state").into()),
    }
}

/// What is pushed when a job ends.
#[derive(Debug)]
pub struct Callback {
    /// The request's field that holds the address.
    pub field: &'static str,
    /// The pushed body.
    pub body: &'static Object,
}

/// A request, which belongs to one operation.
pub trait Request: Wire {
    /// The body of a success.
    type Response: Answer;

    /// What the document says of the operation.
    fn operation() -> &'static Operation;
}

/// A request that starts a job.
pub trait JobRequest: Request {
    /// The state of the job, as a query returns it.
    type Report: JobReport;

    /// Returns the id to query with, from this request and its answer.
    fn job_id(&self, response: &Self::Response) -> String;
}

/// Ids are unique in the contract.
impl PartialEq for Operation {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Operation {}

#[cfg(test)]
mod tests {
    /// Descriptions name the member of the answer that holds the result, where the answer may hold several.
    #[test]
    fn the_document_says_whose_results_are_pictures() {
        for operation in crate::operations::ALL {
            let named = operation.about.split_once("Read the result, `").and_then(|(_, rest)| rest.split('`').next());
            let expected = match (named, &operation.job) {
                (Some(member), _) => member.starts_with("outputImage"),
                // Trainings have a query of their own.
                (None, Some(job)) => job.query != "query_training",
                (None, None) => false,
            };
            assert_eq!(operation.makes_pictures(), expected, "{}", operation.id);
        }
    }
}
