//! Putting a request together out of JSON and flags, and telling what is wrong with it by the flags.

use clap::ArgMatches;
use imgopen_types::schema::{Field, Object, Shape};
use imgopen_types::{Operation, ReadError, Rule, Violation, read_value};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::flags::{self, Flag};

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The flag that sets it, with what follows inside of a list or JSON: `--controlnet.args[0].weight`.
    pub flag: String,
    /// The name of the wire.
    pub field: String,
    /// The problem and the fix.
    pub message: String,
}

/// A request, as far as it could be put together.
#[derive(Debug)]
pub struct Draft {
    /// The operation.
    pub operation: &'static Operation,
    /// The command that puts it together, such as `run enlarge_image`, whose help is named where something is wrong.
    pub command: String,
    /// Its flags.
    pub flags: Vec<Flag>,
    /// The request.
    pub body: Value,
    /// What is wrong so far.
    pub faults: Vec<Fault>,
}

impl Draft {
    /// Begins with a document, which may be empty.
    ///
    /// # Errors
    ///
    /// When it is no object.
    pub fn new(operation: &'static Operation, document: Value) -> Result<Self, Failure> {
        if !document.is_object() {
            return Err(Failure::usage(format!(
                "the request is {document}; give a JSON object, as `{{\"field\": …}}`"
            )));
        }
        let (command, flags) = (format!("run {}", operation.id), flags::flags(operation));
        Ok(Self { operation, command, flags, body: document, faults: Vec::new() })
    }

    /// Begins with a document as text, of which `name` tells where it is from.
    ///
    /// # Errors
    ///
    /// When it is no JSON, or no object.
    pub fn read(operation: &'static Operation, text: &str, name: &str) -> Result<Self, Failure> {
        let wrong =
            |error| Failure::usage(format!("{name} is no JSON: {error}; give an object, as `{{\"field\": …}}`"));
        let mut draft = Self::new(operation, serde_json::from_str(text).map_err(wrong)?)?;
        // A value keeps the last of what stands there twice, so that only the text tells.
        if let Err(ReadError::Violations(violations)) = read_value(operation.request, text.as_bytes()) {
            let twice = violations.iter().filter(|violation| violation.rule == Rule::Twice);
            draft.faults = twice.map(|violation| named(operation, &draft.flags, violation)).collect();
        }
        Ok(draft)
    }

    /// Sets what the command line gives, in place of what the document says.
    pub fn take_flags(&mut self, matches: &ArgMatches) {
        for flag in self.flags.clone() {
            match flags::value(&flag, matches) {
                Some(Ok(value)) => self.set(&flag.path, value),
                Some(Err(message)) => self.faults.push(Fault {
                    flag: format!("--{}", flag.long),
                    field: flag.id(),
                    message: format!("{message}; give JSON"),
                }),
                None => {}
            }
        }
    }

    /// Sets one field, and makes the objects around it. What was wrong with it is so no more.
    pub fn set(&mut self, path: &[&str], value: Value) {
        let place = path.join(".");
        let is_in =
            |fault: &Fault| fault.field.strip_prefix(&place).is_some_and(|rest| !rest.starts_with(is_of_a_name));
        self.faults.retain(|fault| !is_in(fault));
        set(self.operation.request, &mut self.body, path, value);
    }

    /// Fills in what need not be given: the caller's own id, and objects whose fields are to be given one by one. Gives the
    /// id if it was made up.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn complete(&mut self) -> anyhow::Result<Option<String>> {
        fill(self.operation.request, &mut self.body);
        let Some(path) = flags::caller_id(self.operation) else { return Ok(None) };
        if path.iter().try_fold(&self.body, |value, name| value.get(name)).is_some() {
            return Ok(None);
        }
        let id = format!("cli-{}", random_hex()?);
        self.set(path, json!(id));
        Ok(Some(id))
    }

    /// The flag that sets a place, as people are told of it.
    pub fn flag_of(&self, place: &str) -> String {
        flag_of(&self.flags, place)
    }

    /// The request in canonical form.
    ///
    /// # Errors
    ///
    /// Every fault, those that were found before included.
    pub fn finish(self) -> Result<Value, Failure> {
        let mut faults = self.faults;
        match read_value(self.operation.request, self.body.to_string().as_bytes()) {
            Ok(body) if faults.is_empty() => return Ok(body),
            Ok(_) => {}
            Err(ReadError::Violations(violations)) => {
                let told: Vec<_> = faults.iter().map(|fault| fault.field.clone()).collect();
                let more = violations.iter().map(|violation| named(self.operation, &self.flags, violation));
                // What was wrong as a picture or as JSON is wrong by the contract's rules as well.
                faults.extend(more.filter(|fault| !told.contains(&fault.field)));
            }
            Err(ReadError::Syntax(error)) => return Err(Failure::usage(error.to_string())),
        }
        Err(refusal(self.operation, &self.command, &faults))
    }
}

