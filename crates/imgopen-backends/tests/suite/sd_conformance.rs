//! What holds for every sd-server, fake or real, at an address or as a program.

use imgopen_engine::{Engine, EngineError, Format, Models, Monitor, PictureLimits};
use imgopen_picture::{decode, parameters};
use imgopen_types::operations::TEXT_TO_IMAGE;
use serde_json::{Value, json};

use crate::jobs::{controlnet, image_to_image, job, text_to_image};
use crate::sd_target::{SdTarget, sd_targets};
use crate::target::DEADLINE;

/// Runs a case against each target, whose fakes take so many milliseconds for a step.
macro_rules! on_all {
    ($($case:ident: $step:literal)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            for target in sd_targets($step).await {
                println!("against {}", target.name);
                cases::$case(&target).await;
            }
        }
    )*};
}

on_all! {
    models_are_offered_by_the_names_of_their_files: 0
    a_picture_is_made_as_asked_for: 0
    prompts_need_not_be_english: 0
    more_pictures_than_the_server_makes_at_once_have_seeds_that_count_up: 0
    the_same_seed_makes_the_same_picture: 0
    a_random_seed_is_named_and_kept_for_a_second_run: 0
    a_sampler_with_a_schedule_is_used: 0
    a_lora_is_applied: 0
    what_the_server_lacks_is_refused_by_field: 0
    the_hires_fix_makes_the_final_size: 0
    a_picture_is_changed_within_its_mask: 0
    a_unit_of_controlnet_is_used: 0
    the_clip_skip_does_not_stick: 0
    results_have_the_format_asked_for: 0
    progress_reaches_the_end: 10
    a_cancelled_job_frees_the_server: 50
}

mod cases {
    use super::*;

    pub async fn models_are_offered_by_the_names_of_their_files(target: &SdTarget) {
        let offers = target.engine.offers();
        let offer = offers.iter().find(|offer| *offer.operation == TEXT_TO_IMAGE).unwrap();
        let Models::Listed(models) = &offer.models else { panic!("any model is taken") };
        assert!(offer.away.is_none() && models.iter().any(|model| model.name == target.model), "{models:?}");
        let has_controlnet = offers.iter().any(|offer| offer.operation.id == "controlnet");
        assert_eq!(has_controlnet, target.control_net.is_some());
    }

    pub async fn a_picture_is_made_as_asked_for(target: &SdTarget) {
        let output = target.run(text_to_image(&target.model, json!({"width": 128, "cfg_scale": 5.3}))).await.unwrap();
        let [picture] = &output.pictures[..] else { panic!("{output:?}") };
        assert_eq!((picture.width, picture.height, picture.seed), (128, 64, Some(7)));
        let text = parameters(&picture.bytes).unwrap();
        assert!(text.starts_with("a lighthouse\nNegative prompt: blurry\nSteps: 2, CFG scale: 5.3"), "{text}");
        assert!(text.contains("Sampler: euler discrete") && output.notes.is_empty(), "{text} {:?}", output.notes);
    }

    pub async fn prompts_need_not_be_english(target: &SdTarget) {
        for prompt in ["Leuchttürme bei Nacht", "灯台\nSteps: 9, SDCPP: {}"] {
            let output = target.run(text_to_image(&target.model, json!({ "prompt": prompt }))).await.unwrap();
            let text = parameters(&output.pictures[0].bytes).unwrap();
            assert!(text.starts_with(prompt), "{text}");
        }
    }

    pub async fn more_pictures_than_the_server_makes_at_once_have_seeds_that_count_up(target: &SdTarget) {
        let request = text_to_image(&target.model, json!({"n_iter": 3, "batch_size": 3, "seed": "40"}));
        let pictures = target.run(request).await.unwrap().pictures;
        let seeds: Vec<i64> = pictures.iter().filter_map(|picture| picture.seed).collect();
        assert_eq!(seeds, (40..49).collect::<Vec<_>>());
        for picture in &pictures {
            let text = parameters(&picture.bytes).unwrap();
            assert!(text.contains(&format!("Seed: {},", picture.seed.unwrap())), "{text}");
        }
        // Each can be made again alone.
        let again = target.run(text_to_image(&target.model, json!({"seed": "48"}))).await.unwrap();
        assert!(again.pictures[0].bytes == pictures[8].bytes);
    }

