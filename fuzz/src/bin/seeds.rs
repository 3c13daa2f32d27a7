//! Writes what fuzzing starts from: for each target a folder of inputs and a dictionary.
//!
//! `cargo run -p imgopen-fuzz --bin seeds -- FOLDER`

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use imgopen_fuzz::seeds::{self, Seed};

fn main() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("name the folder to write to")?.into();
    write(&folder, "readers", &seeds::readers())?;
    write(&folder, "router", &seeds::router())
}

fn write(folder: &Path, target: &str, seeds: &[Seed]) -> Result<(), Box<dyn Error>> {
    let inputs = folder.join(target).join("seeds");
    fs::create_dir_all(&inputs)?;
    for seed in seeds {
        fs::write(inputs.join(&seed.name), &seed.bytes)?;
    }
    fs::write(folder.join(target).join("dictionary"), seeds::dictionary())?;
    Ok(())
}
