use super::*;
use crate::onnx::builder::{Builder, Setting, Weights};
use crate::onnx::outline;

const MOST: u64 = 1024 * 1024;

fn builder(sides: &[usize]) -> Builder {
    let mut builder = Builder::new(1024 * 1024, ["x".to_owned(), "y".to_owned()]);
    builder.input("x", &sides.iter().copied().map(Dimension::Fixed).collect::<Vec<_>>());
    builder
}

fn weights(builder: &mut Builder, shape: &[usize]) -> String {
    builder.weights(Weights::F32, shape, &vec![0; 4 * shape.iter().product::<usize>()])
}

/// The outline of a net whose result is that value.
fn finish(mut builder: Builder, value: &str) -> Outline {
    builder.node_as("Identity", &[value], "y", &[]);
    builder.output("y", &[]);
    outline::read(&builder.finish(), 1024 * 1024).unwrap()
}

#[test]
fn each_operator_has_the_shape_that_onnx_gives_it() {
    let mut net = builder(&[1, 3, 8, 10]);
    let kernel = weights(&mut net, &[4, 3, 3, 3]);
    let pads = Setting::Ints(&[1, 1, 1, 1]);
    let convolved = net.node("Conv", &["x", &kernel], &[("strides", Setting::Ints(&[2, 2])), ("pads", pads)]);
    let kernel = weights(&mut net, &[4, 2, 2, 2]);
    let transposed = net.node("ConvTranspose", &[&convolved, &kernel], &[("strides", Setting::Ints(&[2, 2]))]);
    let window = [("kernel_shape", Setting::Ints(&[2, 2])), ("strides", Setting::Ints(&[2, 2]))];
    let pooled = net.node("MaxPool", &[&convolved], &window);
    let scales = net.floats(&[1.0, 1.0, 2.0, 3.0]);
    let scaled = net.node("Resize", &[&pooled, "", &scales], &[]);
    let sizes = net.ints(&[1, 4, 5, 7]);
    let sized = net.node("Resize", &[&pooled, "", "", &sizes], &[]);
    let shuffled = net.node("DepthToSpace", &[&scaled], &[("blocksize", Setting::Int(2))]);
    let pads = net.ints(&[0, 0, 1, 0, 0, 0, 1, 2]);
    let padded = net.node("Pad", &[&shuffled, &pads], &[]);
    let turned = net.node("Transpose", &[&padded], &[("perm", Setting::Ints(&[0, 2, 3, 1]))]);
    let flat = net.ints(&[0, -1]);
    let flattened = net.node("Reshape", &[&turned, &flat], &[]);
    let joined = net.node("Concat", &[&flattened, &flattened], &[("axis", Setting::Int(-1))]);
    let mean = net.node("ReduceMean", &[&joined], &[("axes", Setting::Ints(&[1])), ("keepdims", Setting::Int(0))]);
    let row = weights(&mut net, &[3, 1, 1]);
    let added = net.node("Add", &["x", &row], &[]);
    let outline = finish(net, &mean);
    let shapes = infer(&outline, &[], MOST).unwrap();
    let of = |name: &str| shapes[name].iter().map(|side| side.unwrap()).collect::<Vec<_>>();
    assert_eq!(of(&convolved), [1, 4, 4, 5]);
    assert_eq!(of(&transposed), [1, 2, 8, 10]);
    assert_eq!(of(&pooled), [1, 4, 2, 2]);
    assert_eq!(of(&scaled), [1, 4, 4, 6]);
    assert_eq!(of(&sized), [1, 4, 5, 7]);
    assert_eq!(of(&shuffled), [1, 1, 8, 12]);
    assert_eq!(of(&padded), [1, 1, 10, 14]);
    assert_eq!(of(&turned), [1, 10, 14, 1]);
    assert_eq!(of(&flattened), [1, 140]);
    assert_eq!(of(&joined), [1, 280]);
    assert_eq!(of(&mean), [1]);
    assert_eq!(of(&added), [1, 3, 8, 10]);
    assert_eq!(of("y"), [1]);
}

#[test]
fn memory_is_that_of_the_values_that_are_needed_at_once() {
    let mut net = builder(&[1, 1, 10, 10]);
    let first = net.node("Relu", &["x"], &[]);
    let second = net.node("Sigmoid", &[&first], &[]);
    let outline = finish(net, &second);
    // Two values of 100 elements at each moment.
    assert_eq!(working(&outline, &HashSet::new(), &[], MOST), Ok(Working { bytes: 2 * 800, is_whole: true }));
    let mut net = builder(&[1, 1, 10, 10]);
    let first = net.node("Relu", &["x"], &[]);
    let sum = net.node("Add", &[&first, "x"], &[]);
    let outline = finish(net, &sum);
    // Here the input stays until it is added.
    assert_eq!(working(&outline, &HashSet::new(), &[], MOST), Ok(Working { bytes: 2 * 1200, is_whole: true }));
}

#[test]
fn a_size_that_is_not_known_leaves_the_memory_open() {
    let mut net = builder(&[1, 1, 10, 10]);
    let mystery = net.node("NonZero", &["x"], &[]);
    let outline = finish(net, &mystery);
    assert_eq!(working(&outline, &HashSet::new(), &[], MOST), Ok(Working { bytes: 2 * 400, is_whole: false }));
    let mut net = Builder::new(0, ["x".to_owned(), "y".to_owned()]);
    let side = Dimension::Named("side".to_owned());
    net.input("x", &[Dimension::Fixed(1), Dimension::Fixed(3), side.clone(), side]);
    let outline = finish(net, "x");
    assert!(!working(&outline, &HashSet::new(), &[], MOST).unwrap().is_whole);
    let given: (&str, &[usize]) = ("x", &[1, 3, 20, 10]);
    assert_eq!(working(&outline, &HashSet::new(), &[given], MOST), Ok(Working { bytes: 2 * 2 * 2400, is_whole: true }));
}

#[test]
fn a_result_beyond_the_limit_is_an_error_that_names_its_operator() {
    let mut net = builder(&[1, 1, 10, 10]);
    let scales = net.floats(&[1.0, 1.0, 1e9, 1e9]);
    let large = net.node("Resize", &["x", "", &scales], &[]);
    let outline = finish(net, &large);
    let problem = working(&outline, &HashSet::new(), &[], MOST).unwrap_err();
    assert_eq!(problem, format!("the result `{large}` of `Resize` takes more than the limit of 1048576 bytes"));
    let mut net = builder(&[1, 1, 10, 10]);
    let shape = net.ints(&[1 << 40]);
    let large = net.node("ConstantOfShape", &[&shape], &[]);
    let outline = finish(net, &large);
    assert!(working(&outline, &HashSet::new(), &[], MOST).unwrap_err().contains("`ConstantOfShape` takes more than"));
    let outline = finish(builder(&[1, 1, 1000, 1000]), "x");
    assert!(working(&outline, &HashSet::new(), &[], MOST).unwrap_err().starts_with("the input `x` takes more than"));
}
