//! What holds for every ComfyUI, fake or real.

use imgopen_backends::Driver;
use imgopen_engine::{Engine, EngineError, Format, Models, Monitor, PictureLimits};
use imgopen_picture::{decode, parameters};
use imgopen_types::operations::{CONTROLNET, TEXT_TO_IMAGE};
use serde_json::{Value, json};

use crate::comfy_target::{ComfyTarget, comfy_targets};
use crate::jobs::{controlnet, image_to_image, job, text_to_image};
use crate::target::until;

/// Runs a case against each target.
macro_rules! on_all {
    ($($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            for target in comfy_targets().await {
                println!("against {}", target.name);
                cases::$case(&target).await;
            }
        }
    )*};
}

on_all! {
    models_are_offered_by_the_names_of_their_files
    a_picture_is_made_as_asked_for
    several_pictures_have_seeds_that_count_up
    the_same_seed_makes_the_same_picture
    a_random_seed_is_named_and_kept_for_a_second_run
    a_sampler_with_a_schedule_is_used
    a_lora_is_applied
    what_the_server_lacks_is_refused_by_field
    the_hires_fix_makes_the_final_size
    a_picture_is_changed_within_its_mask
    a_unit_of_controlnet_is_used
    results_have_the_format_asked_for
    progress_reaches_the_end
    a_cancelled_job_frees_the_server
    memory_is_freed
}

mod cases {
    use super::*;

    pub async fn models_are_offered_by_the_names_of_their_files(target: &ComfyTarget) {
        let offers = target.engine.offers();
        let offer = offers.iter().find(|offer| *offer.operation == TEXT_TO_IMAGE).unwrap();
        let Models::Listed(models) = &offer.models else { panic!("any model is taken") };
        assert!(offer.away.is_none() && models.iter().any(|model| model.name == target.model), "{models:?}");
        let report = target.engine.report();
        assert_eq!(report.program, "ComfyUI");
        assert!(report.to_string().contains("text_to_image: served"), "{report}");
    }

    pub async fn a_picture_is_made_as_asked_for(target: &ComfyTarget) {
        let output = target.run(text_to_image(&target.model, json!({"width": 72, "cfg_scale": 5.5}))).await.unwrap();
        let [picture] = &output.pictures[..] else { panic!("{output:?}") };
        assert_eq!((picture.width, picture.height, picture.seed), (72, 64, Some(7)));
        let text = parameters(&picture.bytes).unwrap();
        let expected = "a lighthouse\nNegative prompt: blurry\nSteps: 2, Sampler: Euler, Schedule type: Normal, CFG scale: 5.5, \
                        Seed: 7, Size: 72x64, Model: ";
        assert!(text.starts_with(expected), "{text}");
        let [note] = &output.notes[..] else { panic!("{:?}", output.notes) };
        assert!(note.contains("repeats the workflow that it was sent"), "{note}");
        // The workflow of the server names its files.
        let file = String::from_utf8_lossy(&picture.bytes).into_owned();
        assert!(!file.contains("class_type"));
        assert!(target.engine.has_loaded(Some(&target.model)) && !target.engine.has_loaded(Some("other")));
    }

    pub async fn several_pictures_have_seeds_that_count_up(target: &ComfyTarget) {
        let request = text_to_image(&target.model, json!({"n_iter": 2, "batch_size": 2, "seed": "40"}));
        let pictures = target.run(request).await.unwrap().pictures;
        assert_eq!(pictures.iter().filter_map(|picture| picture.seed).collect::<Vec<_>>(), [40, 41, 42, 43]);
        for picture in &pictures {
            let text = parameters(&picture.bytes).unwrap();
            assert!(text.contains(&format!("Seed: {},", picture.seed.unwrap())), "{text}");
        }
    }

    pub async fn the_same_seed_makes_the_same_picture(target: &ComfyTarget) {
        let pixels = async |seed: &str| {
            let output = target.run(text_to_image(&target.model, json!({"seed": seed}))).await.unwrap();
            decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image
        };
        let first = pixels("11").await;
        assert!(first == pixels("11").await && first != pixels("12").await);
    }

    pub async fn a_random_seed_is_named_and_kept_for_a_second_run(target: &ComfyTarget) {
        let request = text_to_image(&target.model, json!({"seed": "-1"}));
        let plan = target.engine.plan(&request).await.unwrap();
        let seed = plan.as_ref().and_then(|plan| plan["seed"].as_i64()).expect("a seed is drawn");
        let run = target.engine.run(job(request).with_plan(plan), Monitor::new().0);
        assert_eq!(run.await.unwrap().pictures[0].seed, Some(seed));
        assert_eq!(target.engine.plan(&text_to_image(&target.model, json!({}))).await.unwrap(), None);
    }

    pub async fn a_sampler_with_a_schedule_is_used(target: &ComfyTarget) {
        for (sampler, said) in [
            ("DPM++ 2M Karras", "Sampler: DPM++ 2M, Schedule type: Karras"),
            ("DPM++ 2M", "Sampler: DPM++ 2M, Schedule type: Normal"),
        ] {
            let output = target.run(text_to_image(&target.model, json!({"sampler_index": sampler}))).await.unwrap();
            let text = parameters(&output.pictures[0].bytes).unwrap();
            assert!(text.contains(said), "{text}");
        }
    }

