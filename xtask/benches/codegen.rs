//! The time from the documents to all generated files, as `cargo xtask codegen --check` takes it.

use std::process::Command;

use criterion::{Criterion, criterion_group, criterion_main};

fn codegen(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codegen");
    group.sample_size(10);
    group.bench_function("check", |bencher| {
        bencher.iter(|| {
            let command = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["codegen", "--check"]).output();
            let output = command.expect("the command runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        });
    });
}

criterion_group!(benches, codegen);
criterion_main!(benches);
