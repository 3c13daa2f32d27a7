//! The published training request, from the client through the generated server over a real socket, with the wire shown
//! both ways.
//!
//! The published text is not valid as it stands: it has a comma too many, lacks the required `taskId` and holds no
//! pictures. Each is printed first; then the completed request is sent.

use std::error::Error;

use imgopen_client::types::{Answer, SubmitTrainingRequest, SubmitTrainingResponse, read};
use imgopen_client::{Client, Credentials};
use imgopen_server::{Caller, Failure, ImgOpen, router};
use imgopen_tests::wire::{Tap, serve, url};

const PUBLISHED: &str = include_str!("../../spec/examples/submit_training/request.as-published.txt");

/// A server with one operation.
struct Trainer;

impl ImgOpen for Trainer {
    async fn submit_training(
        &self,
        caller: Caller,
        request: SubmitTrainingRequest,
    ) -> Result<SubmitTrainingResponse, Failure> {
        let (pictures, epochs) = (request.file_url_list.len(), request.max_epochs_or_default());
        println!(
            "\nserver: {} starts {} with {pictures} pictures, {epochs} epochs",
            caller.access_key_id(),
            request.task_id
        );
        Ok(SubmitTrainingResponse::success(()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("the text as published:\n  {}", faults(PUBLISHED));
    let comma = PUBLISHED.rfind(',').ok_or("the published text has a comma too many")?;
    let json = format!("{}{}", &PUBLISHED[..comma], &PUBLISHED[comma + 1..]);
    println!("without its last comma:\n  {}", faults(&json).replace("; `", "\n  `"));

    let pictures: Vec<_> = (1..=10).map(|n| format!("https://example.com/train/{n:02}.png")).collect();
    let completed = json.replacen('{', "{\n    \"taskId\": \"train-0001\",", 1).replacen(
        "[]",
        &serde_json::to_string(&pictures)?,
        1,
    );
    let request: SubmitTrainingRequest = read(completed.as_bytes())?;

    let tap = Tap::before(serve(router(Trainer)).await).await?;
    let client = Client::new(&url(tap.address), Credentials::new("demo-id", "demo-secret"))?;
    let answer = client.submit_training().body(request).send().await?;
    println!("client: code {}, {}", answer.code, answer.msg);

    for traffic in tap.traffic() {
        println!("\n--- client to server ---\n{}", traffic.sent);
        println!("\n--- server to client ---\n{}", traffic.received);
    }
    Ok(())
}

/// What a reader says of a text.
fn faults(json: &str) -> String {
    match read::<SubmitTrainingRequest>(json.as_bytes()) {
        Ok(_) => "it fits".to_owned(),
        Err(error) => error.to_string(),
    }
}
