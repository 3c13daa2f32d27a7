//! Packs of weights out of their registries, by the package managers of this machine.

use std::fs;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::program::{imgopen, stdout};

#[test]
fn packs_are_pulled_from_their_registries() {
    let Ok(packs) = std::env::var("IMGOPEN_TEST_PACKS") else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| -> Value {
        let mut command = imgopen();
        // Package managers need the environment of their user.
        command.envs(std::env::vars_os()).current_dir(folder.path()).args(["models", "--json"]).args(arguments);
        serde_json::from_str(&stdout(&command.output().unwrap())).unwrap()
    };
    for name in packs.split(',') {
        let pulled = &run(&["pull", name, "--accept-licence", "AGPL-3.0-only"])["packs"][0];
        assert_eq!(pulled["is_new"], true, "{pulled}");
        let directory = folder.path().join(pulled["directory"].as_str().unwrap());
        let files = pulled["manifest"]["files"].as_array().unwrap();
        assert!(!files.is_empty(), "{pulled}");
        for file in files {
            let contents = fs::read(directory.join(file["name"].as_str().unwrap())).unwrap();
            let digest: String = Sha256::digest(&contents).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((&file["sha256"], &file["bytes"]), (&json!(digest), &json!(contents.len())), "{file}");
        }
        assert!(fs::read_to_string(directory.join("LICENSE")).unwrap().len() > 1000, "{name}");
        let list = run(&["packs"]);
        let listed = list["packs"].as_array().unwrap().iter().find(|pack| pack["name"] == name).unwrap();
        assert_eq!(listed["state"], "installed", "{listed}");
        assert_eq!(run(&["remove", name])["removed"][0], name);
    }
}
