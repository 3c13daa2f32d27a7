//! Writes the seeds of fuzzing: for each target a directory of inputs and a dictionary.
//!
//! `cargo run -p imgopen-fuzz --bin seeds -- DIRECTORY`

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use imgopen_fuzz::seeds::{self, Seed};

fn main() -> Result<(), Box<dyn Error>> {
    let directory: PathBuf = std::env::args_os().nth(1).ok_or("name the directory to write to")?.into();
    write(&directory, "readers", &seeds::readers(), &seeds::dictionary())?;
    write(&directory, "router", &seeds::router(), &seeds::dictionary())?;
    write(&directory, "models", &seeds::models(), &seeds::model_words())
}

fn write(directory: &Path, target: &str, seeds: &[Seed], dictionary: &str) -> Result<(), Box<dyn Error>> {
    let inputs = directory.join(target).join("seeds");
    fs::create_dir_all(&inputs)?;
    for seed in seeds {
        fs::write(inputs.join(&seed.name), &seed.bytes)?;
    }
    fs::write(directory.join(target).join("dictionary"), dictionary)?;
    Ok(())
}