    pub async fn a_lora_is_applied(target: &ComfyTarget) {
        let Some(lora) = &target.lora else { return println!("no LoRA is there") };
        let request = text_to_image(&target.model, json!({"prompt": format!("a cat <lora:{lora}:0.8>")}));
        let output = target.run(request).await.unwrap();
        assert_eq!(output.pictures.len(), 1);
    }

    pub async fn what_the_server_lacks_is_refused_by_field(target: &ComfyTarget) {
        let model = &target.model;
        let unit = |unit: Value| controlnet(model, unit, json!({}));
        let picture = "https://example.com/b.png";
        let hires = |changes: Value| {
            let mut body = json!({"enable_hr": true, "hr_scale": 2});
            body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            text_to_image(model, body)
        };
        let requests = [
            ("alwayson_scripts.sd_model_checkpoint", text_to_image("nope.safetensors", json!({}))),
            ("sampler_index", text_to_image(model, json!({"sampler_index": "Nope"}))),
            ("sampler_index", text_to_image(model, json!({"sampler_index": "PLMS"}))),
            ("prompt", text_to_image(model, json!({"prompt": "<lora:nope:1>"}))),
            ("prompt", text_to_image(model, json!({"prompt": "a [cat:dog:0.5]"}))),
            ("prompt", text_to_image(model, json!({"prompt": "a [cat]"}))),
            ("prompt", text_to_image(model, json!({"prompt": "embedding:nope"}))),
            ("negative_prompt", text_to_image(model, json!({"negative_prompt": "<lora:nope:1>"}))),
            ("width", text_to_image(model, json!({"width": 70}))),
            ("height", text_to_image(model, json!({"height": 8}))),
            ("seed", text_to_image(model, json!({"seed": "-7"}))),
            ("nope", text_to_image(model, json!({"nope": 1}))),
            ("tiling", text_to_image(model, json!({"tiling": true}))),
            ("restore_faces", text_to_image(model, json!({"restore_faces": true}))),
            ("hr_upscaler", hires(json!({"hr_upscaler": "Nope"}))),
            ("hr_resize_x", hires(json!({"hr_resize_x": 100, "hr_resize_y": 128}))),
            ("denoising_strength", hires(json!({"denoising_strength": 0}))),
            ("alwayson_scripts.sd_vae", text_to_image(model, json!({"alwayson_scripts": {"sd_vae": "nope.ckpt"}}))),
            ("alwayson_scripts.Nope", text_to_image(model, json!({"alwayson_scripts": {"Nope": {"args": []}}}))),
            ("enable_hr", image_to_image(model, json!({"enable_hr": true}))),
            ("resize_mode", image_to_image(model, json!({"resize_mode": 3}))),
            ("controlnet.args[0].model", unit(json!({"model": "nope", "image_link": picture}))),
            ("controlnet.args[0].module", unit(json!({"model": "nope", "module": "canny", "image_link": picture}))),
            ("controlnet.args[0].control_mode", unit(json!({"model": "n", "control_mode": 2, "image_link": picture}))),
        ];
        for (field, request) in requests {
            match target.engine.check(&request) {
                Err(EngineError::Rejected { field: Some(rejected), problem }) => {
                    assert_eq!(rejected, field, "{problem}")
                }
                other => panic!("`{field}`: {other:?}"),
            }
        }
    }

    pub async fn the_hires_fix_makes_the_final_size(target: &ComfyTarget) {
        let by_scale = json!({"enable_hr": true, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.6});
        let by_size =
            |upscaler: &str| json!({"enable_hr": true, "hr_resize_x": 96, "hr_resize_y": 128, "hr_upscaler": upscaler});
        for (changes, size) in [(by_scale, (128, 128)), (by_size("Lanczos"), (96, 128)), (by_size("Latent"), (96, 128))]
        {
            let output = target.run(text_to_image(&target.model, changes)).await.unwrap();
            assert_eq!((output.pictures[0].width, output.pictures[0].height), size);
            let text = parameters(&output.pictures[0].bytes).unwrap();
            assert!(text.contains("Hires steps: 2, Hires upscaler: La"), "{text}");
        }
    }

