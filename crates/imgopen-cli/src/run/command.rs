//! The subcommands of `run`, made from the tables of the contract.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use imgopen_types::schema::{Field, Object, Shape};
use imgopen_types::{Operation, operations};
use serde_json::{Map, Value, json};

use super::{JobOptions, Options, TRAINING_TIMEOUT};
use crate::flags::{self, Flag};

/// The call of one operation.
#[derive(Debug, Clone)]
pub struct Call {
    /// The operation.
    pub operation: &'static Operation,
    /// The command that was given, such as `run enlarge_image`.
    pub command: String,
    /// The fields that are given.
    pub matches: ArgMatches,
    /// How it is called.
    pub options: Options,
    /// What becomes of the job, if it starts one.
    pub job: Option<JobOptions>,
    /// Pictures that another flag names.
    pub images: Vec<String>,
}

impl Call {
    /// A call out of the arguments of an operation's command.
    pub fn of(operation: &'static Operation, matches: &ArgMatches) -> Result<Self, clap::Error> {
        let options = Options::from_arg_matches(matches)?;
        let job = operation.job.as_ref().map(|_| JobOptions::from_arg_matches(matches)).transpose()?;
        let (command, matches) = (format!("run {}", operation.id), matches.clone());
        Ok(Self { operation, command, matches, options, job, images: Vec::new() })
    }

    /// Whether the request is still to be given: no field is, though some must be. Only then a standard input that nobody
    /// spoke of is taken for it; it may be that of a script.
    pub fn wants_document(&self) -> bool {
        let flags = flags::flags(self.operation);
        let is_given = |flag: &Flag| self.matches.contains_id(&flag.id());
        let is_wanted = |flag: &Flag| flag.is_needed(self.operation);
        let must_be = flags.iter().any(is_wanted) || !self.operation.request.exactly_one.is_empty();
        must_be && self.images.is_empty() && !flags.iter().any(is_given)
    }
}

