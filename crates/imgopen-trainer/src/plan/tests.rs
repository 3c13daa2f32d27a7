//! Every field of a training on the command line, and everything that is rejected.

use imgopen_types::operations;
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

type Json = serde_json::Value;

/// A request with these fields beside the two required ones.
fn request(fields: &Json) -> SubmitTrainingRequest {
    let urls: Vec<_> = (0..10).map(|number| format!("https://example.com/{number}.png")).collect();
    let mut request = json!({"taskId": "lora-1", "fileUrlList": urls});
    let fields = fields.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(fields);
    serde_json::from_value(request).unwrap()
}

fn plan(request: &SubmitTrainingRequest, base: &BaseModel) -> Result<TrainingPlan, String> {
    TrainingPlan::new("img1", request, base)
}

fn base(family: Family) -> BaseModel {
    BaseModel { name: "base".to_owned(), is_listed: false, file: None, family, is_certain: false }
}

fn command_of(fields: Json, family: Family) -> Result<Vec<String>, String> {
    plan(&request(&fields), &base(family)).map(|plan| plan.command)
}

#[test]
fn omitted_fields_have_the_contracts_defaults() {
    let made = plan(&request(&json!({})), &BaseModel::find("v1-5-pruned-emaonly", &[])).unwrap();
    assert_eq!((made.folder.as_str(), &made.base_model), ("datasets/img1", &None));
    assert_eq!(pictures(&request(&json!({}))), "img/10_lora-1");
    let expected = "accelerate launch train_network.py --pretrained_model_name_or_path=v1-5-pruned-emaonly \
                    --train_data_dir=img --caption_extension=.txt --output_dir=output --output_name=lora-1 \
                    --logging_dir=logs --max_train_epochs=20 --train_batch_size=1 --resolution=512 \
                    --max_token_length=225 --clip_skip=1 --learning_rate=0.00001 --network_module=networks.lora \
                    --enable_bucket";
    assert_eq!(made.command.join(" "), expected);
}

/// The published example.
#[test]
fn the_whole_command_line() {
    let fields = json!({
        "maxEpochs": 10, "batchSize": 1, "learningRate": "0.0001", "maxTokenLength": 150, "clipSkip": 2,
        "randomCrop": false, "mixedPrecision": "bf16", "savePrecision": "bf16", "numCpuThreadsPerProcess": 4,
        "seed": 1234, "cacheLatents": true, "cacheLatentsToDisk": false, "lrScheduler": "constant", "lrWarmupSteps": 0,
        "optimizerType": "Lion", "resolution": 384, "enableBucket": true, "minBucketReso": 256, "maxBucketReso": 2048,
        "textEncoderLr": "5e-05", "unetLr": "0.0001", "networkDropout": 0, "rankDropout": 0, "moduleDropout": 0,
        "networkModule": "networks.lora", "networkDim": 128, "networkAlpha": 128, "networkArgs": "", "v2": false,
        "flipAug": false, "colorAug": false, "noiseOffset": 0.05, "repeats": 20, "pretrainedModel": "photon_v1",
    });
    let mut model = imgopen_engine::Model::new(imgopen_engine::ModelKind::Checkpoint, "photon_v1.safetensors", "");
    model.path = Some(PathBuf::from("/models/photon_v1.safetensors"));
    let request = request(&fields);
    let plan = plan(&request, &BaseModel::find("photon_v1", &[model])).unwrap();
    assert_eq!(pictures(&request), "img/20_lora-1");
    assert_eq!(plan.base_model.as_deref(), Some(std::path::Path::new("/models/photon_v1.safetensors")));
    let expected = [
        "accelerate",
        "launch",
        "--num_cpu_threads_per_process=4",
        "train_network.py",
        "--pretrained_model_name_or_path=base/photon_v1.safetensors",
        "--train_data_dir=img",
        "--caption_extension=.txt",
        "--output_dir=output",
        "--output_name=lora-1",
        "--logging_dir=logs",
        "--max_train_epochs=10",
        "--train_batch_size=1",
        "--seed=1234",
        "--resolution=384",
        "--min_bucket_reso=256",
        "--max_bucket_reso=2048",
        "--max_token_length=150",
        "--clip_skip=2",
        "--noise_offset=0.05",
        "--learning_rate=0.0001",
        "--unet_lr=0.0001",
        "--text_encoder_lr=5e-05",
        "--lr_scheduler=constant",
        "--lr_warmup_steps=0",
        "--optimizer_type=Lion",
        "--mixed_precision=bf16",
        "--save_precision=bf16",
        "--network_module=networks.lora",
        "--network_dim=128",
        "--network_alpha=128",
        "--network_dropout=0",
        "--enable_bucket",
        "--cache_latents",
        "--network_args",
        "rank_dropout=0",
        "module_dropout=0",
    ];
    assert_eq!(plan.command, expected);
}

