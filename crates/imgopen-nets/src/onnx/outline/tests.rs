use proptest::prelude::*;

use super::*;
use crate::onnx::builder::{Builder, Setting, Weights};
use crate::onnx::wire::Message;

const MOST: u64 = 1024 * 1024;

/// How many bytes the version of the operators takes, with which every file ends.
const END: usize = 6;

fn convolution() -> Vec<u8> {
    let mut builder = Builder::new(1024, ["x".to_owned(), "y".to_owned()]);
    let height = Dimension::Named("height".to_owned());
    builder.input("x", &[Dimension::Fixed(1), Dimension::Fixed(2), height, Dimension::Unknown]);
    // 1 and -2.
    let weights = builder.weights(Weights::F16, &[1, 2, 1, 1], &[0x00, 0x3c, 0x00, 0xc0]);
    builder.node_as("Conv", &["x", &weights], "y", &[("kernel_shape", Setting::Ints(&[1, 1]))]);
    builder.output("y", &[Dimension::Fixed(1), Dimension::Fixed(1), Dimension::Unknown, Dimension::Unknown]);
    builder.finish()
}

/// A model with that graph.
fn model(graph: &Message) -> Vec<u8> {
    Message::default().int(model::IR_VERSION, 8).message(model::GRAPH, graph).into_bytes()
}

/// A model with that tensor.
fn with_tensor(tensor: Message) -> Vec<u8> {
    model(&Message::default().message(graph::INITIALIZER, &tensor.text(tensor::NAME, "w")))
}

fn problem(file: &[u8]) -> String {
    read(file, MOST).unwrap_err()
}

#[test]
fn a_model_is_read_with_its_ports_operators_and_constants() {
    let outline = read(&convolution(), MOST).unwrap();
    let height = Dimension::Named("height".to_owned());
    let shape = vec![Dimension::Fixed(1), Dimension::Fixed(2), height, Dimension::Unknown];
    assert_eq!(outline.inputs, [Port { name: "x".to_owned(), element: ElementType::F32, shape: Some(shape) }]);
    assert_eq!(outline.outputs.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["y"]);
    assert_eq!(outline.nodes.iter().map(|node| node.operator.as_str()).collect::<Vec<_>>(), ["Cast", "Conv"]);
    assert_eq!(outline.nodes[1].ints("kernel_shape"), Some(&[1, 1][..]));
    assert_eq!(outline.nodes[0].int("to"), Some(element::FLOAT));
    let constants: Vec<_> = outline.constants.values().collect();
    assert_eq!(constants, [&Constant { shape: vec![1, 2, 1, 1], numbers: None }]);
    // Two elements, widened from two bytes to four.
    assert_eq!(outline.weights, 8);
}

#[test]
fn short_constants_keep_their_numbers() {
    let mut builder = Builder::new(1024, ["y".to_owned()]);
    let (ints, floats) = (builder.ints(&[3, -1]), builder.floats(&[0.5]));
    builder.node_as("Add", &[&ints, &floats], "y", &[]);
    builder.output("y", &[]);
    let outline = read(&builder.finish(), MOST).unwrap();
    assert_eq!(outline.constants[&ints].numbers, Some(vec![3.0, -1.0]));
    assert_eq!(outline.constants[&floats], Constant { shape: vec![1], numbers: Some(vec![0.5]) });
}

#[test]
fn the_forms_of_a_constant_operator_are_constants() {
    let constant = |name: &str, attribute: Message| {
        let message = Message::default().text(node::OP_TYPE, "Constant").text(node::OUTPUT, name);
        message.message(node::ATTRIBUTE, &attribute)
    };
    let attribute = |name: &str| Message::default().text(attribute::NAME, name);
    let tensor = Message::default().int(tensor::DIMS, 1).int(tensor::DATA_TYPE, element::INT32);
    let tensor = tensor.bytes(tensor::RAW_DATA, &7_i32.to_le_bytes());
    let output = Message::default().text(value::NAME, "ints");
    let graph = Message::default()
        .message(
            graph::NODE,
            &constant("ints", attribute("value_ints").int(attribute::INTS, 2).int(attribute::INTS, 3)),
        )
        .message(graph::NODE, &constant("float", attribute("value_float").float(attribute::F, 0.25)))
        .message(graph::NODE, &constant("tensor", attribute("value").message(attribute::T, &tensor)))
        .message(graph::OUTPUT, &output);
    let constants = read(&model(&graph), MOST).unwrap().constants;
    let of = |shape: &[u64], numbers: &[f64]| Constant { shape: shape.to_vec(), numbers: Some(numbers.to_vec()) };
    assert_eq!(constants["ints"], of(&[2], &[2.0, 3.0]));
    assert_eq!(constants["float"], of(&[], &[0.25]));
    assert_eq!(constants["tensor"], of(&[1], &[7.0]));
}

