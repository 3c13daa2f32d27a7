//! Calls every operation by its id, so that a test can go through all of them. The list of operations is generated.

use std::str::FromStr;

use imgopen_client::types::*;
use imgopen_client::{Client, Error};
use serde_json::Value;

/// What a call sent and got, as JSON text in canonical form.
#[derive(Debug)]
pub struct Called {
    /// The request as the types write it.
    pub request: String,
    /// The answer as the types write it.
    pub response: String,
}

/// The tool whose job `query_tool_task` is asked for, unless a test says otherwise. Its code holds a slash.
pub const TOOL: ToolCode = ToolCode::HairChange;

/// The value that calls give the variable part of an operation's path: [`TOOL`] for a tool, otherwise the first that is known.
pub fn path_value(operation: &Operation) -> Option<&'static str> {
    let values = operation.parameters.first()?.values.values;
    let tool = values.iter().find(|known| known.value == TOOL.as_str());
    Some(tool.or(values.first())?.value)
}

/// The path of an operation with that value in it.
pub fn filled_path(operation: &Operation) -> String {
    let parameter = operation.parameters.first().map(|parameter| format!("{{{}}}", parameter.name));
    match (parameter, path_value(operation)) {
        (Some(parameter), Some(value)) => operation.path.replace(&parameter, value),
        _ => operation.path.to_owned(),
    }
}

/// The value for a path as its type.
fn path_argument<T: FromStr>(operation: &str) -> T {
    let operation = operation::find(operation).expect("the generated list has only operations of the tables");
    let value = path_value(operation).expect("its path has a variable part");
    value.parse().ok().expect("a known value is one of its type")
}

macro_rules! dispatch {
    ($($service:ident $routes:ident {
        $($operation:ident($request:ident $(, $parameter:ident: $kind:ident)?) -> $response:ident;)*
    })*) => {
        /// Reads the request as the operation's type, sends it with the typed client and returns both sides as text.
        ///
        /// # Errors
        ///
        /// As the client's.
        ///
        /// # Panics
        ///
        /// When the request does not fit the operation's type or no operation has that id.
        pub async fn call(client: &Client, operation: &str, request: &Value) -> Result<Called, Error> {
            match operation {
                $($(stringify!($operation) => {
                    let request: $request = serde_json::from_value(request.clone()).expect("the request fits its type");
                    let text = to_text(&request);
                    let call = client.$operation() $(.$parameter(path_argument::<$kind>(operation)))?;
                    let response: $response = call.body(request).send().await?.into_inner();
                    Ok(Called { request: text, response: to_text(&response) })
                })*)*
                other => panic!("no operation is called {other}"),
            }
        }

        /// Reads a request of an operation, as a server does, and writes it in canonical form.
        ///
        /// # Errors
        ///
        /// Every fault of the request.
        ///
        /// # Panics
        ///
        /// When no operation has that id.
        pub fn read_request(operation: &str, json: &[u8]) -> Result<String, ReadError> {
            match operation {
                $($(stringify!($operation) => read::<$request>(json).map(|request| to_text(&request)),)*)*
                other => panic!("no operation is called {other}"),
            }
        }

        /// Reads a request and writes it with its builder, as the client does.
        ///
        /// # Errors
        ///
        /// Every fault of the request.
        ///
        /// # Panics
        ///
        /// When no operation has that id or the builder refuses what was read.
        pub fn build_request(operation: &str, json: &[u8]) -> Result<String, ReadError> {
            let text = |json: Result<Vec<u8>, Violations>| {
                String::from_utf8(json.expect("the builder takes what was read")).expect("JSON is text")
            };
            match operation {
                $($(stringify!($operation) => {
                    read(json).map(|request: $request| text(builder::$request::from(request).to_json()))
                })*)*
                other => panic!("no operation is called {other}"),
            }
        }

        /// Like [`read_request`], for an answer.
        ///
        /// # Errors
        ///
        /// Every fault of the answer.
        ///
        /// # Panics
        ///
        /// When no operation has that id.
        pub fn read_response(operation: &str, json: &[u8]) -> Result<String, ReadError> {
            match operation {
                $($(stringify!($operation) => read::<$response>(json).map(|response| to_text(&response)),)*)*
                other => panic!("no operation is called {other}"),
            }
        }
    };
}

crate::each_operation!(dispatch);

fn to_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("the types are written as JSON")
}
