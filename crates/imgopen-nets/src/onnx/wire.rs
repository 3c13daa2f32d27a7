//! The encoding of protocol buffers, as far as ONNX needs it: reading without copies or allocations, and writing.
//!
//! Every length is compared with what is left of the enclosing message before it is used.

use std::slice;

/// The fields of a message. Ends after the first malformed one.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// The content of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Varint(u64),
    /// Eight bytes, which nothing here needs.
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

const TRUNCATED: &str = "it ends too early";
const OTHER_KIND: &str = "a field has another kind than ONNX gives it";

impl<'a> Fields<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), &'static str> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| TRUNCATED)?)?)
            }
            5 => Value::Fixed32(self.array()?),
            _ => return Err("it has a field of an unknown kind"),
        };
        Ok((key >> 3, value))
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array::<1>()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("it has a number of more than 64 bits")
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*array)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Value<'a> {
    pub fn bytes(self) -> Result<&'a [u8], &'static str> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(OTHER_KIND),
        }
    }

    /// Returns a name. Messages repeat names, and with control characters one could pass for a message of its own.
    pub fn name(self) -> Result<&'a str, &'static str> {
        let text = str::from_utf8(self.bytes()?).map_err(|_| "it has a text that is not UTF-8")?;
        match text.contains(char::is_control) {
            true => Err("it has a name with control characters, such as a line break"),
            false => Ok(text),
        }
    }

    pub fn int(self) -> Result<i64, &'static str> {
        match self {
            Value::Varint(value) => Ok(value.cast_signed()),
            _ => Err(OTHER_KIND),
        }
    }

    pub fn float(self) -> Result<f32, &'static str> {
        match self {
            Value::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err(OTHER_KIND),
        }
    }

    /// Passes on a whole number of a list, or all that are packed into one field.
    pub fn ints(self, mut each: impl FnMut(i64)) -> Result<(), &'static str> {
        match self {
            Value::Bytes(bytes) => {
                let mut packed = Fields::new(bytes);
                while !packed.rest.is_empty() {
                    each(packed.varint()?.cast_signed());
                }
                Ok(())
            }
            value => value.int().map(each),
        }
    }

    /// Passes on a number of a list, or all that are packed into one field.
    pub fn floats(self, mut each: impl FnMut(f32)) -> Result<(), &'static str> {
        match self {
            Value::Bytes(bytes) => match bytes.as_chunks() {
                (chunks, []) => {
                    chunks.iter().for_each(|chunk| each(f32::from_le_bytes(*chunk)));
                    Ok(())
                }
                _ => Err(TRUNCATED),
            },
            value => value.float().map(each),
        }
    }

    /// Returns how many numbers of `N` bytes this field of a list has.
    pub fn fixed_count<const N: usize>(self) -> Result<usize, &'static str> {
        match self {
            Value::Bytes(bytes) if bytes.len().is_multiple_of(N) => Ok(bytes.len() / N),
            Value::Fixed32(_) if N == 4 => Ok(1),
            Value::Fixed64 if N == 8 => Ok(1),
            _ => Err(OTHER_KIND),
        }
    }
}

/// A message that is being written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Begins one of about that many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    pub fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value.cast_unsigned());
        self
    }

    pub fn float(mut self, field: u64, value: f32) -> Self {
        self.varint((field << 3) | 5);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    pub fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint((field << 3) | 2);
        self.varint(value.len() as u64);
        self.bytes.extend(value);
        self
    }

    pub fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    pub fn message(self, field: u64, value: &Message) -> Self {
        self.messages(field, slice::from_ref(value))
    }

    pub fn messages(self, field: u64, values: &[Message]) -> Self {
        values.iter().fold(self, |message, value| message.bytes(field, &value.bytes))
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns the message that has this one as its last field, in the same memory.
    pub fn into_last_field(self, mut before: Message, field: u64) -> Vec<u8> {
        before.varint((field << 3) | 2);
        before.varint(self.bytes.len() as u64);
        let mut bytes = self.bytes;
        bytes.splice(0..0, before.bytes);
        bytes
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the encoding's documentation.
    #[test]
    fn numbers_texts_and_messages_are_written_as_documented() {
        assert_eq!(Message::default().int(1, 150).into_bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().text(2, "testing").into_bytes(), *b"\x12\x07testing");
        let inner = Message::default().int(1, 150);
        assert_eq!(Message::default().message(3, &inner).into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let last = inner.into_last_field(Message::default().int(1, 150), 3);
        assert_eq!(last, [0x08, 0x96, 0x01, 0x1a, 0x03, 0x08, 0x96, 0x01]);
        let minus_two = [8, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Message::default().int(1, -2).into_bytes(), minus_two);
    }

    #[test]
    fn what_is_written_is_read() {
        let inner = Message::default().int(9, i64::MIN).float(3, -0.5);
        let bytes = Message::default().text(1, "é").message(16, &inner).int(2, 0).into_bytes();
        let fields: Vec<_> = Fields::new(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(fields.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 16, 2]);
        assert_eq!((fields[0].1.name(), fields[2].1.int()), (Ok("é"), Ok(0)));
        let inner: Vec<_> = Fields::new(fields[1].1.bytes().unwrap()).collect::<Result<_, _>>().unwrap();
        assert_eq!((inner[0].1.int(), inner[1].1.float()), (Ok(i64::MIN), Ok(-0.5)));
    }

    #[test]
    fn names_have_no_control_characters() {
        for name in ["a\nb", "\0", "\u{1b}[31m", "a\u{85}"] {
            let error = Value::Bytes(name.as_bytes()).name().unwrap_err();
            assert!(error.contains("control characters"), "{name:?}: {error}");
        }
        assert_eq!(Value::Bytes("/Größe.1 /конв".as_bytes()).name(), Ok("/Größe.1 /конв"));
        assert_eq!(Value::Bytes(b"\xff").name(), Err("it has a text that is not UTF-8"));
    }

    #[test]
    fn lists_may_be_packed() {
        let mut ints = Vec::new();
        for value in [Value::Bytes(&[1, 0x96, 0x01]), Value::Varint(7)] {
            value.ints(|int| ints.push(int)).unwrap();
        }
        assert_eq!(ints, [1, 150, 7]);
        let mut floats = Vec::new();
        Value::Bytes(&[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]).floats(|float| floats.push(float)).unwrap();
        assert_eq!(floats, [1.0, -2.0]);
        assert!(Value::Bytes(&[0, 0, 0x80]).floats(|_| ()).is_err());
    }

    #[test]
    fn a_length_beyond_the_message_is_an_error() {
        let cases: [&[u8]; 6] =
            [b"\x12\x08testing", b"\x12", b"\x08\x80", b"\x0d\0\0\0", b"\x0b", b"\x12\xff\xff\xff\xff\x7f"];
        for bytes in cases {
            let fields: Vec<_> = Fields::new(bytes).collect();
            assert!(matches!(fields[..], [Err(_)]), "{bytes:?}");
        }
        assert!(Fields::new(&[0xff; 11]).any(|field| field.is_err()));
    }
}
