//! Calls of operations that are known only while the program runs: JSON in, JSON out, by the tables of the contract.

use imgopen_types::operation::IdSource;
use imgopen_types::{JobReport, Operation, operation, read_value};
use progenitor_client::encode_path;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::answer::Untyped;
use crate::path::segments;
use crate::{Client, Error};

/// The header that makes a submit safe to repeat, where the server minds it.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The call of an operation that is known only while the program runs. [`Client::dynamic`] makes it.
#[derive(Debug, Clone)]
#[must_use = "a call does nothing until it is sent"]
pub struct Dynamic<'a> {
    client: &'a Client,
    operation: &'static Operation,
    parameters: Vec<(String, String)>,
    body: Value,
    idempotency_key: Option<String>,
}

/// What a job's query says: the answer as it came, and what it means.
pub struct Progress {
    /// The `data` of the answer, in canonical form.
    pub data: Value,
    /// Where the job stands.
    pub report: Box<dyn JobReport + Send>,
}

impl Client {
    /// Calls an operation that is known only while the program runs, such as one that a command line names. The request is
    /// JSON and is held to the same rules as the typed one; so is the answer.
    ///
    /// ```no_run
    /// use imgopen_client::types::operation;
    /// use serde_json::json;
    ///
    /// # async fn example(client: imgopen_client::Client) -> Result<(), imgopen_client::Error> {
    /// let list = operation::find("list_models").expect("an operation of the API");
    /// let answer = client.dynamic(list).body(json!({"pageSize": 10, "pageNum": 1})).send().await?;
    /// println!("{}", answer["data"]["total"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn dynamic(&self, operation: &'static Operation) -> Dynamic<'_> {
        let (parameters, body) = (Vec::new(), Value::Object(Map::new()));
        Dynamic { client: self, operation, parameters, body, idempotency_key: None }
    }

    /// Asks once where a job stands that an operation started; the id is the one of [`job_id`].
    ///
    /// # Errors
    ///
    /// As the query's. [`Error::InvalidRequest`] if the operation starts no job.
    pub async fn progress(&self, operation: &'static Operation, id: &str) -> Result<Progress, Error> {
        let no_job = || Error::InvalidRequest(format!("`{}` starts no job", operation.id));
        let job = operation.job.as_ref().ok_or_else(no_job)?;
        let query = operation::find(job.query).ok_or_else(no_job)?;
        let mut call = self.dynamic(query).body(Value::from_iter([(job.field, id)]));
        for (name, value) in job.parameters {
            call = call.parameter(*name, *value);
        }
        let mut answer = call.send().await?;
        let text = answer.to_string();
        let report = (job.report)(text.as_bytes()).map_err(|error| Error::InvalidRequest(error.to_string()))?;
        Ok(Progress { data: answer["data"].take(), report })
    }
}

/// The id to ask for a job with, out of the request that started it and the answer to that.
pub fn job_id(operation: &Operation, request: &Value, answer: &Value) -> Option<String> {
    let source: IdSource = operation.job.as_ref()?.id;
    source.find(request, answer).map(str::to_owned)
}

impl Dynamic<'_> {
    /// Sets the request.
    pub fn body(self, body: Value) -> Self {
        Self { body, ..self }
    }

    /// Sets a variable part of the path.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Sends the header `Idempotency-Key`, and tries again after a failure that may pass: a server that minds the header
    /// starts one job however often the request comes. Only for such servers; the hosted API documents no such header.
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        Self { idempotency_key: Some(key.into()), ..self }
    }

    /// Sends the request, and gives the whole answer in canonical form.
    ///
    /// # Errors
    ///
    /// As the typed call's.
    pub async fn send(self) -> Result<Value, Error> {
        let unsent = |error: &dyn std::fmt::Display| Error::InvalidRequest(error.to_string());
        let body =
            read_value(self.operation.request, self.body.to_string().as_bytes()).map_err(|error| unsent(&error))?;
        let url = format!("{}{}", self.client.baseurl, self.path()?);
        let json = HeaderValue::from_static("application/json");
        let mut request = self.client.client.post(url).header(ACCEPT, json.clone()).header(CONTENT_TYPE, json);
        if let Some(key) = &self.idempotency_key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        let request = request.body(body.to_string()).build()?;
        let is_safe = self.operation.idempotent || self.idempotency_key.is_some();
        let reader = Untyped(self.operation.response);
        let answer = self.client.call_as(&reader, request, self.operation.id, is_safe).await?;
        Ok(answer.into_inner())
    }

    fn path(&self) -> Result<String, Error> {
        let mut path = self.operation.path.to_owned();
        for parameter in self.operation.parameters {
            let name = parameter.name;
            let given = self.parameters.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
            let value = parameter.check(given);
            let value = value.map_err(|problem| Error::InvalidRequest(format!("`{name}`: {problem}")))?;
            let value = if parameter.multi_segment { segments(value) } else { encode_path(value) };
            path = path.replace(&format!("{{{name}}}"), &value);
        }
        Ok(path)
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("data", &self.data).field("state", &self.report.state()).finish()
    }
}
