//! Errors of back ends whose machine has run out of something, or whose disk fails, which is nobody's task's fault.

/// How a full disk is said, by Python on every system too.
const FULL: [&str; 7] = [
    "no space left on device",
    "errno 28]",
    "disk quota exceeded",
    "disc quota exceeded",
    "errno 122]",
    "winerror 112]",
    "not enough space on the disk",
];
/// How a disk is said that cannot be used.
const BROKEN: [&str; 4] = ["read-only file system", "errno 30]", "input/output error", "errno 5]"];

/// Returns what the operator must do, if an error says that a disk is full or fails, or that a machine has too little memory.
/// Memory of a graphics card is not meant, nor that of PyTorch: the picture is too large for it.
pub(crate) fn exhausted(error: &str) -> Option<&'static str> {
    let error = error.to_ascii_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| error.contains(text));
    if says(&FULL) {
        return Some("its disk is full; its operator must make room there");
    }
    if says(&BROKEN) {
        return Some("its disk cannot be read or written; its operator must repair it, or mount it again");
    }
    let is_of_pictures = says(&["out of memory", "outofmemory", "cuda", "defaultcpuallocator"]);
    (says(&["cannot allocate memory"]) && !is_of_pictures)
        .then_some("its machine has too little memory; its operator must end other programs there, or add memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_disks_and_the_memory_of_machines_are_the_operators() {
        for (error, word) in [
            ("OSError: [Errno 28] No space left on device: 'x.png'", Some("disk")),
            ("ERROR: no space left on device", Some("disk")),
            ("OSError: [Errno 28]", Some("make room")),
            ("OSError: [Errno 122] Disk quota exceeded: 'x.png'", Some("make room")),
            ("OSError: [WinError 112] There is not enough space on the disk", Some("make room")),
            ("OSError: [Errno 30] Read-only file system: '/srv/x.png'", Some("repair it")),
            ("OSError: [Errno 5] Input/output error", Some("repair it")),
            ("OSError: [Errno 25] Inappropriate ioctl for device", None),
            ("[Errno 12] Cannot allocate memory", Some("memory")),
            ("mmap failed: Cannot allocate memory", Some("memory")),
            ("torch.OutOfMemoryError: Allocation on device", None),
            ("CUDA error: out of memory", None),
            ("CUDA error: cannot allocate memory", None),
            ("DefaultCPUAllocator: can't allocate memory: Error code 12 (Cannot allocate memory)", None),
            ("[Errno 2] No such file or directory", None),
            ("", None),
        ] {
            let said = exhausted(error);
            assert_eq!(said.is_some(), word.is_some(), "{error}");
            assert!(word.is_none_or(|word| said.is_some_and(|said| said.contains(word))), "{error}: {said:?}");
        }
    }
}