/// The recorded options are compared with the sources of the trainer by `tests/drift`.
#[test]
fn every_option_that_is_passed_is_recorded() {
    let recorded: Json = serde_json::from_str(include_str!("../../tests/recordings/options.json")).unwrap();
    let takes = |flag: &str| {
        let option = recorded.get(flag).unwrap_or_else(|| panic!("`{flag}` is not recorded"));
        option["takes"].clone()
    };
    for (flag, _) in VALUES {
        assert!(!takes(&format!("--{flag}")).is_boolean(), "`--{flag}` takes no value");
    }
    for (flag, _) in SWITCHES {
        assert!(takes(&format!("--{flag}")).is_boolean(), "`--{flag}` takes a value");
    }
    for flag in crate::sd_scripts::OWN {
        takes(flag);
    }
    let fields = json!({
        "mixedPrecision": "fp16", "savePrecision": "float", "maxTokenLength": 150, "rankDropout": 0.5, "v2": true,
    });
    let command = command_of(fields, Family::Sd1).unwrap();
    let script = command.iter().position(|word| word.ends_with(".py")).unwrap();
    for word in command[script + 1..].iter().filter(|word| word.starts_with("--")) {
        let (flag, value) = word.split_once('=').map_or((word.as_str(), None), |(flag, value)| (flag, Some(value)));
        assert_eq!(value.is_none(), takes(flag).is_boolean() || takes(flag).is_array(), "{word}");
        let choices = recorded[flag].get("choices");
        assert!(choices.is_none_or(|choices| value.is_some_and(|value| choices.get(value).is_some())), "{word}");
    }
}

/// Every field of the contract reaches the trainer, or is listed as one that need not.
#[test]
fn every_field_reaches_the_trainer() {
    let cases: &[(&str, Json, &str)] = &[
        ("taskId", json!("another"), "--output_name=another"),
        ("maxEpochs", json!(50), "--max_train_epochs=50"),
        ("batchSize", json!(4), "--train_batch_size=4"),
        ("learningRate", json!("5e-05"), "--learning_rate=5e-05"),
        ("maxTokenLength", json!(150), "--max_token_length=150"),
        ("clipSkip", json!(2), "--clip_skip=2"),
        ("randomCrop", json!(true), "--random_crop"),
        ("pretrainedModel", json!("another"), "--pretrained_model_name_or_path=another"),
        ("mixedPrecision", json!("fp16"), "--mixed_precision=fp16"),
        ("savePrecision", json!("float"), "--save_precision=float"),
        ("numCpuThreadsPerProcess", json!(8), "--num_cpu_threads_per_process=8"),
        ("seed", json!(0), "--seed=0"),
        ("cacheLatents", json!(true), "--cache_latents"),
        ("cacheLatentsToDisk", json!(true), "--cache_latents_to_disk"),
        ("lrScheduler", json!("cosine"), "--lr_scheduler=cosine"),
        ("lrWarmupSteps", json!(0), "--lr_warmup_steps=0"),
        ("optimizerType", json!("AdamW8bit"), "--optimizer_type=AdamW8bit"),
        ("resolution", json!(768), "--resolution=768"),
        ("minBucketReso", json!(128), "--min_bucket_reso=128"),
        ("maxBucketReso", json!(2048), "--max_bucket_reso=2048"),
        ("textEncoderLr", json!("0"), "--text_encoder_lr=0"),
        ("unetLr", json!("1e-4"), "--unet_lr=1e-4"),
        ("networkDropout", json!(0.5), "--network_dropout=0.5"),
        ("rankDropout", json!(0.25), "rank_dropout=0.25"),
        ("moduleDropout", json!(0.1), "module_dropout=0.1"),
        ("networkModule", json!("lycoris.kohya"), "--network_module=lycoris.kohya"),
        ("networkDim", json!(16), "--network_dim=16"),
        ("networkAlpha", json!(8), "--network_alpha=8"),
        ("networkArgs", json!("conv_dim=4  algo=loha"), "algo=loha"),
        ("v2", json!(true), "--v2"),
        ("flipAug", json!(true), "--flip_aug"),
        ("colorAug", json!(true), "--color_aug"),
        ("gradientAccumulationSteps", json!(2), "--gradient_accumulation_steps=2"),
        ("noiseOffset", json!(0.1), "--noise_offset=0.1"),
    ];
    let without = plan(&request(&json!({})), &BaseModel::find("base", &[])).unwrap().command;
    for (field, value, word) in cases {
        let request = request(&Json::Object(Map::from_iter([((*field).to_owned(), value.clone())])));
        let base = BaseModel::find(request.pretrained_model.as_deref().unwrap_or("base"), &[]);
        let command = plan(&request, &base).unwrap().command;
        assert!(command.iter().any(|given| given == word), "{field}: {word} is not in {command:?}");
        assert!(!without.iter().any(|given| given == word), "{field}: {word} is there anyway");
    }
    assert_eq!(pictures(&request(&json!({"repeats": 3}))), "img/3_lora-1");
    let off = command_of(json!({"enableBucket": false}), Family::Sd1).unwrap();
    assert!(!off.contains(&"--enable_bucket".to_owned()));
    let elsewhere = ["fileUrlList", "callbackUrl", "repeats", "enableBucket"];
    for field in operations::SUBMIT_TRAINING.request.fields {
        let known = cases.iter().any(|(name, ..)| *name == field.name) || elsewhere.contains(&field.name);
        assert!(known, "{} is ignored", field.name);
    }
}

