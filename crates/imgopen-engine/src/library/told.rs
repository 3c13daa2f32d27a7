//! What the header of a model's file tells: the kind, the base model, the title.
//!
//! The names and shapes of the tensors count first, for they are what a program loads. The texts beside them, which anyone
//! may write, give the title, and the base model where tensors leave it open. A hash among them is not believed.

use safetensors::tensor::Metadata;

use crate::ModelKind;

/// The longest text that is taken from a header, in characters.
const LONGEST: usize = 200;

/// What is known of a model by its header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub kind: Option<ModelKind>,
    pub base: Option<String>,
    pub title: Option<String>,
}

/// The tensors of a file.
struct Tensors(Vec<(String, Vec<usize>)>);

/// What the names of tensors have that belong to a LoRA, whichever program trained it.
const LORA: [&str; 12] = [
    "lora_unet_",
    "lora_te",
    "lora_transformer_",
    "lycoris_",
    ".lora_down.",
    ".lora_up.",
    ".lora_A.",
    ".lora_B.",
    "_lora.down.",
    "_lora.up.",
    ".hada_w1_a",
    ".lokr_w1",
];

/// The same of networks that steer others, which are no models of their own.
const CONTROL: [&str; 6] =
    ["control_model.", "input_hint_block.", "controlnet_", "lora_controlnet", "ip_adapter.", "lllite_"];

/// The same of networks that make pictures.
const DIFFUSION: [&str; 4] = ["diffusion_model.", "double_blocks.0.", "joint_blocks.0.", "input_blocks.0.0."];

pub(super) fn told(header: &Metadata) -> Told {
    let tensors = header.tensors().into_iter().map(|(name, info)| (name, info.shape.clone()));
    let tensors = Tensors(tensors.collect());
    let text = |key: &str| header.metadata().as_ref().and_then(|texts| plain(texts.get(key)?));
    let kind = tensors.kind();
    let by_text = || text("ss_base_model_version").or_else(|| text("modelspec.architecture"));
    let base = kind.and_then(|kind| tensors.base(kind)).map(str::to_owned);
    Told {
        kind,
        base: base.or_else(|| by_text().map(|name| family(&name))),
        title: text("modelspec.title").or_else(|| text("ss_output_name")),
    }
}

impl Tensors {
    fn has(&self, part: &str) -> bool {
        self.0.iter().any(|(name, _)| name.contains(part))
    }

    fn has_any(&self, parts: &[&str]) -> bool {
        parts.iter().any(|part| self.has(part))
    }

    /// The second side of the first tensor that fits, which tells how much goes in.
    fn side(&self, fits: impl Fn(&str) -> bool) -> Option<usize> {
        self.0.iter().find(|(name, _)| fits(name)).and_then(|(_, shape)| shape.get(1).copied())
    }

    fn kind(&self) -> Option<ModelKind> {
        if self.has_any(&LORA) {
            Some(ModelKind::Lora)
        } else if self.has_any(&CONTROL) {
            None
        } else if self.has_any(&DIFFUSION) {
            Some(ModelKind::Checkpoint)
        } else if self.has("encoder.conv_in.weight") && self.has("decoder.conv_in.weight") {
            Some(ModelKind::Vae)
        } else {
            self.is_embedding().then_some(ModelKind::Embedding)
        }
    }

    /// One of the names that programs give it, or a single row or few of the width of a text encoder under a name of its
    /// own.
    fn is_embedding(&self) -> bool {
        let named =
            |name: &str| ["emb_params", "clip_l", "clip_g"].contains(&name) || name.starts_with("string_to_param.");
        let alone = match self.0.as_slice() {
            [(_, shape)] => shape.len() <= 2 && matches!(shape.last(), Some(768 | 1024 | 1280)),
            _ => false,
        };
        alone || (!self.0.is_empty() && self.0.len() <= 2 && self.0.iter().all(|(name, _)| named(name)))
    }

