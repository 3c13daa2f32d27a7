//! Files as PyTorch writes them, and such that lie about themselves or would run code.

use proptest::prelude::*;

use super::*;

/// A tensor to be written, whose elements are in row-major order.
pub struct Written {
    pub name: String,
    pub shape: Vec<usize>,
    pub elements: Vec<f32>,
}

/// The pickle that says what machine has written a file.
const MACHINE: &[u8] = b"\x80\x02}(X\x0d\x00\x00\x00little_endian\x88u.";

/// An empty dictionary of tensors.
const ORDERED: &[u8] = b"ccollections\nOrderedDict\n)R";

fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(int: usize) -> Vec<u8> {
    [&b"J"[..], &i32::try_from(int).unwrap().to_le_bytes()[..]].concat()
}

fn tuple(ints: &[usize]) -> Vec<u8> {
    [b"(".to_vec(), ints.iter().copied().flat_map(int).collect(), b"t".to_vec()].concat()
}

/// An entry of the dictionary.
fn entry(name: &str, storage: &[u8], offset: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let parts = [
        text(name),
        b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec(),
        storage.to_vec(),
        int(offset),
        tuple(shape),
        tuple(strides),
        b"\x89".to_vec(),
        ORDERED.to_vec(),
        b"tR".to_vec(),
    ];
    parts.concat()
}

fn storage(kind: &str, key: &str, count: usize) -> Vec<u8> {
    let kind = format!("ctorch\n{kind}\n").into_bytes();
    [b"(".to_vec(), text("storage"), kind, text(key), text("cpu"), int(count), b"NtQ".to_vec()].concat()
}

fn state(entries: &[Vec<u8>]) -> Vec<u8> {
    [&b"\x80\x02"[..], ORDERED, b"(", &entries.concat(), b"u."].concat()
}

fn keys(keys: &[&str]) -> Vec<u8> {
    [b"\x80\x02](".to_vec(), keys.iter().flat_map(|key| text(key)).collect(), b"e.".to_vec()].concat()
}

fn elements(numbers: &[f32]) -> Vec<u8> {
    let count = (numbers.len() as u64).to_le_bytes();
    count.into_iter().chain(numbers.iter().flat_map(|number| number.to_le_bytes())).collect()
}

fn whole(state: &[u8], keys: &[u8], data: &[u8]) -> Vec<u8> {
    [&HEAD[..], MACHINE, state, keys, data].concat()
}

/// A file with tensors, each in a storage of its own.
pub fn file(tensors: &[Written]) -> Vec<u8> {
    let names: Vec<String> = (0..tensors.len()).map(|index| index.to_string()).collect();
    let entries = tensors.iter().zip(&names).map(|(tensor, key)| {
        let strides = (0..tensor.shape.len()).map(|at| tensor.shape[at + 1..].iter().product::<usize>());
        let strides: Vec<usize> = strides.collect();
        let storage = storage("FloatStorage", key, tensor.elements.len());
        entry(&tensor.name, &storage, 0, &tensor.shape, &strides)
    });
    let entries: Vec<_> = entries.collect();
    let data: Vec<u8> = tensors.iter().flat_map(|tensor| elements(&tensor.elements)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    whole(&state(&entries), &keys(&names), &data)
}

/// A file with one tensor, of which some part is replaced.
fn with(storage: &[u8], offset: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    whole(&state(&[entry("w", storage, offset, shape, strides)]), &keys(&["0"]), &elements(&[1.0, 2.0, 3.0, 4.0]))
}

fn plain() -> Vec<u8> {
    with(&storage("FloatStorage", "0", 4), 0, &[4], &[1])
}

fn problem(file: &[u8]) -> String {
    read(file).unwrap_err().to_string()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes).collect()
}