#[test]
fn values_without_a_flag_are_left_out() {
    let flags = |fields: Json, family: Family| command_of(fields, family).unwrap().join(" ");
    assert!(!flags(json!({"maxTokenLength": 0}), Family::Sd1).contains("max_token_length"));
    assert!(!flags(json!({"seed": -1}), Family::Sd1).contains("seed"));
    assert!(!flags(json!({"v2": true}), Family::Sd2).contains("clip_skip"));
    let xl = flags(json!({}), Family::Sdxl);
    assert!(xl.starts_with("accelerate launch sdxl_train_network.py ") && !xl.contains("clip_skip"), "{xl}");
    assert!(xl.contains("--resolution=1024"), "{xl}");
    // Omitted bounds are widened to include the resolution.
    assert!(flags(json!({"resolution": 1536}), Family::Sd1).contains("--max_bucket_reso=1536"));
    assert!(flags(json!({"resolution": 128}), Family::Sd1).contains("--min_bucket_reso=128"));
    assert!(!flags(json!({"resolution": 1536, "enableBucket": false}), Family::Sd1).contains("bucket"));
}

#[test]
fn what_the_trainer_would_reject_is_rejected_by_field_name() {
    let cases: &[(Json, &[&str])] = &[
        (json!({"cacheLatents": true, "colorAug": true}), &["cacheLatents", "colorAug"]),
        (json!({"cacheLatents": true, "randomCrop": true}), &["cacheLatents", "randomCrop"]),
        (json!({"cacheLatentsToDisk": true, "randomCrop": true}), &["cacheLatentsToDisk", "randomCrop"]),
        (json!({"v2": true, "clipSkip": 2}), &["clipSkip", "v2"]),
        (json!({"lrWarmupSteps": 5}), &["lrWarmupSteps", "lrScheduler"]),
        (json!({"lrWarmupSteps": 5, "lrScheduler": "constant"}), &["lrWarmupSteps", "lrScheduler"]),
        (
            json!({"lrWarmupSteps": 5, "optimizerType": "AdaFactor", "lrScheduler": "cosine"}),
            &["lrWarmupSteps", "optimizerType"],
        ),
        (json!({"lrScheduler": "adafactor"}), &["lrScheduler", "optimizerType"]),
        (json!({"lrScheduler": "adafactor", "optimizerType": "Lion"}), &["lrScheduler", "optimizerType"]),
        (json!({"optimizerType": "DAdaptLion", "unetLr": "1.0"}), &["unetLr", "textEncoderLr", "optimizerType"]),
        (json!({"resolution": 512, "minBucketReso": 640}), &["minBucketReso", "resolution"]),
        (json!({"minBucketReso": 640}), &["minBucketReso", "resolution"]),
        (json!({"resolution": 512, "maxBucketReso": 256}), &["maxBucketReso", "resolution"]),
        (json!({"resolution": 0}), &["resolution"]),
        (json!({"resolution": 100_000}), &["resolution"]),
        (json!({"networkDim": 0}), &["networkDim"]),
        (json!({"networkAlpha": -1}), &["networkAlpha"]),
        (json!({"gradientAccumulationSteps": 0}), &["gradientAccumulationSteps"]),
        (json!({"rankDropout": 1}), &["rankDropout"]),
        (json!({"unetLr": "-0.1"}), &["unetLr"]),
        (json!({"textEncoderLr": "11"}), &["textEncoderLr"]),
        (json!({"seed": -2}), &["seed"]),
        (json!({"seed": 4_294_967_296_i64}), &["seed"]),
        (json!({"lrScheduler": "cosine; rm -r ."}), &["lrScheduler"]),
        (json!({"networkModule": "os"}), &["networkModule"]),
        (json!({"networkArgs": "--output_dir=/"}), &["networkArgs"]),
        (json!({"networkArgs": "conv_dim"}), &["networkArgs"]),
        (json!({"networkArgs": "rank_dropout=0.1", "rankDropout": 0.2}), &["networkArgs", "rankDropout"]),
    ];
    for (fields, names) in cases {
        let problem = command_of(fields.clone(), Family::Sd1).unwrap_err();
        let named = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        assert!(problem.starts_with(&format!("{named}: ")), "{fields}: {problem}");
    }
    let two = command_of(json!({"seed": -2, "networkModule": "os"}), Family::Sd1).unwrap_err();
    assert!(two.contains("`seed`: ") && two.contains("; `networkModule`: "), "{two}");
    // Similar, but valid.
    for fields in [
        json!({"lrWarmupSteps": 5, "lrScheduler": "constant_with_warmup"}),
        json!({"lrScheduler": "adafactor", "optimizerType": "AdaFactor"}),
        json!({"optimizerType": "DAdaptLion", "unetLr": "1.0", "textEncoderLr": "1"}),
        json!({"optimizerType": "DAdaptLion", "unetLr": "1.0", "textEncoderLr": "0"}),
        json!({"resolution": 512, "maxBucketReso": 256, "enableBucket": false}),
        json!({"seed": 4_294_967_295_i64}),
    ] {
        assert!(command_of(fields.clone(), Family::Sd1).is_ok(), "{fields}");
    }
}

