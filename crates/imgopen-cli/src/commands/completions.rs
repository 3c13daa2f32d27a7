//! `imgopen completions`.

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;

use crate::args::Args;
use crate::output::print_script;

/// Prints the completion script for a shell.
pub fn run(shell: Shell) -> anyhow::Result<()> {
    let mut command = Args::command();
    command.build();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut fitted(command, shell), "imgopen", &mut script);
    print_script(&String::from_utf8(script)?)
}

/// Adapts a command to the scripts' limits: those of some shells split values at spaces, and those of bash complete only the
/// names that help shows.
fn fitted(command: Command, shell: Shell) -> Command {
    let splits_values = matches!(shell, Shell::Bash | Shell::Fish);
    let command = command.mut_args(|argument| if splits_values { without_spaces(argument) } else { argument });
    let names: Vec<_> = command.get_all_aliases().map(str::to_owned).collect();
    let command = command.visible_aliases(names);
    command.mut_subcommands(|inner| fitted(inner, shell))
}

/// Removes the values that contain a space.
fn without_spaces(argument: Arg) -> Arg {
    let values: Vec<_> = argument.get_possible_values();
    let whole: Vec<_> = values.iter().filter(|value| !value.get_name().contains(' ')).cloned().collect();
    if whole.len() == values.len() { argument } else { argument.value_parser(PossibleValuesParser::new(whole)) }
}
