//! Packs of the built-in catalogue with other files in them, and the catalogue that knows these files.

use std::fs;
use std::path::{Path, PathBuf};

use imgopen_packs::{Catalogue, Packs};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The built-in catalogue.
const BUILT_IN: &str = include_str!("../../../imgopen-packs/catalogue.toml");

/// The catalogue in a models directory in which the packs there are the built-in ones.
pub fn catalogue(models: &Path) -> PathBuf {
    models.join("catalogue.toml")
}

/// Installs a pack, whose files are what `net` returns for their names, and writes that into the catalogue of the models directory.
pub fn install(models: &Path, name: &str, net: impl Fn(&str) -> Vec<u8>) {
    fs::create_dir_all(models).unwrap();
    let text = fs::read_to_string(catalogue(models)).unwrap_or_else(|_| BUILT_IN.to_owned());
    let mut known: toml::Table = text.parse().unwrap();
    let packs = known["packs"].as_array_mut().unwrap();
    let pack = packs.iter_mut().find(|pack| pack["name"].as_str() == Some(name)).unwrap();
    for file in pack["files"].as_array_mut().unwrap() {
        let contents = net(file["name"].as_str().unwrap());
        let file = file.as_table_mut().unwrap();
        // A file that is joined is pinned by itself, rather than by its members.
        file.insert("convert".to_owned(), "join".into());
        file.insert("bytes".to_owned(), i64::try_from(contents.len()).unwrap().into());
        file.insert("sha256".to_owned(), sha256(&contents).into());
    }
    let text = toml::to_string(&known).unwrap();
    put(models, name, &Catalogue::parse(&text).unwrap(), net);
    fs::write(catalogue(models), text).unwrap();
}

/// Writes the directory of a pack.
fn put(models: &Path, name: &str, catalogue: &Catalogue, net: impl Fn(&str) -> Vec<u8>) {
    let pack = catalogue.find(name).unwrap();
    let directory = Packs::in_models(models).directory_of(pack);
    fs::create_dir_all(&directory).unwrap();
    let files = pack.files.iter().map(|file| {
        let contents = net(&file.name);
        fs::write(directory.join(&file.name), &contents).unwrap();
        json!({"name": file.name, "bytes": contents.len(), "sha256": sha256(&contents)})
    });
    let files: Value = files.collect();
    let (source, licence) = (&pack.source, &pack.licence.expression);
    let manifest = json!({
        "format": 1, "name": name, "registry": source.registry, "package": source.package, "version": source.version,
        "archive": source.archive, "licence": licence, "accepted": null, "files": files,
    });
    fs::write(directory.join("pack.json"), manifest.to_string()).unwrap();
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
