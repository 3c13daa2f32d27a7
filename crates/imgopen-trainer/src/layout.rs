//! The directory of a training, as sd-scripts of kohya-ss expects it: pictures with captions beside them, directories for
//! what is trained and for logs, a link to the base model, and the command as a script.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use imgopen_engine::{EngineError, Input, Job, Monitor, PictureLimits};
use imgopen_picture::{Header, InputError, inspect, inspect_whole};
use imgopen_types::SubmitTrainingRequest;
use tokio::task::spawn_blocking;

use crate::captions::caption;
use crate::fetched::Fetched;
use crate::files::{create, failed, remove, write};
use crate::plain::plain;
use crate::plan::{self, BASE, LOGS, OUTPUT, TrainingPlan};
use crate::settings::{caches_latents, has_buckets, is_on};

/// The command as a script.
pub(crate) const SCRIPT: &str = "train.sh";

/// Fetches the pictures of a job into a directory, and writes everything else that the trainer needs. The directory may
/// hold what an interrupted run of the task has left.
pub(crate) async fn lay_out(
    job: &Job,
    request: &SubmitTrainingRequest,
    plan: &TrainingPlan,
    directory: &Path,
    monitor: &Monitor,
) -> Result<(), EngineError> {
    let pictures = directory.join(plan::pictures(request));
    create(&pictures).await?;
    let fetched = Fetched::open(directory, &pictures, job.run_id()).await?;
    let mut names = BTreeSet::new();
    for index in 0..request.file_url_list.len() {
        let field = format!("fileUrlList[{index}]");
        let ((input, caption), earlier) = match fetched.picture(&field).await {
            Some(picture) => (picture, fetched.name(&field)),
            None => (fetch(job, &field, monitor).await?, None),
        };
        // It may have been written again, as a larger file than one that is fetched may be.
        let limits = PictureLimits { bytes: u64::MAX, ..*job.limits() };
        let header = inspect(&input.bytes, &limits).map_err(|problem| InputError::new(&input, problem))?;
        check_size(&input, &header, request, plan)?;
        let name = match earlier {
            Some(name) => name.to_owned(),
            None => {
                let name = format!("{:04}.{}", index + 1, header.format.extension());
                fetched.add(&input, &name, caption.as_deref()).await?;
                name
            }
        };
        if let Some(caption) = caption {
            let text = format!("{:04}.txt", index + 1);
            write(&pictures.join(&text), caption.as_bytes()).await?;
            names.insert(text);
        }
        names.insert(name);
    }
    fetched.close(names).await?;
    create(&directory.join(OUTPUT)).await?;
    create(&directory.join(LOGS)).await?;
    remove(&directory.join(BASE)).await?;
    if let Some(model) = &plan.base_model {
        link(model, &directory.join(BASE)).await?;
    }
    write_script(plan, &directory.join(SCRIPT)).await
}

/// Fetches a picture. Returns it as the trainer reads it, and its caption.
async fn fetch(job: &Job, field: &str, monitor: &Monitor) -> Result<(Input, Option<String>), EngineError> {
    let input = job.fetch(field).await?;
    check(&input, job.limits()).await?;
    let caption = caption(&input.bytes);
    Ok((plain(input, job.limits(), monitor).await?, caption))
}

/// Checks that a file, which may be given to the trainer as it is, is a whole picture.
async fn check(input: &Input, limits: &PictureLimits) -> Result<(), EngineError> {
    let (bytes, limits) = (input.bytes.clone(), *limits);
    let checked = spawn_blocking(move || inspect_whole(&bytes, &limits)).await;
    let checked = checked.map_err(|error| EngineError::Failed(format!("a picture could not be checked: {error}")))?;
    checked.map(drop).map_err(|problem| InputError::new(input, problem).into())
}

/// Without buckets pictures are neither scaled nor, unless asked for, cropped. The trainer scales them only if it encodes
/// them once and keeps the result.
fn check_size(
    input: &Input,
    header: &Header,
    request: &SubmitTrainingRequest,
    plan: &TrainingPlan,
) -> Result<(), EngineError> {
    if has_buckets(request) || caches_latents(request) {
        return Ok(());
    }
    let size = plan.command.iter().find_map(|word| word.strip_prefix("--resolution=")?.parse::<u32>().ok());
    let size = size.unwrap_or_default();
    let (width, height) = (header.width, header.height);
    let fits = match is_on(request.random_crop) {
        true => width >= size && height >= size,
        false => (width, height) == (size, size),
    };
    if fits {
        return Ok(());
    }
    let problem = format!(
        "is {width}x{height} pixels, and without `enableBucket` the trainer takes {size}x{size} as it is; give pictures of \
         that size, or `enableBucket` as true"
    );
    Err(InputError::new(input, problem).into())
}

