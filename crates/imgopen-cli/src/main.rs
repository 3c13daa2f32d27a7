//! The command `imgopen`.

mod args;
mod callbacks;
mod completions;
mod config;
mod demo;
mod extras;
mod failure;
mod files;
mod flags;
mod interrupt;
mod keys;
mod listen;
mod models;
mod output;
mod remote;
mod request;
mod run;
mod serve;
mod task;
mod train;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use failure::{Exit, Failure};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return unread(&error),
    };
    let as_json = args.is_json();
    let Err(error) = run(args) else { return ExitCode::SUCCESS };
    if as_json {
        tell(&error);
    }
    output::note(&format!("{error:#}"));
    ExitCode::from(failure::exit_of(&error) as u8)
}

/// Ends with what is wrong with the command line, or with the help that was asked for.
fn unread(error: &clap::Error) -> ExitCode {
    // Whether JSON is wanted is all that can be told of a line that cannot be read.
    let mut words = std::env::args_os().skip(1).take_while(|word| word != "--");
    let wants_json = |word: OsString| word == "--json" || word.as_encoded_bytes().starts_with(b"--json=");
    if error.exit_code() == Exit::Usage as i32 && words.any(wants_json) {
        let message = error.render().to_string();
        tell(&Failure::usage(message.trim_start_matches("error: ").trim_end()).into());
    }
    // Whoever reads no more gets the exit code.
    let _ = error.print();
    ExitCode::from(error.exit_code() as u8)
}

/// Prints a failure as JSON, unless the command has told it already.
fn tell(error: &anyhow::Error) {
    if let Some(told) = failure::as_json(error) {
        // Whoever reads no more gets the exit code.
        let _ = output::print_json(&told);
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Demo(demo) => demo::run(&demo),
        Command::Run(call) => run::run(*call),
        Command::Tasks(tasks) => task::run(tasks),
        Command::Models(models) => models::run(models),
        Command::Train(train) => train::run(train),
        Command::Serve(serve) => serve::run(&serve),
        Command::Keys(keys) => keys::run(keys),
        Command::Config(config) => config::run(config),
        Command::Callbacks(callbacks) => callbacks::run(callbacks),
        Command::Completions { shell } => completions::run(shell),
    }
}
