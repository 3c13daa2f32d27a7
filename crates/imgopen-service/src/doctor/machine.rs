//! The settings, the limits of the process, the directory and its disk.

use std::path::Path;

use super::finding::Finding;
use crate::data_dir::ASSETS;
use crate::disk;
use crate::settings::Settings;

/// With fewer open files, a few hundred connections leave none for pictures.
#[cfg(unix)]
const OPEN_FILES: u64 = 1024;

/// With fewer, the disk runs out of files soon.
const FREE_FILES: u64 = 1000;

/// Examines settings that are valid one by one.
pub fn settings(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = settings.check() {
        findings.push(Finding::new(
            error.to_string(),
            "correct the setting; `imgopen config show` shows where it comes from",
        ));
    }
    let storage = &settings.storage;
    if storage.url.is_none() && (storage.endpoint.is_some() || storage.access_key_id.is_some()) {
        findings.push(Finding::new(
            "settings of `storage` are given without `storage.url`, so pictures are kept in the data directory",
            "give the flags of the service, such as `--storage s3://bucket/prefix`, or leave those settings out",
        ));
    }
    if settings.listen.ip().is_unspecified() && settings.public_url.is_none() {
        let problem =
            format!("`listen` is {}, and `public_url` is not set: URLs of pictures name this machine", settings.listen);
        findings.push(Finding::new(problem, "set `public_url` to the address that callers use"));
    }
    if settings.models.is_some() && !settings.models_dir().is_dir() {
        let problem = format!("`models`: {} is not a directory", settings.models_dir().display());
        findings.push(Finding::new(problem, "give the directory that holds the models"));
    }
    findings
}

/// Examines what this process may use. A service that is started elsewhere may have other limits.
#[cfg(unix)]
pub fn limits() -> Vec<Finding> {
    let (_, most) = disk::open_files();
    let Some(most) = most.filter(|most| *most < OPEN_FILES) else { return Vec::new() };
    let problem = format!("at most {most} files can be open, connections included");
    let fix = format!("raise the limit to {OPEN_FILES} or more, with `ulimit -n` or `LimitNOFILE=` of systemd");
    vec![Finding::new(problem, fix)]
}

/// Other systems have no such limits.
#[cfg(not(unix))]
pub fn limits() -> Vec<Finding> {
    Vec::new()
}

/// Examines who may read the data directory.
#[cfg(unix)]
pub fn permissions(directory: &Path) -> Vec<Finding> {
    let path = directory.display();
    match disk::mode(directory) {
        Ok(mode) if mode & 0o077 != 0 => {
            let problem =
                format!("other users can read {path} (mode {mode:04o}), and with it prompts and signing secrets");
            vec![Finding::new(problem, format!("run `chmod 700 {path}`; a service does so when it starts"))]
        }
        Ok(_) => Vec::new(),
        Err(error) => vec![Finding::on(path, error, "run this command as the user that the service runs as")],
    }
}

/// Unknown on other systems.
#[cfg(not(unix))]
pub fn permissions(_: &Path) -> Vec<Finding> {
    Vec::new()
}

/// Examines the disk of the database and that of the pictures, which may be another one.
pub fn disk(directory: &Path, reserve: Option<u64>) -> Vec<Finding> {
    let mut findings = on_disk(directory, reserve);
    let assets = directory.join(ASSETS);
    if assets.is_dir() {
        let more = on_disk(&assets, reserve);
        // Both are usually on one disk.
        let is_new = |finding: &Finding| !findings.iter().any(|known| known.fix == finding.fix);
        let more: Vec<_> = more.into_iter().filter(is_new).collect();
        findings.extend(more);
    }
    findings
}

fn on_disk(directory: &Path, reserve: Option<u64>) -> Vec<Finding> {
    let path = directory.display();
    let mut findings = Vec::new();
    match disk::space(directory) {
        Ok(space) if space.is_read_only => {
            findings.push(Finding::new(
                format!("{path} is mounted read-only"),
                "check the disk, and mount it to be written",
            ));
            return findings;
        }
        Ok(space) => findings.extend(shortages(directory, &space, reserve)),
        Err(error) => findings.push(Finding::on(&path, error, "check the disk")),
    }
    if let Ok(Some(name)) = disk::remote(directory) {
        let problem = format!("{path} is on a file system that may be on another machine ({name})");
        let fix =
            "move the data directory to a local disk: locks and memory of the database cannot be shared over a network";
        findings.push(Finding::new(problem, fix));
    }
    if let Err(error) = disk::probe(directory) {
        let what = format!("a file in {path} cannot be written and synced");
        findings.push(Finding::on(what, error, "check the disk, and that the directory belongs to the service's user"));
    }
    findings
}

fn shortages(directory: &Path, space: &disk::Space, reserve: Option<u64>) -> Vec<Finding> {
    let (path, free, reserve) = (directory.display(), space.free, space.reserve(reserve));
    let mut findings = Vec::new();
    if free < reserve {
        let problem =
            format!("the disk of {path} has {free} bytes left; with less than {reserve}, submits are rejected");
        findings.push(Finding::new(problem, "free some space, or lower `disk.reserve`"));
    }
    if let Some(files) = space.files.filter(|files| *files < FREE_FILES) {
        let problem = format!("the disk of {path} has room for {files} more files");
        findings.push(Finding::new(problem, "delete small files, or make the file system again with more inodes"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_do_not_fit_are_found() {
        let listen = "0.0.0.0:8080".parse().unwrap();
        let exposed = Settings { listen, models: Some("/nowhere".into()), attempts: 0, ..Settings::default() };
        let problems: Vec<_> = settings(&exposed).into_iter().map(|finding| finding.problem).collect();
        assert_eq!(problems.len(), 3, "{problems:?}");
        for (problem, setting) in problems.iter().zip(["`attempts`", "`public_url`", "`models`"]) {
            assert!(problem.contains(setting), "{problem}");
        }
        let named = Settings { public_url: Some("https://images.example.com".into()), listen, ..Settings::default() };
        assert_eq!(settings(&named), []);
    }

    #[test]
    fn a_full_disk_is_found() {
        let space = disk::Space { free: 10, total: 1000, files: Some(10), is_read_only: false };
        let findings = shortages(Path::new("/d"), &space, None);
        assert!(findings[0].problem.contains("10 bytes left; with less than 50"), "{findings:?}");
        assert!(findings[1].problem.contains("10 more files"), "{findings:?}");
        let enough = disk::Space { free: 60, files: None, ..space };
        assert_eq!(shortages(Path::new("/d"), &enough, None), []);
    }

    #[test]
    fn a_directory_that_takes_no_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(disk(directory.path(), Some(0)), []);
        assert_ne!(disk(&directory.path().join("missing"), Some(0)), []);
        // Both are on one disk, which is reported once.
        std::fs::create_dir(directory.path().join(ASSETS)).unwrap();
        assert_eq!(disk(directory.path(), Some(u64::MAX)).len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_others_can_read_is_found() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let set = |mode| std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o700);
        assert_eq!(permissions(directory.path()), []);
        set(0o750);
        assert!(permissions(directory.path())[0].problem.contains("0750"));
    }
}
