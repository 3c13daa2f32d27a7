//! Expands a prompt for SD and for SDXL: `cargo run -p imgopen-tools --example prompts -- a lighthouse at night`.

use imgopen_tools::prompts::{Mode, Sampling, expand, tokens};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    for mode in [Mode::Sd, Mode::Sdxl] {
        for prompt in expand(&source, mode, &Sampling::default(), 3)? {
            println!("{mode:?}, about {} tokens: {prompt}\n", tokens(&prompt));
        }
    }
    Ok(())
}
