//! A trainer made of recordings: a program `accelerate` and a directory of scripts, as nasty as the originals. What a training
//! does follows from its name: those that begin with `fails`, `hangs`, `nothing` or `killed` do so, and others make a LoRA.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// As `accelerate launch`: it runs the script as a process of its own, does not pass on the signals that it gets, and prints an
/// error of its own behind that of the script.
const ACCELERATE: &str = r#"#!/bin/sh
while case "$1" in *.py) false ;; *) true ;; esac; do shift; done
sh "$@" &
wait $!
code=$?
[ $code -eq 0 ] && exit 0
echo "Traceback (most recent call last):" >&2
echo "  File \"/opt/venv/bin/accelerate\", line 8, in <module>" >&2
if [ $code -eq 137 ]; then
  echo "subprocess.CalledProcessError: Command '$1' died with <Signals.SIGKILL: 9>." >&2
else
  echo "subprocess.CalledProcessError: Command '$1' returned non-zero exit status $code." >&2
fi
exit 1
"#;

/// As `train_network.py`, by what it prints and makes.
const SCRIPT: &str = r#"
here=$(dirname "$0")
for word in "$@"; do
  case "$word" in
    --output_name=*) name=${word#*=} ;;
    --pretrained_model_name_or_path=*) base=${word#*=} ;;
  esac
done
echo "$name" >> "$here/starts"
printf '%s\n' "$@" > "$here/arguments"
[ "$PYTHONUNBUFFERED$HF_HUB_OFFLINE$TRANSFORMERS_OFFLINE" = 111 ] || exit 2
[ -f "$base" ] && [ -d img ] && [ -d logs ] || exit 2
[ -z "$(ls output)" ] || exit 2
case "$name" in
  fails*)
    sed 's/^\[traceback cut\]$/Traceback (most recent call last):/' "$here/run_bf16_on_cpu.stderr.txt" >&2
    exit 1 ;;
  hangs*)
    cat "$here/run_killed.stdout.txt"
    echo half > "output/$name.safetensors"
    sleep 600 &
    cat "$here/run_killed.stderr.txt" >&2
    wait ;;
  nothing*)
    exit 0 ;;
  killed*)
    kill -9 $$ ;;
  *)
    cat "$here/run_ok.stdout.txt"
    cat "$here/run_ok.stderr.txt" >&2
    cp "$here/lora" "output/$name.safetensors" ;;
esac
"#;

/// A tensor that shows a LoRA for SD 1.5.
const LORA: &str = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight";

/// A tensor that shows a checkpoint of SD 1.5.
const UNET: &str = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";

/// The trainer, in a directory of its own.
pub struct FakeTrainer {
    directory: TempDir,
}

impl FakeTrainer {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("accelerate"), ACCELERATE).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(path.join("accelerate"), fs::Permissions::from_mode(0o755)).unwrap();
        }
        for script in ["train_network.py", "sdxl_train_network.py"] {
            fs::write(path.join(script), SCRIPT).unwrap();
        }
        let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../imgopen-trainer/tests/recordings");
        for recording in fs::read_dir(recordings).unwrap().map(Result::unwrap) {
            fs::copy(recording.path(), path.join(recording.file_name())).unwrap();
        }
        fs::write(path.join("lora"), Self::lora()).unwrap();
        fs::write(path.join("starts"), "").unwrap();
        Self { directory }
    }

    /// The directory of the scripts.
    pub fn scripts(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub fn accelerate(&self) -> PathBuf {
        self.directory.path().join("accelerate")
    }

    /// The names of the trainings that were started, in order.
    pub fn starts(&self) -> Vec<String> {
        fs::read_to_string(self.directory.path().join("starts")).unwrap().lines().map(str::to_owned).collect()
    }

    /// The words that the last training was started with.
    #[allow(dead_code)]
    pub fn arguments(&self) -> Vec<String> {
        fs::read_to_string(self.directory.path().join("arguments")).unwrap().lines().map(str::to_owned).collect()
    }

    /// The LoRA that it makes.
    pub fn lora() -> Vec<u8> {
        safetensors(LORA, &[2, 768])
    }

    /// Puts the base model `base.safetensors` into a models directory.
    pub fn base_model(models: &Path) {
        fs::create_dir_all(models.join("checkpoints")).unwrap();
        fs::write(models.join("checkpoints/base.safetensors"), safetensors(UNET, &[2, 768])).unwrap();
    }
}

/// Counts the running processes that belong to a task.
pub fn processes(task: &str) -> usize {
    let mark = format!("IMGOPEN_TRAINING={task}");
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    // Those that have ended have no variables.
    let variables = processes.filter_map(|process| fs::read(process.path().join("environ")).ok());
    variables.filter(|all| all.split(|byte| *byte == 0).any(|one| one == mark.as_bytes())).count()
}

/// A safetensors file of one tensor.
fn safetensors(name: &str, shape: &[usize]) -> Vec<u8> {
    let size: usize = shape.iter().product();
    let header = format!(r#"{{"{name}":{{"dtype":"U8","shape":{shape:?},"data_offsets":[0,{size}]}}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + size, 0);
    file
}
