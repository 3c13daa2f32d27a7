//! Calls of operations that are known only at run time: JSON in, JSON out, by the tables of the contract.

use imgopen_types::operation::IdSource;
use imgopen_types::{JobReport, JobState, Operation, operation, read_value};
use progenitor_client::encode_path;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde_json::{Map, Value};

use crate::answer::Untyped;
use crate::call::{Outgoing, parse};
use crate::path::segments;
use crate::{Client, Error};

/// A call of an operation that is known only at run time, made by [`Client::dynamic`].
#[derive(Debug, Clone)]
#[must_use = "a call does nothing until it is sent"]
pub struct Dynamic<'a> {
    client: &'a Client,
    operation: &'static Operation,
    parameters: Vec<(String, String)>,
    body: Value,
    idempotency_key: Option<String>,
}

/// The answer to a job's query, and the state that it reports.
pub struct Progress {
    /// The `data` of the answer, in canonical form.
    pub data: Value,
    /// The state of the job.
    pub report: Box<dyn JobReport + Send>,
}

impl Client {
    /// Calls an operation that is known only at run time, such as one that a command line names. The request is JSON and
    /// must keep the same rules as the typed one; so must the answer.
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

    /// Queries once the state of a job that an operation started; `id` is the result of [`job_id`].
    ///
    /// # Errors
    ///
    /// Those of the query, and [`Error::InvalidRequest`] if the operation starts no job.
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
        let report = (job.report)(text.as_bytes());
        let report = report.map_err(|source| Error::Decode { status: StatusCode::OK, source, body: text.into() })?;
        Ok(Progress { data: answer["data"].take(), report })
    }
}

/// Returns the id to query a job with, from the request that started it or the answer to it.
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

    /// Sends the header `Idempotency-Key`, and retries after temporary failures: a server that supports the header starts
    /// one job however often the request arrives. Use it only with such servers; the hosted API does not document the header.
    /// [`ClientBuilder::idempotency_keys`](crate::ClientBuilder::idempotency_keys) does so for all submits.
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        Self { idempotency_key: Some(key.into()), ..self }
    }

    /// Sends the request and returns the whole answer in canonical form.
    ///
    /// # Errors
    ///
    /// Those of the typed call.
    pub async fn send(self) -> Result<Value, Error> {
        let unsent = |error: &dyn std::fmt::Display| Error::InvalidRequest(error.to_string());
        let body =
            read_value(self.operation.request, self.body.to_string().as_bytes()).map_err(|error| unsent(&error))?;
        let url = parse(&format!("{}{}", self.client.baseurl, self.path()?))?;
        let idempotency_key = self.idempotency_key.as_deref().map(header).transpose()?;
        let call = Outgoing { operation: self.operation.id, url, idempotency_key, body: body.to_string().into() };
        let answer = self.client.call_as(&Untyped(self.operation.response), call).await?;
        Ok(answer.into_inner())
    }

    fn path(&self) -> Result<String, Error> {
        let mut path = self.operation.path.to_owned();
        for parameter in self.operation.parameters {
            let name = parameter.name;
            let given = self.parameters.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
            let value = parameter.check(given);
            let value = value.map_err(|problem| Error::InvalidRequest(format!("`{name}`: {problem}")))?;
            let value = if parameter.multi_segment { segments(name, value)? } else { encode_path(value) };
            path = path.replace(&format!("{{{name}}}"), &value);
        }
        Ok(path)
    }
}

/// The header of a key that the caller chose.
fn header(key: &str) -> Result<HeaderValue, Error> {
    let unsendable =
        |_| format!("the idempotency key {key:?} holds a character that no HTTP header can carry; choose another");
    HeaderValue::from_str(key).map_err(unsendable).map_err(Error::InvalidRequest)
}

impl JobReport for Progress {
    fn state(&self) -> JobState {
        self.report.state()
    }

    fn progress(&self) -> Option<f64> {
        self.report.progress()
    }

    fn desc(&self) -> Option<&str> {
        self.report.desc()
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("data", &self.data).field("state", &self.report.state()).finish()
    }
}