#[test]
fn tensors_that_are_not_what_they_declare_are_refused() {
    let float = || Message::default().int(tensor::DATA_TYPE, element::FLOAT);
    // A key and its value, as `StringStringEntryProto` has them.
    let file = Message::default().text(1, "location").text(2, "weights.bin");
    for (tensor, expected) in [
        (float().int(tensor::DIMS, 3).bytes(tensor::RAW_DATA, &[0; 8]), "of 3 has 8 bytes in place of 12"),
        (float().int(tensor::DIMS, 3), "of 3 has 0 bytes in place of 12"),
        (float().int(tensor::DIMS, 1 << 40), "takes more than the limit of 1048576 bytes"),
        (float().int(tensor::DIMS, 1 << 62).int(tensor::DIMS, 1 << 62), "takes more than the limit of 1048576 bytes"),
        (float().int(tensor::DIMS, -1), "has a negative dimension"),
        (float().int(tensor::DATA_LOCATION, 1), "is in another file"),
        // Though the location says that it is here, and its bytes are.
        (float().bytes(tensor::RAW_DATA, &[0; 4]).message(tensor::EXTERNAL_DATA, &file), "is in another file"),
        (Message::default().int(tensor::DATA_TYPE, 8), "has elements of type 8"),
        ((0..9).fold(float(), |tensor, _| tensor.int(tensor::DIMS, 1)), "has more than 8 dimensions"),
    ] {
        let problem = problem(&with_tensor(tensor));
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn graphs_that_cannot_be_run_are_refused() {
    let port = |name: &str| Message::default().text(value::NAME, name);
    let output = || Message::default().message(graph::OUTPUT, &port("y"));
    let sequence = Message::default().message(kind::SEQUENCE, &Message::default());
    let sequence = port("x").message(value::TYPE, &sequence);
    for (graph, expected) in [
        (Message::default(), "it has no output"),
        (output().message(graph::OUTPUT, &port("y")), "it has two outputs `y`"),
        (output().message(graph::INPUT, &port("")), "it has an input without a name"),
        (output().message(graph::INPUT, &sequence), "the value `x` is not a tensor"),
        (output().message(graph::VALUE_INFO, &sequence), "the value `x` is not a tensor"),
    ] {
        let problem = problem(&model(&graph));
        assert!(problem.contains(expected), "{problem}");
    }
    let twice = model(&output());
    assert_eq!(problem(&[twice.clone(), twice].concat()), "it has two graphs");
    assert_eq!(problem(b""), "it is not an ONNX model");
}

#[test]
fn graphs_may_not_nest_without_end() {
    let nested = |levels: usize| {
        let output = Message::default().text(value::NAME, "y");
        let inner = (0..levels).fold(Message::default(), |inner, _| {
            let attribute = Message::default().message(attribute::G, &inner);
            Message::default().message(graph::NODE, &Message::default().message(node::ATTRIBUTE, &attribute))
        });
        model(&inner.message(graph::OUTPUT, &output))
    };
    assert!(read(&nested(DEEPEST), MOST).is_ok());
    assert_eq!(problem(&nested(DEEPEST + 1)), "its graphs nest deeper than 8 levels");
}

#[test]
fn operators_stand_in_an_order_in_which_they_can_run() {
    let relu = |from: &str, to: &str| {
        let message = Message::default().text(node::OP_TYPE, "Relu");
        Message::default().message(graph::NODE, &message.text(node::INPUT, from).text(node::OUTPUT, to)).into_bytes()
    };
    let output = Message::default().message(graph::OUTPUT, &Message::default().text(value::NAME, "y")).into_bytes();
    let model = |nodes: &[Vec<u8>]| {
        let graph = [nodes.concat(), output.clone()].concat();
        Message::default().int(model::IR_VERSION, 8).bytes(model::GRAPH, &graph).into_bytes()
    };
    let order = |nodes: &[Vec<u8>]| {
        let nodes = read(&model(nodes), MOST).unwrap().nodes;
        nodes.into_iter().map(|node| node.outputs.concat()).collect::<String>()
    };
    assert_eq!(order(&[relu("x", "a"), relu("a", "b"), relu("b", "y")]), "aby");
    // A converter appends what it puts in front.
    assert_eq!(order(&[relu("b", "y"), relu("x", "a"), relu("a", "b")]), "aby");
    let circle = model(&[relu("y", "a"), relu("a", "y")]);
    assert_eq!(problem(&circle), "`Relu` takes a value that is made from what it makes itself");
    assert_eq!(problem(&model(&[relu("y", "y")])), "`Relu` takes a value that is made from what it makes itself");
    let twice = model(&[relu("x", "y"), relu("x", "y")]);
    assert_eq!(problem(&twice), "the value `y` is made twice");
    let chain: Vec<_> = (0..=LONGEST).map(|step| relu(&step.to_string(), &(step + 1).to_string())).collect();
    assert!(read(&model(&chain[1..]), MOST).is_ok());
    assert_eq!(problem(&model(&chain)), "more than 3000 operators follow one another");
}

#[test]
fn parts_are_counted() {
    let node = Message::default();
    let nodes = vec![node; MOST_PARTS];
    let output = Message::default().text(value::NAME, "y");
    let graph = Message::default().messages(graph::NODE, &nodes).message(graph::OUTPUT, &output);
    assert_eq!(problem(&model(&graph)), "it has more than 262144 parts");
}

#[test]
fn a_truncated_model_is_refused_at_every_length() {
    let file = convolution();
    for length in 0..file.len() - END {
        assert!(read(&file[..length], MOST).is_err(), "{length}");
    }
    assert!(read(&file[..file.len() - END], MOST).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_change_of_a_model_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = convolution();
        for (index, byte) in changes {
            let at = index.index(file.len());
            file[at] = byte;
        }
        let _ = read(&file, MOST);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, MOST);
    }
}

/// An operator, with a graph as its attribute.
fn operator(kind: &str, inner: Option<&Message>) -> Message {
    let node = Message::default().text(node::OUTPUT, "y").text(node::OP_TYPE, kind);
    match inner {
        None => node,
        Some(inner) => {
            let graph = Message::default().message(graph::NODE, inner);
            let body = Message::default().text(attribute::NAME, "body").message(attribute::G, &graph);
            node.message(node::ATTRIBUTE, &body)
        }
    }
}

/// Wherever they are: a loop within a branch is as endless.
#[test]
fn operators_that_repeat_others_are_refused() {
    let file = |node: Message| {
        let output = Message::default().text(value::NAME, "y");
        model(&Message::default().message(graph::NODE, &node).message(graph::OUTPUT, &output))
    };
    let outline = read(&file(operator("If", Some(&operator("Relu", None)))), MOST).unwrap();
    let names = |nodes: &[Node]| nodes.iter().map(|node| node.operator.clone()).collect::<Vec<_>>();
    assert_eq!((names(&outline.nodes), names(&outline.nested)), (vec!["If".to_owned()], vec!["Relu".to_owned()]));
    for kind in ["Loop", "Scan"] {
        let expected = format!("it has the operator `{kind}`, of which a run may never end");
        assert_eq!(problem(&file(operator(kind, None))), expected);
        assert_eq!(problem(&file(operator("If", Some(&operator(kind, None))))), expected);
        // One of that name that is not ONNX's own is the runtime's to refuse.
        assert!(read(&file(operator(kind, None).text(node::DOMAIN, "com.example")), MOST).is_ok());
    }
}
