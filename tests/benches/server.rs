//! The generated router with all its rules, against a hand-written one on plain axum and serde that has none.
//!
//! Both are served on one thread, over sockets that stay open, and get the same bytes from the same connections. The ratio
//! is that of their requests per second; at least 0.9 is the target.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use imgopen_server::{Caller, Failure, ImgOpen, router, types::*};
use imgopen_tests::hand;
use imgopen_tests::load::{Call, Load, calls, runtime, serve};
use imgopen_tests::ratio::Ratio;
use tokio::runtime::Runtime;

const CONNECTIONS: usize = 8;

/// Answers every call of the benches in the same way, without any work.
struct Service {
    training: SubmitTrainingResponse,
    text_to_image: TextToImageResponse,
    query_task: QueryTaskResponse,
}

impl ImgOpen for Service {
    async fn submit_training(
        &self,
        caller: Caller,
        request: SubmitTrainingRequest,
    ) -> Result<SubmitTrainingResponse, Failure> {
        black_box((caller, request));
        Ok(self.training.clone())
    }

    async fn text_to_image(&self, caller: Caller, request: TextToImageRequest) -> Result<TextToImageResponse, Failure> {
        black_box((caller, request));
        Ok(self.text_to_image.clone())
    }

    async fn query_task(&self, caller: Caller, request: QueryTaskRequest) -> Result<QueryTaskResponse, Failure> {
        black_box((caller, request));
        Ok(self.query_task.clone())
    }
}

fn generated([training, text_to_image, query_task]: &[Call; 3]) -> Service {
    Service {
        training: serde_json::from_value(training.answer.clone()).expect("the example fits"),
        text_to_image: serde_json::from_value(text_to_image.answer.clone()).expect("the example fits"),
        query_task: serde_json::from_value(query_task.answer.clone()).expect("the example fits"),
    }
}

fn by_hand([training, text_to_image, query_task]: &[Call; 3]) -> hand::Answers {
    hand::Answers {
        training: serde_json::from_value(training.answer.clone()).expect("the example fits"),
        text_to_image: serde_json::from_value(text_to_image.answer.clone()).expect("the example fits"),
        query_task: serde_json::from_value(query_task.answer.clone()).expect("the example fits"),
    }
}

fn server(criterion: &mut Criterion) {
    let runtime = runtime();
    let calls = calls();
    let addresses = serve([router(generated(&calls)), hand::router(by_hand(&calls))]);
    for call in &calls {
        let mut loads = addresses.map(|address| {
            runtime.block_on(Load::open(address, call, CONNECTIONS)).expect("the server answers with a success")
        });
        assert_eq!(loads[0].body(), loads[1].body(), "both give the same answer");
        ratio(&runtime, call, &mut loads);
        throughput(criterion, &runtime, call, &mut loads);
    }
}

fn ratio(runtime: &Runtime, call: &Call, [generated, by_hand]: &mut [Load; 2]) {
    // Time by hand over time of the generated is requests per second the other way round.
    let ratio = Ratio::of(201, || runtime.block_on(by_hand.run(50)), || runtime.block_on(generated.run(50)));
    println!("\n{}: requests per second, generated to hand-written: {ratio} (target: at least 0.9)", call.operation.id);
}

fn throughput(criterion: &mut Criterion, runtime: &Runtime, call: &Call, loads: &mut [Load; 2]) {
    let mut group = criterion.benchmark_group(format!("server/{}", call.operation.id));
    group.throughput(Throughput::Elements(CONNECTIONS as u64));
    for (name, load) in ["generated", "hand-written"].into_iter().zip(loads) {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let start = Instant::now();
                runtime.block_on(load.run(times as usize));
                start.elapsed()
            });
        });
    }
}

criterion_group!(benches, server);
criterion_main!(benches);
