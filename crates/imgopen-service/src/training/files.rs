//! The folder of a training, as sd-scripts of kohya-ss expects it: pictures with captions beside them, folders for what is
//! trained, the base model, and the command as a script.

use std::path::{Path, PathBuf};

use imgopen_picture::{Header, inspect};
use imgopen_types::Operation;
use serde_json::Value;

use super::caption::caption;
use super::order::Order;
use super::plan::{self, BASE, LOGS, OUTPUT, TrainingPlan};
use super::remove;
use crate::inputs::{self, Named};
use crate::service::Service;
use crate::worker::limits;

/// The command as a script.
pub(super) const SCRIPT: &str = "train.sh";

/// Fetches the pictures into a folder, and puts beside them all that a trainer needs.
pub(super) async fn prepare(
    service: &Service,
    operation: &Operation,
    request: &Value,
    plan: &TrainingPlan,
    folder: &Path,
) -> Result<(), String> {
    remove(folder.to_owned()).await?;
    let pictures = folder.join(plan::pictures(request));
    make(&pictures).await?;
    let limits = limits(service);
    for (index, named) in inputs::pictures(operation, request).into_iter().enumerate() {
        let picture = service.inner.fetcher.get(&named.url, &limits).await;
        let picture = picture.map_err(|error| format!("`{}`: {error}", named.field))?;
        let header = inspect(&picture.bytes, &service.inner.settings.picture_limits())
            .map_err(|problem| format!("`{}`: the picture at {} {problem}", named.field, named.shown()))?;
        fits(&named, &header, request, plan)?;
        let file = pictures.join(format!("{:04}.{}", index + 1, header.format.extension()));
        write(&file, &picture.bytes).await?;
        if let Some(caption) = caption(&picture.bytes) {
            write(&file.with_extension("txt"), caption.as_bytes()).await?;
        }
    }
    make(&folder.join(OUTPUT)).await?;
    make(&folder.join(LOGS)).await?;
    if let Some(model) = plan.base_model.clone() {
        link(model, folder.join(BASE)).await?;
    }
    write_script(plan, &folder.join(SCRIPT)).await
}

/// Without groups, pictures are neither scaled nor, unless that is asked for, cropped; only when they are encoded once and
/// kept, the trainer does so on the way.
fn fits(named: &Named, header: &Header, request: &Value, plan: &TrainingPlan) -> Result<(), String> {
    let order = Order(request);
    if order.has_buckets() || order.is_cached() {
        return Ok(());
    }
    let size = plan.command.iter().find_map(|word| word.strip_prefix("--resolution=")?.parse::<u32>().ok());
    let size = size.unwrap_or_default();
    let (width, height) = (header.width, header.height);
    let fits = match order.is_on("randomCrop") {
        true => width >= size && height >= size,
        false => (width, height) == (size, size),
    };
    match fits {
        true => Ok(()),
        false => Err(format!(
            "`{}`: the picture at {} is {width}x{height} pixels, and without `enableBucket` the trainer takes {size}x{size} \
             as it is; give pictures of that size, or `enableBucket` as true",
            named.field,
            named.shown()
        )),
    }
}

async fn make(folder: &Path) -> Result<(), String> {
    tokio::fs::create_dir_all(folder).await.map_err(|error| super::failed(folder, &error))
}

async fn write(file: &Path, bytes: &[u8]) -> Result<(), String> {
    tokio::fs::write(file, bytes).await.map_err(|error| super::failed(file, &error))
}

/// Leads from a folder to a file, under its own name.
async fn link(file: PathBuf, folder: PathBuf) -> Result<(), String> {
    make(&folder).await?;
    let name = file.file_name().unwrap_or_default().to_owned();
    let link = folder.join(name);
    let linked = {
        #[cfg(unix)]
        {
            tokio::fs::canonicalize(&file).await.map(|file| std::os::unix::fs::symlink(file, &link))
        }
        #[cfg(not(unix))]
        {
            Ok(std::fs::hard_link(&file, &link))
        }
    };
    linked.and_then(|linked| linked).map_err(|error| super::failed(&link, &error))
}

async fn write_script(plan: &TrainingPlan, file: &Path) -> Result<(), String> {
    write(file, script(plan)?.as_bytes()).await?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let rights = std::fs::Permissions::from_mode(0o700);
        tokio::fs::set_permissions(file, rights).await.map_err(|error| super::failed(file, &error))?;
    }
    Ok(())
}

/// The command as a script for a POSIX shell.
fn script(plan: &TrainingPlan) -> Result<String, String> {
    // The one word that depends on where it is run.
    let trainer = plan.command.iter().position(|word| word.ends_with(".py"));
    let word = |(index, word): (usize, &String)| -> Result<String, String> {
        let quoted = shlex::try_quote(word).map_err(|error| format!("{SCRIPT} cannot be written: {error}"))?;
        Ok(match Some(index) == trainer {
            true => format!("\"${{SD_SCRIPTS:?set it to the folder of sd-scripts}}\"/{quoted}"),
            false => quoted.into_owned(),
        })
    };
    let words = plan.command.iter().enumerate().map(word).collect::<Result<Vec<_>, _>>()?;
    let missing = match plan.base_model {
        Some(_) => "",
        None => {
            "# The base model is in no models folder of the server: name its file below, unless it is one that Hugging Face has.\n"
        }
    };
    Ok(format!(
        "#!/bin/sh\n# Trains with the pictures beside it. Run it where sd-scripts of kohya-ss is installed, with SD_SCRIPTS set to its \
         folder.\n{missing}set -eu\ncd \"$(dirname \"$0\")\"\nexec {}\n",
        words.join(" \\\n  ")
    ))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A shell reads the words of the script as they were meant.
    #[cfg(unix)]
    #[test]
    fn the_script_says_what_the_command_says() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let fake = folder.path().join("accelerate");
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
        let plan =
            TrainingPlan { folder: "datasets/1".into(), command: words.map(str::to_owned).to_vec(), base_model: None };
        let file = folder.path().join(SCRIPT);
        std::fs::write(&file, script(&plan).unwrap()).unwrap();
        let run = |folder_of_scripts: Option<&str>| {
            let mut shell = Command::new("sh");
            shell.arg(&file).env("PATH", format!("{}:/usr/bin:/bin", folder.path().display())).env_remove("SD_SCRIPTS");
            shell.envs(folder_of_scripts.map(|folder| ("SD_SCRIPTS", folder))).output().unwrap()
        };
        let told = String::from_utf8(run(Some("/opt/sd scripts")).stdout).unwrap();
        let expected: Vec<_> =
            words.map(|word| word.replace("train_network.py", "/opt/sd scripts/train_network.py")).to_vec();
        assert_eq!(told.split_terminator('\0').collect::<Vec<_>>(), expected);
        let lost = run(None);
        assert!(!lost.status.success() && String::from_utf8_lossy(&lost.stderr).contains("folder of sd-scripts"));
        assert!(script(&plan).unwrap().contains("in no models folder"));
    }
}
