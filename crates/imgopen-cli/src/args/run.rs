//! The arguments of `imgopen run`: a subcommand for each operation, built from the tables of the contract.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use imgopen_types::{Operation, operations};

use super::connection::Connection;
use super::job::{JobOptions, TRAINING_TIMEOUT};
use crate::request::{argument, describe, example, flags};

/// The call of one operation.
#[derive(Debug, Clone)]
pub struct Call {
    /// The operation.
    pub operation: &'static Operation,
    /// The command as typed, such as `run enlarge_image`.
    pub command: String,
    /// The fields that were given.
    pub matches: ArgMatches,
    /// The flags that all operations take.
    pub options: Options,
    /// The flags for jobs, if the operation starts one.
    pub job: Option<JobOptions>,
    /// Pictures that came from another flag than the field's.
    pub images: Vec<String>,
}

impl Call {
    /// Builds a call from the matches of an operation's command.
    pub fn of(operation: &'static Operation, matches: &ArgMatches) -> Result<Self, clap::Error> {
        let options = Options::from_arg_matches(matches)?;
        let job = operation.job.as_ref().map(|_| JobOptions::from_arg_matches(matches)).transpose()?;
        let (command, matches) = (format!("run {}", operation.id), matches.clone());
        Ok(Self { operation, command, matches, options, job, images: Vec::new() })
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
                // Only the command that is called is built completely.
                let command = match imgopen_types::operation::find(command.get_name()) {
                    Some(operation) => operation_command(command, operation),
                    None => command,
                };
                // Help shows headings in the order of the arguments, and the global ones are there first.
                let global = command.get_arguments().filter(|argument| argument.is_global_set());
                let global: Vec<_> = global.map(|argument| argument.get_id().clone()).collect();
                global.into_iter().fold(command, |command, id| command.mut_arg(id, |argument| argument))
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

/// The flags that all operations take.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options")]
pub struct Options {
    /// A file with the request as JSON, or - for standard input; flags override its fields. JSON on a pipe is read without
    /// this flag if fields are required and none is given.
    #[arg(long, value_name = "FILE|-")]
    pub request: Option<PathBuf>,
    #[command(flatten)]
    pub connection: Connection,
}

/// Adds all flags of an operation to a command, required fields first.
pub fn operation_command(command: Command, operation: &'static Operation) -> Command {
    let all = flags::flags(operation);
    let (needed, others): (Vec<_>, Vec<_>) = all.iter().partition(|flag| flag.is_needed(operation));
    let mut command = command.args(operation.parameters.iter().map(argument::parameter));
    command = command.args(needed.iter().chain(&others).map(|flag| argument::argument(flag, operation, &all)));
    if operation.job.is_some() {
        command = JobOptions::augment_args(command);
    }
    if *operation == operations::SUBMIT_TRAINING {
        command = command.mut_arg("timeout", |argument| argument.default_value(TRAINING_TIMEOUT));
    }
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print help");
    let command = Options::augment_args(command).disable_version_flag(true).disable_help_flag(true);
    let about = describe::operation(operation, &all);
    command.arg(help.help_heading("Options")).about(about).after_help(example::example(operation))
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

/// Lists all operations by group, because clap lists subcommands without groups.
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
        let is_self_hosted = tagged.clone().all(|operation| operation.document != "imgopen");
        let mut title = tag.to_owned();
        title[..1].make_ascii_uppercase();
        text += &format!("\n{title}{}:\n", if is_self_hosted { " (only self-hosted servers)" } else { "" });
        for operation in tagged {
            text += &format!("  {:<20} {}\n", operation.id, operation.summary);
        }
    }
    text + "\nOptions:\n{options}{after-help}"
}

#[cfg(test)]
mod tests;
