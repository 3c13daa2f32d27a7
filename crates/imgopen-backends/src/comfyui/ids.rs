//! Names by which the server knows what belongs to a task, so that a later run finds what an earlier one has begun.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The folder of our files, among those of the server.
pub(super) const FOLDER: &str = "imgopen";
/// The longest id of a task that stands in names as it is.
const MAX_ID: usize = 64;

/// The names that a task has at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    key: String,
}

impl Names {
    /// Returns the names for a task. An id that could hold anything but letters, digits and hyphens is replaced by its
    /// digest.
    pub(super) fn new(task_id: &str) -> Self {
        let is_plain = task_id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let key = match is_plain && (1..=MAX_ID).contains(&task_id.len()) {
            true => task_id.to_owned(),
            false => digest(task_id.as_bytes()),
        };
        Self { key }
    }

    /// Returns the beginning of the names of all files of the task.
    pub(super) fn all(&self) -> String {
        format!("{FOLDER}/{}_", self.key)
    }

    /// Returns the beginning of the name of one picture's file, counted from 0. If the file of an earlier `attempt` is
    /// gone, a further one needs another name, because the server does not make the same file twice.
    pub(super) fn picture(&self, index: u32, attempt: u32) -> String {
        let number = index + 1;
        match attempt {
            0 => format!("{}{number}", self.all()),
            attempt => format!("{}{number}-{attempt}", self.all()),
        }
    }

    /// Returns the id by which the socket of the task is known, whichever run opens it.
    pub(super) fn client(&self) -> String {
        format!("{FOLDER}-{}", self.key)
    }
}

/// Returns a random id for a prompt, in the form of a UUID.
pub(super) fn prompt_id() -> String {
    // Version 4, variant 1.
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Returns the beginning of the SHA-256 of some bytes as 32 hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().take(16).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ids_stand_in_names() {
        let names = Names::new("task-1");
        assert_eq!(
            (names.picture(0, 0), names.picture(1, 2)),
            ("imgopen/task-1_1".into(), "imgopen/task-1_2-2".into())
        );
        assert!(
            names.picture(0, 0).starts_with(&names.all())
                && !names.picture(0, 0).starts_with(&Names::new("task").all())
        );
        for id in ["", "../x", "%date%", "a_b", &"x".repeat(65)] {
            let name = Names::new(id).picture(0, 0);
            let key = name.strip_prefix("imgopen/").unwrap().strip_suffix("_1").unwrap();
            assert!(key.len() == 32 && key.chars().all(|c| c.is_ascii_hexdigit()), "{id}: {name}");
        }
        assert_ne!(Names::new("a/b"), Names::new("a_b"));
    }

    #[test]
    fn prompts_have_uuids() {
        let (one, other) = (prompt_id(), prompt_id());
        assert_ne!(one, other);
        let parts: Vec<&str> = one.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{one}");
    }
}
