//! Stable Diffusion 1.5: a checkpoint with all its parts, a ControlNet, a LoRA.

use crate::net::Net;
use crate::parts;

/// The widths of the levels.
const WIDTHS: [usize; 4] = [320, 640, 1280, 1280];

/// The width of the middle, and of the time embedding.
const MIDDLE: usize = 1280;

/// The width of the text encoding.
const TEXT: usize = 768;

/// A checkpoint.
pub fn checkpoint() -> Net {
    let mut net = Net::default();
    unet(&mut net, "model.diffusion_model.");
    parts::vae(&mut net, "first_stage_model.", 4);
    net.conv("first_stage_model.quant_conv", 8, 8, 1);
    net.conv("first_stage_model.post_quant_conv", 4, 4, 1);
    parts::clip(&mut net, "cond_stage_model.transformer.");
    net
}

fn unet(net: &mut Net, p: &str) {
    let mut passed = descent(net, p);
    let mut width = MIDDLE;
    for (level, out) in WIDTHS.into_iter().enumerate().rev() {
        for block in 0..3 {
            let name = format!("{p}output_blocks.{}.", 3 * (3 - level) + block);
            residual(net, &format!("{name}0"), width + passed.pop().unwrap(), out);
            width = out;
            if level < 3 {
                attention(net, &format!("{name}1"), width);
            }
            if level > 0 && block == 2 {
                let place = if level < 3 { 2 } else { 1 };
                net.conv(&format!("{name}{place}.conv"), width, width, 3);
            }
        }
    }
    net.norm(&format!("{p}out.0"), WIDTHS[0]);
    net.conv(&format!("{p}out.2"), 4, WIDTHS[0], 3);
}

/// The half that descends, and the middle. Returns the widths that it passes to the other half.
fn descent(net: &mut Net, p: &str) -> Vec<usize> {
    net.linear(&format!("{p}time_embed.0"), MIDDLE, WIDTHS[0]);
    net.linear(&format!("{p}time_embed.2"), MIDDLE, MIDDLE);
    net.conv(&format!("{p}input_blocks.0.0"), WIDTHS[0], 4, 3);
    let mut passed = vec![WIDTHS[0]];
    let mut width = WIDTHS[0];
    for (level, out) in WIDTHS.into_iter().enumerate() {
        for _ in 0..2 {
            let name = format!("{p}input_blocks.{}.", passed.len());
            residual(net, &format!("{name}0"), width, out);
            width = out;
            if level < 3 {
                attention(net, &format!("{name}1"), width);
            }
            passed.push(width);
        }
        if level < 3 {
            net.conv(&format!("{p}input_blocks.{}.0.op", passed.len()), width, width, 3);
            passed.push(width);
        }
    }
    residual(net, &format!("{p}middle_block.0"), MIDDLE, MIDDLE);
    attention(net, &format!("{p}middle_block.1"), MIDDLE);
    residual(net, &format!("{p}middle_block.2"), MIDDLE, MIDDLE);
    passed
}

fn residual(net: &mut Net, name: &str, from: usize, out: usize) {
    net.norm(&format!("{name}.in_layers.0"), from);
    net.conv(&format!("{name}.in_layers.2"), out, from, 3);
    net.linear(&format!("{name}.emb_layers.1"), out, MIDDLE);
    net.norm(&format!("{name}.out_layers.0"), out);
    net.conv(&format!("{name}.out_layers.3"), out, out, 3);
    if from != out {
        net.conv(&format!("{name}.skip_connection"), out, from, 1);
    }
}

fn attention(net: &mut Net, name: &str, width: usize) {
    net.norm(&format!("{name}.norm"), width);
    net.conv(&format!("{name}.proj_in"), width, width, 1);
    let block = format!("{name}.transformer_blocks.0");
    for (part, context) in [("attn1", width), ("attn2", TEXT)] {
        net.matrix(&format!("{block}.{part}.to_q"), width, width);
        net.matrix(&format!("{block}.{part}.to_k"), width, context);
        net.matrix(&format!("{block}.{part}.to_v"), width, context);
        net.linear(&format!("{block}.{part}.to_out.0"), width, width);
    }
    net.linear(&format!("{block}.ff.net.0.proj"), 8 * width, width);
    net.linear(&format!("{block}.ff.net.2"), width, 4 * width);
    for norm in 1..=3 {
        net.norm(&format!("{block}.norm{norm}"), width);
    }
    net.conv(&format!("{name}.proj_out"), width, width, 1);
}

/// A ControlNet.
pub fn control_net() -> Net {
    let (mut net, p) = (Net::default(), "control_model.");
    for (block, width) in descent(&mut net, p).into_iter().enumerate() {
        net.faint_conv(&format!("{p}zero_convs.{block}.0"), width);
    }
    net.faint_conv(&format!("{p}middle_block_out.0"), MIDDLE);
    let hint = [3, 16, 16, 32, 32, 96, 96, 256, WIDTHS[0]];
    for (index, pair) in hint.windows(2).enumerate() {
        net.conv(&format!("{p}input_hint_block.{}", 2 * index), pair[1], pair[0], 3);
    }
    net
}

/// A LoRA for a net with a text encoding of this width, with the names of two ways of naming blocks: those of the original net
/// and those of diffusers, which trainers write.
pub fn lora(text: usize) -> Net {
    const RANK: usize = 4;
    let mut net = Net::default();
    let mut put = |name: String, out: usize, from: usize| {
        net.random(format!("{name}.lora_down.weight"), &[RANK, from], 0.1);
        net.random(format!("{name}.lora_up.weight"), &[out, RANK], 0.1);
        net.ones(format!("{name}.alpha"), &[]);
    };
    for block in ["input_blocks_1_1", "input_blocks_2_1", "down_blocks_0_attentions_0", "down_blocks_0_attentions_1"] {
        for (part, from) in [("attn1_to_q", WIDTHS[0]), ("attn2_to_k", text)] {
            put(format!("lora_unet_{block}_transformer_blocks_0_{part}"), WIDTHS[0], from);
        }
    }
    put("lora_te_text_model_encoder_layers_0_self_attn_q_proj".to_owned(), TEXT, TEXT);
    net
}