#[test]
fn tensors_are_read_by_their_strides() {
    let four = storage("FloatStorage", "0", 4);
    for (offset, shape, strides, expected) in [
        (0, &[4][..], &[1][..], &[1.0, 2.0, 3.0, 4.0][..]),
        (0, &[2, 2], &[2, 1], &[1.0, 2.0, 3.0, 4.0]),
        (0, &[2, 2], &[1, 2], &[1.0, 3.0, 2.0, 4.0]),
        (1, &[3], &[1], &[2.0, 3.0, 4.0]),
        (3, &[2], &[0], &[4.0, 4.0]),
        (2, &[], &[], &[3.0]),
        (9, &[0, 7], &[1, 1], &[]),
    ] {
        let file = with(&four, offset, shape, strides);
        let mut state = read(&file).unwrap();
        assert_eq!(floats(&state.take("w", shape).unwrap()), expected, "{offset} {shape:?} {strides:?}");
        state.finish().unwrap();
    }
}

#[test]
fn bits_are_kept() {
    let numbers = [f32::NAN, f32::from_bits(0x7fa0_0001), -0.0, f32::from_bits(1)];
    let state = state(&[entry("w", &storage("FloatStorage", "0", 4), 0, &[4], &[1])]);
    let file = whole(&state, &keys(&["0"]), &elements(&numbers));
    let expected: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    assert_eq!(read(&file).unwrap().take("w", &[4]).unwrap(), expected);
}

#[test]
fn only_counters_may_be_left() {
    let counter = entry("bn.num_batches_tracked", &storage("LongStorage", "n", 1), 0, &[], &[]);
    let data = [elements(&[1.0]), 1_u64.to_le_bytes().to_vec(), 7_i64.to_le_bytes().to_vec()].concat();
    let weights = entry("w", &storage("FloatStorage", "0", 1), 0, &[1], &[1]);
    let file = whole(&state(&[weights, counter]), &keys(&["0", "n"]), &data);
    let error = read(&file).unwrap().finish().unwrap_err();
    assert!(error.to_string().contains("the tensor `w`"), "{error}");
    let mut state = read(&file).unwrap();
    let other = state.take("w", &[1, 1]).unwrap_err().to_string();
    assert!(other.contains("the dimensions [1] in place of [1, 1]"), "{other}");
    let mut state = read(&file).unwrap();
    state.take("w", &[1]).unwrap();
    assert!(state.take("w", &[1]).unwrap_err().to_string().contains("no tensor `w`"));
    let whole = read(&file).unwrap().take("bn.num_batches_tracked", &[]).unwrap_err().to_string();
    assert!(whole.contains("whole numbers"), "{whole}");
    state.finish().unwrap();
}

#[test]
fn every_other_opcode_is_refused() {
    let read_ones = b"\x80.(N\x88\x89JKMX)t\x85\x86\x87]ae}suqrhjcQRb";
    for code in (0..=u8::MAX).filter(|code| !read_ones.contains(code)) {
        let file = whole(&[b'\x80', 2, code], &[0; 64], &[]);
        let problem = problem(&file);
        assert!(problem.contains(&format!("the opcode {code:#04x}")), "{code:#04x}: {problem}");
    }
}

#[test]
fn nothing_that_a_pickle_names_is_called() {
    for (name, shown) in [
        ("os\nsystem", "os.system"),
        ("builtins\neval", "builtins.eval"),
        ("torch\nHalfStorage", "torch.HalfStorage"),
        ("torch._utils\n_rebuild_parameter", "torch._utils._rebuild_parameter"),
        ("collections\nOrderedDict.fromkeys", "collections.OrderedDict.fromkeys"),
    ] {
        let state = format!("\u{80}\u{2}c{name}\nX\u{2}\0\0\0id\u{85}R.");
        let bytes: Vec<u8> = state.chars().map(|character| character as u8).collect();
        let problem = problem(&whole(&bytes, &[], &[]));
        assert!(problem.contains(&format!("it refers to `{shown}`")), "{problem}");
    }
    // What is named may be called only in the ways that make a dictionary or a tensor.
    for (state, expected) in [
        (&b"ccollections\nOrderedDict\n]R."[..], "it calls what is not read"),
        (b"ccollections\nOrderedDict\nK\x01\x85R.", "it calls what is not read"),
        (b"K\x01)R.", "it calls what is not read"),
        (b"ctorch\nFloatStorage\n)R.", "it calls what is not read"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "made in another way"),
        (b"K\x01}b.", "sets attributes"),
        (b"}K\x01b.", "sets attributes"),
        (b"K\x01Q.", "not a whole storage"),
    ] {
        let problem = problem(&whole(&[&b"\x80\x02"[..], state].concat(), &[], &[]));
        assert!(problem.contains(expected), "{state:?}: {problem}");
    }
}