/// Whether a name goes on, and no member or item of it follows.
fn is_of_a_name(c: char) -> bool {
    !['.', '['].contains(&c)
}

/// A text of 16 hexadecimal digits that nobody guesses.
pub fn random_hex() -> anyhow::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

/// The failure that tells all faults.
fn refusal(operation: &Operation, command: &str, faults: &[Fault]) -> Failure {
    let lines: String = faults.iter().map(|fault| format!("\n  {}: {}", fault.flag, fault.message)).collect();
    let told = faults.iter().map(|fault| json!({"flag": fault.flag, "field": fault.field, "message": fault.message}));
    let detail = json!({ "operation": operation.id, "faults": told.collect::<Value>() });
    let help = format!("`imgopen {command} --help` tells what each flag takes");
    Failure::usage(format!("the request was not sent:{lines}\n{help}")).detail(detail)
}

fn set(schema: &'static Object, body: &mut Value, path: &[&str], value: Value) {
    let Some((name, rest)) = path.split_first() else { return };
    if !body.is_object() {
        *body = Value::Object(Map::new());
    }
    let (Some(members), Some(field)) = (body.as_object_mut(), schema.field(name)) else { return };
    // The document may have the field under another spelling, and a field in two spellings is a fault.
    members.retain(|member, _| !field.aliases.contains(&member.as_str()));
    match (&field.shape, rest) {
        (_, []) => {
            members.insert((*name).to_owned(), value);
        }
        (Shape::Object(inner), rest) => set(inner, members.entry(*name).or_insert(Value::Null), rest, value),
        _ => {}
    }
}

/// Makes the objects that must be there, so that faults name the fields in them.
fn fill(schema: &'static Object, body: &mut Value) {
    let Some(members) = body.as_object_mut() else { return };
    for field in schema.fields {
        let Shape::Object(inner) = &field.shape else { continue };
        if field.required || members.contains_key(field.name) {
            fill(inner, members.entry(field.name).or_insert_with(|| Value::Object(Map::new())));
        }
    }
}

/// A violation of the contract in terms of flags.
fn named(operation: &Operation, flags: &[Flag], violation: &Violation) -> Fault {
    if violation.rule == Rule::ExactlyOne {
        return one_of(operation, flags, violation);
    }
    let message = in_words(operation, flags, violation);
    Fault { flag: flag_of(flags, &violation.field), field: violation.field.clone(), message }
}

/// The longest flag that the place begins with, and the rest; or the place itself, where a document has what no flag sets.
fn flag_of(flags: &[Flag], place: &str) -> String {
    let begins = |flag: &&Flag| match place.strip_prefix(&flag.id()) {
        Some(rest) => rest.is_empty() || rest.starts_with('[') || is_json(flag.field) && rest.starts_with('.'),
        None => false,
    };
    match flags.iter().filter(begins).max_by_key(|flag| flag.id().len()) {
        Some(flag) if place == flag.id() => format!("--{}", flag.long),
        // Inside an open object, a member that is not known.
        Some(flag) if matches!(flag.field.shape, Shape::Object(_)) => format!("`{place}`"),
        Some(flag) => format!("--{}{}", flag.long, &place[flag.id().len()..]),
        None => format!("`{place}`"),
    }
}

fn is_json(field: &Field) -> bool {
    match &field.shape {
        Shape::Object(_) => true,
        Shape::List(list) => matches!(list.item, Shape::Object(_)),
        _ => false,
    }
}

fn one_of(operation: &Operation, flags: &[Flag], violation: &Violation) -> Fault {
    let names: Vec<_> = operation.request.exactly_one.iter().map(|path| flag_of(flags, &path.join("."))).collect();
    let problem = violation.message.split(';').next().unwrap_or_default();
    let message = format!("{problem}; give exactly one of {}", names.join(" and "));
    Fault { flag: names.join(", "), field: violation.field.clone(), message }
}

/// The message, with "a URL or a picture" in place of the pattern of URLs.
fn in_words(operation: &Operation, flags: &[Flag], violation: &Violation) -> String {
    let bare = violation.field.split('[').next().unwrap_or_default();
    let flag = flags.iter().find(|flag| flag.id() == bare);
    let url = match flag.is_some_and(|flag| flag.is_picture(operation)) {
        true => "a URL or the path of a picture",
        false => "a URL that begins with http:// or https://",
    };
    violation.message.replace("a text that matches `^https?://.+`", url)
}

#[cfg(test)]
mod tests;