    pub async fn the_same_seed_makes_the_same_picture(target: &SdTarget) {
        let pixels = async |seed: &str| {
            let output = target.run(text_to_image(&target.model, json!({"seed": seed}))).await.unwrap();
            decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image
        };
        let first = pixels("11").await;
        assert!(first == pixels("11").await && first != pixels("12").await);
    }

    pub async fn a_random_seed_is_named_and_kept_for_a_second_run(target: &SdTarget) {
        let request = text_to_image(&target.model, json!({"seed": "-1"}));
        let plan = target.engine.plan(&request).await.unwrap();
        let seed = plan.as_ref().and_then(|plan| plan["seed"].as_i64()).expect("a seed is drawn");
        let run = target.engine.run(job(request).with_plan(plan), Monitor::new().0);
        assert_eq!(run.await.unwrap().pictures[0].seed, Some(seed));
        assert_eq!(target.engine.plan(&text_to_image(&target.model, json!({}))).await.unwrap(), None);
    }

    pub async fn a_sampler_with_a_schedule_is_used(target: &SdTarget) {
        for (sampler, said, notes) in [
            ("DPM++ 2M Karras", "dpm++2m karras", 0),
            ("Euler a", "euler_a discrete", 0),
            ("DDIM", "ddim_trailing simple", 1),
        ] {
            let output = target.run(text_to_image(&target.model, json!({"sampler_index": sampler}))).await.unwrap();
            let text = parameters(&output.pictures[0].bytes).unwrap();
            assert!(text.contains(&format!("Sampler: {said},")), "{text}");
            assert_eq!(output.notes.len(), notes, "{:?}", output.notes);
        }
    }

    pub async fn a_lora_is_applied(target: &SdTarget) {
        let Some(lora) = &target.lora else { return println!("no LoRA is there") };
        let request = text_to_image(&target.model, json!({"prompt": format!("a cat <lora:{lora}:0.8>")}));
        let output = target.run(request).await.unwrap();
        let text = parameters(&output.pictures[0].bytes).unwrap();
        assert!(text.starts_with("a cat\n") && text.contains(&format!("\"name\":\"{lora}.safetensors\"")), "{text}");
        // What an address cannot prove is said.
        assert_eq!(output.notes.len(), usize::from(!target.is_program), "{:?}", output.notes);
        let plain = target.run(text_to_image(&target.model, json!({}))).await.unwrap();
        assert!(!parameters(&plain.pictures[0].bytes).unwrap().contains("loras"));
    }

