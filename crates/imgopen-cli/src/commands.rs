//! The commands, one file each.

mod backends;
mod backup;
mod callbacks;
mod completions;
mod config;
mod data;
mod demo;
mod doctor;
mod engines;
mod first_key;
mod keys;
mod launch;
mod licences;
mod listen;
mod models;
mod moves;
mod net;
mod packs;
mod restore;
mod run;
mod serve;
mod tasks;
mod train;
mod workers;

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
        Command::Backends(command) => backends::run(command, json),
        Command::Keys(command) => keys::run(command, json),
        Command::Workers(command) => workers::run(command, json),
        Command::Backup(args) => backup::run(&args, json),
        Command::Restore(args) => restore::run(&args, json),
        Command::Move(args) => moves::run(args, json),
        Command::Doctor(args) => doctor::run(&args, json),
        Command::Config(command) => config::run(command, json),
        Command::Callbacks(command) => callbacks::run(command, json),
        Command::Completions { shell } => completions::run(shell),
        Command::Licences => licences::run(json),
        Command::Launch(args) => launch::launch(args),
        Command::Guard(args) => launch::guard(&args),
        Command::Net(args) => net::run(args),
    }
}