    fn base(&self, kind: ModelKind) -> Option<&'static str> {
        match kind {
            ModelKind::Checkpoint => self.base_of_checkpoint(),
            ModelKind::Lora => self.base_of_lora(),
            // The same shapes serve several.
            ModelKind::Vae => None,
            ModelKind::Embedding if self.has("clip_g") => Some("SDXL"),
            ModelKind::Embedding => by_width(*self.0.first()?.1.last()?),
        }
    }

    fn base_of_checkpoint(&self) -> Option<&'static str> {
        if self.has("double_blocks.0.img_mod.lin.") && !self.has("distilled_guidance_layer.") {
            return Some("FLUX.1");
        }
        if self.has("joint_blocks.0.") {
            let is_later = self.has(".x_block.attn2.") || self.has("joint_blocks.37.");
            return Some(if is_later { "SD 3.5" } else { "SD 3" });
        }
        // Where two text encoders lie, and how wide the text is that the pictures attend to.
        let width = self.side(|name| name.ends_with("attn2.to_k.weight"));
        if self.has("conditioner.embedders.1.") { Some("SDXL") } else { by_width(width?) }
    }

    fn base_of_lora(&self) -> Option<&'static str> {
        if self.has_any(&["double_blocks", "single_transformer_blocks"]) {
            return Some("FLUX.1");
        }
        if self.has("joint_blocks") {
            return Some("SD 3");
        }
        if self.has_any(&["lora_te2_", "text_encoder_2."]) {
            return Some("SDXL");
        }
        let down = ["lora_down.weight", "lora_A.weight", "lora.down.weight", "lora_A.default.weight", "hada_w1_b"];
        let attends = |name: &str| {
            (name.contains("attn2_to_k") || name.contains("attn2.to_k") || name.contains("attn2.processor.to_k"))
                && down.iter().any(|end| name.ends_with(end))
        };
        // One that leaves the pictures alone is told by the width of its text encoder.
        let of_text = |name: &str| name.contains("self_attn_q_proj") && down.iter().any(|end| name.ends_with(end));
        by_width(self.side(attends).or_else(|| self.side(of_text))?)
    }
}

/// How wide the text is that goes into a model.
fn by_width(width: usize) -> Option<&'static str> {
    match width {
        768 => Some("SD 1.5"),
        1024 => Some("SD 2"),
        1280 | 2048 => Some("SDXL"),
        _ => None,
    }
}

/// The base model by what texts call it: trainers in `ss_base_model_version`, others by the names of ModelSpec. A name that
/// is not known is given as it is.
fn family(name: &str) -> String {
    let name = name.split('/').next().unwrap_or_default();
    let known = [
        ("sdxl", "SDXL"),
        ("stable-diffusion-xl", "SDXL"),
        ("sd_v1", "SD 1.5"),
        ("sd_1", "SD 1.5"),
        ("stable-diffusion-v1", "SD 1.5"),
        ("sd_v2", "SD 2"),
        ("stable-diffusion-v2", "SD 2"),
        ("stable-diffusion-3.5", "SD 3.5"),
        ("stable-diffusion-3-5", "SD 3.5"),
        ("stable-diffusion-3", "SD 3"),
        ("sd3", "SD 3"),
        ("flux1", "FLUX.1"),
        ("flux-1", "FLUX.1"),
    ];
    let small = name.to_lowercase();
    known.iter().find(|(start, _)| small.starts_with(start)).map_or(name, |(_, family)| family).to_owned()
}

/// A text of a header as it can be shown, if it says something.
fn plain(text: &str) -> Option<String> {
    let text: String = text.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    (!text.is_empty() && text != "None").then_some(text)
}

/// The name of a file without folders and ending.
pub(super) fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    match file.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => file,
    }
}

/// The version that the name of a file tells: the last part that is a `v` before a number, such as `v1` of `photon_v1_84728`.
pub(super) fn version(stem: &str) -> Option<String> {
    let mut starts = stem.char_indices().filter(|(at, c)| {
        let begins = stem[..*at].chars().next_back().is_none_or(|before| !before.is_alphanumeric());
        begins && c.eq_ignore_ascii_case(&'v') && stem[at + 1..].starts_with(|c: char| c.is_ascii_digit())
    });
    let rest = &stem[starts.next_back()?.0 + 1..];
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).count();
    let mut end = digits(rest);
    // As in v1-5; what has more digits is a number of another kind.
    while let Some(more) = rest[end..].strip_prefix(['.', '-']).map(digits).filter(|more| (1..=2).contains(more)) {
        end += 1 + more;
    }
    Some(format!("v{}", &rest[..end]))
}

#[cfg(test)]
mod tests;