    pub async fn what_the_server_lacks_is_refused_by_field(target: &SdTarget) {
        // A program says what it has once it runs.
        target.run(text_to_image(&target.model, json!({}))).await.unwrap();
        let model = &target.model;
        let picture = "https://example.com/b.png";
        let hires = |changes: Value| {
            let mut body = json!({"enable_hr": true, "hr_scale": 2});
            body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            text_to_image(model, body)
        };
        let mut requests = vec![
            ("alwayson_scripts.sd_model_checkpoint", text_to_image("nope.safetensors", json!({}))),
            ("sampler_index", text_to_image(model, json!({"sampler_index": "Nope"}))),
            ("sampler_index", text_to_image(model, json!({"sampler_index": "DPM++ SDE Karras"}))),
            ("prompt", text_to_image(model, json!({"prompt": "<lora:nope:1>"}))),
            ("prompt", text_to_image(model, json!({"prompt": "a [cat:dog:0.5]"}))),
            ("negative_prompt", text_to_image(model, json!({"negative_prompt": "a AND b"}))),
            ("width", text_to_image(model, json!({"width": 72}))),
            ("height", text_to_image(model, json!({"height": 32}))),
            ("steps", text_to_image(model, json!({"steps": 101}))),
            ("steps", text_to_image(model, json!({"steps": 1, "sampler_index": "Euler Karras"}))),
            ("tiling", text_to_image(model, json!({"tiling": true}))),
            ("restore_faces", text_to_image(model, json!({"restore_faces": true}))),
            ("hr_upscaler", hires(json!({"hr_upscaler": "Nope"}))),
            ("hr_upscaler", hires(json!({"hr_upscaler": "None"}))),
            ("hr_resize_x", hires(json!({"hr_resize_x": 100, "hr_resize_y": 128}))),
            ("hr_second_pass_steps", hires(json!({"hr_second_pass_steps": 101}))),
            ("denoising_strength", hires(json!({"denoising_strength": 0}))),
            ("denoising_strength", image_to_image(model, json!({"denoising_strength": 0.4}))),
            ("inpainting_fill", image_to_image(model, json!({"inpainting_fill": 2}))),
            ("alwayson_scripts.sd_vae", text_to_image(model, json!({"alwayson_scripts": {"sd_vae": "nope.ckpt"}}))),
            ("alwayson_scripts.ADetailer", text_to_image(model, json!({"alwayson_scripts": {"ADetailer": {}}}))),
        ];
        if let Some(lora) = &target.lora {
            requests.push(("prompt", text_to_image(model, json!({"prompt": format!("<lora:{lora}:0.5:0.8>")}))));
        }
        if let Some(net) = &target.control_net {
            let unit = |changes: Value| {
                let mut unit = json!({"model": net, "image_link": picture});
                unit.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
                controlnet(model, unit, json!({}))
            };
            requests.extend([
                ("controlnet.args[0].module", unit(json!({"module": "canny"}))),
                ("controlnet.args[0].guidance_end", unit(json!({"guidance_end": 0.5}))),
                ("controlnet.args[0].control_mode", unit(json!({"control_mode": 1}))),
            ]);
            let hires = controlnet(model, json!({"model": net, "image_link": picture}), json!({"enable_hr": true}));
            requests.push(("enable_hr", hires));
            if target.is_program {
                requests.push(("controlnet.args[0].model", unit(json!({"model": "nope"}))));
            }
        }
        for (field, request) in requests {
            match target.engine.check(&request) {
                Err(EngineError::Rejected { field: Some(rejected), problem }) => {
                    assert_eq!(rejected, field, "{problem}");
                    // Of LoRAs, all back ends and the service say the same.
                    assert!(problem.contains("`mine`") || problem.starts_with("there is no LoRA"), "{problem}");
                }
                other => panic!("`{field}`: {other:?}"),
            }
        }
    }

    pub async fn the_hires_fix_makes_the_final_size(target: &SdTarget) {
        let by_scale = json!({"enable_hr": true, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.6});
        let by_size = json!({"enable_hr": true, "hr_resize_x": 64, "hr_resize_y": 128, "hr_upscaler": "Lanczos"});
        for (changes, size) in [(by_scale, (128, 128)), (by_size, (64, 128))] {
            let output = target.run(text_to_image(&target.model, changes)).await.unwrap();
            assert_eq!((output.pictures[0].width, output.pictures[0].height), size);
        }
    }

    pub async fn a_picture_is_changed_within_its_mask(target: &SdTarget) {
        let output = target.run(image_to_image(&target.model, json!({"resize_mode": 1}))).await.unwrap();
        assert_eq!((output.pictures[0].width, output.pictures[0].height), (64, 64));
        let made = async |seed: &str, inverted: u8| {
            let mask = json!({
                "alwayson_scripts": {"mask_link": "https://example.com/m.png"}, "mask_blur": 0, "seed": seed,
                "inpainting_mask_invert": inverted,
            });
            let output = target.run(image_to_image(&target.model, mask)).await.unwrap();
            assert!(parameters(&output.pictures[0].bytes).unwrap().contains(&format!("Seed: {seed}")));
            decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image
        };
        // Of the mask, the left half is white; at its edge, resizing makes a slope.
        let (one, two, other) = (made("11", 0).await, made("12", 0).await, made("11", 1).await);
        assert!(one.crop_imm(36, 0, 28, 64) == two.crop_imm(36, 0, 28, 64), "what is not redrawn stays");
        assert!(one.crop_imm(0, 0, 28, 64) != two.crop_imm(0, 0, 28, 64), "what is redrawn depends on the seed");
        assert!(one.crop_imm(36, 0, 28, 64) != other.crop_imm(36, 0, 28, 64), "the other half is redrawn");
    }

