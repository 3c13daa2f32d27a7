//! A server that implements every operation of every document: it records what arrives and answers with the document's
//! example.

use std::sync::{Arc, Mutex};

use axum::Router;
use imgopen_client::types::*;
use imgopen_server::{Caller, Failure, Options, complete};
use serde::Serialize;
use serde_json::Value;

use crate::document;

/// A recorded call.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The method of the trait that was called.
    pub operation: &'static str,
    /// The caller's keys: id and secret.
    pub keys: (String, String),
    /// The path parameter, for the operation that has one.
    pub parameter: Option<String>,
    /// The request, as JSON text in canonical form.
    pub request: String,
}

/// The recording server.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    records: Arc<Mutex<Vec<Record>>>,
}

impl Recorder {
    /// Removes and returns the records so far.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.records.lock().expect("no test panics while it records"))
    }

    /// The recorder as a server.
    pub fn router(&self) -> Router {
        self.router_with(Options::default())
    }

    /// The same with options.
    pub fn router_with(&self, options: Options) -> Router {
        complete(self.routes(options))
    }

    /// The routes of all documents, to be merged with others.
    pub fn routes(&self, options: Options) -> Router {
        every_route(&Arc::new(self.clone()), &options)
    }

    fn record<R: Serialize, A: Answer>(
        &self,
        operation: &'static str,
        Caller { keys, .. }: &Caller,
        parameter: Option<String>,
        request: &R,
    ) -> Result<A, Failure> {
        let keys = (keys.access_key_id().to_owned(), keys.expose_secret().to_owned());
        let request = serde_json::to_string(request).map_err(|error| Failure::internal(error.to_string()))?;
        let record = Record { operation, keys, parameter, request };
        self.records.lock().expect("no test panics while it records").push(record);
        Ok(answer(operation))
    }
}

/// The document's example of a success, as the operation's answer type.
pub fn answer<A: Answer>(operation: &str) -> A {
    let value: Value = document::success(operation);
    serde_json::from_value(value).expect("the document's example fits the type")
}

macro_rules! recorder {
    ($($service:ident $routes:ident {
        $($operation:ident($request:ident $(, $parameter:ident: $kind:ident)?) -> $response:ident;)*
    })*) => {
        $(impl imgopen_server::$service for Recorder {
            $(
                async fn $operation(
                    &self,
                    caller: Caller,
                    $($parameter: $kind,)?
                    request: $request,
                ) -> Result<$response, Failure> {
                    let parameter: Option<String> = [$($parameter.to_string())?].into_iter().next();
                    self.record(stringify!($operation), &caller, parameter, &request)
                }
            )*
        })*

        /// The routes of every document.
        fn every_route(recorder: &Arc<Recorder>, options: &Options) -> Router {
            Router::new() $(.merge(imgopen_server::$routes(recorder.clone(), options.clone())))*
        }
    };
}

crate::each_operation!(recorder);
