//! The seeds of fuzzing: the document's examples, requests that fail in known ways, and the contract's words; small model files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use imgopen_nets::Dimension;
use imgopen_nets::onnx::{Builder, Setting};
use imgopen_tests::calls::filled_path;
use imgopen_tests::document::{request_examples, response_examples};
use imgopen_types::schema::{Object, Shape};
use imgopen_types::{Credentials, Operation, operations};

/// One input.
#[derive(Debug, Clone)]
pub struct Seed {
    /// A name for files and messages.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

impl Seed {
    fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

/// Inputs of the target `readers`: every example of the document, and the shapes that take most memory.
pub fn readers() -> Vec<Seed> {
    let mut seeds = costly(100);
    for operation in operations::ALL {
        seeds.extend(requests(operation));
        let answers = response_examples(operation.id).into_iter();
        seeds.extend(
            answers.map(|example| {
                Seed::new(format!("{}-answer-{}", operation.id, example.name), example.value.to_string())
            }),
        );
    }
    seeds
}

/// The body limit of the fuzzed router, in bytes; small, so that larger bodies are tried as well.
pub const BODY_LIMIT: usize = 16 * 1024;

/// Inputs of the target `router`: every example as a call, and calls that are refused.
pub fn router() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for operation in operations::ALL {
        let calls = requests(operation).into_iter();
        seeds.extend(calls.map(|seed| Seed::new(seed.name, call(&filled_path(operation), &seed.bytes))));
    }
    seeds.extend(refused());
    seeds
}

/// Bodies that hold as much structure as possible in that many members or items.
pub fn costly(count: usize) -> Vec<Seed> {
    let list = |item: &str| format!("[{}]", vec![item; count].join(","));
    let members = |value: &str| {
        let members: Vec<_> = (0..count).map(|index| format!("\"{index}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let deep = vec![format!("{}0{}", "[".repeat(100), "]".repeat(100)); count / 10].join(",");
    let urls: Vec<_> = (0..count).map(|index| format!("\"http://{index}\"")).collect();
    vec![
        Seed::new("numbers", list("0")),
        Seed::new("long-numbers", list("1e300")),
        Seed::new("lists", list("[0]")),
        Seed::new("deep-lists", format!("[{deep}]")),
        Seed::new("unique-deep-lists", format!("{{\"fileUrlList\":[{deep}]}}")),
        Seed::new("objects", list("{\"\":0}")),
        Seed::new("members", members("0")),
        Seed::new("members-with-objects", members("{\"\":0}")),
        Seed::new("same-member", format!("{{{}}}", vec!["\"seed\":0"; count].join(","))),
        Seed::new("urls", format!("{{\"taskId\":\"1\",\"fileUrlList\":[{}]}}", urls.join(","))),
        Seed::new("empty-urls", format!("{{\"taskId\":\"1\",\"fileUrlList\":{}}}", list("\"\""))),
        Seed::new("kept-members", format!("{{\"alwayson_scripts\":{}}}", members("{\"\":0}"))),
        Seed::new("nested", format!("{}{}", "[".repeat(count), "]".repeat(count))),
        Seed::new("open", "{\"\":[".repeat(count)),
        Seed::new("text", format!("\"{}\"", "\\u0000".repeat(count))),
    ]
}

/// Inputs of the target `models`: a small file of each format that is whole, but for that of PyTorch, whose first tensor alone is
/// there.
pub fn models() -> Vec<Seed> {
    vec![
        Seed::new("tflite", &include_bytes!("../seeds/convolution.tflite")[..]),
        Seed::new("ncnn", ncnn()),
        Seed::new("torch", torch()),
        Seed::new("onnx", onnx()),
    ]
}

/// The text that lists the layers, a zero, and the weights.
fn ncnn() -> Vec<u8> {
    let param = "7767517\n5 6\nInput in 0 1 data\nSplit split 1 2 data a b\n\
                 Convolution conv 1 1 b c 0=3 1=3 4=1 6=81 9=2 -23310=1,2.0e-1\n\
                 Eltwise sum 2 1 a c d 0=1 -23301=2,2.0e-1,1.0\nInterp big 1 1 d out 0=3 1=2.0 2=2.0\n";
    // The zero, the tag of single precision, and the weights.
    [param.as_bytes(), &[0; 1 + 4 + 4 * 81][..]].concat()
}

/// Three pickles, and the data of a tensor with the dimensions 32, 3, 3 and 3.
fn torch() -> Vec<u8> {
    const COUNT: u64 = 864;
    let text = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let parts = [
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec(),
        b"\x80\x02}(".to_vec(),
        text("little_endian"),
        b"\x88u.\x80\x02ccollections\nOrderedDict\n)R(".to_vec(),
        text("_conv_stem.weight"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        b"M\x60\x03NtQK\x00(K\x20K\x03K\x03K\x03t(K\x1bK\x09K\x03K\x01t\x89ccollections\nOrderedDict\n)RtRu.".to_vec(),
        b"\x80\x02](".to_vec(),
        text("0"),
        b"e.".to_vec(),
        COUNT.to_le_bytes().to_vec(),
        vec![0; 4 * COUNT as usize],
    ];
    parts.concat()
}

fn onnx() -> Vec<u8> {
    let mut builder = Builder::new(0, ["x", "y"].map(str::to_owned));
    let shape = [1, 2, 4, 4].map(Dimension::Fixed);
    builder.input("x", &shape);
    builder.output("y", &shape);
    let two = builder.number(2.0);
    let sum = builder.node("Add", &["x", &two], &[]);
    builder.node_as("Transpose", &[&sum], "y", &[("perm", Setting::Ints(&[0, 1, 3, 2]))]);
    builder.finish()
}

/// The words of model files as a dictionary of AFL++.
pub fn model_words() -> String {
    let words = [
        "TFL3",
        "7767517",
        "BinaryOp",
        "Concat",
        "Convolution",
        "Eltwise",
        "Interp",
        "PReLU",
        "PixelShuffle",
        "ReLU",
        "Split",
        "-23310=",
        "little_endian",
        "ccollections\nOrderedDict\n",
        "ctorch._utils\n_rebuild_tensor_v2\n",
        "ctorch\nFloatStorage\n",
        "ctorch\nLongStorage\n",
        "Conv",
        "ConvTranspose",
        "Expand",
        "Reshape",
        "Resize",
        "Tile",
        "Transpose",
        "perm",
        "pads",
    ];
    words.into_iter().map(|word| format!("\"{}\"\n", escaped(word))).collect()
}

/// The inputs in `fuzz/found` of that target, each of which has failed before.
///
/// # Panics
///
/// When they exist but cannot be read.
pub fn found(target: &str) -> Vec<Seed> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("found").join(target);
    let Ok(entries) = directory.read_dir() else { return Vec::new() };
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("a directory can be listed");
        Seed::new(entry.file_name().to_string_lossy(), std::fs::read(entry.path()).expect("a file can be read"))
    };
    entries.map(entry).collect()
}

/// The contract's words as a dictionary of AFL++: names, values, paths, headers.
pub fn dictionary() -> String {
    let mut words = BTreeSet::new();
    for operation in operations::ALL {
        words.insert(filled_path(operation));
        collect(operation.request, &mut words);
        collect(operation.response, &mut words);
    }
    words.extend([Credentials::ID_HEADER, Credentials::SECRET_HEADER].map(|name| format!("{name}: ")));
    words.extend(["Content-Type: application/json", "Content-Length: ", "charset=utf-8"].map(str::to_owned));
    words.extend(["POST", "GET", "HEAD", "null", "true", "1e308", "-0.0", "https://", "%2F"].map(str::to_owned));
    // AFL++ refuses longer words.
    words.retain(|word| word.len() <= 100);
    words.into_iter().map(|word| format!("\"{}\"\n", escaped(&word))).collect()
}

fn requests(operation: &Operation) -> Vec<Seed> {
    let examples = request_examples(operation.id).into_iter();
    examples
        .map(|example| Seed::new(format!("{}-request-{}", operation.id, example.name), example.value.to_string()))
        .collect()
}

fn call(path: &str, body: &[u8]) -> Vec<u8> {
    let (id, secret) = (Credentials::ID_HEADER, Credentials::SECRET_HEADER);
    let head = format!("POST {path}\n{id}: a\n{secret}: b\nContent-Type: application/json\n\n");
    [head.as_bytes(), body].concat()
}

fn refused() -> Vec<Seed> {
    let query = filled_path(&operations::QUERY_TASK);
    let tool = filled_path(&operations::QUERY_TOOL_TASK);
    let body = br#"{"businessTaskId": "1"}"#;
    vec![
        Seed::new("document", "GET /openapi.yaml\n\n"),
        Seed::new("document-json", "GET /openapi.json\n\n"),
        Seed::new("document-head", "HEAD /openapi.json\n\n"),
        Seed::new("wrong-method", format!("PUT {query}\n\n")),
        Seed::new("wrong-method-head", format!("HEAD {query}\n\n")),
        Seed::new("no-path", "POST /nowhere?a=b\n\n"),
        Seed::new("no-keys", format!("POST {query}\n\n")),
        Seed::new("connect", "CONNECT example.com:80\n\n"),
        Seed::new("star", "OPTIONS *\n\n"),
        Seed::new("absolute", format!("POST http://example.com{query}\n\n")),
        Seed::new("escaped-tool", call(&tool.replace("hair/change", "hair%2Fchange"), body)),
        Seed::new("unknown-tool", call(&tool.replace("hair/change", "%FF%00"), body)),
        Seed::new("too-large", call(&query, &vec![b' '; BODY_LIMIT + 1])),
        Seed::new("empty", call(&query, b"")),
        Seed::new("not-json", call(&query, b"{")),
    ]
}

fn collect(schema: &Object, words: &mut BTreeSet<String>) {
    for field in schema.fields {
        let names = std::iter::once(field.name).chain(field.aliases.iter().copied());
        words.extend(names.map(|name| format!("\"{name}\":")));
        collect_shape(&field.shape, words);
    }
}

fn collect_shape(shape: &Shape, words: &mut BTreeSet<String>) {
    match shape {
        Shape::Object(schema) => collect(schema, words),
        Shape::List(list) => collect_shape(&list.item, words),
        Shape::TextEnum(set) => words.extend(set.values.iter().map(|choice| format!("\"{}\"", choice.value))),
        _ => {}
    }
}

/// Escapes a word for AFL++: printable ASCII as it is, other bytes in hexadecimal.
fn escaped(word: &str) -> String {
    let plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && byte != b'"' && byte != b'\\';
    word.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("\\x{byte:02X}") }).collect()
}
