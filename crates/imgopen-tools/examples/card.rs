//! Makes a test card: `cargo run -p imgopen-tools --example card -- WIDTH HEIGHT PROMPT > card.png`.

use std::io::Write;

use imgopen_engine::{Engine, Job, JobRequest, Monitor};
use imgopen_tools::Sandbox;
use imgopen_types::operations;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut side = || arguments.next().map_or(Ok(512), |side| side.parse::<u32>());
    let (width, height) = (side()?, side()?);
    let prompt = arguments.collect::<Vec<_>>().join(" ");
    let body = json!({ "prompt": prompt, "width": width, "height": height });
    let job = Job::new(JobRequest::new("20000051", &operations::TEXT_TO_IMAGE, body), "run");
    let (monitor, _watch) = Monitor::new();
    let output = Sandbox::new().run(job, monitor).await?;
    for picture in output.pictures {
        eprintln!("{picture:?}");
        std::io::stdout().write_all(&picture.bytes)?;
    }
    Ok(())
}
