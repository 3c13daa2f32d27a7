//! Works on jobs one after the other, and prints what the recorded logs have.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::metadata::Used;
use super::{SdFault, Shared};
use crate::fake::picture::draw;

pub async fn worker(shared: Arc<Shared>) {
    loop {
        let next = {
            let mut state = shared.state();
            let id = state.queue.pop_front();
            id.and_then(|id| {
                let job = state.jobs.get_mut(&id)?;
                job.status = "generating";
                Some((id, job.used.clone()))
            })
        };
        let Some((id, used)) = next else {
            shared.own.submitted.notified().await;
            continue;
        };
        let made = generate(&shared, &used).await;
        if let Some(job) = shared.state().jobs.get_mut(&id) {
            match made {
                Ok(images) => (job.images, job.status) = (images, "completed"),
                Err(message) => (job.error, job.status) = (Some(message), "failed"),
            }
        }
    }
}

/// Makes the pictures of a job.
async fn generate(shared: &Shared, used: &Used) -> Result<Vec<String>, &'static str> {
    let print = |line: &str| (shared.own.print)(&format!("[INFO ] {line}\n"));
    let (width, height) = used.size;
    print(&format!("stable-diffusion.cpp:3367 - generate_image {width}x{height}"));
    for lora in &used.loras {
        let path = lora["path"].as_str().unwrap();
        match path {
            "misfit.safetensors" => (shared.own.print)(
                "[WARN ] lora.hpp:827 - Only (3 / 9) LoRA tensors have been applied, lora_file_path = \
                 models/loras/misfit.safetensors\n",
            ),
            "broken.safetensors" => (shared.own.print)(
                "[WARN ] stable-diffusion.cpp:1019 - load lora tensors from models/loras/broken.safetensors failed\n",
            ),
            "silent.safetensors" => {}
            path => print(&format!(
                "lora.hpp:830  - (792 / 792) LoRA tensors have been applied, lora_file_path = models/loras/{path}"
            )),
        }
    }
    let strength = used.body["strength"].as_f64().filter(|_| used.body["init_image"].is_string()).unwrap_or(1.0);
    let first = (used.steps as f64 * strength) as i64;
    for picture in 0..used.count {
        let (number, seed) = (picture + 1, used.seed + picture);
        print(&format!("stable-diffusion.cpp:3401 - generating image: {number}/{} - seed {seed}", used.count));
        sample(shared, first).await;
        print("stable-diffusion.cpp:3432 - sampling completed, taking 5.88s");
    }
    if let Some(hires) = &used.hires {
        let steps = hires["steps"].as_i64().unwrap_or(0);
        print(&format!(
            "stable-diffusion.cpp:3496 - hires fix: {steps} steps, denoising_strength=0.50, sigma_sched_size=3"
        ));
        for picture in 1..=used.count {
            sample(shared, steps).await;
            print(&format!(
                "stable-diffusion.cpp:3557 - hires sampling {picture}/{} completed, taking 1.00s",
                used.count
            ));
        }
        print("stable-diffusion.cpp:3578 - hires fix completed, taking 1.00s");
    }
    print("stable-diffusion.cpp:3591 - generate_image completed in 8.20s");
    let behaviour = shared.behaviour();
    if let SdFault::Fails(message) = behaviour.fault {
        return Err(message);
    }
    let size = if let SdFault::Makes(width, height) = behaviour.fault { (width, height) } else { used.size };
    let mut images: Vec<String> = (used.seed..used.seed + used.count)
        .map(|seed| {
            let mut text = used.text(seed, &behaviour);
            if let SdFault::Writes(wrong, right) = behaviour.fault {
                text = text.replace(right, wrong);
            }
            // As UTF-8 where PNG has Latin-1, as the server does.
            let raw: String = text.bytes().map(char::from).collect();
            BASE64_STANDARD.encode(draw(size, &raw))
        })
        .collect();
    if behaviour.fault == SdFault::Loses {
        images.pop();
    }
    Ok(images)
}

/// Makes steps, and draws the bar.
async fn sample(shared: &Shared, steps: i64) {
    for step in 1..=steps {
        tokio::time::sleep(shared.behaviour().step).await;
        (shared.own.print)(&format!("\r  |=====>     | {step}/{steps} - 1.15it/s\u{1b}[K"));
        if step == steps {
            (shared.own.print)("\n");
        }
    }
}
