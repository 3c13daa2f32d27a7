//! Checks an `sd-server` that is started on demand, without loading a model.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use imgopen_backends::ModelFiles;
use tokio::process::Command;
use tokio::time::timeout;

/// How long the program may take to print its version.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says which files of models are missing. Their paths are absolute, or below the models directory.
pub fn missing_files(models: &[ModelFiles], directory: &Path) -> Vec<String> {
    let missing = |(index, files): (usize, &ModelFiles)| {
        let missing = files.paths().into_iter().filter(|(_, path)| !directory.join(path).is_file());
        let missing = missing.map(move |(role, path)| {
            let path = directory.join(path);
            format!(
                "`models[{index}].{role}`: {} is not a file; give its path, absolute or below the models directory",
                path.display()
            )
        });
        missing.collect::<Vec<_>>()
    };
    models.iter().enumerate().flat_map(missing).collect()
}

/// Returns what a program says of its version.
///
/// # Errors
///
/// Says why it cannot be started, and what to do.
pub async fn version(program: &Path) -> Result<String, String> {
    let shown = program.display();
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            return Err(format!("`program`: {shown} cannot be started: {error}; give the path of `sd-server`"));
        }
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            return Err(format!(
                "`program`: `{shown} --version` does not end within {seconds} s; give the path of `sd-server`"
            ));
        }
    };
    let Output { status, stdout, stderr } = &output;
    let (lines, errors) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    match (status.success(), lines.lines().next()) {
        (true, line) => Ok(line.unwrap_or_default().trim().to_owned()),
        (false, _) if errors.contains("shared librar") => {
            let problem = errors.lines().last().unwrap_or_default();
            Err(format!("`program`: {problem}; put the directory of that library into LD_LIBRARY_PATH of the service"))
        }
        (false, _) => {
            let last = errors.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
            Err(format!("`program`: `{shown} --version` ended with {status}{last}; give the path of `sd-server`"))
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    async fn of_script(text: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("sd-server");
        // Copied by a process that has ended, so that no thread that starts another has it open for writing.
        std::fs::write(folder.path().join("text"), format!("#!/bin/sh\n{text}\n")).unwrap();
        let copied = std::process::Command::new("cp").arg(folder.path().join("text")).arg(&program).status().unwrap();
        assert!(copied.success());
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        version(&program).await
    }

    #[tokio::test]
    async fn a_program_prints_its_version_or_why_it_does_not_start() {
        let version = of_script("echo 'stable-diffusion.cpp version 1, commit 2'; echo more").await;
        assert_eq!(version.unwrap(), "stable-diffusion.cpp version 1, commit 2");
        let library =
            "sd-server: error while loading shared libraries: libstable-diffusion.so: cannot open shared object file";
        let error = of_script(&format!("echo '{library}' >&2; exit 127")).await.unwrap_err();
        assert!(error.contains(library) && error.ends_with("LD_LIBRARY_PATH of the service"), "{error}");
        let error = of_script("echo first >&2; echo unknown option >&2; exit 3").await.unwrap_err();
        assert!(error.contains("--version` ended with exit status: 3: unknown option"), "{error}");
        let error = super::version(Path::new("/nowhere/sd-server")).await.unwrap_err();
        assert!(error.starts_with("`program`: /nowhere/sd-server cannot be started: "), "{error}");
    }

    #[test]
    fn files_are_looked_for_below_the_models_directory() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("there.safetensors"), "").unwrap();
        let files = |model: &str, vae: &str| ModelFiles {
            model: Some(model.into()),
            vae: Some(vae.into()),
            ..ModelFiles::default()
        };
        let absolute = folder.path().join("there.safetensors");
        let models = [files("there.safetensors", absolute.to_str().unwrap()), files("there.safetensors", "vae/not.pt")];
        let missing = missing_files(&models, folder.path());
        let [problem] = &missing[..] else { panic!("{missing:?}") };
        assert!(problem.starts_with("`models[1].vae`: ") && problem.contains("vae/not.pt is not a file"), "{problem}");
    }
}
