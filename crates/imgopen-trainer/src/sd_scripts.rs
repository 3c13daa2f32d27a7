//! How sd-scripts of kohya-ss is run: its settings, what is wrong with them, and the words of a command line.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::plan::TrainingPlan;

/// The script that every installation has.
const SCRIPT: &str = "train_network.py";

/// Flags that the plan of each training sets.
pub(crate) const OWN: [&str; 7] = [
    "--pretrained_model_name_or_path",
    "--train_data_dir",
    "--output_dir",
    "--output_name",
    "--logging_dir",
    "--tokenizer_cache_dir",
    "--network_args",
];

/// How sd-scripts of kohya-ss is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SdScripts {
    /// The directory of its scripts.
    pub scripts: PathBuf,
    /// The program `accelerate`: its path, or its name if it is in one of the directories of `PATH`.
    pub accelerate: PathBuf,
    /// The directory of the tokenizers, which the trainer fetches otherwise.
    pub tokenizers: Option<PathBuf>,
    /// Further words for the script. They count more than the same ones of a request.
    pub arguments: Vec<String>,
    /// The device that a training needs for itself.
    pub device: Option<String>,
    /// Whether to train on the processor, where mixed precision does not work.
    pub cpu: bool,
    /// The program that starts others by its command `launch`, so that they end with this process.
    pub launcher: Option<PathBuf>,
}

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}`: {problem}")]
pub struct InvalidSetup {
    /// The name of the setting.
    pub setting: &'static str,
    /// What is wrong and how to fix it.
    pub problem: String,
}

impl SdScripts {
    /// Checks the settings, and makes paths absolute, because the trainer runs in another directory.
    pub(crate) fn checked(&self) -> Result<Self, InvalidSetup> {
        let wrong = |setting, problem| InvalidSetup { setting, problem };
        let absolute = |setting, path: &Path| {
            std::path::absolute(path).map_err(|error| wrong(setting, format!("{}: {error}", path.display())))
        };
        let scripts = absolute("scripts", &self.scripts)?;
        if !scripts.join(SCRIPT).is_file() {
            let problem =
                format!("{} has no `{SCRIPT}`; give the directory of sd-scripts of kohya-ss", scripts.display());
            return Err(wrong("scripts", problem));
        }
        let Some(accelerate) = find(&self.accelerate, std::env::var_os("PATH").as_deref()) else {
            let problem = format!(
                "there is no program {}; give the path of `accelerate`, such as that in the virtual environment of sd-scripts",
                self.accelerate.display()
            );
            return Err(wrong("accelerate", problem));
        };
        let accelerate = absolute("accelerate", &accelerate)?;
        let tokenizers = self.tokenizers.as_deref().map(|path| absolute("tokenizers", path)).transpose()?;
        if let Some(directory) = tokenizers.as_ref().filter(|directory| !directory.is_dir()) {
            let problem = format!("{} is not a directory; give the one that holds the tokenizers", directory.display());
            return Err(wrong("tokenizers", problem));
        }
        let flag = |word: &String| word.split('=').next().unwrap_or_default().to_owned();
        if let Some(own) = self.arguments.iter().map(flag).find(|flag| OWN.contains(&flag.as_str())) {
            return Err(wrong("arguments", format!("`{own}` is set for each training; leave it out")));
        }
        Ok(Self { scripts, accelerate, tokenizers, ..self.clone() })
    }

    /// Returns the words of a training's command line, the program first.
    pub(crate) fn command(&self, plan: &TrainingPlan) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(launcher) = &self.launcher {
            words.push(launcher.into());
            // It starts others.
            words.extend(["launch".into(), "--group".into()]);
        }
        words.push((&self.accelerate).into());
        let tokenizers = self.tokenizers.iter().map(|directory| {
            let mut word = OsString::from("--tokenizer_cache_dir=");
            word.push(directory);
            word
        });
        let mut further: Vec<OsString> = tokenizers.chain(self.arguments.iter().map(OsString::from)).collect();
        let mut has_script = false;
        for (index, word) in plan.command.iter().enumerate().skip(1) {
            if !has_script && word.ends_with(".py") {
                has_script = true;
                words.push(self.scripts.join(word).into());
                continue;
            }
            // The last flag of the command, which takes all words that follow it.
            if word == "--network_args" {
                words.append(&mut further);
            }
            words.push(word.into());
            if index == 1 && self.cpu {
                words.push("--cpu".into());
            }
        }
        words.append(&mut further);
        words
    }
}

/// Finds a program by its path, or in the directories of `PATH` if it is a name.
fn find(program: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let directories = std::env::split_paths(path?).collect::<Vec<_>>();
    directories.into_iter().map(|directory| directory.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn plan(words: &[&str]) -> TrainingPlan {
        let command = words.iter().map(|word| (*word).to_owned()).collect();
        TrainingPlan { folder: "datasets/1".into(), command, base_model: None, name: None }
    }

    #[test]
    fn an_invalid_setting_is_named_with_its_fix() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("accelerate");
        fs::write(&program, "").unwrap();
        let valid = SdScripts { scripts: directory.path().into(), accelerate: program.clone(), ..SdScripts::default() };
        assert!(valid.checked().unwrap_err().to_string().starts_with("`scripts`: "));
        fs::write(directory.path().join(SCRIPT), "").unwrap();
        assert_eq!(valid.checked().unwrap(), valid);
        let missing = || directory.path().join("missing");
        for (changed, setting) in [
            (SdScripts { scripts: missing(), ..valid.clone() }, "scripts"),
            (SdScripts { accelerate: missing(), ..valid.clone() }, "accelerate"),
            (SdScripts { accelerate: "no-such-program-anywhere".into(), ..valid.clone() }, "accelerate"),
            (SdScripts { tokenizers: Some(program), ..valid.clone() }, "tokenizers"),
            (SdScripts { arguments: vec!["--sdpa".into(), "--output_dir=/".into()], ..valid.clone() }, "arguments"),
        ] {
            assert_eq!(changed.checked().unwrap_err().setting, setting);
        }
    }

    #[test]
    fn a_program_is_found_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("accelerate");
        fs::write(&program, "").unwrap();
        let path = std::env::join_paths([Path::new("/nowhere"), directory.path()]).unwrap();
        assert_eq!(find(Path::new("accelerate"), Some(&path)), Some(program));
        assert_eq!(find(Path::new("accelerate"), Some(OsStr::new("/nowhere"))), None);
        assert_eq!(find(Path::new("accelerate"), None), None);
    }

    #[test]
    fn the_command_names_paths_and_further_words_before_the_last_flag() {
        let setup = SdScripts {
            scripts: "/opt/sd-scripts".into(),
            accelerate: "/opt/venv/accelerate".into(),
            tokenizers: Some("/opt/tok".into()),
            arguments: vec!["--sdpa".into()],
            cpu: true,
            launcher: Some("/bin/imgopen".into()),
            ..SdScripts::default()
        };
        let words = ["accelerate", "launch", "--num_cpu_threads_per_process=2", "train_network.py", "--seed=1"];
        let expected = "/bin/imgopen launch --group /opt/venv/accelerate launch --cpu --num_cpu_threads_per_process=2 \
                        /opt/sd-scripts/train_network.py --seed=1 --tokenizer_cache_dir=/opt/tok --sdpa";
        let joined = |plan: &TrainingPlan| setup.command(plan).join(OsStr::new(" ")).into_string().unwrap();
        assert_eq!(joined(&plan(&words)), expected);
        let with_last = [&words[..], &["--network_args", "preset=my.py"]].concat();
        assert_eq!(joined(&plan(&with_last)), format!("{expected} --network_args preset=my.py"));
    }
}
