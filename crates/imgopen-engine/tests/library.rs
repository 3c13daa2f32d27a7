//! Directories of models in both layouts, with damaged files, links and changes.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use imgopen_engine::library::Owner;
use imgopen_engine::{Engine, EngineError, Job, Library, Model, ModelKind, Monitor, Offer, Output, Registry};
use proptest::prelude::*;
use serde_json::{Map, json};
use tempfile::TempDir;

/// A safetensors file of those tensors, filled with zeros.
fn safetensors(tensors: &[(&str, &[usize])], texts: &[(&str, &str)]) -> Vec<u8> {
    let mut at = 0;
    let mut header = Map::new();
    if !texts.is_empty() {
        let texts: Map<_, _> = texts.iter().map(|(key, text)| ((*key).to_owned(), json!(text))).collect();
        header.insert("__metadata__".to_owned(), texts.into());
    }
    for (name, shape) in tensors {
        let end = at + shape.iter().product::<usize>();
        header.insert((*name).to_owned(), json!({"dtype": "U8", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.resize(file.len() + at, 0);
    file
}

const UNET: &str = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";

fn checkpoint(width: usize) -> Vec<u8> {
    safetensors(&[(UNET, &[2, width])], &[])
}

fn lora(title: &str) -> Vec<u8> {
    let down = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight";
    safetensors(&[(down, &[2, 768])], &[("ss_output_name", title)])
}

fn vae() -> Vec<u8> {
    safetensors(&[("encoder.conv_in.weight", &[2]), ("decoder.conv_in.weight", &[2])], &[])
}

fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        write(folder.path(), name, bytes);
    }
    folder
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// A summary of the list.
fn listed(library: &Library) -> Vec<(ModelKind, String, Option<String>)> {
    library.models().into_iter().map(|model| (model.kind, model.name, model.base_model)).collect()
}

fn row(kind: ModelKind, name: &str, base: Option<&str>) -> (ModelKind, String, Option<String>) {
    (kind, name.to_owned(), base.map(str::to_owned))
}

/// Waits until every model has its hash.
fn hashed(library: &Library) -> Vec<Model> {
    let start = Instant::now();
    loop {
        let models = library.models();
        if models.iter().all(|model| model.hash.is_some()) {
            return models;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no hashes: {models:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn both_layouts_are_read() {
    use ModelKind::*;
    let folder = folder(&[
        ("webui/models/Stable-diffusion/photon_v1_84728.safetensors", checkpoint(768)),
        ("webui/models/Stable-diffusion/old.ckpt", b"pickle".to_vec()),
        ("webui/models/Stable-diffusion/old.vae.pt", b"pickle".to_vec()),
        ("webui/models/Stable-diffusion/Put Stable Diffusion checkpoints here.txt", Vec::new()),
        ("webui/models/Lora/style/ink.safetensors", lora("Ink")),
        ("webui/models/VAE/kl-f8.safetensors", vae()),
        ("webui/embeddings/easynegative.pt", b"pickle".to_vec()),
        ("comfy/models/checkpoints/xl.safetensors", checkpoint(2048)),
        ("comfy/models/loras/b.safetensors", lora("")),
        ("comfy/models/vae/c.safetensors", vae()),
        ("comfy/models/upscale_models/4x.pth", b"pickle".to_vec()),
        ("comfy/models/diffusers/sd/model_index.json", b"{}".to_vec()),
        ("comfy/models/checkpoints/sd/model_index.json", b"{}".to_vec()),
        ("comfy/models/checkpoints/sd/unet/diffusion_pytorch_model.safetensors", checkpoint(768)),
        (".cache/hidden.safetensors", checkpoint(768)),
    ]);
    let library = Library::open(folder.path(), None);
    let expected = [
        row(Lora, "b.safetensors", Some("SD 1.5")),
        row(Vae, "c.safetensors", None),
        row(Embedding, "easynegative.pt", None),
        row(Vae, "kl-f8.safetensors", None),
        row(Checkpoint, "old.ckpt", None),
        row(Vae, "old.vae.pt", None),
        row(Checkpoint, "photon_v1_84728.safetensors", Some("SD 1.5")),
        row(Lora, "style/ink.safetensors", Some("SD 1.5")),
        row(Checkpoint, "xl.safetensors", Some("SDXL")),
    ];
    assert_eq!(listed(&library), expected);
    let models = library.models();
    let named = |name: &str| models.iter().find(|model| model.name == name).unwrap();
    let photon = named("photon_v1_84728.safetensors");
    assert_eq!((photon.title.as_str(), photon.version.as_deref()), ("photon_v1_84728", Some("v1")));
    assert_eq!(
        photon.path.as_deref(),
        Some(&*folder.path().join("webui/models/Stable-diffusion/photon_v1_84728.safetensors"))
    );
    assert_eq!(
        (named("style/ink.safetensors").title.as_str(), named("style/ink.safetensors").short_name()),
        ("Ink", "style/ink")
    );
    assert_eq!(named("easynegative.pt").title, "easynegative");
}

#[test]
fn the_header_determines_the_kind_outside_known_directories() {
    use ModelKind::*;
    let folder = folder(&[
        ("a.safetensors", checkpoint(1024)),
        ("things/b.safetensors", lora("B")),
        ("things/c.safetensors", vae()),
        ("things/d.safetensors", safetensors(&[("emb_params", &[2, 768])], &[])),
        ("things/e.safetensors", safetensors(&[("something.else", &[2])], &[])),
        ("things/f.ckpt", b"pickle".to_vec()),
    ]);
    let expected = [
        row(Checkpoint, "a.safetensors", Some("SD 2")),
        row(Lora, "things/b.safetensors", Some("SD 1.5")),
        row(Vae, "things/c.safetensors", None),
        row(Embedding, "things/d.safetensors", Some("SD 1.5")),
    ];
    assert_eq!(listed(&Library::open(folder.path(), None)), expected);
    assert_eq!(listed(&Library::open(folder.path().join("nowhere"), None)), []);
}

#[test]
fn damaged_files_are_left_out() {
    let whole = checkpoint(768);
    let mut longer = whole.clone();
    longer.push(0);
    let overlapping =
        br#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    let huge = br#"{"a":{"dtype":"F32","shape":[18446744073709551615,9],"data_offsets":[0,4]}}"#;
    let with_header = |header: &[u8]| [&(header.len() as u64).to_le_bytes(), header, &[0; 6]].concat();
    let folder = folder(&[
        ("checkpoints/whole.safetensors", whole.clone()),
        ("checkpoints/empty.safetensors", Vec::new()),
        ("checkpoints/short.safetensors", vec![1, 2, 3]),
        ("checkpoints/cut.safetensors", whole[..whole.len() - 1].to_vec()),
        ("checkpoints/cut-header.safetensors", whole[..40].to_vec()),
        ("checkpoints/longer.safetensors", longer),
        ("checkpoints/text.safetensors", b"<html>no model</html>".to_vec()),
        ("checkpoints/endless.safetensors", [&u64::MAX.to_le_bytes()[..], &[b'{'; 100]].concat()),
        ("checkpoints/no-json.safetensors", with_header(b"[1, 2]")),
        ("checkpoints/overlapping.safetensors", with_header(overlapping)),
        ("checkpoints/huge.safetensors", with_header(huge)),
        ("checkpoints/deep.safetensors", with_header("[".repeat(100_000).as_bytes())),
    ]);
    let library = Library::open(folder.path(), None);
    for _ in 0..2 {
        assert_eq!(listed(&library), [row(ModelKind::Checkpoint, "whole.safetensors", Some("SD 1.5"))]);
    }
    // What was still being written is there when it is whole.
    write(folder.path(), "checkpoints/cut.safetensors", &whole);
    assert_eq!(listed(&library).len(), 2);
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_cycles() {
    use std::os::unix::fs::symlink;
    let elsewhere = folder(&[("big/xl.safetensors", checkpoint(2048)), ("big/loras/a.safetensors", lora("A"))]);
    let folder = folder(&[("Stable-diffusion/a.safetensors", checkpoint(768))]);
    let models = folder.path().join("Stable-diffusion");
    symlink(elsewhere.path().join("big"), models.join("disk")).unwrap();
    symlink(elsewhere.path().join("big/xl.safetensors"), models.join("linked.safetensors")).unwrap();
    symlink(folder.path(), models.join("circle")).unwrap();
    symlink("nowhere", models.join("lost.safetensors")).unwrap();
    let names: Vec<_> = Library::open(folder.path(), None).models().into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["a.safetensors", "a.safetensors", "disk/xl.safetensors", "linked.safetensors"]);
}

/// `imgopen models pull` puts them there, and the engines that use them know where they are.
#[test]
fn packs_of_weights_are_not_models() {
    let folder = folder(&[
        ("VAE/mine.safetensors", vae()),
        ("packs/.lock", Vec::new()),
        ("packs/tiny-1.0.0/pack.json", b"{}".to_vec()),
        ("packs/tiny-1.0.0/net.onnx", b"a network".to_vec()),
        ("packs/tiny-1.0.0/net.bin", b"a network".to_vec()),
        ("packs/tiny-1.0.0/net.safetensors", checkpoint(768)),
        ("packs/.other-1.0.0.a1b2c3.part/pack/net.safetensors", checkpoint(768)),
        ("packs/mine/net.safetensors", checkpoint(768)),
    ]);
    let library = Library::open(folder.path(), None);
    let mine = row(ModelKind::Checkpoint, "packs/mine/net.safetensors", Some("SD 1.5"));
    assert_eq!(listed(&library), [row(ModelKind::Vae, "mine.safetensors", None), mine]);
}

#[test]
fn added_removed_and_changed_files_are_noticed() {
    let folder = folder(&[("checkpoints/a.safetensors", checkpoint(768))]);
    let library = Library::open(folder.path(), None);
    assert_eq!(listed(&library), [row(ModelKind::Checkpoint, "a.safetensors", Some("SD 1.5"))]);
    write(folder.path(), "checkpoints/b.safetensors", &checkpoint(768));
    write(folder.path(), "checkpoints/a.safetensors", &checkpoint(2048));
    let expected = [
        row(ModelKind::Checkpoint, "a.safetensors", Some("SDXL")),
        row(ModelKind::Checkpoint, "b.safetensors", Some("SD 1.5")),
    ];
    assert_eq!(listed(&library), expected);
    fs::remove_file(folder.path().join("checkpoints/a.safetensors")).unwrap();
    assert_eq!(listed(&library), expected[1..]);
}

#[test]
fn hashes_are_computed_later_and_cached_across_processes() {
    let folder = folder(&[
        ("checkpoints/a.safetensors", checkpoint(768)),
        // Files that are not opened for a header are hashed too.
        ("checkpoints/b.ckpt", b"abc".to_vec()),
    ]);
    let kept = tempfile::tempdir().unwrap();
    let file = kept.path().join("hashes.json");
    let library = Library::open(folder.path(), Some(file.clone()));
    let models = hashed(&library);
    let abc = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
    assert_eq!(models[1].hash.as_deref(), Some(abc));
    let start = Instant::now();
    let text = loop {
        match fs::read_to_string(&file) {
            Ok(text) if text.matches("sha256").count() == 2 => break text,
            _ => assert!(start.elapsed() < Duration::from_secs(30), "the hashes are not kept"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    drop(library);
    // The next process trusts the cache, so it reports another hash in it.
    fs::write(&file, text.replace(abc, &"F".repeat(64))).unwrap();
    let library = Library::open(folder.path(), Some(file.clone()));
    assert_eq!(library.models()[1].hash.as_deref(), Some("F".repeat(64).as_str()));
    // A changed file is hashed again.
    write(folder.path(), "checkpoints/b.ckpt", b"abcd");
    let changed = library.models().remove(1).hash;
    assert_ne!(changed.as_deref(), Some("F".repeat(64).as_str()));
    let expected = "88D4266FD4E6338D13B845FCF289579D209C897823B9217DA3E161936F031589";
    assert_eq!(hashed(&library)[1].hash.as_deref(), Some(expected));
    // A damaged cache costs only time.
    drop(library);
    fs::write(&file, "{").unwrap();
    let library = Library::open(folder.path(), Some(file));
    assert_eq!(hashed(&library)[1].hash.as_deref(), Some(expected));
}

/// Dropping the library writes computed hashes, although another file is still being read.
#[test]
fn hashes_are_written_when_the_library_is_dropped() {
    let folder = folder(&[("checkpoints/a.ckpt", b"abc".to_vec())]);
    let endless = fs::File::create(folder.path().join("checkpoints/b.ckpt")).unwrap();
    endless.set_len(1 << 36).unwrap();
    let kept = tempfile::tempdir().unwrap();
    let file = kept.path().join("hashes.json");
    let library = Library::open(folder.path(), Some(file.clone()));
    let start = Instant::now();
    while library.models()[0].hash.is_none() {
        assert!(start.elapsed() < Duration::from_secs(30), "no hash");
        std::thread::sleep(Duration::from_millis(1));
    }
    let start = Instant::now();
    drop(library);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("a.ckpt") && !text.contains("b.ckpt"), "{text}");
    // Deleted files are dropped with the next write.
    fs::remove_file(folder.path().join("checkpoints/a.ckpt")).unwrap();
    fs::remove_file(folder.path().join("checkpoints/b.ckpt")).unwrap();
    write(folder.path(), "checkpoints/c.ckpt", b"abc");
    let library = Library::open(folder.path(), Some(file.clone()));
    hashed(&library);
    drop(library);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("c.ckpt") && !text.contains("a.ckpt"), "{text}");
}

/// An engine that offers nothing and has one model.
struct WithModel;

impl Engine for WithModel {
    fn name(&self) -> &'static str {
        "with model"
    }

    fn offers(&self) -> Vec<Offer> {
        Vec::new()
    }

    fn models(&self) -> Vec<Model> {
        vec![Model::new(ModelKind::Checkpoint, "sandbox.safetensors", "The engine's own")]
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async { Ok(Output::default()) })
    }
}

#[test]
fn the_registry_lists_the_engines_models_first() {
    let folder =
        folder(&[("checkpoints/sandbox.safetensors", checkpoint(768)), ("checkpoints/a.safetensors", checkpoint(768))]);
    let registry = Registry::new(vec![std::sync::Arc::new(WithModel)]).with_library(Library::open(folder.path(), None));
    let models = registry.models(ModelKind::Checkpoint);
    let listed: Vec<_> = models.iter().map(|model| (model.name.as_str(), model.path.is_some())).collect();
    assert_eq!(listed, [("sandbox.safetensors", false), ("a.safetensors", true)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is in the directory, listed models are valid, named by their paths and sorted.
    #[test]
    fn any_directory_is_listed(
        files in prop::collection::vec(("(checkpoints|Lora|vae|x|[a-z]{1,3})(/[a-zA-Z0-9 _.-]{1,8}){0,2}", 0..4_u8, prop::collection::vec(any::<u8>(), 0..64)), 0..12)
    ) {
        let folder = tempfile::tempdir().unwrap();
        for (number, (place, kind, bytes)) in files.iter().enumerate() {
            let ending = ["safetensors", "ckpt", "SafeTensors", "txt"][usize::from(*kind)];
            let name = format!("{place}/{number}.{ending}");
            let path = folder.path().join(&name);
            // Some names are invalid, such as that of the parent directory.
            if name.split('/').any(|part| part.trim_matches('.').is_empty()) || fs::create_dir_all(path.parent().unwrap()).is_err() {
                continue;
            }
            let bytes = if number % 2 == 0 { checkpoint(768) } else { bytes.clone() };
            drop(fs::write(path, bytes));
        }
        let models = Library::open(folder.path(), None).models();
        prop_assert!(models.is_sorted_by(|a, b| a.name <= b.name));
        for model in models {
            let path = model.path.unwrap();
            prop_assert!(path.to_str().unwrap().ends_with(&model.name) && !model.name.starts_with('/'));
            prop_assert!(path.extension().is_none_or(|ending| ending != "txt"));
        }
    }
}

/// An engine lists LoRAs by the paths that its own program gives them.
#[test]
fn a_lora_with_an_owner_has_it_in_the_lists_of_engines() {
    struct WithLoras;

    impl Engine for WithLoras {
        fn name(&self) -> &'static str {
            "with LoRAs"
        }

        fn offers(&self) -> Vec<Offer> {
            Vec::new()
        }

        fn models(&self) -> Vec<Model> {
            let names = ["ours\\Ink.safetensors", "open/ink.safetensors", "other.safetensors", "ink.safetensors"];
            names.map(|name| Model::new(ModelKind::Lora, name, "")).to_vec()
        }

        fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
            Box::pin(async { Ok(Output::default()) })
        }
    }

    let folder = folder(&[
        ("trained", lora("ink")),
        ("Lora/open/ink.safetensors", lora("ink")),
        // Open models of other kinds share nothing.
        ("VAE/ink.safetensors", vae()),
        ("checkpoints/ink.safetensors", checkpoint(768)),
    ]);
    let library = Library::open(folder.path(), None);
    let owner = Owner { key: "ak_1".to_owned(), task: "t1".to_owned(), run: "r1".to_owned() };
    library.publish(&folder.path().join("trained"), "ink", &owner).unwrap();
    let registry = Registry::new(vec![std::sync::Arc::new(WithLoras)]).with_library(library);
    let models = registry.models(ModelKind::Lora);
    let listed: Vec<_> = models.iter().map(|model| (model.name.as_str(), model.owner.as_deref())).collect();
    let expected = [
        ("ours\\Ink.safetensors", Some("ak_1")),
        ("open/ink.safetensors", None),
        ("other.safetensors", None),
        ("ink.safetensors", Some("ak_1")),
    ];
    assert_eq!(listed, expected);
    assert!(models[0].is_for("ak_1") && !models[0].is_for("ak_2"));
}
