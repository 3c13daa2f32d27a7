//! Errors of back ends whose machine has run out of something, which is nobody's task's fault.

/// Returns what the operator must do, if an error says that a disk is full or that a machine has too little memory. Memory of a
/// graphics card is not meant, nor that of PyTorch: the picture is too large for it.
pub(crate) fn exhausted(error: &str) -> Option<&'static str> {
    let error = error.to_ascii_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| error.contains(text));
    if says(&["no space left on device", "errno 28]"]) {
        return Some("its disk is full; its operator must make room there");
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
            ("OSError: [Errno 28]", Some("disk")),
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
