//! What the operating system says about a directory: space, kind of file system, permissions, and whether it takes a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// What is kept free by default, if the disk is not small.
const RESERVE: u64 = 64 * 1024 * 1024;

/// The space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// The bytes that can still be written.
    pub free: u64,
    /// The bytes of the whole file system.
    pub total: u64,
    /// How many files can still be made, if that is limited.
    pub files: Option<u64>,
    /// Whether it is mounted read-only.
    pub is_read_only: bool,
}

impl Space {
    /// Returns how many bytes are to be kept free: those that are asked for, or else 64 MiB, but at most a twentieth of all.
    pub fn reserve(&self, asked: Option<u64>) -> u64 {
        asked.unwrap_or_else(|| RESERVE.min(self.total / 20))
    }
}

/// Returns the space of the file system that a path is on.
#[cfg(unix)]
pub fn space(path: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(path)?;
    Ok(Space {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        total: found.f_blocks.saturating_mul(found.f_frsize),
        files: (found.f_files > 0).then_some(found.f_favail),
        is_read_only: found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}

/// Unknown, which is not a reason to reject anything.
#[cfg(not(unix))]
pub fn space(_: &Path) -> io::Result<Space> {
    Ok(Space { free: u64::MAX, total: u64::MAX, files: None, is_read_only: false })
}

/// Returns the name of the file system that a path is on, if it is not on a disk of this machine, or may not be.
#[cfg(target_os = "linux")]
pub fn remote(path: &Path) -> io::Result<Option<&'static str>> {
    const REMOTE: [(u32, &str); 10] = [
        (0x6969, "nfs"),
        (0x517b, "smb"),
        (0xff53_4d42, "cifs"),
        (0xfe53_4d42, "smb2"),
        (0x0102_1997, "9p"),
        (0x6573_5546, "fuse"),
        (0x5346_414f, "afs"),
        (0x00c3_6400, "ceph"),
        (0x0bd0_0bd0, "lustre"),
        (0x4750_4653, "gpfs"),
    ];
    // The numbers have 32 bits; the type that holds them differs.
    let kind = rustix::fs::statfs(path)?.f_type as u32;
    Ok(REMOTE.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name))
}

/// Unknown.
#[cfg(not(target_os = "linux"))]
pub fn remote(_: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

/// Returns the permission bits of a file or directory.
#[cfg(unix)]
pub fn mode(path: &Path) -> io::Result<u32> {
    use std::os::unix::fs::PermissionsExt;

    Ok(std::fs::metadata(path)?.permissions().mode() & 0o7777)
}

/// Takes from others what they may do with a file or directory. Returns its earlier permission bits if they change.
#[cfg(unix)]
pub fn make_private(path: &Path) -> io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt;

    let mode = mode(path)?;
    if mode & 0o077 == 0 {
        return Ok(None);
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & !0o077))?;
    Ok(Some(mode))
}

/// Returns how many files this process may have open, now and at most.
#[cfg(unix)]
pub fn open_files() -> (Option<u64>, Option<u64>) {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    (limit.current, limit.maximum)
}

/// Writes a small file, syncs it and deletes it. Its name is always the same, so that a process that dies meanwhile leaves at
/// most one.
pub fn probe(directory: &Path) -> io::Result<()> {
    let path = directory.join(".probe");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(b"written to see whether that is possible")?;
        file.sync_all()
    });
    let deleted = match std::fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    written.and(deleted)
}

/// Waits until the entries of a directory are on the disk.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Waits until everything that was written to the file system of a directory is on the disk: for many files, that is faster
/// than one by one.
pub fn sync_file_system(directory: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(File::open(directory)?)?;
    #[cfg(all(unix, not(target_os = "linux")))]
    rustix::fs::sync();
    sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_keeps_a_twentieth_free() {
        let space = |total| Space { free: 0, total, files: None, is_read_only: false };
        assert_eq!(space(20_000_000).reserve(None), 1_000_000);
        assert_eq!(space(u64::MAX).reserve(None), RESERVE);
        assert_eq!(space(20_000_000).reserve(Some(5_000_000)), 5_000_000);
    }

    #[test]
    fn a_probe_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        // Nor what a process that died left.
        std::fs::write(directory.path().join(".probe"), "half").unwrap();
        probe(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(probe(&directory.path().join("missing")).is_err());
        sync_file_system(directory.path()).unwrap();
        assert!(space(directory.path()).unwrap().total > 0);
    }

    #[cfg(unix)]
    #[test]
    fn only_what_others_may_do_is_taken_away() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o2755)).unwrap();
        assert_eq!(make_private(directory.path()).unwrap(), Some(0o2755));
        assert_eq!(mode(directory.path()).unwrap(), 0o2700);
        assert_eq!(make_private(directory.path()).unwrap(), None);
    }
}
