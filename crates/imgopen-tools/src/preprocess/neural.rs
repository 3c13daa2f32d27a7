//! Preprocessors that need networks, which this crate does not have, but names in refusals.

/// Returns the name of a preprocessor in lower case, without the web UI's remarks in brackets.
pub fn plain_name(text: &str) -> String {
    text.split_once(" (").map_or(text, |(name, _)| name).trim().to_ascii_lowercase()
}

/// The preprocessors that need networks which this program can run, and what the operator has to install for them.
pub const NEURAL: [Neural; 2] = [
    Neural {
        names: &["depth", "depth_anything", "depth_anything_v2", "depth_midas"],
        need: "a net for depth, such as Depth Anything as an ONNX file in `depth/` in the models directory",
    },
    Neural { names: &["mediapipe_face"], need: "the pack `faces`, which `imgopen models pull faces` installs" },
];

/// Preprocessors that need a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neural {
    /// The name, and its aliases.
    pub names: &'static [&'static str],
    /// What has to be installed.
    pub need: &'static str,
}

impl Neural {
    /// Returns those of a name, in any case and with the web UI's remarks in brackets.
    pub fn find(text: &str) -> Option<Self> {
        let name = plain_name(text);
        NEURAL.into_iter().find(|neural| neural.names.contains(&name.as_str()))
    }
}
