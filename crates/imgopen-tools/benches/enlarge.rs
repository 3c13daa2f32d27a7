//! Measures enlarging, from file to file and resampling alone: `cargo bench -p imgopen-tools --bench enlarge`.
#![allow(missing_docs)]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use imgopen_engine::{Format, Monitor, PictureLimits};
use imgopen_tools::lanczos;

use support::{SCALE, SIDE, input, photo};

fn files(criterion: &mut Criterion) {
    let limits = PictureLimits::default();
    let monitor = Monitor::new().0;
    let mut group = criterion.benchmark_group("file to file, 512 to 2048 pixels a side");
    group.sample_size(20);
    for format in Format::ALL {
        let input = input(format).expect("the picture is written");
        group.bench_function(format.name(), |bencher| {
            bencher.iter(|| lanczos::enlarge(&input, SCALE, &limits, &monitor).expect("the picture is enlarged"));
        });
    }
    group.finish();
}

fn resampling(criterion: &mut Criterion) {
    let side = SIDE * SCALE as u32;
    let mut group = criterion.benchmark_group("resampling alone, 512 to 2048 pixels a side");
    group.sample_size(20);
    for (name, image) in
        [("RGB", photo()), ("RGBA", photo().to_rgba8().into()), ("RGB, 16 bit", photo().to_rgb16().into())]
    {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || image.clone(),
                |image| lanczos::resize(image, side, side).expect("the picture is resampled"),
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, files, resampling);
criterion_main!(benches);
