//! Builds a request from JSON and flags, and checks it.

use clap::ArgMatches;
use imgopen_types::schema::{Object, Shape};
use imgopen_types::{Operation, ReadError, Rule, read_value};
use serde_json::{Map, Value, json};

use super::fault::{self, Fault};
use super::flags::{self, Flag};
use super::value;
use crate::failure::Failure;
use crate::random::random_hex;

/// A request that is being built.
#[derive(Debug)]
pub struct Draft {
    /// The operation.
    pub operation: &'static Operation,
    /// The command that builds it, such as `run enlarge_image`; faults refer to its help.
    pub command: String,
    /// The operation's flags.
    pub flags: Vec<Flag>,
    /// The request so far.
    pub body: Value,
    /// The faults found so far.
    pub faults: Vec<Fault>,
}

impl Draft {
    /// Starts with a document, which may be empty.
    ///
    /// # Errors
    ///
    /// If the document is not an object.
    pub fn new(operation: &'static Operation, document: Value) -> Result<Self, Failure> {
        if !document.is_object() {
            return Err(Failure::usage(format!(
                "the request is {document}; give a JSON object such as `{{\"field\": …}}`"
            )));
        }
        let (command, flags) = (format!("run {}", operation.id), flags::flags(operation));
        Ok(Self { operation, command, flags, body: document, faults: Vec::new() })
    }

    /// Starts with a document as text; `name` names its source in messages.
    ///
    /// # Errors
    ///
    /// If the text is not a JSON object.
    pub fn read(operation: &'static Operation, text: &str, name: &str) -> Result<Self, Failure> {
        let wrong =
            |error| Failure::usage(format!("{name} is not JSON: {error}; give an object such as `{{\"field\": …}}`"));
        let mut draft = Self::new(operation, serde_json::from_str(text).map_err(wrong)?)?;
        // A parsed value keeps only the last of duplicate members, so duplicates are looked for in the text.
        if let Err(ReadError::Violations(violations)) = read_value(operation.request, text.as_bytes()) {
            let twice = violations.iter().filter(|violation| violation.rule == Rule::Twice);
            draft.faults = twice.map(|violation| fault::of_violation(operation, &draft.flags, violation)).collect();
        }
        Ok(draft)
    }

    /// Sets the fields given by flags, which override the document.
    pub fn take_flags(&mut self, matches: &ArgMatches) {
        for flag in self.flags.clone() {
            match value::value(&flag, matches) {
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

    /// Sets one field, creating the objects around it, and drops the faults that the old value had.
    pub fn set(&mut self, path: &[&str], value: Value) {
        let place = path.join(".");
        let is_in =
            |fault: &Fault| fault.field.strip_prefix(&place).is_some_and(|rest| !rest.starts_with(continues_name));
        self.faults.retain(|fault| !is_in(fault));
        set(self.operation.request, &mut self.body, path, value);
    }

    /// Fills in what need not be given: the caller id, and the objects around required fields. Returns the caller id if it was
    /// generated.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes.
    pub fn complete(&mut self) -> anyhow::Result<Option<String>> {
        fill(self.operation.request, &mut self.body);
        let Some(path) = self.operation.caller_id.map(|id| id.path) else { return Ok(None) };
        if path.iter().try_fold(&self.body, |value, name| value.get(name)).is_some() {
            return Ok(None);
        }
        let id = format!("cli-{}", random_hex()?);
        self.set(path, json!(id));
        Ok(Some(id))
    }

    /// Reports a fault of the field at a path on the wire.
    pub fn blame(&mut self, field: String, message: String) {
        let flag = fault::flag_of(&self.flags, &field);
        self.faults.push(Fault { flag, field, message });
    }

    /// Checks the request and returns it in canonical form.
    ///
    /// # Errors
    ///
    /// Reports all faults together, including those found before.
    pub fn finish(self) -> Result<Value, Failure> {
        let mut faults = self.faults;
        match read_value(self.operation.request, self.body.to_string().as_bytes()) {
            Ok(body) if faults.is_empty() => return Ok(body),
            Ok(_) => {}
            Err(ReadError::Violations(violations)) => {
                let reported: Vec<_> = faults.iter().map(|fault| fault.field.clone()).collect();
                let more =
                    violations.iter().map(|violation| fault::of_violation(self.operation, &self.flags, violation));
                // A value that is invalid as a picture or as JSON also violates the contract; one report is enough.
                faults.extend(more.filter(|fault| !reported.contains(&fault.field)));
            }
            Err(error) => return Err(Failure::usage(error.to_string())),
        }
        Err(fault::report(self.operation, &self.command, &faults))
    }
}

/// Whether a character continues a name, rather than beginning the path of a member or an item.
fn continues_name(c: char) -> bool {
    !['.', '['].contains(&c)
}

fn set(schema: &'static Object, body: &mut Value, path: &[&str], value: Value) {
    let Some((name, rest)) = path.split_first() else { return };
    if !body.is_object() {
        *body = Value::Object(Map::new());
    }
    let (Some(members), Some(field)) = (body.as_object_mut(), schema.field(name)) else { return };
    // The document may use another spelling; a field in two spellings would be a fault.
    members.retain(|member, _| !field.aliases.contains(&member.as_str()));
    match (&field.shape, rest) {
        (_, []) => {
            members.insert((*name).to_owned(), value);
        }
        (Shape::Object(inner), rest) => set(inner, members.entry(*name).or_insert(Value::Null), rest, value),
        _ => {}
    }
}

/// Creates required objects, so that faults name the missing fields inside them.
fn fill(schema: &'static Object, body: &mut Value) {
    let Some(members) = body.as_object_mut() else { return };
    for field in schema.fields {
        let Shape::Object(inner) = &field.shape else { continue };
        if field.required || members.contains_key(field.name) {
            fill(inner, members.entry(field.name).or_insert_with(|| Value::Object(Map::new())));
        }
    }
}

#[cfg(test)]
mod tests;