    pub async fn a_unit_of_controlnet_is_used(target: &SdTarget) {
        let Some(net) = &target.control_net else { return println!("no ControlNet is there") };
        let unit = json!({"model": net, "weight": 0.8, "image_link": "https://example.com/b.png", "module": "none"});
        for changes in [json!({}), json!({"alwayson_scripts": {"image_link": "https://example.com/a.png"}})] {
            let output = target.run(controlnet(&target.model, unit.clone(), changes)).await.unwrap();
            let text = parameters(&output.pictures[0].bytes).unwrap();
            assert!(text.contains("\"control_net\":") && text.contains("\"control_strength\":0.8"), "{text}");
        }
    }

    pub async fn the_clip_skip_does_not_stick(target: &SdTarget) {
        let settings = json!({"override_settings": {"CLIP_stop_at_last_layers": 2}});
        let skip = text_to_image(&target.model, json!({ "alwayson_scripts": settings }));
        for (request, is_said) in [(skip, true), (text_to_image(&target.model, json!({})), false)] {
            let output = target.run(request).await.unwrap();
            let text = parameters(&output.pictures[0].bytes).unwrap();
            assert_eq!(text.contains("Clip skip: 2"), is_said, "{text}");
        }
    }

    pub async fn results_have_the_format_asked_for(target: &SdTarget) {
        for (name, format) in [("webp", Format::WebP), ("jpeg", Format::Jpeg), ("png", Format::Png)] {
            let request = text_to_image(&target.model, json!({"alwayson_scripts": {"output_image_format": name}}));
            let picture = target.run(request).await.unwrap().pictures.remove(0);
            let header = imgopen_picture::inspect(&picture.bytes, &PictureLimits::default()).unwrap();
            assert_eq!((header.format, picture.format), (format, format));
            assert!(parameters(&picture.bytes).unwrap().contains("Seed: 7"));
        }
    }

    pub async fn progress_reaches_the_end(target: &SdTarget) {
        let (monitor, watch) = Monitor::new();
        let changes = json!({"steps": 10, "n_iter": 9, "enable_hr": true, "hr_second_pass_steps": 2, "hr_scale": 1});
        let run = tokio::spawn(target.engine.run(job(text_to_image(&target.model, changes)), monitor));
        let mut progress = watch.progress.clone();
        let mut seen = Vec::new();
        while progress.changed().await.is_ok() {
            let now = *progress.borrow_and_update();
            assert!(seen.last().is_none_or(|earlier: &f64| *earlier <= now.percent));
            assert!(now.steps == if target.is_program { 108 } else { 0 }, "{now:?}");
            seen.push(now.percent);
        }
        assert_eq!(run.await.unwrap().map(|output| output.pictures.len()), Ok(9));
        let least = if target.is_program { 20 } else { 2 };
        assert!(seen.len() >= least && seen.last().is_some_and(|percent| *percent > 99.0), "{seen:?}");
    }

    pub async fn a_cancelled_job_frees_the_server(target: &SdTarget) {
        let (monitor, watch) = Monitor::new();
        let run = tokio::spawn(target.engine.run(job(text_to_image(&target.model, json!({"steps": 30}))), monitor));
        match (&target.fake, target.is_program) {
            (Some(fake), _) => {
                crate::target::until("the job runs", async || fake.count("generating") == 1).await;
            }
            _ => {
                watch.progress.clone().wait_for(|progress| progress.step > 0).await.unwrap();
            }
        }
        watch.cancel.cancel();
        assert_eq!(run.await.unwrap(), Err(EngineError::Cancelled));
        // At an address, it keeps its slot to the end of the job, which cannot be stopped there.
        tokio::time::timeout(DEADLINE, watch.ended()).await.expect("the work ends");
        if let Some(fake) = &target.fake {
            assert_eq!((fake.count("generating"), fake.count("completed")), (0, 1));
        }
        assert!(target.run(text_to_image(&target.model, json!({}))).await.is_ok());
    }
}
