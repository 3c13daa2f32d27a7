//! The messages of PostgreSQL's protocol, as far as a proxy must know them to end a connection between a commit and its answer.

use std::collections::HashMap;

/// Splits one direction of a connection into messages.
#[derive(Default)]
pub struct Messages {
    bytes: Vec<u8>,
    /// Whether the next message has a type. The first that a client sends has none.
    has_type: bool,
}

/// A message.
pub struct Message {
    /// Its type; 0 for the first that a client sends.
    pub kind: u8,
    /// All of it, type and length included.
    pub bytes: Vec<u8>,
}

impl Messages {
    /// The messages of a client.
    pub fn of_client() -> Self {
        Self::default()
    }

    /// The messages of a server.
    pub fn of_server() -> Self {
        Self { has_type: true, ..Self::default() }
    }

    /// Adds what was read, and returns the messages that are complete.
    pub fn add(&mut self, read: &[u8]) -> Vec<Message> {
        self.bytes.extend_from_slice(read);
        let mut complete = Vec::new();
        loop {
            let head = usize::from(self.has_type);
            let Some(length) = self.bytes.get(head..head + 4) else { return complete };
            let whole = head + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.bytes.len() < whole {
                return complete;
            }
            let rest = self.bytes.split_off(whole);
            let bytes = std::mem::replace(&mut self.bytes, rest);
            let kind = if self.has_type { bytes[0] } else { 0 };
            self.has_type = true;
            complete.push(Message { kind, bytes });
        }
    }
}

impl Message {
    /// Returns the text that ends with a zero byte after so many others.
    fn text(&self, number: usize) -> String {
        let text = self.bytes[5..].split(|byte| *byte == 0).nth(number).unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// Whether it ends an answer outside of a transaction: what was asked for is committed.
    pub fn is_end(&self) -> bool {
        self.kind == b'Z' && self.bytes.get(5) != Some(&b'T')
    }

    /// Whether it ends an answer within a transaction.
    pub fn is_step(&self) -> bool {
        self.kind == b'Z' && self.bytes.get(5) == Some(&b'T')
    }
}

/// The statements that a client has prepared.
#[derive(Default)]
pub struct Statements {
    known: HashMap<String, String>,
}

impl Statements {
    /// Returns the statement that a message carries out, if it does that.
    pub fn carried_out(&mut self, message: &Message) -> Option<String> {
        match message.kind {
            b'P' => {
                self.known.insert(message.text(0), message.text(1));
                None
            }
            // The name of a portal comes first.
            b'B' => self.known.get(&message.text(1)).cloned(),
            b'Q' => Some(message.text(0)),
            _ => None,
        }
    }
}

#[test]
fn a_prepared_statement_is_known_when_it_is_carried_out() {
    let message = |kind: u8, body: &[u8]| {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    };
    let (mut messages, mut statements) = (Messages::of_client(), Statements::default());
    let startup = [&8_u32.to_be_bytes()[..], &[0, 3, 0, 0]].concat();
    let sent = [startup, message(b'P', b"s0\0SELECT 1\0\0\0"), message(b'B', b"\0s0\0\0\0\0\0")].concat();
    let mut seen = Vec::new();
    // Byte by byte, as a network may deliver it.
    for byte in &sent {
        for message in messages.add(&[*byte]) {
            seen.push((message.kind, statements.carried_out(&message)));
        }
    }
    assert_eq!(seen, [(0, None), (b'P', None), (b'B', Some("SELECT 1".to_owned()))]);
    let mut answers = Messages::of_server();
    let ends: Vec<_> = answers.add(&[message(b'Z', b"T"), message(b'Z', b"I")].concat());
    assert!(ends[0].is_step() && !ends[0].is_end() && ends[1].is_end());
}
