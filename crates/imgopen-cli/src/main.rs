//! The command `imgopen`.

mod args;
mod callbacks;
mod config;
mod keys;
mod output;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("imgopen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Keys(keys) => keys::run(keys),
        Command::Config(config) => config::run(config),
        Command::Callbacks(callbacks) => callbacks::run(callbacks),
    }
}