impl FromArgMatches for Call {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (name, matches) = matches.subcommand().ok_or_else(|| clap::Error::new(ErrorKind::MissingSubcommand))?;
        let operation = imgopen_types::operation::find(name);
        Self::of(operation.ok_or_else(|| clap::Error::new(ErrorKind::InvalidSubcommand))?, matches)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Call {
    fn augment_subcommands(command: Command) -> Command {
        let commands = operations::ALL.iter().map(|operation| {
            let name = Command::new(operation.id).about(operation.summary).aliases(aliases(operation));
            name.defer(|command| {
                // Only the command that is called is made whole.
                let operation = imgopen_types::operation::find(command.get_name());
                operation.map_or_else(|| command.clone(), |operation| operation_command(command.clone(), operation))
            })
        });
        command
            .subcommands(commands)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand_value_name("OPERATION")
            .help_template(template())
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        imgopen_types::operation::find(name).is_some()
    }
}

/// The command of an operation, with all its flags: what must be given first.
pub fn operation_command(command: Command, operation: &'static Operation) -> Command {
    let all = flags::flags(operation);
    let (needed, others): (Vec<_>, Vec<_>) = all.iter().partition(|flag| flag.is_needed(operation));
    let mut command = command.args(operation.parameters.iter().map(flags::parameter_argument));
    command = command.args(needed.iter().chain(&others).map(|flag| flag.argument(operation, &all)));
    if operation.job.is_some() {
        command = JobOptions::augment_args(command);
    }
    if *operation == operations::SUBMIT_TRAINING {
        command = command.mut_arg("timeout", |argument| argument.default_value(TRAINING_TIMEOUT));
    }
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print help");
    let command = Options::augment_args(command).disable_version_flag(true).disable_help_flag(true);
    command.arg(help.help_heading("Options")).about(about(operation, &all)).after_help(example(operation))
}

/// Other names of an operation: in kebab case, and the end of its path, which names a tool.
fn aliases(operation: &Operation) -> Vec<String> {
    let mut names = vec![operation.id.replace('_', "-")];
    let ending = |operation: &Operation| {
        let path = operation.path;
        let ends = ["/saas/tool/", "/saas/sd/v2/"].into_iter().find_map(|start| path.split_once(start));
        ends.map(|(_, end)| end.to_owned()).filter(|end| !end.contains('{'))
    };
    if let Some(end) = ending(operation) {
        names.push(end);
    }
    names.retain(|name| name != operation.id);
    names
}

/// What an operation is for: its description without the list of its kind and the caller's id.
fn about(operation: &Operation, all: &[Flag]) -> String {
    let text = operation.about.split("\n\n* Kind:").next().unwrap_or_default();
    let rest = match &operation.job {
        Some(_) => "Waits for the task and saves what it made. Pictures may be files of this machine.",
        None => "Prints the answer as JSON.",
    };
    format!("{}\n\n{rest}", flags::with_flags(&flags::plain(text), all))
}

/// All operations by their groups. Clap itself lists subcommands without any.
fn template() -> String {
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    let mut tags: Vec<&str> = Vec::new();
    for operation in operations::ALL {
        if !tags.contains(&operation.tag) {
            tags.push(operation.tag);
        }
    }
    for tag in tags {
        let tagged = operations::ALL.iter().filter(|operation| operation.tag == tag);
        let is_own = tagged.clone().all(|operation| operation.document != "imgopen");
        let mut title = tag.to_owned();
        title[..1].make_ascii_uppercase();
        text += &format!("\n{title}{}:\n", if is_own { " (only servers of your own)" } else { "" });
        for operation in tagged {
            text += &format!("  {:<20} {}\n", operation.id, operation.summary);
        }
    }
    text + "\nOptions:\n{options}{after-help}"
}

/// A command line that does something, out of what must be given.
fn example(operation: &'static Operation) -> String {
    let mut lines = vec![format!("  imgopen run {}", operation.id)];
    for pair in example_arguments(operation).chunks(2) {
        let pair = pair.join(" ");
        match lines.last_mut() {
            Some(line) if line.chars().count() + pair.chars().count() < WIDTH => *line += &format!(" {pair}"),
            _ => lines.push(format!("      {pair}")),
        }
    }
    let mut text = format!("Examples:\n{}", lines.join(" \\\n"));
    if operation.job.is_some() {
        text += &format!("\n  imgopen run {} --request request.json --output results/", operation.id);
    }
    text
}

/// The columns of an example, so that it is not wrapped.
const WIDTH: usize = 90;

/// The arguments of the example, quoted for a shell.
fn example_arguments(operation: &'static Operation) -> Vec<String> {
    let parameters = operation.parameters.iter().flat_map(|parameter| {
        let value = parameter.values.values.first().map(|choice| choice.value);
        [format!("--{}", heck::AsKebabCase(parameter.name)), value.unwrap_or_default().to_owned()]
    });
    let mut arguments: Vec<_> = parameters.collect();
    let all = flags::flags(operation);
    for flag in all.iter().filter(|flag| is_in_example(operation, flag)) {
        arguments.push(format!("--{}", flag.long));
        arguments.push(match (&flag.field.shape, sample(flag.field)) {
            (Shape::List(list), _) if list.min_items > Some(1) => "photos/*.png".to_owned(),
            (Shape::List(_), Some(Value::Array(items))) => items.iter().map(said).collect::<Vec<_>>().join(" "),
            (_, Some(value)) => said(&value),
            (_, None) => quoted(made_up(flag.field.name)),
        });
    }
    arguments
}

/// A value as a shell is given it.
fn said(value: &Value) -> String {
    value.as_str().map_or_else(|| quoted(&value.to_string()), quoted)
}

/// A value where the description names none.
fn made_up(name: &str) -> &'static str {
    match name {
        "sd_model_checkpoint" => "photon_v1.safetensors",
        "watermarkText" => "(c) me",
        _ => "my-task-1",
    }
}

/// What must be given, and of what stands to choice the first.
fn is_in_example(operation: &Operation, flag: &Flag) -> bool {
    let chosen = operation.request.exactly_one.first().is_some_and(|path| **path == *flag.path);
    let is_leaf = !matches!(flag.field.shape, Shape::Object(_));
    chosen || flag.required && is_leaf && !flag.is_caller_id(operation)
}

