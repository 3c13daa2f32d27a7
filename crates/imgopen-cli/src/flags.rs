//! The flags of an operation, one for each field of its request, made from the tables of the contract while the program
//! runs.
//!
//! A flag is the field's name in kebab case. A field inside an object has the path to it, joined with dots
//! (`--alwayson-scripts.sd-vae`), and the last part alone (`--sd-vae`) where no other field ends like that. Lists may be
//! given several times; objects, and lists of objects, are JSON. The names of the wire are read as well.

mod describe;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches};
use heck::ToKebabCase;
use imgopen_types::operation::PathParameter;
use imgopen_types::schema::{Field, Object, Shape, TextEnum};
use imgopen_types::{Operation, operations};
use serde_json::{Value, json};

pub use describe::plain;

/// The headings of the flags in help.
pub const REQUIRED: &str = "Required fields";
const OTHER: &str = "Other fields";

/// The flag of a field.
#[derive(Debug, Clone)]
pub struct Flag {
    /// Where the field lies: the names of the wire, from the outside in.
    pub path: Vec<&'static str>,
    /// What the contract says of it.
    pub field: &'static Field,
    /// The flag as help shows it, without the dashes.
    pub long: String,
    /// Other spellings; the first is the whole path where the flag is only a part of it.
    pub aliases: Vec<String>,
    /// Whether help shows the first alias.
    pub shows_path: bool,
    /// Whether it must be given, and so must everything around it.
    pub required: bool,
}

/// Every flag of an operation, in the contract's order, what encloses before what it holds.
pub fn flags(operation: &Operation) -> Vec<Flag> {
    let mut found = Vec::new();
    collect(operation.request, &[], true, &mut found);
    let paths: Vec<_> = found.iter().map(|flag| kebab(&flag.path)).collect();
    for index in 0..found.len() {
        name(&mut found, index, &paths);
    }
    found
}

fn collect(schema: &'static Object, outer: &[&'static str], required: bool, found: &mut Vec<Flag>) {
    for field in schema.fields {
        let path = [outer, &[field.name]].concat();
        let required = required && field.required;
        found.push(Flag {
            path: path.clone(),
            field,
            long: String::new(),
            aliases: Vec::new(),
            shows_path: false,
            required,
        });
        if let Shape::Object(inner) = &field.shape {
            collect(inner, &path, required, found);
        }
    }
}

/// Finds the shortest ending of the path that no other path has, and the other spellings.
fn name(found: &mut [Flag], index: usize, paths: &[Vec<String>]) {
    let own = &paths[index];
    let is_free = |ending: &[String]| {
        let mut others = paths.iter().enumerate().filter(|(other, _)| *other != index);
        others.all(|(_, path)| !path.ends_with(ending))
    };
    let whole = own.join(".");
    let long = (1..own.len()).map(|length| &own[own.len() - length..]).find(|ending| is_free(ending));
    let long = long.map_or_else(|| whole.clone(), |ending| ending.join("."));
    let flag = &mut found[index];
    let mut aliases = vec![whole.clone(), flag.path.join(".")];
    if let [only] = flag.path.as_slice() {
        aliases.push((*only).to_owned());
        aliases.extend(flag.field.aliases.iter().flat_map(|alias| [(*alias).to_owned(), alias.to_kebab_case()]));
    }
    flag.shows_path = whole != long;
    for alias in aliases {
        if alias != long && !flag.aliases.contains(&alias) {
            flag.aliases.push(alias);
        }
    }
    flag.long = long;
}

fn kebab(path: &[&str]) -> Vec<String> {
    path.iter().map(|name| name.to_kebab_case()).collect()
}

impl Flag {
    /// Its id among the arguments of a command.
    pub fn id(&self) -> String {
        self.path.join(".")
    }

    /// Whether the caller's own id of the task stands here, which is made up unless it is given.
    pub fn is_caller_id(&self, operation: &Operation) -> bool {
        caller_id(operation).is_some_and(|path| path == self.path)
    }

