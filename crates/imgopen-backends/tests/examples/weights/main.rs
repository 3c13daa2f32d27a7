//! Writes models of random weights, for tests of programs that make pictures: `weights DIRECTORY [NAME...]`.
//!
//! The directory is laid out as ComfyUI's. The nets have the names and shapes that programs know them by; the FLUX.1 is a tiny
//! one, of width 256 with a block of each kind. Pictures made with them show noise. A file that is there is left alone.
#![allow(clippy::unwrap_used)]

mod flux;
mod net;
mod noise;
mod parts;
mod stable_diffusion;

use std::path::Path;
use std::time::Instant;

use net::Net;
use noise::Noise;

type Make = fn() -> Net;

/// All files, with the functions that make their nets.
const FILES: [(&str, Make); 7] = [
    ("checkpoints/random-sd15", stable_diffusion::checkpoint),
    ("controlnet/random-cn", stable_diffusion::control_net),
    ("loras/random-lora", || stable_diffusion::lora(768)),
    // Of the width of SDXL, so that its tensors do not fit.
    ("loras/random-lora-sdxl", || stable_diffusion::lora(2048)),
    ("diffusion_models/random-flux-dev", flux::transformer),
    ("vae/random-ae", flux::vae),
    ("text_encoders/random-clip-l", flux::text_encoder),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("give the directory to write into");
    let names: Vec<_> = arguments.collect();
    for name in &names {
        let known = FILES.map(|(path, _)| stem(path));
        assert!(known.contains(&name.as_str()), "`{name}` is not one of {known:?}");
    }
    let noise = Noise::new();
    for (path, make) in FILES {
        let file = Path::new(&folder).join(format!("{path}.safetensors"));
        if file.exists() || !(names.is_empty() || names.iter().any(|name| stem(path) == name)) {
            continue;
        }
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let (net, begun) = (make(), Instant::now());
        net.write(&noise, &file);
        let megabytes = std::fs::metadata(&file).unwrap().len() as f64 / 1e6;
        println!("{}: {} tensors, {megabytes:.1} MB, {:.1?}", file.display(), net.len(), begun.elapsed());
    }
}

fn stem(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}
