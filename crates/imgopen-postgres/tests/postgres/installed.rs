//! The programs of an installed server. The tests of the binary use this file, too.

use std::path::PathBuf;
use std::process::Command;

/// Returns the directory of the newest installed server's programs.
pub fn programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
    });
    let mut found: Vec<(u32, PathBuf)> = debian.filter(|(_, programs)| programs.join("initdb").is_file()).collect();
    found.sort();
    let newest = found.pop().map(|(_, programs)| programs);
    newest.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .find(|directory| directory.join("initdb").is_file() && directory.join("pg_ctl").is_file())
    })
}

/// Returns a shell, as another user if this is root, which PostgreSQL does not run as.
pub fn unprivileged() -> Command {
    let user = Command::new("id").arg("-u").output().unwrap().stdout;
    if user != b"0\n" {
        return Command::new("sh");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh"]);
    command
}
