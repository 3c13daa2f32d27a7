//! What holds for every web UI, fake or real.

use imgopen_engine::{Engine, EngineError, Format, Models, Monitor, PictureLimits};
use imgopen_picture::{decode, parameters};
use imgopen_types::operations::{CONTROLNET, TEXT_TO_IMAGE};
use serde_json::{Value, json};

use crate::jobs::{controlnet, image_to_image, job, text_to_image};
use crate::target::{Target, targets, until};

/// Runs a case against each target.
macro_rules! on_all {
    ($($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            for target in targets().await {
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
    the_clip_skip_does_not_stick
    results_have_the_format_asked_for
    progress_reaches_the_end
    a_cancelled_job_frees_the_server
}

mod cases {
    use super::*;

    pub async fn models_are_offered_by_the_names_of_their_files(target: &Target) {
        let offers = target.engine.offers();
        let offer = offers.iter().find(|offer| *offer.operation == TEXT_TO_IMAGE).unwrap();
        let Models::Listed(models) = &offer.models else { panic!("any model is taken") };
        assert!(offer.away.is_none() && models.iter().any(|model| model.name == target.model), "{models:?}");
        assert!(target.model.ends_with(".safetensors") || target.model.ends_with(".ckpt"), "{}", target.model);
    }

    pub async fn a_picture_is_made_as_asked_for(target: &Target) {
        let output = target.run(text_to_image(&target.model, json!({"width": 72, "cfg_scale": 5.5}))).await.unwrap();
        let [picture] = &output.pictures[..] else { panic!("{output:?}") };
        assert_eq!((picture.width, picture.height, picture.seed), (72, 64, Some(7)));
        let text = parameters(&picture.bytes).unwrap();
        assert!(text.starts_with("a lighthouse\nNegative prompt: blurry\nSteps: 2, Sampler: Euler,"), "{text}");
        assert!(text.contains("CFG scale: 5.5") && output.notes.is_empty(), "{text} {:?}", output.notes);
    }

    pub async fn several_pictures_have_seeds_that_count_up(target: &Target) {
        let request = text_to_image(&target.model, json!({"n_iter": 2, "batch_size": 2, "seed": "40"}));
        let pictures = target.run(request).await.unwrap().pictures;
        assert_eq!(pictures.iter().filter_map(|picture| picture.seed).collect::<Vec<_>>(), [40, 41, 42, 43]);
        for picture in &pictures {
            let text = parameters(&picture.bytes).unwrap();
            assert!(text.contains(&format!("Seed: {},", picture.seed.unwrap())), "{text}");
        }
    }

    pub async fn the_same_seed_makes_the_same_picture(target: &Target) {
        let pixels = async |seed: &str| {
            let output = target.run(text_to_image(&target.model, json!({"seed": seed}))).await.unwrap();
            decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image
        };
        let first = pixels("11").await;
        assert!(first == pixels("11").await && first != pixels("12").await);
    }

    pub async fn a_random_seed_is_named_and_kept_for_a_second_run(target: &Target) {
        let request = text_to_image(&target.model, json!({"seed": "-1"}));
        let plan = target.engine.plan(&request).await.unwrap();
        let seed = plan.as_ref().and_then(|plan| plan["seed"].as_i64()).expect("a seed is drawn");
        let run = target.engine.run(job(request).with_plan(plan), Monitor::new().0);
        assert_eq!(run.await.unwrap().pictures[0].seed, Some(seed));
        assert_eq!(target.engine.plan(&text_to_image(&target.model, json!({}))).await.unwrap(), None);
    }

    pub async fn a_sampler_with_a_schedule_is_used(target: &Target) {
        for (sampler, said) in [
            ("DPM++ 2M Karras", "Sampler: DPM++ 2M, Schedule type: Karras"),
            ("DPM++ 2M", "Sampler: DPM++ 2M, Schedule type: Uniform"),
        ] {
            let output = target.run(text_to_image(&target.model, json!({"sampler_index": sampler}))).await.unwrap();
            let text = parameters(&output.pictures[0].bytes).unwrap();
            assert!(text.contains(said), "{text}");
        }
    }

    pub async fn a_lora_is_applied(target: &Target) {
        let Some(lora) = &target.lora else { return println!("no LoRA is there") };
        let request = text_to_image(&target.model, json!({"prompt": format!("a cat <lora:{lora}:0.8>")}));
        let output = target.run(request).await.unwrap();
        let text = parameters(&output.pictures[0].bytes).unwrap();
        assert!(text.contains(&format!("Lora hashes: \"{lora}: ")), "{text}");
    }

    pub async fn what_the_server_lacks_is_refused_by_field(target: &Target) {
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
            ("sampler_index", text_to_image(model, json!({"sampler_index": "Nope Karras"}))),
            ("prompt", text_to_image(model, json!({"prompt": "<lora:nope:1>"}))),
            ("negative_prompt", text_to_image(model, json!({"negative_prompt": "<lora:nope:1>"}))),
            ("width", text_to_image(model, json!({"width": 70}))),
            ("height", text_to_image(model, json!({"height": 56}))),
            ("seed", text_to_image(model, json!({"seed": "-7"}))),
            ("nope", text_to_image(model, json!({"nope": 1}))),
            ("hr_upscaler", hires(json!({"hr_upscaler": "Nope"}))),
            ("hr_resize_x", hires(json!({"hr_resize_x": 100, "hr_resize_y": 128}))),
            ("alwayson_scripts.sd_vae", text_to_image(model, json!({"alwayson_scripts": {"sd_vae": "nope.ckpt"}}))),
            ("alwayson_scripts.Nope", text_to_image(model, json!({"alwayson_scripts": {"Nope": {"args": []}}}))),
            ("alwayson_scripts.Refiner", text_to_image(model, json!({"alwayson_scripts": {"Refiner": {"args": []}}}))),
            (
                "alwayson_scripts.override_settings.outdir_samples",
                text_to_image(model, json!({"alwayson_scripts": {"override_settings": {"outdir_samples": "/tmp"}}})),
            ),
            ("enable_hr", image_to_image(model, json!({"enable_hr": true}))),
            ("controlnet.args[0].model", unit(json!({"model": "nope", "image_link": picture}))),
            ("controlnet.args[0].image_link", unit(json!({"model": "nope"}))),
            (
                "controlnet.args[0].guidance_start",
                unit(json!({"model": "n", "guidance_start": 1, "image_link": picture})),
            ),
            ("controlnet.args[0].lowvram", unit(json!({"model": "n", "lowvram": true, "image_link": picture}))),
        ];
        for (field, request) in requests {
            match target.engine.check(&request) {
                Err(EngineError::Rejected { field: Some(rejected), .. }) => assert_eq!(rejected, field),
                other => panic!("`{field}`: {other:?}"),
            }
        }
    }

    pub async fn the_hires_fix_makes_the_final_size(target: &Target) {
        let by_scale = json!({"enable_hr": true, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.6});
        let by_size = json!({"enable_hr": true, "hr_resize_x": 96, "hr_resize_y": 128, "hr_upscaler": "Lanczos"});
        for (changes, size) in [(by_scale, (128, 128)), (by_size, (96, 128))] {
            let output = target.run(text_to_image(&target.model, changes)).await.unwrap();
            assert_eq!((output.pictures[0].width, output.pictures[0].height), size);
        }
    }

    pub async fn a_picture_is_changed_within_its_mask(target: &Target) {
        let output = target.run(image_to_image(&target.model, json!({"resize_mode": 1}))).await.unwrap();
        assert_eq!((output.pictures[0].width, output.pictures[0].height), (64, 64));
        let mask = json!({"alwayson_scripts": {"mask_link": "https://example.com/m.png"}, "inpainting_fill": 1});
        let output = target.run(image_to_image(&target.model, mask)).await.unwrap();
        let text = parameters(&output.pictures[0].bytes).unwrap();
        assert!(text.contains("Denoising strength: 0.99") && text.contains("Mask blur: 4"), "{text}");
    }

    pub async fn a_unit_of_controlnet_is_used(target: &Target) {
        if !target.engine.offers().iter().any(|offer| *offer.operation == CONTROLNET) {
            return println!("no ControlNet model is there");
        }
        let error = target.engine.check(&controlnet(
            &target.model,
            json!({"model": "nope", "image_link": "https://example.com/b.png"}),
            json!({}),
        ));
        let names = error.unwrap_err().to_string();
        let model = names.split("give one of \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let unit =
            json!({"model": model, "weight": 0.8, "image_link": "https://example.com/b.png", "module": "shuffle"});
        for changes in [json!({}), json!({"alwayson_scripts": {"image_link": "https://example.com/a.png"}})] {
            let output = target.run(controlnet(&target.model, unit.clone(), changes)).await.unwrap();
            assert_eq!(output.pictures.len(), 1);
            let text = parameters(&output.pictures[0].bytes).unwrap();
            assert!(text.contains(&model) && text.contains("Weight: 0.8"), "{text}");
            let [sent] = &output.notes[..] else { panic!("{:?}", output.notes) };
            assert!(sent.contains("does not prove"), "{sent}");
        }
    }

    pub async fn the_clip_skip_does_not_stick(target: &Target) {
        let skip = |layers: i64| {
            let settings = json!({"override_settings": {"CLIP_stop_at_last_layers": layers}});
            text_to_image(&target.model, json!({ "alwayson_scripts": settings }))
        };
        for (request, is_said) in [(skip(2), true), (text_to_image(&target.model, json!({})), false)] {
            let output = target.run(request).await.unwrap();
            let text = parameters(&output.pictures[0].bytes).unwrap();
            assert_eq!(text.contains("Clip skip: 2"), is_said, "{text}");
        }
    }

    pub async fn results_have_the_format_asked_for(target: &Target) {
        for (name, format) in [("webp", Format::WebP), ("jpeg", Format::Jpeg), ("png", Format::Png)] {
            let request = text_to_image(&target.model, json!({"alwayson_scripts": {"output_image_format": name}}));
            let picture = target.run(request).await.unwrap().pictures.remove(0);
            let header = imgopen_picture::inspect(&picture.bytes, &PictureLimits::default()).unwrap();
            assert_eq!((header.format, picture.format), (format, format));
            assert!(parameters(&picture.bytes).unwrap().contains("Seed: 7"));
        }
    }

    pub async fn progress_reaches_the_end(target: &Target) {
        if let Some(fake) = &target.fake {
            fake.set(|behaviour| behaviour.step = std::time::Duration::from_millis(10));
        }
        let (monitor, watch) = Monitor::new();
        let request = text_to_image(&target.model, json!({"steps": 30, "n_iter": 2}));
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
        assert!(seen.len() > 5 && seen.last().is_some_and(|percent| *percent > 60.0), "{seen:?}");
    }

    pub async fn a_cancelled_job_frees_the_server(target: &Target) {
        if let Some(fake) = &target.fake {
            fake.set(|behaviour| behaviour.step = std::time::Duration::from_millis(100));
        }
        let (monitor, watch) = Monitor::new();
        let request = text_to_image(&target.model, json!({"steps": 1000}));
        let run = tokio::spawn(target.engine.run(job(request), monitor));
        let mut progress = watch.progress.clone();
        progress.wait_for(|progress| progress.step > 0).await.unwrap();
        watch.cancel.cancel();
        assert_eq!(run.await.unwrap(), Err(EngineError::Cancelled));
        // Otherwise the next job would wait for the 1000 steps.
        let ended = watch.ended();
        tokio::time::timeout(crate::target::DEADLINE, ended).await.expect("the server is interrupted");
        if let Some(fake) = &target.fake {
            until("the server is idle", async || fake.current().is_none()).await;
        }
        assert!(target.run(text_to_image(&target.model, json!({}))).await.is_ok());
    }
}
