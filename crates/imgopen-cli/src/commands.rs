//! The commands, one file each.

mod callbacks;
mod completions;
mod config;
mod data;
mod demo;
mod engines;
mod keys;
mod listen;
mod models;
mod run;
mod serve;
mod tasks;
mod train;

use crate::args::{Args, Command};

/// Runs a command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let json = args.json;
    match args.command {
        Command::Demo(args) => demo::run(&args, json),
        Command::Run(call) => run::run(*call, json),
        Command::Tasks(command) => tasks::run(command, json),
        Command::Models(command) => models::run(command, json),
        Command::Train(command) => train::run(command, json),
        Command::Serve(args) => serve::run(&args),
        Command::Keys(command) => keys::run(command, json),
        Command::Config(command) => config::run(command, json),
        Command::Callbacks(command) => callbacks::run(command, json),
        Command::Completions { shell } => completions::run(shell),
    }
}
