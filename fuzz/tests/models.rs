//! Every seed and every finding through the readers of model files.

use imgopen_fuzz::{models, ncnn_files, seeds};
use imgopen_nets::convert::{efficientnet, ncnn, tflite};
use imgopen_nets::{Limits, ModelFile};

/// One test, because memory is measured for the whole program.
#[test]
fn the_readers_of_model_files_pass_with_every_seed_and_finding() {
    for seed in seeds::models().iter().chain(&seeds::found("models")) {
        println!("{}", seed.name);
        models(&seed.bytes);
        // A few changes of each, as the fuzzer makes more of them.
        for at in 0..seed.bytes.len().min(2_000) {
            models(&seed.bytes[..at]);
            let mut changed = seed.bytes.clone();
            changed[at] ^= 0xff;
            models(&changed);
        }
    }
    seeds_are_read();
}

/// Seeds that are refused at their first bytes would reach nothing.
fn seeds_are_read() {
    let seed = |name: &str| seeds::models().into_iter().find(|seed| seed.name == name).unwrap().bytes;
    assert!(tflite::to_onnx(&seed("tflite")).is_ok());
    let files = seed("ncnn");
    let (param, bin) = ncnn_files(&files);
    assert!(ncnn::to_onnx(&param, bin).is_ok());
    let next = efficientnet::to_onnx(&seed("torch")).unwrap_err().to_string();
    assert!(next.contains("it has no tensor `_bn0.weight`"), "{next}");
    let model = ModelFile::from_bytes("seed.onnx", &seed("onnx"), &Limits::default()).unwrap();
    assert!(model.working(&[]).unwrap().is_some());
}
