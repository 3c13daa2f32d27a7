//! How a process and the one that runs a net for it speak: numbers of 64 bits, and bytes after their count.
//!
//! The net's process is not trusted, because a net may have taken it over: what it says is bounded as what files say.

use std::io::{self, ErrorKind, Read, Write};

use crate::tensor::{Tensor, Values};

/// What the net's process says first, after whatever its program prints.
const GREETING: &[u8; 16] = b"\nimgopen net 1\n\0";

/// How many bytes a program may print before.
const PRINTED: usize = 64 * 1024;

/// The most bytes of one part, and the most parts and dimensions.
const MOST: u64 = 8 * 1024 * 1024 * 1024;
const MOST_PARTS: u64 = 65_536;
const MOST_DIMENSIONS: u64 = 64;

/// The kinds of request.
const LOAD: u64 = 1;
const RUN: u64 = 2;

/// The kinds of answer.
const DONE: u64 = 1;
const FAILED: u64 = 2;

/// The kinds of elements.
const F32: u64 = 1;
const U8: u64 = 2;
const I64: u64 = 3;

/// What the net's process is asked to do.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    /// To load a model, and to take that many bytes at most.
    Load { memory: u64, model: Vec<u8> },
    /// To run it.
    Run { inputs: Vec<(String, Tensor)>, outputs: Vec<usize> },
}

/// What became of a request: the outputs of a run, none after loading, or what went wrong.
pub(super) type Answer = Result<Vec<Tensor>, String>;

pub(super) fn write_greeting(to: &mut impl Write) -> io::Result<()> {
    to.write_all(GREETING)?;
    to.flush()
}

/// Reads up to the end of the greeting.
pub(super) fn read_greeting(from: &mut impl Read) -> io::Result<()> {
    let mut last = [0; GREETING.len()];
    for _ in 0..PRINTED {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        last.rotate_left(1);
        last[GREETING.len() - 1] = byte[0];
        if last == *GREETING {
            return Ok(());
        }
    }
    Err(invalid("there is no greeting"))
}

pub(super) fn write_load(to: &mut impl Write, memory: u64, model: &[u8]) -> io::Result<()> {
    write_number(to, LOAD)?;
    write_number(to, memory)?;
    write_bytes(to, model)?;
    to.flush()
}

pub(super) fn write_run(to: &mut impl Write, inputs: &[(&str, &Tensor)], outputs: &[usize]) -> io::Result<()> {
    write_number(to, RUN)?;
    write_number(to, inputs.len() as u64)?;
    for (name, tensor) in inputs {
        write_bytes(to, name.as_bytes())?;
        write_tensor(to, tensor)?;
    }
    write_number(to, outputs.len() as u64)?;
    for output in outputs {
        write_number(to, *output as u64)?;
    }
    to.flush()
}

