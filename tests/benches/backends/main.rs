//! Back ends behind the service: what it adds to a call, how many instances do together, how much memory large pictures take.
//!
//! The back ends are fakes that wait in place of working, so that only the service and the driver are measured. Everything runs
//! in this process.
#![allow(clippy::unwrap_used)]

#[path = "../support/served.rs"]
mod served;
mod waiting;
/// A fake web UI, which the tests of the drivers check against recordings of a real one.
#[path = "../../../crates/imgopen-backends/tests/suite"]
#[allow(dead_code)]
mod suite {
    pub mod fake;
    pub mod recordings;
}

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use imgopen_backends::{Backend, BackendSettings, Fleet, Kind, Surroundings};
use imgopen_engine::{Devices, Engine, Registry};
use imgopen_tests::load::runtime;
use imgopen_types::operations::{QUERY_TASK, TEXT_TO_IMAGE};
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};
use served::Served;
use suite::recordings;
use waiting::Waiting;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The side and the number of large pictures.
const LARGE: (u32, usize) = (2048, 4);

/// A request for pictures of this size.
fn request((side, count): (u32, usize)) -> Value {
    json!({
        "prompt": "a lighthouse", "negative_prompt": "blurry", "batch_size": count, "width": side, "height": side, "steps": 2,
        "seed": "7", "sampler_index": "Euler", "cfg_scale": 7,
        "alwayson_scripts": {"sd_model_checkpoint": "random-sd15.safetensors", "id_task": "bench"},
    })
}

/// Starts a service over fakes.
fn serve(fakes: &[Waiting]) -> Served {
    let urls: Vec<_> = fakes.iter().map(|fake| fake.url.clone()).collect();
    Served::start(10_000, move || async move {
        let mut backends = Vec::new();
        for (number, url) in (1..).zip(urls) {
            let settings = BackendSettings::new(url.parse().unwrap());
            let settings =
                BackendSettings { kind: Some(Kind::SdWebui), name: Some(format!("fake-{number}")), ..settings };
            backends.push(Backend::discover(settings, &Surroundings::default()).await.unwrap());
        }
        let fleets = Fleet::of(backends, &Devices::default()).unwrap();
        Registry::new(fleets.into_iter().map(|fleet| Arc::new(fleet) as Arc<dyn Engine>).collect())
    })
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Submits a request and returns the id of its task.
async fn submit(served: &Served, http: &reqwest::Client, request: &Value) -> Value {
    let accepted = served.post(http, &TEXT_TO_IMAGE, request).await;
    let id = &accepted["data"]["task_id"];
    assert!(id.is_string(), "{accepted}");
    json!({ "businessTaskId": id })
}

/// Asks without a pause until a task has succeeded.
async fn success(served: &Served, http: &reqwest::Client, question: &Value) {
    loop {
        let answer = served.post(http, &QUERY_TASK, question).await;
        match answer["data"]["status"].as_i64() {
            Some(2) => return,
            Some(4 | 5) | None => panic!("{answer}"),
            Some(_) => {}
        }
    }
}

/// The call alone and through the service, in turns.
fn overhead(_: &mut Criterion) {
    let (runtime, http) = (runtime(), http());
    let fake = Waiting::start(Duration::from_millis(20));
    let served = serve(std::slice::from_ref(&fake));
    let request = request((64, 1));
    let (mut alone, mut added) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        // The fake learns its answers.
        success(&served, &http, &submit(&served, &http, &request).await).await;
        let body = fake.call();
        for _ in 0..200 {
            let start = Instant::now();
            let answer = http.post(format!("{}/sdapi/v1/txt2img", fake.url)).json(&body).send().await.unwrap();
            answer.bytes().await.unwrap();
            let directly = start.elapsed();
            let start = Instant::now();
            success(&served, &http, &submit(&served, &http, &request).await).await;
            alone.push(directly);
            added.push(start.elapsed().saturating_sub(directly));
        }
    });
    let (alone, half, p99) = (at(&mut alone, 0.5), at(&mut added, 0.5), at(&mut added, 0.99));
    println!("\nfrom submit to result over a fake that takes {alone:.1?}:");
    println!("  added in the median {half:.1?} (target: at most 15 ms), {p99:.1?} at p99");
}

fn at(times: &mut [Duration], part: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * part) as usize]
}

/// The same tasks over 1, 2 and 4 fakes, in turns.
fn throughput(_: &mut Criterion) {
    const TASKS: usize = 48;
    const ROUNDS: usize = 5;
    let (runtime, http, request) = (runtime(), http(), request((64, 1)));
    let counts = [1, 2, 4];
    let services = counts.map(|count| {
        let fakes: Vec<_> = (0..count).map(|_| Waiting::start(Duration::from_millis(100))).collect();
        let served = serve(&fakes);
        (fakes, served)
    });
    let batch = async |served: &Served| {
        let start = Instant::now();
        let mut questions = Vec::new();
        for _ in 0..TASKS {
            questions.push(submit(served, &http, &request).await);
        }
        for question in &questions {
            // The last ones end last, so few are asked for twice.
            success(served, &http, question).await;
        }
        start.elapsed().as_secs_f64()
    };
    let mut times = counts.map(|_| Vec::new());
    runtime.block_on(async {
        // One round more, in which the fakes learn their answers.
        for round in 0..=ROUNDS {
            for ((_, served), times) in services.iter().zip(&mut times) {
                let time = batch(served).await;
                if round > 0 {
                    times.push(time);
                }
            }
        }
    });
    println!("\n{TASKS} tasks of 100 ms, as a multiple of the throughput of one instance:");
    for ((count, target), several) in [(2, 1.9), (4, 3.6)].into_iter().zip(&times[1..]) {
        let mut ratios: Vec<_> = times[0].iter().zip(several).map(|(one, several)| one / several).collect();
        ratios.sort_by(f64::total_cmp);
        let (low, middle, high) = (ratios[0], ratios[ROUNDS / 2], ratios[ROUNDS - 1]);
        println!("  {count} instances: {middle:.2}, from {low:.2} to {high:.2} (target: at least {target})");
    }
}

/// The peak of the heap while large pictures pass, beyond what is used before and after.
fn memory(_: &mut Criterion) {
    let (runtime, http, request) = (runtime(), http(), request(LARGE));
    let fake = Waiting::start(Duration::from_millis(20));
    let served = serve(std::slice::from_ref(&fake));
    let decoded = LARGE.1 as f64 * f64::from(LARGE.0).powi(2) * 3.0;
    let mut peaks = Vec::new();
    runtime.block_on(async {
        success(&served, &http, &submit(&served, &http, &request).await).await;
        for _ in 0..5 {
            let before = HEAP.current_usage();
            HEAP.reset_peak_usage();
            success(&served, &http, &submit(&served, &http, &request).await).await;
            peaks.push(HEAP.peak_usage().saturating_sub(before) as f64);
        }
    });
    let peak = peaks.iter().copied().fold(0.0, f64::max);
    println!(
        "\n{} pictures of {}x{}, {:.0} MB decoded, {:.0} MB as an answer: {:.0} MB of memory at the peak of {} runs, {:.2} times \
         the decoded size (target: at most 3)",
        LARGE.1,
        LARGE.0,
        LARGE.0,
        decoded / 1e6,
        fake.answer_size() as f64 / 1e6,
        peak / 1e6,
        peaks.len(),
        peak / decoded
    );
}

criterion_group!(benches, overhead, throughput, memory);
criterion_main!(benches);
