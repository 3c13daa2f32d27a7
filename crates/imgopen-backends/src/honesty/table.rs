//! The table. See `fields.md` for how it reads.

use super::row::Treatment::{Approximated, ByUs, Honoured, IfListed, Refused, Service};
use super::row::{Cell, Row, Treatment};

const T2I: &str = "text_to_image";
const I2I: &str = "image_to_image";
const CN: &str = "controlnet";
const FLUX: &str = "flux_text_to_image";

/// The operations with Stable Diffusion.
const SD: &[&str] = &[T2I, I2I, CN];
/// Those that may make a picture from noise, and so have a hi-res fix.
const FROM_NOISE: &[&str] = &[T2I, CN];
const ALL: &[&str] = &[T2I, I2I, CN, FLUX];

const fn cell(treatment: Treatment, text: &'static str) -> Cell {
    Cell { treatment, text, is_verified: true }
}

const fn yes(text: &'static str) -> Cell {
    cell(Honoured, text)
}

const fn ours(text: &'static str) -> Cell {
    cell(ByUs, text)
}

const fn near(text: &'static str) -> Cell {
    cell(Approximated, text)
}

const fn listed(text: &'static str) -> Cell {
    cell(IfListed, text)
}

const fn no(text: &'static str) -> Cell {
    cell(Refused, text)
}

impl Cell {
    /// Marks what was only read in the program's source.
    const fn unverified(self) -> Self {
        Self { is_verified: false, ..self }
    }
}

const fn row(operations: &'static [&'static str], field: &'static str, cells: [Cell; 3]) -> Row {
    Row { operations, field, neutral: &[], cells }
}

impl Row {
    /// Sets the values that ask for nothing.
    const fn neutral(self, neutral: &'static [&'static str]) -> Self {
        Self { neutral, ..self }
    }
}

const SERVICE: [Cell; 3] = [cell(Service, ""); 3];
const HONOURED: [Cell; 3] = [yes(""); 3];
const OFF: &[&str] = &["false"];

const UNKNOWN: &str = "does not know this member; remove it";
const WEBUI_ONLY: &str = "does not have it; A1111 and Forge do";
const WEBUI_MEMBER: [Cell; 3] =
    [no(WEBUI_ONLY), no(WEBUI_ONLY), listed("if the server's `/openapi.json` has it").unverified()];
const WEBUI_UNIT: &str = "does not have it in ControlNet units; A1111 and Forge do";
const MADE: &str = "the service makes the control picture for `canny`, `scribble`, `softedge`, `lineart`, `threshold`, `invert`, \
                    `tile`, `shuffle` and `color`, and with networks for `depth` and `mediapipe_face`, with a note; others are \
                    refused";
const OF_MODULE: [Cell; 3] = [ours("no effect without `module`"), ours("no effect without `module`"), yes("")];
const THRESHOLD: [Cell; 3] = [
    ours("no effect without `module`; out of the web UI's range is refused"),
    ours("no effect without `module`; out of the web UI's range is refused"),
    yes(""),
];
const HIRES_OF_IMAGES: &str =
    "has no hi-res fix for a picture that is given; enlarge the result with `super_resolution`";
const NOT_FROM_PICTURES: &str = "does not start from a picture in this operation; use `image_to_image`";
const NO_MASK: &str = "does not take a mask in this operation; use `image_to_image`";
const NO_EFFECT: [Cell; 3] = [yes("no effect without `enable_hr`"); 3];