/// Reads a request; `None` if there is no more.
pub(super) fn read_request(from: &mut impl Read) -> io::Result<Option<Request>> {
    let kind = match read_number(from) {
        Ok(kind) => kind,
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    match kind {
        LOAD => Ok(Some(Request::Load { memory: read_number(from)?, model: read_bytes(from)? })),
        RUN => {
            let mut inputs = Vec::new();
            for _ in 0..read_count(from, MOST_PARTS)? {
                inputs.push((read_text(from)?, read_tensor(from)?));
            }
            let mut outputs = Vec::new();
            for _ in 0..read_count(from, MOST_PARTS)? {
                outputs.push(read_size(from)?);
            }
            Ok(Some(Request::Run { inputs, outputs }))
        }
        _ => Err(invalid("a request is of an unknown kind")),
    }
}

pub(super) fn write_answer(to: &mut impl Write, answer: &Answer) -> io::Result<()> {
    match answer {
        Ok(tensors) => {
            write_number(to, DONE)?;
            write_number(to, tensors.len() as u64)?;
            for tensor in tensors {
                write_tensor(to, tensor)?;
            }
        }
        Err(problem) => {
            write_number(to, FAILED)?;
            write_bytes(to, problem.as_bytes())?;
        }
    }
    to.flush()
}

pub(super) fn read_answer(from: &mut impl Read) -> io::Result<Answer> {
    match read_number(from)? {
        DONE => {
            let mut tensors = Vec::new();
            for _ in 0..read_count(from, MOST_PARTS)? {
                tensors.push(read_tensor(from)?);
            }
            Ok(Ok(tensors))
        }
        FAILED => Ok(Err(read_text(from)?)),
        _ => Err(invalid("an answer is of an unknown kind")),
    }
}

fn write_tensor(to: &mut impl Write, tensor: &Tensor) -> io::Result<()> {
    write_number(to, tensor.shape().len() as u64)?;
    for side in tensor.shape() {
        write_number(to, *side as u64)?;
    }
    match tensor.values() {
        Values::F32(values) => write_values(to, F32, values, |value| value.to_le_bytes()),
        Values::U8(values) => write_values(to, U8, values, |value| [value]),
        Values::I64(values) => write_values(to, I64, values, |value| value.to_le_bytes()),
    }
}

fn write_values<T: Copy, const N: usize>(
    to: &mut impl Write,
    kind: u64,
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> io::Result<()> {
    write_number(to, kind)?;
    write_number(to, (values.len() * N) as u64)?;
    values.iter().try_for_each(|value| to.write_all(&bytes(*value)))
}

fn read_tensor(from: &mut impl Read) -> io::Result<Tensor> {
    let mut shape = Vec::new();
    for _ in 0..read_count(from, MOST_DIMENSIONS)? {
        shape.push(read_size(from)?);
    }
    let kind = read_number(from)?;
    let bytes = read_bytes(from)?;
    let values: Values = match kind {
        F32 => bytes.as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect::<Vec<f32>>().into(),
        U8 => bytes.into(),
        I64 => bytes.as_chunks().0.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect::<Vec<i64>>().into(),
        _ => return Err(invalid("a tensor is of an unknown kind")),
    };
    Tensor::new(shape, values).map_err(|_| invalid("a tensor has another number of elements than its dimensions say"))
}

fn write_bytes(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    write_number(to, bytes.len() as u64)?;
    to.write_all(bytes)
}

fn read_bytes(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let count = read_count(from, MOST)?;
    let mut bytes = Vec::new();
    // Without taking memory for what may never come.
    from.by_ref().take(count).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == count {
        true => Ok(bytes),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn read_text(from: &mut impl Read) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read_bytes(from)?).into_owned())
}

fn write_number(to: &mut impl Write, number: u64) -> io::Result<()> {
    to.write_all(&number.to_le_bytes())
}

fn read_number(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn read_count(from: &mut impl Read, most: u64) -> io::Result<u64> {
    let count = read_number(from)?;
    if count <= most { Ok(count) } else { Err(invalid("there is more than there can be")) }
}

fn read_size(from: &mut impl Read) -> io::Result<usize> {
    usize::try_from(read_number(from)?).map_err(|_| invalid("a size is larger than this machine has"))
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors() -> [Tensor; 3] {
        let shapes: [(Vec<usize>, Values); 3] = [
            (vec![1, 2], vec![-0.5_f32, f32::MAX].into()),
            (vec![3], vec![0_u8, 7, 255].into()),
            (vec![], vec![i64::MIN].into()),
        ];
        shapes.map(|(shape, values)| Tensor::new(shape, values).unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        let [one, two, three] = tensors();
        let mut bytes = Vec::new();
        write_load(&mut bytes, 1 << 40, b"a model").unwrap();
        write_run(&mut bytes, &[("x", &one), ("", &two)], &[3, 0]).unwrap();
        let mut from = bytes.as_slice();
        let load = Request::Load { memory: 1 << 40, model: b"a model".to_vec() };
        assert_eq!(read_request(&mut from).unwrap(), Some(load));
        let inputs = vec![("x".to_owned(), one), (String::new(), two)];
        assert_eq!(read_request(&mut from).unwrap(), Some(Request::Run { inputs, outputs: vec![3, 0] }));
        assert_eq!(read_request(&mut from).unwrap(), None);
        for answer in [Ok(vec![three]), Ok(Vec::new()), Err("it failed".to_owned())] {
            let mut bytes = Vec::new();
            write_answer(&mut bytes, &answer).unwrap();
            assert_eq!(read_answer(&mut bytes.as_slice()).unwrap(), answer);
            for length in 0..bytes.len() {
                assert!(read_answer(&mut &bytes[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn what_a_program_prints_before_is_skipped() {
        let mut bytes = b"\nrunning 1 test\nimgopen net".to_vec();
        write_greeting(&mut bytes).unwrap();
        bytes.push(9);
        let mut from = bytes.as_slice();
        read_greeting(&mut from).unwrap();
        assert_eq!(from, [9]);
        assert!(read_greeting(&mut io::repeat(b'.')).is_err());
    }

    /// A net that has taken its process over may say anything.
    #[test]
    fn answers_without_bounds_are_refused() {
        let answer = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        for numbers in [
            &[9][..],
            &[FAILED, u64::MAX],
            &[DONE, u64::MAX],
            &[DONE, 1, u64::MAX],
            &[DONE, 1, 1, u64::MAX, F32, 4],
            &[DONE, 1, 0, 9, 0],
        ] {
            // As if there were no end.
            let mut from = io::Cursor::new(answer(numbers)).chain(io::repeat(0).take(1 << 20));
            assert!(read_answer(&mut from).is_err(), "{numbers:?}");
        }
    }
}
