//! A tiny FLUX.1 dev. The VAE and CLIP-L are of the true size; there is no T5, which stable-diffusion.cpp does without.

use crate::net::Net;
use crate::parts;

/// The width of the transformer.
const WIDTH: usize = 256;

/// The width of a head, which is that of the true net.
const HEAD: usize = 128;

/// The transformer: one double block and one single block.
pub fn transformer() -> Net {
    let mut net = Net::default();
    net.linear("img_in", WIDTH, 64);
    net.linear("txt_in", WIDTH, 4096);
    for (name, from) in [("time_in", 256), ("vector_in", 768), ("guidance_in", 256)] {
        net.linear(&format!("{name}.in_layer"), WIDTH, from);
        net.linear(&format!("{name}.out_layer"), WIDTH, WIDTH);
    }
    for side in ["img", "txt"] {
        let block = format!("double_blocks.0.{side}");
        net.linear(&format!("{block}_mod.lin"), 6 * WIDTH, WIDTH);
        net.linear(&format!("{block}_attn.qkv"), 3 * WIDTH, WIDTH);
        net.linear(&format!("{block}_attn.proj"), WIDTH, WIDTH);
        scales(&mut net, &format!("{block}_attn.norm"));
        net.linear(&format!("{block}_mlp.0"), 4 * WIDTH, WIDTH);
        net.linear(&format!("{block}_mlp.2"), WIDTH, 4 * WIDTH);
    }
    net.linear("single_blocks.0.linear1", 7 * WIDTH, WIDTH);
    net.linear("single_blocks.0.linear2", WIDTH, 5 * WIDTH);
    net.linear("single_blocks.0.modulation.lin", 3 * WIDTH, WIDTH);
    scales(&mut net, "single_blocks.0.norm");
    net.linear("final_layer.linear", 64, WIDTH);
    net.linear("final_layer.adaLN_modulation.1", 2 * WIDTH, WIDTH);
    net
}

fn scales(net: &mut Net, name: &str) {
    for of in ["query", "key"] {
        net.ones(format!("{name}.{of}_norm.scale"), &[HEAD]);
    }
}

/// Its VAE.
pub fn vae() -> Net {
    let mut net = Net::default();
    parts::vae(&mut net, "", 16);
    net
}

/// The text encoder.
pub fn text_encoder() -> Net {
    let mut net = Net::default();
    parts::clip(&mut net, "");
    net
}