#[test]
fn lies_about_sizes_are_errors() {
    let four = storage("FloatStorage", "0", 4);
    let huge = i32::MAX as usize;
    for (offset, shape, strides) in [
        (0, &[5][..], &[1][..]),
        (1, &[4], &[1]),
        (0, &[2], &[4]),
        (4, &[1], &[1]),
        (0, &[huge], &[0]),
        (0, &[huge, huge, huge, huge], &[huge; 4]),
        (huge, &[1], &[huge]),
        (0, &[2, 2], &[2]),
    ] {
        let problem = problem(&with(&four, offset, shape, strides));
        assert!(problem.contains("more elements than its storage"), "{offset} {shape:?} {strides:?}: {problem}");
    }
    let negative = entry("w", &four, 0, &[4], &[1]);
    let place = negative.windows(5).position(|window| window == b"J\x04\0\0\0").unwrap();
    let after = negative[place + 1..].windows(5).position(|window| window == b"J\x04\0\0\0").unwrap() + place + 1;
    let mut shape = negative.clone();
    shape[after + 1..after + 5].copy_from_slice(&(-1_i32).to_le_bytes());
    assert!(problem(&whole(&state(&[shape]), &[], &[])).contains("a tensor has no dimensions"));
    let mut count = negative;
    count[place + 1..place + 5].copy_from_slice(&(-1_i32).to_le_bytes());
    assert!(problem(&whole(&state(&[count]), &[], &[])).contains("a storage has no number of elements"));
    // A text of four gigabytes.
    assert!(problem(&whole(b"\x80\x02X\xff\xff\xff\xffabc", &[], &[])).contains("it ends too early"));
    let large = with(&storage("FloatStorage", "0", huge), 0, &[4], &[1]);
    assert!(problem(&large).contains("another number of elements"));
}

/// Tensors that refer to one long tuple would fill any memory with copies of it.
#[test]
fn a_tensor_has_few_dimensions() {
    let four = storage("FloatStorage", "0", 4);
    let file = with(&four, 3, &[1; 8], &[1; 8]);
    assert_eq!(floats(&read(&file).unwrap().take("w", &[1; 8]).unwrap()), [4.0]);
    for (shape, strides) in [(&[1; 9][..], &[1; 9][..]), (&[1; 9], &[1; 8]), (&[1; 8], &[1; 9])] {
        let problem = problem(&with(&four, 0, shape, strides));
        assert!(problem.contains("a tensor has no dimensions, or more than 8"), "{shape:?} {strides:?}: {problem}");
    }
}

#[test]
fn storages_and_keys_belong_together() {
    let one = entry("w", &storage("FloatStorage", "0", 1), 0, &[1], &[1]);
    let (state, data) = (state(std::slice::from_ref(&one)), elements(&[1.0]));
    for (keys, data, expected) in [
        (keys(&[]), Vec::new(), "lacks the data of a storage"),
        (keys(&["1"]), data.clone(), "no tensor has the storage `1`"),
        (keys(&["0", "0"]), [data.clone(), data.clone()].concat(), "is there twice"),
        (keys(&["0"]), [&data[..], b"x"].concat(), "1 bytes follow"),
        (keys(&["0"]), elements(&[1.0, 2.0]), "another number of elements"),
        (b"\x80\x02].".to_vec(), Vec::new(), "lacks the data of a storage"),
        (b"\x80\x02].".to_vec(), data.clone(), "12 bytes follow"),
        (b"\x80\x02K\x01.".to_vec(), data.clone(), "does not list its storages"),
        (b"\x80\x02](K\x01e.".to_vec(), data.clone(), "is not a text"),
    ] {
        let problem = problem(&whole(&state, &keys, &data));
        assert!(problem.contains(expected), "{expected}: {problem}");
    }
    let other = entry("v", &storage("FloatStorage", "0", 2), 0, &[1], &[1]);
    let twice = whole(&super::tests::state(&[one.clone(), other]), &[], &[]);
    assert!(problem(&twice).contains("two storages with the key `0`"));
    let same = whole(&super::tests::state(&[one.clone(), one]), &keys(&["0"]), &data);
    assert!(problem(&same).contains("two tensors with the name `w`"));
}

