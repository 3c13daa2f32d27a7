//! What has an effect beside the prompt: samplers, LoRAs, the hi-res fix, masks, ControlNet, the clip skip.

use image::RgbImage;
use image::imageops::crop_imm;
use imgopen_backends::Kind;
use imgopen_backends::honesty::Treatment;
use imgopen_engine::PictureLimits;
use imgopen_picture::{decode, parameters};
use serde_json::json;

use crate::jobs::{controlnet, image_to_image, text_to_image};
use crate::targets::Target;

pub async fn a_sampler_with_a_schedule_is_used(target: &Target) {
    // What is asked for, what the text says, and whether a note says that it was approximated.
    let cases: &[(&str, &str, bool)] = match target.kind {
        Kind::SdServer => &[
            ("DPM++ 2M Karras", "Sampler: dpm++2m karras,", false),
            ("Euler a", "Sampler: euler_a discrete,", false),
            ("DDIM", "Sampler: ddim_trailing simple,", true),
        ],
        Kind::ComfyUi => &[
            ("DPM++ 2M Karras", "Sampler: DPM++ 2M, Schedule type: Karras", false),
            ("DPM++ 2M", "Sampler: DPM++ 2M, Schedule type: Normal", false),
        ],
        Kind::SdWebui => &[
            ("DPM++ 2M Karras", "Sampler: DPM++ 2M, Schedule type: Karras", false),
            ("DPM++ 2M", "Sampler: DPM++ 2M, Schedule type: Uniform", false),
        ],
    };
    for (sampler, said, is_noted) in cases {
        let output = target.run(text_to_image(&target.model, json!({ "sampler_index": sampler }))).await.unwrap();
        let text = parameters(&output.pictures[0].bytes).unwrap();
        assert!(text.contains(said), "{text}");
        // ComfyUI has a note on what cannot be verified.
        let expected = usize::from(target.kind == Kind::ComfyUi) + usize::from(*is_noted);
        assert_eq!(output.notes.len(), expected, "{:?}", output.notes);
    }
}

pub async fn a_lora_is_applied(target: &Target) {
    let Some(lora) = &target.lora else { return assert!(target.is_real(), "the fake has a LoRA") };
    let request = text_to_image(&target.model, json!({"prompt": format!("a cat <lora:{lora}:0.8>")}));
    let output = target.run(request).await.unwrap();
    assert_eq!(output.pictures.len(), 1);
    let text = parameters(&output.pictures[0].bytes).unwrap();
    let said = match target.kind {
        Kind::SdServer => format!("\"name\":\"{lora}.safetensors\""),
        Kind::ComfyUi => format!("a cat <lora:{lora}:0.8>\n"),
        Kind::SdWebui => format!("Lora hashes: \"{lora}: "),
    };
    assert!(text.contains(&said), "{text}");
    if target.kind == Kind::SdServer {
        assert!(text.starts_with("a cat\n"), "{text}");
        // What an address cannot prove is said.
        assert_eq!(output.notes.len(), usize::from(!target.is_program), "{:?}", output.notes);
    }
    let plain = target.run(text_to_image(&target.model, json!({}))).await.unwrap();
    let text = parameters(&plain.pictures[0].bytes).unwrap();
    assert!(!text.contains(lora.as_str()) && !text.contains("loras"), "{text}");
}

pub async fn the_hires_fix_makes_the_final_size(target: &Target) {
    // sd-server makes multiples of 64.
    let (width, said) = match target.kind {
        Kind::SdServer => (64, "Hires upscale: La"),
        Kind::ComfyUi | Kind::SdWebui => (96, "Hires upscaler: La"),
    };
    let by_scale = json!({"enable_hr": true, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.6});
    let by_size =
        |upscaler: &str| json!({"enable_hr": true, "hr_resize_x": width, "hr_resize_y": 128, "hr_upscaler": upscaler});
    for (changes, size) in
        [(by_scale, (128, 128)), (by_size("Lanczos"), (width, 128)), (by_size("Latent"), (width, 128))]
    {
        let output = target.run(text_to_image(&target.model, changes)).await.unwrap();
        assert_eq!((output.pictures[0].width, output.pictures[0].height), size);
        let text = parameters(&output.pictures[0].bytes).unwrap();
        assert!(text.contains(said) && text.contains("Hires steps: 2"), "{text}");
    }
}

