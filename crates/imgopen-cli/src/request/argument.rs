//! Flags as arguments of a command.

use std::ffi::OsString;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, value_parser};
use heck::ToKebabCase;
use imgopen_types::operation::PathParameter;
use imgopen_types::schema::{Field, Shape, TextEnum};
use imgopen_types::{Operation, operations};

use super::describe;
use super::flags::Flag;

/// The headings of the flags in help.
const REQUIRED: &str = "Required fields";
const OTHER: &str = "Other fields";

/// Builds the argument of a flag; `all` are the flags of the operation, which its help may refer to.
pub fn argument(flag: &Flag, operation: &Operation, all: &[Flag]) -> Arg {
    let heading = if flag.is_needed(operation) { REQUIRED } else { OTHER };
    let help = describe::field(flag, operation, all);
    let argument = Arg::new(flag.id()).long(flag.long.clone()).help(help).help_heading(heading);
    let shown = usize::from(flag.shows_path);
    let argument = argument.visible_aliases(flag.aliases[..shown].to_vec()).aliases(flag.aliases[shown..].to_vec());
    let argument = shaped(argument.value_name(value_name(flag.field)), &flag.field.shape);
    if flag.field.picture { argument.value_parser(value_parser!(OsString)) } else { argument }
}

/// Builds the argument of a variable part of an operation's path.
pub fn parameter(parameter: &'static PathParameter) -> Arg {
    let argument = Arg::new(parameter.name).long(parameter.name.to_kebab_case()).alias(parameter.name);
    let argument = argument.value_name("NAME").help_heading(REQUIRED);
    let argument = argument.help(describe::parameter(parameter)).value_parser(listed(parameter.values));
    argument.hide_possible_values(parameter.values.open)
}

/// Parses the name of an operation that starts jobs.
pub fn jobs() -> impl TypedValueParser<Value = String> {
    let jobs = operations::ALL.iter().filter(|operation| operation.job.is_some());
    AnyText { listed: jobs.map(|operation| operation.id).collect() }
}

/// Whether a text must be a URL: the contract checks its scheme.
pub fn is_url(shape: &Shape) -> bool {
    matches!(shape, Shape::Text(rules) if rules.pattern.is_some_and(|pattern| pattern.as_str().contains("://")))
}

fn value_name(field: &Field) -> &'static str {
    match &field.shape {
        _ if field.picture => "URL|FILE",
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

/// Sets how many values an argument takes, and which.
fn shaped(argument: Arg, shape: &'static Shape) -> Arg {
    match shape {
        Shape::Boolean => {
            let argument = argument.num_args(0..=1).default_missing_value("true");
            argument.value_parser(AnyText { listed: vec!["true", "false"] }).hide_possible_values(true)
        }
        Shape::Integer(_) | Shape::IntegerEnum(_) | Shape::Number(_) => argument.allow_negative_numbers(true),
        Shape::Text(text) if text.numeric.is_some() => argument.allow_negative_numbers(true),
        Shape::TextEnum(set) => argument.value_parser(listed(set)).hide_possible_values(set.open),
        Shape::List(_) => argument.num_args(1..).action(ArgAction::Append),
        // A prompt may begin with a hyphen.
        Shape::Text(_) => argument.allow_hyphen_values(true),
        Shape::Object(_) => argument,
    }
}

fn listed(set: &'static TextEnum) -> impl TypedValueParser<Value = String> {
    AnyText { listed: set.values.iter().map(|choice| choice.value).collect() }
}

/// Accepts any text and lists values for help and completion. The contract's rules check the value later, so that all
/// faults of a request are reported together.
#[derive(Debug, Clone)]
struct AnyText {
    listed: Vec<&'static str>,
}

impl TypedValueParser for AnyText {
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
        Some(Box::new(self.listed.iter().map(PossibleValue::new)))
    }
}
