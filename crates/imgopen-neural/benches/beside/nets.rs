//! Single runs of nets beside ONNX Runtime in Python, with the same number of threads.

use std::path::PathBuf;

use imgopen_nets::runtime::Runtime;
use imgopen_nets::{Limits, Net, Tensor};
use imgopen_packs::{Catalogue, Packs};

use crate::peer::Peer;
use crate::{Bench, Result, times};

/// By ONNX Runtime from Rust, at most so many times the time.
const SAME: f64 = 1.1;

/// A net: its pack and file, the shape that it is given, the rounds, and how many times the time rten may take at most.
type Case = (&'static str, &'static str, [usize; 4], usize, f64);

const CASES: [Case; 3] = [
    ("upscale", "realesr-animevideov3-x2.onnx", [1, 3, 256, 256], 21, 1.3),
    ("upscale", "realesrgan-x4plus.onnx", [1, 3, 72, 72], 9, 2.5),
    ("background", "isnet-medium.onnx", [1, 3, 1024, 1024], 9, 2.5),
];

pub fn compare(bench: &Bench) -> Result<()> {
    for runtime in bench.runtimes()? {
        for case in CASES {
            compare_case(bench, case, &*runtime)?;
        }
    }
    Ok(())
}

fn compare_case(bench: &Bench, case: Case, runtime: &dyn Runtime) -> Result<()> {
    let (pack, file, shape, rounds, by_rten) = case;
    let Some(path) = self::file(bench, pack, file) else {
        println!("  the pack `{pack}` is not there");
        return Ok(());
    };
    // As the engines open it.
    let net = Net::open(&path, runtime, &Limits { side: Some(256), ..Limits::default() })?;
    let sides = shape.map(|side| side.to_string()).join("x");
    let (threads, path) = (bench.threads.to_string(), path.to_str().ok_or("the path is not UTF-8")?.to_owned());
    let mut peer = Peer::start("onnxruntime", &[&path, &threads, &sides], &bench.models)?;
    let mut state = 7_u32;
    let mut number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let numbers: Vec<f32> = (0..shape.iter().product::<usize>()).map(|_| number()).collect();
    let tensor = Tensor::new(shape, numbers)?;
    let ports = net.file();
    let input = ports.inputs().first().ok_or("the net has no input")?.name.clone();
    let output = ports.outputs().first().ok_or("the net has no output")?.name.clone();
    let ours = || -> Result<()> {
        let [_] = net.run(&[(input.as_str(), &tensor)], [output.as_str()])?;
        Ok(())
    };
    let (name, most) = (runtime.name(), if runtime.name() == "rten" { by_rten } else { SAME });
    times(&format!("{file} on {sides} by {name}"), rounds, Some(most), ours, || peer.work("", None))
}

/// Returns the path of a file of a pack, if the pack is there.
pub fn file(bench: &Bench, pack: &str, file: &str) -> Option<PathBuf> {
    Packs::in_models(&bench.models).file(Catalogue::built_in().find(pack).ok()?, file)
}
