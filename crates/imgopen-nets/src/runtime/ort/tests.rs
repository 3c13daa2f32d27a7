use super::*;
use crate::model::Limits;
use crate::net::Net;
use crate::onnx::builder::{Builder, Setting, Weights};
use crate::tensor::Dimension;

fn settings(library: PathBuf) -> OrtSettings {
    OrtSettings { library, providers: Vec::new(), threads: NonZeroUsize::MIN }
}

#[test]
fn a_library_that_is_not_there_is_an_error() {
    let error = Ort::open(settings(PathBuf::from("/nowhere/libonnxruntime.so"))).unwrap_err().to_string();
    // Unless the other test has loaded one.
    assert!(error.starts_with("ONNX Runtime cannot be used: "), "{error}");
}

/// With the library that `IMGOPEN_TEST_ONNXRUNTIME` names.
#[test]
fn a_net_runs_in_onnx_runtime() {
    let Some(library) = std::env::var_os("IMGOPEN_TEST_ONNXRUNTIME").map(PathBuf::from) else {
        eprintln!("IMGOPEN_TEST_ONNXRUNTIME is not set: nothing is compared");
        return;
    };
    let runtime = Ort::open(settings(library.clone())).unwrap();
    let mut builder = Builder::new(1024, ["x".to_owned(), "y".to_owned()]);
    let side = || Dimension::Named("side".to_owned());
    builder.input("x", &[Dimension::Fixed(1), Dimension::Fixed(1), side(), side()]);
    // 1 and -2, of half precision.
    let weights = builder.weights(Weights::F16, &[2, 1, 1, 1], &[0x00, 0x3c, 0x00, 0xc0]);
    builder.node_as("Conv", &["x", &weights], "y", &[("kernel_shape", Setting::Ints(&[1, 1]))]);
    builder.output("y", &[const { Dimension::Unknown }; 4]);
    let model = builder.finish();
    let net = Net::from_bytes("test.onnx", model, &runtime, &Limits::default()).unwrap();
    let input = Tensor::new([1, 1, 2, 2], vec![0.5_f32, 1.0, -3.0, 4.0]).unwrap();
    let [output] = net.run(&[("x", &input)], ["y"]).unwrap();
    let expected = vec![0.5_f32, 1.0, -3.0, 4.0, -1.0, -2.0, 6.0, -8.0];
    assert_eq!(output, Tensor::new([1, 2, 2, 2], expected).unwrap());
    // The same library again is the same one.
    assert!(Ort::open(settings(library.clone())).is_ok());
    assert!(Ort::open(OrtSettings { providers: vec![Provider::Cpu], ..settings(library.clone()) }).is_ok());
    // Apple's is nowhere else, and DirectML is on Windows only.
    let foreign = if cfg!(target_vendor = "apple") { Provider::DirectMl(0) } else { Provider::CoreMl };
    let error = Ort::open(OrtSettings { providers: vec![foreign], ..settings(library) }).unwrap_err().to_string();
    let expected = "ONNX Runtime cannot be used: a provider of the settings cannot be used: ";
    assert!(error.starts_with(expected), "{error}");
    let error = Net::from_bytes("test.onnx", net_without_operator(), &runtime, &Limits::default()).unwrap_err();
    assert!(matches!(error, NetError::File { .. }), "{error}");
}

fn net_without_operator() -> Vec<u8> {
    let mut builder = Builder::new(0, ["y".to_owned()]);
    let number = builder.number(1.0);
    builder.node_as("Telepathy", &[&number], "y", &[]);
    builder.output("y", &[]);
    builder.finish()
}
