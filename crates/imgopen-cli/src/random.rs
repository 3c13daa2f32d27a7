//! Random text for ids and unguessable paths.

/// Returns 16 random hexadecimal digits from the system's generator.
pub fn random_hex() -> anyhow::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}