    /// The mask of the job is white on the left.
    pub async fn a_picture_is_changed_within_its_mask(target: &ComfyTarget) {
        let plain = image_to_image(&target.model, json!({"resize_mode": 1, "denoising_strength": 0.01}));
        let output = target.run(plain).await.unwrap();
        assert_eq!((output.pictures[0].width, output.pictures[0].height), (64, 64));
        assert!(output.notes.iter().any(|note| note.starts_with("`denoising_strength`")), "{:?}", output.notes);
        let pixels = async |inverted: u32| {
            let changes = json!({
                "alwayson_scripts": {"mask_link": "https://example.com/m.png"}, "mask_blur": 2, "inpainting_mask_invert": inverted
            });
            let output = target.run(image_to_image(&target.model, changes)).await.unwrap();
            let text = parameters(&output.pictures[0].bytes).unwrap();
            assert!(text.contains("Denoising strength: 0.99") && text.contains("Mask blur: 2"), "{text}");
            decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image.to_rgb8()
        };
        let (left, right) = (pixels(0).await, pixels(1).await);
        // The picture of the job has 80x60 pixels: red grows by 3 with x, green by 4 with y, blue is 90.
        let is_kept = |image: &image::RgbImage, x: u32| (image.get_pixel(x, 32).0[2]).abs_diff(90) <= 1;
        assert!(is_kept(&left, 60) && is_kept(&right, 3));
        assert!(!is_kept(&left, 3) || !is_kept(&right, 60), "nothing was redrawn");
    }

    pub async fn a_unit_of_controlnet_is_used(target: &ComfyTarget) {
        if !target.engine.offers().iter().any(|offer| *offer.operation == CONTROLNET) {
            return println!("no ControlNet model is there");
        }
        let picture = "https://example.com/b.png";
        let unit = |model: &str| json!({"model": model, "weight": 0.8, "image_link": picture});
        let error = target.engine.check(&controlnet(&target.model, unit("nope"), json!({})));
        let names = error.unwrap_err().to_string();
        let model = names.split("give one of \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        for changes in [json!({}), json!({"alwayson_scripts": {"image_link": "https://example.com/a.png"}})] {
            let output = target.run(controlnet(&target.model, unit(&model), changes)).await.unwrap();
            let text = parameters(&output.pictures[0].bytes).unwrap();
            assert!(text.contains("ControlNet 0: \"Module: None, Model: ") && text.contains("Weight: 0.8"), "{text}");
        }
    }

    pub async fn results_have_the_format_asked_for(target: &ComfyTarget) {
        for (name, format) in [("webp", Format::WebP), ("jpeg", Format::Jpeg), ("png", Format::Png)] {
            let request = text_to_image(&target.model, json!({"alwayson_scripts": {"output_image_format": name}}));
            let picture = target.run(request).await.unwrap().pictures.remove(0);
            let header = imgopen_picture::inspect(&picture.bytes, &PictureLimits::default()).unwrap();
            assert_eq!((header.format, picture.format), (format, format));
            assert!(parameters(&picture.bytes).unwrap().contains("Seed: 7"));
        }
    }

    pub async fn progress_reaches_the_end(target: &ComfyTarget) {
        if let Some(fake) = &target.fake {
            fake.set(|behaviour| behaviour.step = std::time::Duration::from_millis(10));
        }
        let (monitor, watch) = Monitor::new();
        let request = text_to_image(&target.model, json!({"steps": 30, "n_iter": 2, "seed": "900"}));
        let run = tokio::spawn(target.engine.run(job(request), monitor));
        let mut progress = watch.progress.clone();
        let mut seen = Vec::new();
        while progress.changed().await.is_ok() {
            let now = *progress.borrow_and_update();
            assert!(seen.last().is_none_or(|earlier: &f64| *earlier <= now.percent));
            assert!(now.steps == 60 || now.steps == 0, "{now:?}");
            seen.push(now.percent);
        }
        assert!(run.await.unwrap().is_ok());
        assert!(seen.len() > 5 && seen.last().is_some_and(|percent| *percent > 99.0), "{seen:?}");
        let preview = watch.preview.borrow().clone();
        if target.fake.is_some() {
            assert!(preview.is_some_and(|preview| (preview.width, preview.height) == (8, 8)));
        }
    }

    pub async fn a_cancelled_job_frees_the_server(target: &ComfyTarget) {
        if let Some(fake) = &target.fake {
            fake.set(|behaviour| behaviour.step = std::time::Duration::from_millis(50));
        }
        let (monitor, watch) = Monitor::new();
        let request = text_to_image(&target.model, json!({"steps": 1000}));
        let run = tokio::spawn(target.engine.run(job(request), monitor));
        let mut progress = watch.progress.clone();
        progress.wait_for(|progress| progress.step > 0).await.unwrap();
        watch.cancel.cancel();
        assert_eq!(run.await.unwrap(), Err(EngineError::Cancelled));
        // Otherwise the next job would wait for the 1000 steps.
        tokio::time::timeout(crate::target::DEADLINE, watch.ended()).await.expect("the server is interrupted");
        if let Some(fake) = &target.fake {
            until("the server is idle", async || fake.running().is_none()).await;
            assert_eq!(fake.endings(), ["execution_interrupted"]);
        }
        assert!(target.run(text_to_image(&target.model, json!({}))).await.is_ok());
    }

    pub async fn memory_is_freed(target: &ComfyTarget) {
        target.run(text_to_image(&target.model, json!({}))).await.unwrap();
        target.engine.free().await;
        assert!(!target.engine.has_loaded(Some(&target.model)));
        if let Some(fake) = &target.fake {
            assert_eq!(fake.frees(), 1);
        }
    }
}
