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

/// The preprocessors that need networks which this program cannot run, and who has them.
///
/// A map for `segmentation` is not made of what the pack `portrait` finds: ControlNets have learned from maps in which each pixel has
/// the colour of one of 150 classes, so one of people before nothing, or before walls, would have them paint just that.
pub const ELSEWHERE: [Neural; 4] = [
    Neural {
        names: &[
            "openpose",
            "openpose_full",
            "openpose_face",
            "openpose_faceonly",
            "openpose_hand",
            "dw_openpose_full",
            "animal_openpose",
            "densepose",
        ],
        need: "a network for poses, which A1111 and Forge have, as back ends with `preprocessors` in their settings",
    },
    Neural {
        names: &["segmentation", "seg", "seg_ofade20k", "seg_ufade20k", "seg_ofcoco", "seg_anime_face"],
        need: "a network that knows the 150 classes of ADE20K, which A1111 and Forge have, as back ends with \
               `preprocessors` in their settings; the pack `portrait` finds people alone, and a map of these would have all else \
               painted as one thing",
    },
    Neural {
        names: &["normalmap", "normal", "normal_bae", "normalbae", "normal_midas", "normal_dsine"],
        need: "a network for surfaces, which A1111 and Forge have, as back ends with `preprocessors` in their settings",
    },
    Neural {
        names: &["mlsd"],
        need: "a network for straight lines, which A1111 and Forge have, as back ends with `preprocessors` in their settings",
    },
];

/// Preprocessors that need a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neural {
    /// The name, and its aliases.
    pub names: &'static [&'static str],
    /// What has to be installed or set up.
    pub need: &'static str,
}

impl Neural {
    /// Returns those of a name, of [`NEURAL`] and [`ELSEWHERE`], in any case and with the web UI's remarks in brackets.
    pub fn find(text: &str) -> Option<Self> {
        let name = plain_name(text);
        NEURAL.into_iter().chain(ELSEWHERE).find(|neural| neural.names.contains(&name.as_str()))
    }
}
