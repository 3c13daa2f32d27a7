//! What an operator can put into a models directory: packs, and nets of their own. The nets here have the inputs and outputs of
//! real ones, and copy their input, or enlarge it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use imgopen_nets::Dimension;
use imgopen_nets::onnx::{Builder, Setting, Weights};
use imgopen_packs::{Catalogue, Pack, Packs};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Something that can be installed.
pub struct Piece {
    /// The name of the pack, if it is one.
    pub pack: Option<String>,
    /// The folder of a net of the operator's, and which of the nets that belong there it is.
    own: Option<(&'static str, &'static str)>,
    /// The files, by their paths in the models directory.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

/// The built-in catalogue, in which every file is the same small net.
pub static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let text = include_str!("../../../../../imgopen-packs/catalogue.toml");
    let mut catalogue: toml::Table = text.parse().unwrap();
    let (contents, sha256) = small();
    for pack in catalogue["packs"].as_array_mut().unwrap() {
        for file in pack["files"].as_array_mut().unwrap() {
            let file = file.as_table_mut().unwrap();
            // A file that is joined is pinned by itself, rather than by its members.
            file.insert("convert".to_owned(), "join".into());
            file.insert("bytes".to_owned(), i64::try_from(contents.len()).unwrap().into());
            file.insert("sha256".to_owned(), sha256.clone().into());
        }
    }
    Catalogue::parse(&toml::to_string(&catalogue).unwrap()).unwrap()
});

/// The side of a picture that a net takes in any size.
const ANY: usize = 0;

/// Inputs or outputs of a net: their names and sides.
type Ports<'a> = &'a [(&'a str, &'a [usize])];

impl Piece {
    /// Returns how the table names it.
    pub fn shown(&self) -> String {
        match (&self.pack, self.own) {
            (Some(pack), _) => format!("`{pack}`"),
            (None, Some((folder, ""))) => format!("`{folder}/`"),
            (None, Some((folder, kind))) => format!("`{folder}/` ({kind})"),
            (None, None) => String::new(),
        }
    }
}

/// Puts pieces into a models directory.
pub fn put(models: &Path, pieces: &[&Piece]) {
    for (path, contents) in pieces.iter().flat_map(|piece| &piece.files) {
        let path = models.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
}

/// Returns all packs of the catalogue, and a net for each use that the operator's own can have.
pub fn all() -> Vec<Piece> {
    let packs = CATALOGUE.packs().iter().map(pack);
    packs.chain(own()).collect()
}

/// Returns a net that stands for those of all packs, and its SHA-256.
fn small() -> (Vec<u8>, String) {
    let contents = net(&[("x", &[1])], &[("y", &[1])], &[]);
    let sha256 = Sha256::digest(&contents).iter().map(|byte| format!("{byte:02x}")).collect();
    (contents, sha256)
}

fn pack(pack: &Pack) -> Piece {
    let directory = Packs::in_models(Path::new("")).directory_of(pack);
    let (contents, sha256) = small();
    let file = |name: &String| json!({"name": name, "bytes": contents.len(), "sha256": sha256});
    let files: Value = pack.files.iter().map(|known| file(&known.name)).collect();
    let (source, licence) = (&pack.source, &pack.licence.expression);
    let manifest = json!({
        "format": 1, "name": pack.name, "registry": source.registry, "package": source.package, "version": source.version,
        "archive": source.archive, "licence": licence, "accepted": null, "files": files,
    });
    let nets = pack.files.iter().map(|file| (directory.join(&file.name), contents.clone()));
    let files = nets.chain([(directory.join("pack.json"), manifest.to_string().into_bytes())]).collect();
    Piece { pack: Some(pack.name.clone()), own: None, files }
}

/// Returns nets of the operator's, in the folders where they belong.
fn own() -> Vec<Piece> {
    let one = |folder, kind, input: &[usize], output: &[usize]| {
        let contents = net(&[("input", input)], &[("output", output)], &[]);
        Piece { pack: None, own: Some((folder, kind)), files: vec![(Path::new(folder).join("net.onnx"), contents)] }
    };
    let recognition = Piece {
        files: vec![(
            "insightface/recognition.onnx".into(),
            net(&[("x", &[1, 3, 112, 112])], &[("y", &[1, 512])], &[]),
        )],
        ..one("insightface", "ArcFace", &[1], &[1])
    };
    let swap =
        net(&[("target", &[1, 3, 128, 128]), ("source", &[1, 512])], &[("output", &[1, 3, 128, 128])], &[512, 512]);
    let swap =
        Piece { files: vec![("insightface/swap.onnx".into(), swap)], ..one("insightface", "inswapper", &[1], &[1]) };
    let lama = net(&[("image", &[1, 3, 512, 512]), ("mask", &[1, 1, 512, 512])], &[("output", &[1, 3, 512, 512])], &[]);
    let lama = Piece { files: vec![("lama/net.onnx".into(), lama)], ..one("lama", "", &[1], &[1]) };
    let mut tags = one("tagger", "", &[1, 448, 448, 3], &[1, 10]);
    let names = (0..10).map(|id| format!("{id},tag_{id},0,1\n")).collect::<String>();
    tags.files.push(("tagger/selected_tags.csv".into(), format!("tag_id,name,category,count\n{names}").into_bytes()));
    vec![
        one("rembg", "", &[1, 3, 320, 320], &[1, 1, 320, 320]),
        one("ESRGAN", "", &[1, 3, ANY, ANY], &[1, 3, ANY, ANY]),
        one("GFPGAN", "", &[1, 3, 512, 512], &[1, 3, 512, 512]),
        swap,
        recognition,
        lama,
        tags,
        one("depth", "", &[1, 3, 256, 256], &[1, 256, 256]),
    ]
}

/// Returns a model file with these inputs and outputs, and with weights of a shape that is not empty.
fn net(inputs: Ports<'_>, outputs: Ports<'_>, weights: &[usize]) -> Vec<u8> {
    const HALF: usize = 2;
    let bytes = weights.iter().product::<usize>() * HALF;
    let ports = || inputs.iter().chain(outputs).map(|(name, _)| (*name).to_owned());
    let mut builder = Builder::new(bytes, ports());
    let side = |side: &usize| match *side {
        ANY => Dimension::Named("side".to_owned()),
        side => Dimension::Fixed(side),
    };
    for (name, sides) in inputs {
        builder.input(name, &sides.iter().map(side).collect::<Vec<_>>());
    }
    for (name, sides) in outputs {
        builder.output(name, &sides.iter().map(side).collect::<Vec<_>>());
        match sides.contains(&ANY) {
            true => {
                let scales = builder.floats(&[1.0, 1.0, 2.0, 2.0]);
                let way = [("mode", Setting::Text("nearest"))];
                builder.node_as("Resize", &[inputs[0].0, "", &scales], name, &way);
            }
            false => builder.node_as("Relu", &[inputs[0].0], name, &[]),
        }
    }
    if !weights.is_empty() {
        builder.weights(Weights::F16, weights, &vec![0; bytes]);
    }
    builder.finish()
}