#[test]
fn the_base_model_must_fit() {
    let sure = |family: Family| BaseModel { is_certain: true, ..base(family) };
    let rejection = |base: &BaseModel, fields: Json| plan(&request(&fields), base).unwrap_err();
    let v2 = json!({"v2": true});
    assert!(rejection(&sure(Family::Other("FLUX.1".into())), json!({})).contains("a model of FLUX.1"));
    assert!(rejection(&base(Family::Sdxl), v2.clone()).starts_with("`v2`, `pretrainedModel`: "));
    assert!(rejection(&sure(Family::Sd1), v2.clone()).ends_with("leave `v2` out"));
    assert!(rejection(&sure(Family::Sd2), json!({})).ends_with("give `v2` as true"));
    assert!(plan(&request(&v2), &base(Family::Sd1)).is_ok());
    assert!(rejection(&base(Family::Sdxl), json!({"clipSkip": 2})).starts_with("`clipSkip`, `pretrainedModel`: "));
    for name in [
        "",
        "/etc/passwd",
        "../secret",
        "a/../../b",
        "..\\b",
        "C:model",
        "--output_dir=/",
        "~/x",
        "a\nb",
        &"x".repeat(256),
    ] {
        let problem = plan(&request(&json!({})), &BaseModel::find(name, &[])).unwrap_err();
        assert!(problem.starts_with("`pretrainedModel`: "), "{name}: {problem}");
    }
    let hub = "stable-diffusion-v1-5/stable-diffusion-v1-5";
    assert!(plan(&request(&json!({})), &BaseModel::find(hub, &[])).is_ok());
}

#[test]
fn a_caller_id_becomes_a_file_name() {
    for (id, expected) in [
        ("lora 1/2", "lora_1_2"),
        ("../../etc", "etc"),
        ("-rf", "rf"),
        ("犬の訓練", "犬の訓練"),
        ("///", "lora"),
        ("a\0b\nc", "a_b_c"),
        (&"x".repeat(255), &"x".repeat(MAX_NAME)),
    ] {
        assert_eq!(pictures(&request(&json!({"taskId": id}))), format!("img/10_{expected}"), "{id:?}");
    }
}

proptest! {
    /// Any text of a caller is rejected, or stays within its word.
    #[test]
    fn no_text_becomes_a_flag(id in ".{1,60}", model in ".{1,40}", arguments in "[-=a-z_0-9. ]{0,40}", scheduler in "[-=a-z_]{1,20}") {
        let request = request(&json!({"taskId": id, "networkArgs": arguments, "lrScheduler": scheduler}));
        if let Ok(plan) = plan(&request, &BaseModel::find(&model, &[])) {
            let flags = plan.command.iter().skip(3).filter(|word| word.starts_with('-'));
            let known = |word: &str| {
                let flag = word.trim_start_matches('-').split('=').next().unwrap_or_default();
                let own = ["train_data_dir", "caption_extension", "output_dir", "output_name", "logging_dir",
                           "pretrained_model_name_or_path", "network_args"];
                own.contains(&flag) || VALUES.iter().any(|(name, _)| *name == flag) || SWITCHES.iter().any(|(name, _)| *name == flag)
            };
            for flag in flags {
                prop_assert!(known(flag), "{flag}");
            }
            prop_assert!(plan.command.iter().all(|word| !word.contains('\0')));
            prop_assert!(!pictures(&request)[4..].contains(['/', '\\']));
        }
    }
}
