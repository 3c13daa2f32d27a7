//! Determines kind, base model and title from the header of a model's file.
//!
//! Names and shapes of the tensors come first, because they are what a program loads. The texts beside them, which anyone
//! can write, give the title, and the base model if the tensors leave it open. A hash among the texts is not trusted.

use safetensors::tensor::Metadata;

use crate::model::ModelKind;

/// The longest text that is used from a header, in characters.
const LONGEST: usize = 200;

/// What the header says about a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ModelMetadata {
    pub kind: Option<ModelKind>,
    pub base: Option<String>,
    pub title: Option<String>,
}

/// The tensors of a file.
struct Tensors(Vec<(String, Vec<usize>)>);

/// Parts of tensor names that show a LoRA, by any trainer.
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

/// Parts of tensor names that show a control network, which is not listed.
const CONTROL: [&str; 6] =
    ["control_model.", "input_hint_block.", "controlnet_", "lora_controlnet", "ip_adapter.", "lllite_"];

/// Parts of tensor names that show a diffusion model.
const DIFFUSION: [&str; 4] = ["diffusion_model.", "double_blocks.0.", "joint_blocks.0.", "input_blocks.0.0."];

impl ModelMetadata {
    /// Reads the metadata from a header.
    pub(super) fn of(header: &Metadata) -> Self {
        let tensors = header.tensors().into_iter().map(|(name, info)| (name, info.shape.clone()));
        let tensors = Tensors(tensors.collect());
        let text = |key: &str| header.metadata().as_ref().and_then(|texts| plain(texts.get(key)?));
        let kind = tensors.kind();
        let by_text = || text("ss_base_model_version").or_else(|| text("modelspec.architecture"));
        let base = kind.and_then(|kind| tensors.base(kind)).map(str::to_owned);
        Self {
            kind,
            base: base.or_else(|| by_text().map(|name| family(&name))),
            title: text("modelspec.title").or_else(|| text("ss_output_name")),
        }
    }
}

impl Tensors {
    fn has(&self, part: &str) -> bool {
        self.0.iter().any(|(name, _)| name.contains(part))
    }

    fn has_any(&self, parts: &[&str]) -> bool {
        parts.iter().any(|part| self.has(part))
    }

    /// Returns the second dimension of the first matching tensor, which is its input width.
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

    /// Returns whether this has one of the names that programs give an embedding, or is a single tensor of a few rows as wide
    /// as a text encoder.
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
            // Several base models share the same shapes.
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
        // The presence of a second text encoder, or the width of the cross-attention.
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
        // A LoRA of the text encoder only is recognised by the encoder's width.
        let of_text = |name: &str| name.contains("self_attn_q_proj") && down.iter().any(|end| name.ends_with(end));
        by_width(self.side(attends).or_else(|| self.side(of_text))?)
    }
}

/// Returns the base model for the width of the text encoding.
fn by_width(width: usize) -> Option<&'static str> {
    match width {
        768 => Some("SD 1.5"),
        1024 => Some("SD 2"),
        1280 | 2048 => Some("SDXL"),
        _ => None,
    }
}

/// Returns the base model for its name in a header: that of trainers in `ss_base_model_version`, or of ModelSpec. An unknown
/// name is returned as it is.
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

/// Returns a text of a header without control characters, unless it is empty.
fn plain(text: &str) -> Option<String> {
    let text: String = text.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    (!text.is_empty() && text != "None").then_some(text)
}

/// Returns the name of a file without directories and extension.
pub(super) fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    match file.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => file,
    }
}

/// Returns the version in a file name: the last part that is a `v` before a number, such as `v1` in `photon_v1_84728`.
pub(super) fn version(stem: &str) -> Option<String> {
    let mut starts = stem.char_indices().filter(|(at, c)| {
        let begins = stem[..*at].chars().next_back().is_none_or(|before| !before.is_alphanumeric());
        begins && c.eq_ignore_ascii_case(&'v') && stem[at + 1..].starts_with(|c: char| c.is_ascii_digit())
    });
    let rest = &stem[starts.next_back()?.0 + 1..];
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).count();
    let mut end = digits(rest);
    // As in v1-5; a number with more digits is not part of the version.
    while let Some(more) = rest[end..].strip_prefix(['.', '-']).map(digits).filter(|more| (1..=2).contains(more)) {
        end += 1 + more;
    }
    Some(format!("v{}", &rest[..end]))
}

#[cfg(test)]
mod tests;