/// A value that fits: what the description names as an example, or else something in the middle.
fn sample(field: &Field) -> Option<Value> {
    let described = flags::plain(field.about);
    let named = described.split('"').nth(1).filter(|text| !text.is_empty());
    let counted = described.split("such as ").nth(1).and_then(|text| text.trim_end_matches('.').parse::<f64>().ok());
    Some(match &field.shape {
        shape if flags::is_url(shape) && field.name == "callbackUrl" => {
            json!("https://example.com/callbacks/describe_image")
        }
        shape if flags::is_url(shape) => json!(file(field.name)),
        Shape::Boolean => json!(true),
        Shape::Integer(_) | Shape::Number(_) if counted.is_some() => whole(counted?),
        Shape::Integer(_) if field.name == "pageNum" => json!(1),
        Shape::Integer(rules) => match rules.one_of.first() {
            Some(first) => json!(first),
            None => json!(2.clamp(rules.minimum.unwrap_or(1), rules.maximum.unwrap_or(i64::MAX))),
        },
        Shape::Number(rules) => whole(2_f64.clamp(rules.minimum.unwrap_or(1.0), rules.maximum.unwrap_or(f64::MAX))),
        Shape::IntegerEnum(set) => json!(set.values.first()?.value),
        Shape::TextEnum(set) => json!(set.values.first()?.value),
        Shape::Text(_) if field.name == "prompt" => json!("a lighthouse at night"),
        Shape::Text(_) => json!(named?),
        Shape::List(list) => json!([item(&list.item)?]),
        Shape::Object(schema) => members(schema),
    })
}

/// A number, without a fraction where it has none.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
}

/// A file for a field that takes pictures.
fn file(name: &str) -> &'static str {
    match name {
        "maskImage" | "mask_link" => "mask.png",
        "targetUrl" => "group.png",
        _ => "photo.png",
    }
}

fn item(shape: &'static Shape) -> Option<Value> {
    match shape {
        Shape::Object(schema) => Some(members(schema)),
        shape if flags::is_url(shape) => Some(json!("photo.png")),
        _ => None,
    }
}

/// Of an object inside JSON, the pictures and the sets of values tell most.
fn members(schema: &'static Object) -> Value {
    let tells = |shape: &Shape| flags::is_url(shape) || matches!(shape, Shape::TextEnum(_) | Shape::List(_));
    let fields = schema.fields.iter().filter(|field| field.required || tells(&field.shape));
    fields.filter_map(|field| Some((field.name.to_owned(), sample(field)?))).collect::<Map<_, _>>().into()
}

fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use imgopen_types::read_value;

    use super::*;
    use crate::request::Draft;

    /// What help shows works, once its files are addresses.
    #[test]
    fn every_example_keeps_the_contract() {
        for operation in operations::ALL.iter().copied() {
            let line = example_arguments(operation).join(" ").replace("photos/*.png", &"https://a/1.png ".repeat(10));
            let line = ["photo.png", "mask.png", "group.png"]
                .into_iter()
                .fold(line, |line, file| line.replace(file, &format!("https://a/{file}")));
            let arguments = split(&line);
            let command = operation_command(Command::new(operation.id).no_binary_name(true), operation);
            let matches = command.try_get_matches_from(&arguments).unwrap_or_else(|error| panic!("{line}: {error}"));
            let mut draft = Draft::new(operation, json!({})).unwrap();
            draft.take_flags(&matches);
            draft.complete().unwrap();
            read_value(operation.request, draft.body.to_string().as_bytes())
                .unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    /// As a shell does, with single quotes only.
    fn split(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (index, part) in line.split('\'').enumerate() {
            let last = words.last_mut().unwrap();
            if index % 2 == 1 {
                last.push_str(part);
                continue;
            }
            let mut pieces = part.split(' ');
            last.push_str(pieces.next().unwrap());
            words.extend(pieces.map(str::to_owned));
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn an_operation_has_the_name_of_its_tool_as_well() {
        assert_eq!(aliases(&operations::ENLARGE_IMAGE), ["enlarge-image", "imgEnlarge"]);
        assert_eq!(aliases(&operations::TEXT_TO_IMAGE), ["text-to-image", "text2image"]);
        assert_eq!(aliases(&operations::DETECT_FACES), ["detect-faces", "face/detection"]);
        assert_eq!(aliases(&operations::CONTROLNET), [""; 0]);
        let mut all: Vec<_> = operations::ALL.iter().flat_map(|operation| aliases(operation)).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "two operations share a name");
    }
}