#[test]
fn other_files_are_named() {
    let zip = problem(b"PK\x03\x04");
    assert!(zip.contains("it is a zip archive") && zip.contains("_use_new_zipfile_serialization=False"), "{zip}");
    for file in [&b""[..], b"\x80", b"GIF89a", b"\x89HDF"] {
        assert!(matches!(read(file), Err(ConvertError::Broken { .. })), "{file:?}");
    }
    let big_endian = [&HEAD[..], b"\x80\x02}(X\x0d\x00\x00\x00little_endian\x89u."].concat();
    assert!(problem(&big_endian).contains("little-endian"));
    assert!(problem(&[&HEAD[..], b"\x80\x04}."].concat()).contains("the protocol 4"));
}

#[test]
fn a_pickle_cannot_nest_or_grow_without_end() {
    // Tuples in tuples, and a list that holds itself many times.
    let nested = [b"\x80\x02)".to_vec(), vec![0x85; 150_000], b".".to_vec()].concat();
    assert!(problem(&whole(&nested, &[], &[])).contains("its tensors have no names"));
    let own = [b"\x80\x02]q\x00".to_vec(), b"(h\x00h\x00h\x00e".repeat(30_000), b".".to_vec()].concat();
    assert!(problem(&whole(&own, &[], &[])).contains("its tensors have no names"));
    let cycle = b"\x80\x02}q\x00X\x01\x00\x00\x00wh\x00s.";
    assert!(problem(&whole(cycle, &keys(&[]), &[])).contains("not a tensor with a name"));
    for endless in [&b"}"[..], b"(", b"N", b")\x85", b"]q\x00", b"K\x01"] {
        let state = [b"\x80\x02".to_vec(), endless.repeat(200_001)].concat();
        let problem = problem(&whole(&state, &[], &[]));
        assert!(problem.contains("more than 200000 opcodes"), "{endless:?}: {problem}");
    }
}

#[test]
fn the_stack_and_its_marks_are_guarded() {
    for state in [
        &b"."[..],
        b"R.",
        b"t.",
        b"u.",
        b"e.",
        b"(\x85.",
        b"K\x01(s.",
        b"(.",
        b"h\x05.",
        b"j\xff\xff\xff\xff.",
        b"q\x00.",
    ] {
        let problem = problem(&whole(&[&b"\x80\x02"[..], state].concat(), &[], &[]));
        assert!(problem.contains("not there") || problem.contains("not noted"), "{state:?}: {problem}");
    }
    for state in [&b"K\x01(u."[..], b"K\x01K\x02a.", b"}K\x01(K\x02u."] {
        assert!(matches!(
            read(&whole(&[&b"\x80\x02"[..], state].concat(), &[], &[])),
            Err(ConvertError::Broken { .. })
        ));
    }
}

#[test]
fn a_truncated_file_is_an_error() {
    let file = plain();
    read(&file).unwrap();
    for end in 0..file.len() {
        assert!(read(&file[..end]).is_err(), "{end} of {}", file.len());
    }
}

#[test]
fn a_changed_byte_never_panics() {
    let file = plain();
    for at in 0..file.len() {
        for bits in [0x01, 0x7f, 0x80, 0xff] {
            let mut changed = file.clone();
            changed[at] ^= bits;
            if let Ok(mut state) = read(&changed) {
                let _ = state.take("w", &[4]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn no_change_of_a_file_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut file = plain();
        for (index, byte) in changes {
            let at = index.index(file.len());
            file[at] = byte;
        }
        if let Ok(mut state) = read(&file) {
            let _ = state.take("w", &[4]);
        }
    }

    #[test]
    fn no_opcodes_make_the_reader_panic(
        codes in prop::collection::vec(prop::sample::select(b"(N\x88\x89K\x01)t\x85\x86\x87]ae}suq\x00h\x00cQRb.".to_vec()), 0..200),
    ) {
        let _ = read(&whole(&[&b"\x80\x02"[..], &codes].concat(), &keys(&["0"]), &[]));
    }
}
