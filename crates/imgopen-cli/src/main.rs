//! The command `imgopen`.

mod args;
mod callbacks;
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

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let as_json = args.is_json();
    let Err(error) = run(args) else { return ExitCode::SUCCESS };
    if let Some(told) = failure::as_json(&error).filter(|_| as_json) {
        // Whoever reads no more gets the exit code.
        let _ = output::print_json(&told);
    }
    anstream::eprintln!("imgopen: {error:#}");
    ExitCode::from(failure::exit_of(&error) as u8)
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
        Command::Completions { shell } => completions(shell),
    }
}

/// Prints a script for a shell.
fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "imgopen", &mut script);
    output::print(&String::from_utf8(script)?)
}
