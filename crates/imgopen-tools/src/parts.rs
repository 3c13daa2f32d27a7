//! What the crate contains that is under other licences than its code.

/// A part of a program that is not under the licence of its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// What it is, such as "the fonts of watermarks".
    pub name: &'static str,
    /// Its licence as an SPDX expression, or `public domain`.
    pub licence: &'static str,
    /// Whose it is, and the text of the licence where one must go with it.
    pub text: &'static str,
}

/// The parts of this crate.
pub const PARTS: &[Part] = &[Part {
    name: "the fonts of watermarks, subsets of Noto",
    licence: "OFL-1.1",
    text: include_str!("../fonts/OFL.txt"),
}];

#[cfg(test)]
mod tests {
    use super::*;

    /// What people see of the crate before they have it.
    #[test]
    fn cargo_toml_names_the_licences_of_all_parts() {
        let named: Vec<_> = env!("CARGO_PKG_LICENSE").split([' ', '(', ')']).collect();
        for part in PARTS {
            assert!(named.contains(&part.licence), "{} is not in {named:?}", part.licence);
        }
    }
}