    /// Whether it takes a picture, as a URL or as a file.
    pub fn is_picture(&self, operation: &Operation) -> bool {
        let callback = operation.callback.as_ref().map(|callback| callback.field);
        let shape = match &self.field.shape {
            Shape::List(list) => &list.item,
            shape => shape,
        };
        is_url(shape) && callback != Some(self.field.name)
    }

    /// Whether the command line or the document has to give it.
    pub fn is_needed(&self, operation: &Operation) -> bool {
        self.required && !self.is_caller_id(operation) && !matches!(self.field.shape, Shape::Object(_))
    }

    /// The argument; the flags are all of the operation's.
    pub fn argument(&self, operation: &Operation, all: &[Flag]) -> Arg {
        let heading = if self.is_needed(operation) { REQUIRED } else { OTHER };
        let argument =
            Arg::new(self.id()).long(self.long.clone()).help(self.help(operation, all)).help_heading(heading);
        let shown = usize::from(self.shows_path);
        let argument = argument.visible_aliases(self.aliases[..shown].to_vec()).aliases(self.aliases[shown..].to_vec());
        shaped(argument.value_name(self.value_name(operation)), &self.field.shape)
    }

    fn value_name(&self, operation: &Operation) -> &'static str {
        match &self.field.shape {
            _ if self.is_picture(operation) => "URL|FILE",
            Shape::Boolean => "true|false",
            Shape::Integer(_) | Shape::IntegerEnum(_) | Shape::Number(_) => "NUMBER",
            Shape::Text(text) if text.numeric.is_some() => "NUMBER",
            shape if is_url(shape) => "URL",
            Shape::Text(_) => "TEXT",
            Shape::TextEnum(_) => "NAME",
            Shape::List(list) if matches!(list.item, Shape::Object(_)) => "JSON",
            Shape::List(_) => "TEXT",
            Shape::Object(_) => "JSON",
        }
    }

    fn help(&self, operation: &Operation, all: &[Flag]) -> String {
        let mut text = describe::plain(self.field.about);
        if self.is_picture(operation) {
            text = text.replacen("URL of the ", "The ", 1).replacen("URLs of the ", "The ", 1);
        }
        if self.field.default.is_some() {
            text = text.split(" Default ").next().unwrap_or_default().to_owned();
        }
        text = with_flags(&text, all);
        let notes = describe::notes(self.field, &text);
        text += &notes;
        if let Shape::List(_) = &self.field.shape {
            text += " May be given several times.";
        }
        if self.is_caller_id(operation) {
            text += " Made up unless it is given.";
        }
        text
    }
}

/// How many values an argument takes, and which.
fn shaped(argument: Arg, shape: &'static Shape) -> Arg {
    match shape {
        Shape::Boolean => {
            let argument = argument.num_args(0..=1).default_missing_value("true");
            argument.value_parser(Known(vec!["true", "false"])).hide_possible_values(true)
        }
        Shape::Integer(_) | Shape::IntegerEnum(_) | Shape::Number(_) => argument.allow_negative_numbers(true),
        Shape::Text(text) if text.numeric.is_some() => argument.allow_negative_numbers(true),
        Shape::TextEnum(set) => argument.value_parser(known(set)).hide_possible_values(set.open),
        Shape::List(_) => argument.num_args(1..).action(ArgAction::Append),
        // A text may begin with anything.
        Shape::Text(_) => argument.allow_hyphen_values(true),
        Shape::Object(_) => argument,
    }
}

/// A text with flags in the places of the names of fields; what is said to be "of a row" is no field of the request.
pub fn with_flags(text: &str, all: &[Flag]) -> String {
    let outer = all.iter().filter(|flag| flag.path.len() == 1);
    outer.fold(text.to_owned(), |text, flag| {
        let (name, flag) = (format!("`{}`", flag.path[0]), format!("--{}", flag.long));
        let pieces: Vec<_> = text.split(&name).collect();
        let join = |after: &str| if after.starts_with(" of a row") { name.clone() } else { flag.clone() };
        let rest = pieces.iter().skip(1).map(|after| join(after) + after);
        pieces.first().map_or(String::new(), |first| (*first).to_owned()) + &rest.collect::<String>()
    })
}

