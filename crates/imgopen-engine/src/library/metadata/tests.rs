//! Headers as programs write them, with their characteristic names and shapes.

use serde_json::{Map, json};

use super::*;

/// Names of tensors with their shapes.
type Shapes<'a> = &'a [(&'a str, &'a [usize])];

/// A header of those tensors and texts.
pub(in crate::library) fn header(tensors: Shapes<'_>, texts: &[(&str, &str)]) -> Metadata {
    let mut at = 0;
    let mut members = Map::new();
    for (name, shape) in tensors {
        let end = at + shape.iter().product::<usize>();
        members.insert((*name).to_owned(), json!({"dtype": "U8", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    if !texts.is_empty() {
        let texts: Map<_, _> = texts.iter().map(|(key, text)| ((*key).to_owned(), json!(text))).collect();
        members.insert("__metadata__".to_owned(), texts.into());
    }
    serde_json::from_value(members.into()).unwrap()
}

fn kind_and_base(tensors: Shapes<'_>) -> (Option<ModelKind>, Option<String>) {
    let metadata = ModelMetadata::of(&header(tensors, &[]));
    (metadata.kind, metadata.base)
}

#[test]
fn checkpoints_are_recognised_by_their_networks() {
    const UNET: &str = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";
    for (tensors, base) in [
        (vec![(UNET, &[320, 768][..]), ("first_stage_model.encoder.conv_in.weight", &[128, 3, 3, 3])], Some("SD 1.5")),
        (vec![(UNET, &[320, 1024])], Some("SD 2")),
        (vec![(UNET, &[640, 2048])], Some("SDXL")),
        (vec![("conditioner.embedders.1.model.ln_final.weight", &[1280]), (UNET, &[640, 2048])], Some("SDXL")),
        (vec![("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", &[3, 1])], Some("SD 3")),
        (
            vec![
                ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", &[3, 1]),
                ("model.diffusion_model.joint_blocks.37.x_block.attn.qkv.weight", &[3, 1]),
            ],
            Some("SD 3.5"),
        ),
        (
            vec![("double_blocks.0.img_mod.lin.weight", &[6, 1]), ("single_blocks.0.linear1.weight", &[6, 1])],
            Some("FLUX.1"),
        ),
        (vec![("model.diffusion_model.double_blocks.0.img_mod.lin.bias", &[6])], Some("FLUX.1")),
        // HunyuanVideo, and Chroma.
        (vec![("double_blocks.0.img_mod.linear.weight", &[6, 1])], None),
        (
            vec![("double_blocks.0.img_attn.qkv.weight", &[6, 1]), ("distilled_guidance_layer.norms.0.scale", &[6])],
            None,
        ),
        (vec![("model.diffusion_model.patch_embedding.weight", &[6, 1])], None),
    ] {
        assert_eq!(kind_and_base(&tensors), (Some(ModelKind::Checkpoint), base.map(str::to_owned)), "{tensors:?}");
    }
}

#[test]
fn loras_of_every_trainer_are_recognised() {
    let cases: &[(&str, &[usize], Option<&str>)] = &[
        (
            "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
            &[8, 768],
            Some("SD 1.5"),
        ),
        (
            "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
            &[8, 1024],
            Some("SD 2"),
        ),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight", &[8, 2048, 1, 1], Some("SDXL")),
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.hada_w1_b", &[8, 768], Some("SD 1.5")),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight", &[8, 2048], Some("SDXL")),
        (
            "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight",
            &[4, 768],
            Some("SD 1.5"),
        ),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", &[8, 1280], Some("SDXL")),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight", &[8, 768], Some("SD 1.5")),
        ("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", &[16, 3072], Some("FLUX.1")),
        ("transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight", &[16, 3072], Some("FLUX.1")),
        ("lora_unet_joint_blocks_0_context_block_attn_qkv.lora_down.weight", &[16, 1536], Some("SD 3")),
        ("lora_unet_blocks_0_self_attn_q.lora_down.weight", &[16, 5120], None),
    ];
    for (name, shape, base) in cases {
        assert_eq!(kind_and_base(&[(name, shape)]), (Some(ModelKind::Lora), base.map(str::to_owned)), "{name}");
    }
}

#[test]
fn vaes_and_embeddings_are_recognised() {
    let vae: Shapes<'_> = &[("encoder.conv_in.weight", &[8, 3, 3, 3]), ("decoder.conv_in.weight", &[8, 4, 3, 3])];
    assert_eq!(kind_and_base(vae), (Some(ModelKind::Vae), None));
    let cases: &[(Shapes<'_>, &str)] = &[
        (&[("emb_params", &[4, 768])], "SD 1.5"),
        (&[("emb_params", &[1, 1024])], "SD 2"),
        (&[("clip_l", &[8, 768]), ("clip_g", &[8, 1280])], "SDXL"),
        (&[("<my-token>", &[768])], "SD 1.5"),
    ];
    for (tensors, base) in cases {
        assert_eq!(kind_and_base(tensors), (Some(ModelKind::Embedding), Some((*base).to_owned())), "{tensors:?}");
    }
}

#[test]
fn what_is_no_model_of_these_is_none() {
    let cases: &[Shapes<'_>] = &[
        &[],
        &[("control_model.input_hint_block.0.weight", &[16, 3, 3, 3])],
        &[("controlnet_cond_embedding.conv_in.weight", &[16, 3, 3, 3])],
        &[("lora_controlnet", &[1]), ("input_blocks.0.0.weight", &[320, 4, 3, 3])],
        &[("text_model.embeddings.token_embedding.weight", &[10, 8])],
        &[("model.0.weight", &[64, 3, 3, 3]), ("model.1.weight", &[64, 64, 3, 3])],
    ];
    for tensors in cases {
        assert_eq!(kind_and_base(tensors), (None, None), "{tensors:?}");
    }
}

#[test]
fn texts_give_the_title_and_what_tensors_leave_open() {
    let tensors: Shapes<'_> = &[("lora_unet_x.lora_down.weight", &[8, 320])];
    let of = |texts: &[(&str, &str)]| ModelMetadata::of(&header(tensors, texts));
    let trained = of(&[("ss_output_name", "ink"), ("ss_base_model_version", "sdxl_base_v1-0")]);
    assert_eq!((trained.title.as_deref(), trained.base.as_deref()), (Some("ink"), Some("SDXL")));
    let spec = [
        ("modelspec.title", " Ink\nstyle "),
        ("modelspec.architecture", "stable-diffusion-v1/lora"),
        ("ss_output_name", "x"),
    ];
    let titled = of(&spec);
    assert_eq!((titled.title.as_deref(), titled.base.as_deref()), (Some("Inkstyle"), Some("SD 1.5")));
    assert_eq!(of(&[("modelspec.architecture", "lumina-2")]).base.as_deref(), Some("lumina-2"));
    assert_eq!(of(&[("modelspec.title", ""), ("ss_base_model_version", "None")]).title, None);
    assert_eq!(of(&[("modelspec.title", &"é".repeat(5000))]).title.unwrap().chars().count(), LONGEST);
    // What the tensors say counts more.
    let sure: Shapes<'_> = &[("lora_te2_x.lora_down.weight", &[8, 1280])];
    assert_eq!(ModelMetadata::of(&header(sure, &[("ss_base_model_version", "sd_v1")])).base.as_deref(), Some("SDXL"));
}

#[test]
fn a_version_stands_in_the_name() {
    for (stem, version) in [
        ("photon_v1_84728", Some("v1")),
        ("revAnimated_v122_7371", Some("v122")),
        ("v1-5-pruned-emaonly", Some("v1-5")),
        ("majicmix V7.1 final", Some("v7.1")),
        ("photon-v1-84728", Some("v1")),
        ("a_v1_b_v2", Some("v2")),
        ("dreamshaper_8", None),
        ("nov4", None),
        ("v", None),
        ("犬_v3", Some("v3")),
    ] {
        assert_eq!(super::version(stem).as_deref(), version, "{stem}");
    }
}
