//! What Stable Diffusion and FLUX.1 have in common: the text encoder CLIP-L and the VAE.

use crate::net::Net;

/// CLIP-L, whose names begin with this.
pub fn clip(net: &mut Net, prefix: &str) {
    const WIDTH: usize = 768;
    let p = format!("{prefix}text_model.");
    net.random(format!("{p}embeddings.token_embedding.weight"), &[49_408, WIDTH], 0.02);
    net.random(format!("{p}embeddings.position_embedding.weight"), &[77, WIDTH], 0.01);
    for layer in 0..12 {
        let layer = format!("{p}encoder.layers.{layer}.");
        for part in ["q", "k", "v", "out"] {
            net.linear(&format!("{layer}self_attn.{part}_proj"), WIDTH, WIDTH);
        }
        net.linear(&format!("{layer}mlp.fc1"), 4 * WIDTH, WIDTH);
        net.linear(&format!("{layer}mlp.fc2"), WIDTH, 4 * WIDTH);
        net.norm(&format!("{layer}layer_norm1"), WIDTH);
        net.norm(&format!("{layer}layer_norm2"), WIDTH);
    }
    net.norm(&format!("{p}final_layer_norm"), WIDTH);
}

/// A VAE with this many channels of latents.
pub fn vae(net: &mut Net, p: &str, latent: usize) {
    const WIDTHS: [usize; 4] = [128, 256, 512, 512];
    const MIDDLE: usize = 512;
    net.conv(&format!("{p}encoder.conv_in"), WIDTHS[0], 3, 3);
    let mut width = WIDTHS[0];
    for (level, out) in WIDTHS.into_iter().enumerate() {
        for block in 0..2 {
            residual(net, &format!("{p}encoder.down.{level}.block.{block}"), width, out);
            width = out;
        }
        if level < 3 {
            net.conv(&format!("{p}encoder.down.{level}.downsample.conv"), width, width, 3);
        }
    }
    for half in ["encoder", "decoder"] {
        let middle = format!("{p}{half}.mid.");
        residual(net, &format!("{middle}block_1"), MIDDLE, MIDDLE);
        net.norm(&format!("{middle}attn_1.norm"), MIDDLE);
        for part in ["q", "k", "v", "proj_out"] {
            net.conv(&format!("{middle}attn_1.{part}"), MIDDLE, MIDDLE, 1);
        }
        residual(net, &format!("{middle}block_2"), MIDDLE, MIDDLE);
    }
    net.norm(&format!("{p}encoder.norm_out"), MIDDLE);
    net.conv(&format!("{p}encoder.conv_out"), 2 * latent, MIDDLE, 3);
    net.conv(&format!("{p}decoder.conv_in"), MIDDLE, latent, 3);
    width = MIDDLE;
    for (level, out) in WIDTHS.into_iter().enumerate().rev() {
        for block in 0..3 {
            residual(net, &format!("{p}decoder.up.{level}.block.{block}"), width, out);
            width = out;
        }
        if level > 0 {
            net.conv(&format!("{p}decoder.up.{level}.upsample.conv"), width, width, 3);
        }
    }
    net.norm(&format!("{p}decoder.norm_out"), WIDTHS[0]);
    net.conv(&format!("{p}decoder.conv_out"), 3, WIDTHS[0], 3);
}

fn residual(net: &mut Net, name: &str, from: usize, out: usize) {
    net.norm(&format!("{name}.norm1"), from);
    net.conv(&format!("{name}.conv1"), out, from, 3);
    net.norm(&format!("{name}.norm2"), out);
    net.conv(&format!("{name}.conv2"), out, out, 3);
    if from != out {
        net.conv(&format!("{name}.nin_shortcut"), out, from, 1);
    }
}