/// The flag of a variable part of the path.
pub fn parameter_argument(parameter: &'static PathParameter) -> Arg {
    let argument = Arg::new(parameter.name).long(parameter.name.to_kebab_case()).alias(parameter.name);
    let argument = argument.value_name("NAME").help_heading(REQUIRED);
    argument.help(describe::plain(parameter.about)).value_parser(known(parameter.values))
}

/// Where the caller's own id stands in the request of an operation that takes one.
pub fn caller_id(operation: &Operation) -> Option<&'static [&'static str]> {
    // Queries ask for a task that there is, and so do the orders of the other document.
    if operation.idempotent || operation.document != "imgopen" {
        return None;
    }
    let places: [&'static [&'static str]; 3] = [&["businessTaskId"], &["taskId"], &["alwayson_scripts", "id_task"]];
    places.into_iter().find(|path| field(operation.request, path).is_some())
}

/// The field at a path of names.
pub fn field(schema: &'static Object, path: &[&str]) -> Option<&'static Field> {
    let (name, rest) = path.split_first()?;
    let found = schema.field(name)?;
    match (&found.shape, rest) {
        (_, []) => Some(found),
        (Shape::Object(inner), rest) => field(inner, rest),
        _ => None,
    }
}

/// A URL is a text that the contract checks for the scheme.
pub fn is_url(shape: &Shape) -> bool {
    matches!(shape, Shape::Text(rules) if rules.pattern.is_some_and(|pattern| pattern.as_str().starts_with("^https?://")))
}

/// The values that a flag was given, as JSON. What does not have the form is handed on as text, so that the contract's
/// own rules tell what is wrong with it.
///
/// # Errors
///
/// Tells where a text is no JSON, of a flag that takes JSON.
pub fn value(flag: &Flag, matches: &ArgMatches) -> Option<Result<Value, String>> {
    let mut texts = matches.get_many::<String>(&flag.id())?;
    let shape = &flag.field.shape;
    if let Shape::List(list) = shape {
        return Some(read_list(&list.item, texts.map(String::as_str)));
    }
    texts.next_back().map(|text| read(shape, text))
}

fn read_list<'a>(item: &Shape, texts: impl Iterator<Item = &'a str>) -> Result<Value, String> {
    let mut items = Vec::new();
    for text in texts {
        match read(item, text)? {
            // A whole list at once.
            Value::Array(more) => items.extend(more),
            one => items.push(one),
        }
    }
    Ok(Value::Array(items))
}

fn read(shape: &Shape, text: &str) -> Result<Value, String> {
    let whole = || text.parse::<i64>().ok().map(Value::from);
    let number = || text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from);
    Ok(match shape {
        Shape::Boolean => text.parse::<bool>().map_or_else(|_| json!(text), Value::from),
        Shape::Integer(_) | Shape::IntegerEnum(_) | Shape::Number(_) => {
            whole().or_else(number).unwrap_or_else(|| json!(text))
        }
        Shape::Text(_) | Shape::TextEnum(_) => json!(text),
        Shape::Object(_) | Shape::List(_) => serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?,
    })
}

/// Takes any text, and tells help and completion which are known: the contract's own rules judge them, all at once.
#[derive(Debug, Clone)]
struct Known(Vec<&'static str>);

/// The known values of a set.
fn known(set: &'static TextEnum) -> impl TypedValueParser<Value = String> {
    Known(set.values.iter().map(|choice| choice.value).collect())
}

/// The operations that start jobs.
pub fn jobs() -> impl TypedValueParser<Value = String> {
    let jobs = operations::ALL.iter().filter(|operation| operation.job.is_some());
    Known(jobs.map(|operation| operation.id).collect())
}

impl TypedValueParser for Known {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests;
