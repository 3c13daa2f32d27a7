//! Whether sd-scripts still has the options that trainings pass. The sources of the program in `IMGOPEN_TEST_SD_SCRIPTS` are read,
//! because it takes PyTorch to print its help; without the variable, only the reading is tested.
#![allow(clippy::unwrap_used)]

mod options;
/// By the same comparison, the drivers of image generation servers compare what those answer.
#[path = "../../../imgopen-backends/tests/suite/shape.rs"]
mod shape;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use options::options;
use shape::drift;

/// The sources that come first: of an option that several scripts have, theirs counts.
const FIRST: [&str; 3] = ["train_network.py", "sdxl_train_network.py", "library/train_util.py"];

/// The options that trainings pass, as `src/plan/tests.rs` checks.
fn recorded() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/options.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The sources of a program that define options.
fn sources(scripts: &Path) -> Vec<PathBuf> {
    let mut others: Vec<PathBuf> =
        std::fs::read_dir(scripts.join("library")).unwrap().map(|file| file.unwrap().path()).collect();
    others.retain(|path| path.extension().is_some_and(|extension| extension == "py"));
    others.sort();
    FIRST.iter().map(|name| scripts.join(name)).chain(others).collect()
}

#[test]
fn sd_scripts_has_the_recorded_options() {
    let Some(scripts) = std::env::var_os("IMGOPEN_TEST_SD_SCRIPTS").map(PathBuf::from) else {
        return println!("no sd-scripts is named");
    };
    let mut now = json!({});
    for source in sources(&scripts) {
        let text = std::fs::read_to_string(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        for (name, option) in options(&text) {
            let known = now.as_object_mut().unwrap();
            known.entry(name).or_insert(option);
        }
    }
    assert_eq!(drift(&recorded(), &now), [""; 0]);
}

/// Written as sd-scripts writes them.
const SOURCE: &str = r#"
def add_arguments(parser: argparse.ArgumentParser):
    # parser.add_argument("--old", type=int)
    parser.add_argument("--v2", action="store_true", help="load Stable Diffusion v2.0 model / (2.0の, モデル)")
    parser.add_argument(
        "--save_precision",
        type=str,
        default=None,
        choices=[None, "float", "fp16", 'bf16'],
        help="precision in saving, 'float' or \"fp16\", bf16 is for newer ones)"
        + " / 保存時に精度を変更して保存する",
    )
    parser.add_argument("--seed", "-s", type=int, default=None, help="random seed (e.g. 1,2)")
    parser.add_argument("--lr_warmup_steps", type=int_or_float, default=0)
    parser.add_argument("--text_encoder_lr", type=float, default=None, nargs="*")
    parser.add_argument("--output_dir", default=None)
"#;

#[test]
fn options_are_read_from_sources() {
    let read: Value = options(SOURCE).into_iter().collect();
    let precision = json!({"takes": "", "choices": {"float": true, "fp16": true, "bf16": true}});
    let expected = json!({
        "--v2": {"takes": false}, "--save_precision": precision, "--seed": {"takes": 0},
        "--lr_warmup_steps": {"takes": 0}, "--text_encoder_lr": {"takes": []}, "--output_dir": {"takes": ""},
    });
    assert_eq!(read, expected);
}

#[test]
fn an_option_that_changes_is_found() {
    let now = |source: &str| options(source).into_iter().collect::<Value>();
    let before = now(SOURCE);
    for (old, new, found) in [
        ("\"--seed\"", "\"--random_seed\"", "`.--seed` was a object, and is None"),
        ("\"--v2\", action=\"store_true\"", "\"--v2\"", "`.--v2.takes` was a boolean, and is Some(\"text\")"),
        ("\"fp16\", 'bf16'", "\"fp16\"", "`.--save_precision.choices.bf16` was a boolean, and is None"),
    ] {
        let drifted = drift(&before, &now(&SOURCE.replacen(old, new, 1)));
        assert!(drifted.iter().any(|drifted| drifted == found), "{drifted:?}");
    }
    // Nothing else that changes matters.
    let more = format!("{SOURCE}\n    parser.add_argument(\"--new\", type=str)\n");
    assert_eq!(drift(&before, &now(&more)), [""; 0]);
}