/// Links a file into a directory, under its own name.
async fn link(file: &Path, directory: &Path) -> Result<(), EngineError> {
    create(directory).await?;
    let link = directory.join(file.file_name().unwrap_or_default());
    let linked = link_file(file, &link).await;
    linked.map_err(|error| failed(&link, &error))
}

#[cfg(unix)]
async fn link_file(file: &Path, link: &Path) -> std::io::Result<()> {
    let file: PathBuf = tokio::fs::canonicalize(file).await?;
    tokio::fs::symlink(file, link).await
}

#[cfg(not(unix))]
async fn link_file(file: &Path, link: &Path) -> std::io::Result<()> {
    tokio::fs::hard_link(file, link).await
}

async fn write_script(plan: &TrainingPlan, file: &Path) -> Result<(), EngineError> {
    write(file, script(plan)?.as_bytes()).await?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::Permissions::from_mode(0o700);
        tokio::fs::set_permissions(file, permissions).await.map_err(|error| failed(file, &error))?;
    }
    Ok(())
}

/// The command as a script for a POSIX shell.
fn script(plan: &TrainingPlan) -> Result<String, EngineError> {
    // The only word that depends on the machine.
    let trainer = plan.command.iter().position(|word| word.ends_with(".py"));
    let quoted = |(index, word): (usize, &String)| -> Result<String, EngineError> {
        let quoted = shlex::try_quote(word)
            .map_err(|error| EngineError::Failed(format!("`{SCRIPT}` cannot be written: {error}")))?;
        Ok(match Some(index) == trainer {
            true => format!("\"${{SD_SCRIPTS:?set it to the directory of sd-scripts}}\"/{quoted}"),
            false => quoted.into_owned(),
        })
    };
    let words = plan.command.iter().enumerate().map(quoted).collect::<Result<Vec<_>, _>>()?;
    let missing = match plan.base_model {
        Some(_) => "",
        None => {
            "# The server's models directory does not have the base model: give its file below, unless Hugging Face has it \
             under this name.\n"
        }
    };
    Ok(format!(
        "#!/bin/sh\n# Trains on the pictures beside this script. Run it where sd-scripts of kohya-ss is installed, with \
         SD_SCRIPTS set to its\n# directory.\n{missing}set -eu\ncd \"$(dirname \"$0\")\"\nexec {}\n",
        words.join(" \\\n  ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell reads the words of the script as they were meant.
    #[cfg(unix)]
    #[test]
    fn the_script_runs_the_words_of_the_command() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let fake = directory.path().join("accelerate");
        std::fs::write(&fake, "#!/bin/sh\nprintf '%s\\0' accelerate \"$@\"\n").unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        let words = [
            "accelerate",
            "launch",
            "train_network.py",
            "--output_name=it's $(id) \"`x`\" \\ *",
            "--a=犬",
            "--b=",
            "--network_args",
            "preset=my.py",
        ];
        let plan = TrainingPlan {
            folder: "datasets/1".into(),
            command: words.map(str::to_owned).to_vec(),
            base_model: None,
            name: None,
        };
        let file = directory.path().join(SCRIPT);
        std::fs::write(&file, script(&plan).unwrap()).unwrap();
        let run = |sd_scripts: Option<&str>| {
            let mut shell = std::process::Command::new("sh");
            let path = format!("{}:/usr/bin:/bin", directory.path().display());
            shell.arg(&file).env("PATH", path).env_remove("SD_SCRIPTS");
            shell.envs(sd_scripts.map(|directory| ("SD_SCRIPTS", directory))).output().unwrap()
        };
        let printed = String::from_utf8(run(Some("/opt/sd scripts")).stdout).unwrap();
        let expected: Vec<_> =
            words.map(|word| word.replace("train_network.py", "/opt/sd scripts/train_network.py")).to_vec();
        assert_eq!(printed.split_terminator('\0').collect::<Vec<_>>(), expected);
        let without = run(None);
        let problem = String::from_utf8_lossy(&without.stderr).into_owned();
        assert!(!without.status.success() && problem.contains("directory of sd-scripts"), "{problem}");
        assert!(script(&plan).unwrap().contains("does not have the base model"));
    }
}