/// The mask of the job is white on the left.
pub async fn a_picture_is_changed_within_its_mask(target: &Target) {
    // The least that is taken: of two steps, sd-server must make one.
    let strength = if target.kind == Kind::SdServer { 0.99 } else { 0.01 };
    let plain = image_to_image(&target.model, json!({"resize_mode": 1, "denoising_strength": strength}));
    let output = target.run(plain).await.unwrap();
    assert_eq!((output.pictures[0].width, output.pictures[0].height), (64, 64));
    let is_near = target.cell("image_to_image", "denoising_strength").treatment == Treatment::Approximated;
    let is_noted = output.notes.iter().any(|note| note.starts_with("`denoising_strength`"));
    assert_eq!(is_noted, is_near, "{:?}", output.notes);
    let blur = match target.kind {
        Kind::SdServer => 0,
        Kind::ComfyUi => 2,
        Kind::SdWebui => 4,
    };
    let made = async |seed: &str, inverted: u8| {
        let changes = json!({
            "alwayson_scripts": {"mask_link": "https://example.com/m.png"}, "mask_blur": blur, "inpainting_fill": 1,
            "inpainting_mask_invert": inverted, "seed": seed,
        });
        let output = target.run(image_to_image(&target.model, changes)).await.unwrap();
        let text = parameters(&output.pictures[0].bytes).unwrap();
        assert!(text.contains(&format!("Seed: {seed}")), "{text}");
        if target.kind != Kind::SdServer {
            let mask = format!("Mask blur: {blur}");
            assert!(text.contains("Denoising strength: 0.99") && text.contains(&mask), "{text}");
        }
        decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image.to_rgb8()
    };
    let (one, two, inverted) = (made("11", 0).await, made("12", 0).await, made("11", 1).await);
    // The web UI itself keeps what is outside the mask.
    if target.cell("image_to_image", "mask_blur").treatment != Treatment::ByUs {
        return;
    }
    // At the edge, resizing and the blur make a slope.
    let part = |image: &RgbImage, x: u32| crop_imm(image, x, 0, 24, 64).to_image();
    assert!(part(&one, 40) == part(&two, 40), "what is not redrawn stays");
    assert!(part(&one, 0) != part(&two, 0), "what is redrawn depends on the seed");
    assert!(part(&one, 40) != part(&inverted, 40), "the other half is redrawn");
    // The picture of the job has 80x60 pixels: red grows by 3 with x, green by 4 with y, blue is 90.
    let is_kept = |image: &RgbImage, x: u32| image.get_pixel(x, 32).0[2].abs_diff(90) <= 1;
    assert!(is_kept(&one, 60) && is_kept(&inverted, 3));
    assert!(!is_kept(&one, 3) || !is_kept(&inverted, 60), "nothing was redrawn");
}

pub async fn a_unit_of_controlnet_is_used(target: &Target) {
    let Some(net) = &target.control_net else { return assert!(target.is_real(), "the fake has a ControlNet") };
    let base = json!({"alwayson_scripts": {"image_link": "https://example.com/a.png"}});
    for (module, changes) in [("none", json!({})), ("shuffle", json!({})), ("shuffle", base)] {
        let unit = json!({"model": net, "weight": 0.8, "image_link": "https://example.com/b.png", "module": module});
        let output = target.run(controlnet(&target.model, unit, changes)).await.unwrap();
        assert_eq!(output.pictures.len(), 1);
        let text = parameters(&output.pictures[0].bytes).unwrap();
        let shown = if module == "none" { "None" } else { module };
        let (named, weight) = match target.kind {
            Kind::SdServer => ("\"control_net\":".to_owned(), "\"control_strength\":0.8"),
            Kind::ComfyUi => (format!("ControlNet 0: \"Module: {shown}, Model: "), "Weight: 0.8"),
            Kind::SdWebui => (net.clone(), "Weight: 0.8"),
        };
        assert!(text.contains(&named) && text.contains(weight), "{text}");
        // The picture has 80x60 pixels, and the web UI's default is a shorter side of 512.
        let made = "`controlnet.args[0].module`: the control picture `shuffle` was made by the engine `preprocessors` of this \
                    service, at 683x512 pixels, and fitted to 64x64";
        let is_ours = target.cell("controlnet", "controlnet.args[0].module").treatment == Treatment::ByUs;
        let is_noted = output.notes.iter().any(|note| note == made);
        assert_eq!(is_noted, is_ours && module != "none", "{:?}", output.notes);
        if target.kind == Kind::SdWebui {
            let [sent] = &output.notes[..] else { panic!("{:?}", output.notes) };
            assert!(sent.contains("does not prove"), "{sent}");
        }
    }
}

pub async fn the_clip_skip_does_not_stick(target: &Target) {
    let settings = json!({"override_settings": {"CLIP_stop_at_last_layers": 2}});
    let skip = text_to_image(&target.model, json!({ "alwayson_scripts": settings }));
    for (request, is_said) in [(skip, true), (text_to_image(&target.model, json!({})), false)] {
        let output = target.run(request).await.unwrap();
        let text = parameters(&output.pictures[0].bytes).unwrap();
        assert_eq!(text.contains("Clip skip: 2"), is_said, "{text}");
    }
}
