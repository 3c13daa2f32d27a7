//! Calls every operation by its id, so that a test can go through all of them.

use imgopen_client::types::*;
use imgopen_client::{Client, Error};
use serde_json::Value;

/// Hands the operations without path parameters to a macro, for each trait of the server: method, request type, answer
/// type.
#[macro_export]
macro_rules! each_operation {
    ($apply:ident) => {
        $apply! {
            ImgOpen {
                text_to_image TextToImageRequest TextToImageResponse;
                image_to_image ImageToImageRequest ImageToImageResponse;
                controlnet ControlnetRequest ControlnetResponse;
                list_models ListModelsRequest ListModelsResponse;
                list_loras ListLorasRequest ListLorasResponse;
                list_vaes ListVaesRequest ListVaesResponse;
                list_embeddings ListEmbeddingsRequest ListEmbeddingsResponse;
                query_archived_task QueryArchivedTaskRequest QueryArchivedTaskResponse;
                query_task QueryTaskRequest QueryTaskResponse;
                submit_training SubmitTrainingRequest SubmitTrainingResponse;
                query_training QueryTrainingRequest QueryTrainingResponse;
                flux_text_to_image FluxTextToImageRequest FluxTextToImageResponse;
                swap_face SwapFaceRequest SwapFaceResponse;
                swap_face_v2 SwapFaceV2Request SwapFaceV2Response;
                instant_id InstantIdRequest InstantIdResponse;
                restore_face RestoreFaceRequest RestoreFaceResponse;
                super_resolution SuperResolutionRequest SuperResolutionResponse;
                describe_image DescribeImageRequest DescribeImageResponse;
                swap_faces SwapFacesRequest SwapFacesResponse;
                detect_faces DetectFacesRequest DetectFacesResponse;
                expand_prompt ExpandPromptRequest ExpandPromptResponse;
                change_hairstyle ChangeHairstyleRequest ChangeHairstyleResponse;
                remove_object RemoveObjectRequest RemoveObjectResponse;
                recognize_style RecognizeStyleRequest RecognizeStyleResponse;
                outpaint OutpaintRequest OutpaintResponse;
                preview_controlnet PreviewControlnetRequest PreviewControlnetResponse;
                remove_background RemoveBackgroundRequest RemoveBackgroundResponse;
                enlarge_image EnlargeImageRequest EnlargeImageResponse;
                watermark_image WatermarkImageRequest WatermarkImageResponse;
            }
            ImgOpenExtras {
                cancel_task CancelTaskRequest CancelTaskResponse;
                list_tasks ListTasksRequest ListTasksResponse;
                list_callbacks ListCallbacksRequest ListCallbacksResponse;
                redeliver_callback RedeliverCallbackRequest RedeliverCallbackResponse;
                describe_server DescribeServerRequest DescribeServerResponse;
            }
        }
    };
}

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

macro_rules! dispatch {
    ($($service:ident { $($operation:ident $request:ident $response:ident;)* })*) => {
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
                    let response: $response = client.$operation().body(request).send().await?.into_inner();
                    Ok(Called { request: text, response: to_text(&response) })
                })*)*
                "query_tool_task" => {
                    let request: QueryToolTaskRequest =
                        serde_json::from_value(request.clone()).expect("the request fits its type");
                    let text = to_text(&request);
                    let call = client.query_tool_task().tool_code(TOOL).body(request);
                    Ok(Called { request: text, response: to_text(&call.send().await?.into_inner()) })
                }
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
                "query_tool_task" => read::<QueryToolTaskRequest>(json).map(|request| to_text(&request)),
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
                "query_tool_task" => {
                    let request = read::<QueryToolTaskRequest>(json);
                    request.map(|request| text(builder::QueryToolTaskRequest::from(request).to_json()))
                }
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
                "query_tool_task" => read::<QueryToolTaskResponse>(json).map(|response| to_text(&response)),
                other => panic!("no operation is called {other}"),
            }
        }
    };
}

crate::each_operation!(dispatch);

fn to_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("the types are written as JSON")
}