/// Every field of the operations, and the members that the document does not declare but back ends know.
pub(super) const ROWS: &[Row] = &[
    row(
        ALL,
        "prompt",
        [
            yes(
                "LoRA tags are sent as `lora[]`; LoRAs that are not listed or made for another base model, two weights for one, \
                 `[a:b:0.5]`, `[a\\|b]`, `AND` and `BREAK` are refused",
            ),
            yes("LoRA tags become a chain of LoraLoader; weights in parentheses are normalised differently, which is \
                 noted; brackets, `AND`, `BREAK` and embeddings that are not listed are refused"),
            yes("LoRA tags of LoRAs that are not listed are refused"),
        ],
    ),
    row(
        SD,
        "negative_prompt",
        [
            yes("`[a:b:0.5]`, `[a\\|b]`, `AND` and `BREAK` are refused"),
            yes("brackets, `AND`, `BREAK` and embeddings that are not listed are refused"),
            yes(""),
        ],
    ),
    row(
        SD,
        "n_iter",
        [
            ours("jobs of at most 8 pictures, whose seeds count up"),
            ours("one prompt for each picture, whose seeds count up"),
            yes(""),
        ],
    ),
    row(
        SD,
        "batch_size",
        [
            ours("jobs of at most 8 pictures, whose seeds count up"),
            ours("one prompt for each picture, whose seeds count up"),
            yes(""),
        ],
    ),
    row(ALL, "steps", [yes("at most 100; two or more with the schedule Karras"), yes(""), yes("")]),
    row(SD, "seed", [ours("a random seed is drawn here, so that the result names it"); 3]),
    row(
        ALL,
        "width",
        [
            yes("multiples of 64 for Stable Diffusion, of 8 for FLUX.1; others are refused"),
            yes("multiples of 8 for Stable Diffusion, of 16 for FLUX.1; others are refused"),
            yes("multiples of 8 from 64 for Stable Diffusion, of 16 for FLUX.1; others are refused"),
        ],
    ),
    row(
        ALL,
        "height",
        [
            yes("multiples of 64 for Stable Diffusion, of 8 for FLUX.1; others are refused"),
            yes("multiples of 8 for Stable Diffusion, of 16 for FLUX.1; others are refused"),
            yes("multiples of 8 from 64 for Stable Diffusion, of 16 for FLUX.1; others are refused"),
        ],
    ),
    row(SD, "cfg_scale", HONOURED),
    row(
        SD,
        "sampler_index",
        [
            listed("Euler a, Euler, Heun, DPM2, DPM++ 2S a, DPM++ 2M, LCM; DDIM is approximated by `ddim_trailing`"),
            listed("all but PLMS, as far as KSampler lists them; the names of ComfyUI are taken too"),
            listed("a name without a schedule takes the model's own schedule, as the web UI did before 1.9"),
        ],
    ),
    row(
        SD,
        "restore_faces",
        [
            no("does not restore faces; send the result to `restore_face`"),
            no("does not restore faces; send the result to `restore_face`"),
            listed("if `/face-restorers` lists one; the server fetches its model at the first use").unverified(),
        ],
    )
    .neutral(OFF),
    row(&[T2I], "enable_hr", [yes(""), ours("enlarged, then a second KSampler"), yes("")]),
    row(
        &[CN],
        "enable_hr",
        [
            no("has no hi-res fix with ControlNet; enlarge the result with `super_resolution`").unverified(),
            ours("enlarged, then a second KSampler; not with a base picture"),
            yes("not with a base picture"),
        ],
    )
    .neutral(OFF),
    row(&[I2I], "enable_hr", [no(HIRES_OF_IMAGES); 3]).neutral(OFF),
    row(FROM_NOISE, "hr_scale", [yes("the size must be a multiple of 64"), ours(""), yes("")]),
    row(
        FROM_NOISE,
        "hr_upscaler",
        [
            listed("Latent kinds, Lanczos, Nearest, and models of `--hires-upscalers-dir`"),
            listed("Latent (also bicubic and nearest-exact), Lanczos, Nearest, None, and models of UpscaleModelLoader"),
            listed("`/upscalers` and `/latent-upscale-modes`"),
        ],
    ),
    row(FROM_NOISE, "hr_second_pass_steps", [yes("at most 100"), yes(""), yes("")]),
    row(
        FROM_NOISE,
        "hr_resize_x",
        [yes("must be a multiple of 64"), yes("must be a multiple of 8"), yes("must be a multiple of 8")],
    ),
    row(
        FROM_NOISE,
        "hr_resize_y",
        [yes("must be a multiple of 64"), yes("must be a multiple of 8"), yes("must be a multiple of 8")],
    ),
    row(&[I2I], "hr_scale", NO_EFFECT),
    row(&[I2I], "hr_upscaler", NO_EFFECT),
    row(&[I2I], "hr_second_pass_steps", NO_EFFECT),
    row(&[I2I], "hr_resize_x", NO_EFFECT),
    row(&[I2I], "hr_resize_y", NO_EFFECT),
    row(&[T2I], "denoising_strength", [yes("of the hi-res fix"); 3]),
    row(
        &[I2I, CN],
        "denoising_strength",
        [
            yes("of `steps`, this share is made, and at 1 all but one"),
            near("all `steps` are made, where others make the share that `denoising_strength` says"),
            yes("of `steps`, this share is made"),
        ],
    ),
    row(&[I2I], "resize_mode", [ours("0, 1 and 2"), ours("0, 1 and 2"), yes("0 to 3")]),
    row(&[CN], "resize_mode", [ours("0, 1 and 2"), ours("0, 1 and 2"), yes("0, 1 and 2")]),
    row(
        &[I2I],
        "mask_blur",
        [ours("what is outside the mask is put back from the picture that is given"), ours(""), yes("")],
    ),
    row(&[I2I], "mask_blur_x", [ours(""), ours(""), yes("")]),
    row(&[I2I], "mask_blur_y", [ours(""), ours(""), yes("")]),
    row(
        &[I2I],
        "inpainting_fill",
        [no("keeps the picture below the mask; give 1"), no("keeps the picture below the mask; give 1"), yes("")],
    )
    .neutral(&["1"]),
    row(
        &[I2I],
        "inpaint_full_res",
        [
            no("redraws with the whole picture in view; give false"),
            no("redraws with the whole picture in view; give false"),
            yes("the part is made at `width` x `height`, and the result has the size of the picture that is given")
                .unverified(),
        ],
    )
    .neutral(OFF),
    row(
        &[I2I],
        "inpaint_full_res_padding",
        [yes("no effect without `inpaint_full_res`"), yes("no effect without `inpaint_full_res`"), yes("")],
    ),
    row(&[I2I], "inpainting_mask_invert", [ours(""), ours(""), yes("")]),
    row(
        &[I2I],
        "initial_noise_multiplier",
        [no("has no multiplier of the noise; give 1"), no("has no multiplier of the noise; give 1"), yes("")],
    )
    .neutral(&["1", "1.0"]),
    row(
        &[I2I],
        "image_cfg_scale",
        [
            yes("has an effect with models for editing alone"),
            no("has no guidance by the picture; sd-server, A1111 and Forge have it"),
            yes("has an effect with models for editing alone"),
        ],
    ),
    row(
        SD,
        "alwayson_scripts.sd_model_checkpoint",
        [listed("one process serves each model"), listed("CheckpointLoaderSimple"), listed("`/sd-models`")],
    ),
    row(SD, "alwayson_scripts.id_task", SERVICE),
    row(
        SD,
        "alwayson_scripts.sd_vae",
        [
            listed("the VAE that the process was started with"),
            listed("VAELoader"),
            listed("`/sd-vae`, or `/sd-modules` of Forge").unverified(),
        ],
    ),
    row(SD, "alwayson_scripts.override_settings.CLIP_stop_at_last_layers", HONOURED),
    row(
        SD,
        "alwayson_scripts.override_settings.*",
        [
            no("does not have this setting of the web UI; remove it"),
            no("does not have this setting of the web UI; remove it"),
            no(
                "may not be sent this setting: it can change what the server does for others; its operator can set it there",
            ),
        ],
    ),
    row(SD, "alwayson_scripts.output_image_format", [ours("back ends are asked for PNG"); 3]),
    row(
        SD,
        "alwayson_scripts.ADetailer",
        [
            no("does not have the plug-in ADetailer; A1111 and Forge can have it"),
            no("does not have the plug-in ADetailer; A1111 and Forge can have it"),
            listed("if `/scripts` has it").unverified(),
        ],
    ),
    row(&[I2I, CN], "alwayson_scripts.image_link", [ours(""), ours("uploaded"), ours("")]),
    row(&[I2I], "alwayson_scripts.mask_link", [ours(""), ours("uploaded"), ours("")]),
    // Not declared there, but a web UI would take them for scripts.
    row(&[T2I], "alwayson_scripts.image_link", [no(NOT_FROM_PICTURES); 3]),
    row(FROM_NOISE, "alwayson_scripts.mask_link", [no(NO_MASK); 3]),
    row(
        SD,
        "alwayson_scripts.*",
        [
            no("does not have scripts of the web UI; A1111 and Forge do"),
            no("does not have scripts of the web UI; A1111 and Forge do"),
            listed("if the operator allows the script by `scripts` and `/scripts` has it").unverified(),
        ],
    ),
    row(SD, "tiling", WEBUI_MEMBER).neutral(OFF),
    row(SD, "subseed", WEBUI_MEMBER),
    row(SD, "subseed_strength", WEBUI_MEMBER).neutral(&["0", "0.0"]),
    row(SD, "seed_resize_from_w", WEBUI_MEMBER),
    row(SD, "seed_resize_from_h", WEBUI_MEMBER),
    row(SD, "eta", WEBUI_MEMBER),
    row(SD, "s_churn", WEBUI_MEMBER),
    row(SD, "s_tmin", WEBUI_MEMBER),
    row(SD, "s_tmax", WEBUI_MEMBER),
    row(SD, "s_noise", WEBUI_MEMBER),
    row(SD, "s_min_uncond", WEBUI_MEMBER),
    row(SD, "*", [no(UNKNOWN); 3]),
    row(&[CN], "controlnet.args[].enabled", [ours("a unit that is not enabled is left out"); 3]),
    row(
        &[CN],
        "controlnet.args[].module",
        [
            ours(MADE),
            ours(MADE),
            listed(
                "`/controlnet/module_list`; a kind such as `depth` takes the server's preprocessor of that kind, with a \
                 note",
            ),
        ],
    ),
    row(
        &[CN],
        "controlnet.args[].model",
        [
            listed("the ControlNet that the process was started with"),
            listed("ControlNetLoader"),
            listed("`/controlnet/model_list`, with or without the hash"),
        ],
    ),
    row(&[CN], "controlnet.args[].weight", HONOURED),
    row(&[CN], "controlnet.args[].image_link", [ours(""), ours("uploaded"), ours("")]),
    row(&[CN], "controlnet.args[].guidance_start", [no("applies ControlNet to all steps; give 0"), yes(""), yes("")])
        .neutral(&["0", "0.0"]),
    row(&[CN], "controlnet.args[].guidance_end", [no("applies ControlNet to all steps; give 1"), yes(""), yes("")])
        .neutral(&["1", "1.0"]),
    row(
        &[CN],
        "controlnet.args[].control_mode",
        [
            no("has the balanced mode alone; A1111 and Forge have all"),
            no("has the balanced mode alone; A1111 and Forge have all"),
            yes(""),
        ],
    )
    .neutral(&["0", "\"Balanced\""]),
    row(&[CN], "controlnet.args[].resize_mode", [ours(""), ours(""), yes("")]),
    row(&[CN], "controlnet.args[].pixel_perfect", OF_MODULE),
    row(&[CN], "controlnet.args[].processor_res", OF_MODULE),
    row(&[CN], "controlnet.args[].threshold_a", THRESHOLD),
    row(&[CN], "controlnet.args[].threshold_b", THRESHOLD),
    row(
        &[CN],
        "controlnet.args[].*",
        [no(WEBUI_UNIT), no(WEBUI_UNIT), no("does not take this member of a unit; remove it")],
    ),
    row(&[CN], "controlnet.*", [no(UNKNOWN); 3]),
    row(&[FLUX], "businessTaskId", SERVICE),
    row(&[FLUX], "callbackUrl", SERVICE),
    row(
        &[FLUX],
        "comfyTaskType",
        [
            listed("the process that the operator configured for it"),
            listed("the files or the workflow that the operator configured for it").unverified(),
            listed("the files that the operator configured for it; Forge alone").unverified(),
        ],
    ),
    row(
        &[FLUX],
        "fluxGuidance",
        [
            yes("FLUX.1 schnell ignores it, which is noted"),
            yes("FLUX.1 schnell ignores it, which is noted").unverified(),
            yes("FLUX.1 schnell ignores it, which is noted").unverified(),
        ],
    ),
];
