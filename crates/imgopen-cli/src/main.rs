//! The command `imgopen`.

mod args;
mod backends;
mod commands;
mod failure;
mod files;
mod interrupt;
mod job;
mod log;
mod output;
mod random;
mod remote;
mod request;
mod runtime;
mod settings;
mod sizes;
mod text;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use args::Args;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage::exit(error),
    };
    let as_json = args.json;
    let Err(error) = commands::run(args) else { return ExitCode::SUCCESS };
    if as_json && let Some(json) = failure::as_json(&error) {
        // If standard output is closed, the exit code remains.
        let _ = output::print_json(&json);
    }
    output::note(&format!("{error:#}"));
    ExitCode::from(failure::exit_of(&error) as u8)
}
