//! Lists of models, from a directory with hundreds of files.

use std::path::Path;

use imgopen_service::StartError;
use serde_json::{Value, json};

use crate::common::{Bench, Server, until};

/// A small safetensors file with one tensor.
fn safetensors(name: &str, shape: &[usize], title: &str) -> Vec<u8> {
    let size: usize = shape.iter().product();
    let tensor = json!({"dtype": "U8", "shape": shape, "data_offsets": [0, size]});
    let header = json!({"__metadata__": {"modelspec.title": title}, name: tensor}).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + size, 0);
    file
}

fn write(directory: &Path, name: &str, bytes: &[u8]) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Writes 250 checkpoints of two families, 120 LoRAs, a VAE and an embedding.
fn fill(directory: &Path) {
    const UNET: &str = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";
    for number in 0..250 {
        let (family, width) = if number % 2 == 0 { ("Photo", 768) } else { ("Anime", 2048) };
        let file = safetensors(UNET, &[1, width], &format!("{family} {number}"));
        write(directory, &format!("Stable-diffusion/{family}/model_v{number:03}.safetensors"), &file);
    }
    for number in 0..120 {
        let file = safetensors("lora_te2_x.lora_down.weight", &[1, 8], "");
        write(directory, &format!("Lora/style_{number:03}.safetensors"), &file);
    }
    write(directory, "VAE/kl-f8.ckpt", b"never opened");
    write(directory, "embeddings/easynegative.pt", b"never opened");
    write(directory, "Stable-diffusion/broken.safetensors", b"cut off");
}

async fn list(server: &Server, operation: &str, mut request: Value) -> (Vec<Value>, i64) {
    for (field, value) in [("pageSize", 1000), ("pageNum", 1)] {
        if request.get(field).is_none() {
            request[field] = json!(value);
        }
    }
    let page = server.call(operation, request.clone()).await.ok();
    assert_eq!((&page["pageSize"], &page["pageNum"]), (&request["pageSize"], &request["pageNum"]));
    (page["rows"].as_array().unwrap().clone(), page["total"].as_i64().unwrap())
}

fn names(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["sdModelCheckpoint"].as_str().unwrap()).collect()
}

async fn filled() -> Server {
    let bench = Bench::new();
    fill(&bench.data_dir.path().join("models"));
    bench.engines(Vec::new()).start().await
}

#[tokio::test]
async fn a_long_list_is_read_in_pages() {
    let server = filled().await;
    let (all, total) = list(&server, "list_models", json!({})).await;
    assert_eq!((all.len(), total), (250, 250));
    assert!(names(&all).is_sorted());
    let ids: Vec<_> = all.iter().map(|row| row["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, (1..=250).collect::<Vec<_>>());
    let mut paged = Vec::new();
    for number in 1..=6 {
        let (rows, total) = list(&server, "list_models", json!({"pageSize": 48, "pageNum": number})).await;
        assert_eq!((rows.len(), total), (if number < 6 { 48 } else { 10 }, 250));
        paged.extend(rows);
    }
    // Hashes are computed while the pages are read.
    let without = |rows: &[Value]| -> Vec<Value> {
        let mut rows = rows.to_vec();
        rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("modelHash")));
        rows
    };
    assert_eq!(without(&paged), without(&all));
    for number in [7, 1_000_000, i64::MAX] {
        let (rows, total) = list(&server, "list_models", json!({"pageSize": 48, "pageNum": number})).await;
        assert_eq!((rows.len(), total), (0, 250));
    }
    assert_eq!(list(&server, "list_models", json!({"pageSize": i64::MAX})).await.0.len(), 250);
    for wrong in [
        json!({"pageSize": 0, "pageNum": 1}),
        json!({"pageSize": 10, "pageNum": 0}),
        json!({"pageSize": 10, "pageNum": -1}),
    ] {
        let msg = server.call("list_models", wrong).await.refused(422);
        assert!(msg.contains("page"), "{msg}");
    }
}

#[tokio::test]
async fn names_are_found_in_any_case() {
    let server = filled().await;
    let (anime, total) = list(&server, "list_models", json!({"sdModelCheckpoint": "aNiMe/"})).await;
    assert_eq!((anime.len(), total), (125, 125));
    assert!(anime.iter().all(|row| row["modelBaseModel"] == "SDXL"));
    // A row has the same id in every list.
    let (all, _) = list(&server, "list_models", json!({})).await;
    let numbered = |rows: &[Value]| -> Vec<Value> {
        rows.iter().map(|row| json!([row["id"], row["sdModelCheckpoint"]])).collect()
    };
    let everything = numbered(&all);
    assert!(numbered(&anime).iter().all(|row| everything.contains(row)));
    let both = json!({"sdModelCheckpoint": "v04", "sdModelName": "PHOTO"});
    let (rows, total) = list(&server, "list_models", both).await;
    assert_eq!(
        (names(&rows), total),
        (
            (40..50)
                .step_by(2)
                .map(|n| format!("Photo/model_v{n:03}.safetensors"))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .collect(),
            5
        )
    );
    let (second, total) =
        list(&server, "list_models", json!({"sdModelName": "photo", "pageSize": 100, "pageNum": 2})).await;
    assert_eq!((second.len(), total), (25, 125));
    assert_eq!(list(&server, "list_models", json!({"sdModelName": "nothing"})).await, (vec![], 0));
}

#[tokio::test]
async fn every_kind_has_its_list() {
    let server = filled().await;
    let first = |row: &Value, file: &str, name: &str| {
        (row[file].as_str().unwrap().to_owned(), row[name].as_str().unwrap().to_owned(), row["modelType"].clone())
    };
    let row = |file: &str, name: &str, kind: &str| (file.to_owned(), name.to_owned(), json!(kind));
    let (rows, _) = list(&server, "list_models", json!({"sdModelCheckpoint": "v007"})).await;
    let expected = row("Anime/model_v007.safetensors", "Anime 7", "Checkpoint");
    assert_eq!(first(&rows[0], "sdModelCheckpoint", "sdModelName"), expected);
    assert_eq!(rows[0]["modelVersion"], "v007");
    let (rows, total) = list(&server, "list_loras", json!({"sdLoraName": "STYLE_119"})).await;
    assert_eq!(total, 1);
    assert_eq!(first(&rows[0], "sdLoraFileName", "sdLoraName"), row("style_119.safetensors", "style_119", "LORA"));
    assert_eq!((&rows[0]["sdLoraFileSimplifyName"], &rows[0]["id"]), (&json!("style_119"), &json!(120)));
    let (rows, _) = list(&server, "list_vaes", json!({})).await;
    assert_eq!(first(&rows[0], "sdVae", "sdVaeName"), row("kl-f8.ckpt", "kl-f8", "VAE"));
    let (rows, _) = list(&server, "list_embeddings", json!({})).await;
    let expected = row("easynegative.pt", "easynegative", "TextualInversion");
    assert_eq!(first(&rows[0], "sdEmbeddingFileName", "sdEmbeddingName"), expected);
}

#[tokio::test]
async fn hashes_are_computed_and_survive_a_restart() {
    let server = filled().await;
    let hashes = until("every model has a hash", || async {
        list_hashes(&server).await.into_iter().collect::<Option<Vec<String>>>()
    })
    .await;
    assert!(hashes.iter().all(|hash| hash.len() == 64 && *hash == hash.to_uppercase()));
    until("they are kept", || async {
        let text = std::fs::read_to_string(server.data_dir().join("model-hashes.json")).ok()?;
        (text.matches("sha256").count() == 372).then_some(())
    })
    .await;
    // A new file is listed at once; the others are not hashed again.
    write(&server.data_dir().join("models"), "Stable-diffusion/new.ckpt", b"abc");
    let server = server.stop().await.start().await;
    let now = list_hashes(&server).await;
    assert_eq!(now[..250], hashes.into_iter().map(Some).collect::<Vec<_>>());
    assert_eq!(now.len(), 251);
}

async fn list_hashes(server: &Server) -> Vec<Option<String>> {
    let (rows, _) = list(server, "list_models", json!({})).await;
    rows.iter().map(|row| row["modelHash"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_configured_models_directory_must_exist() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "checkpoints/a.ckpt", b"never opened");
    let bench = Bench::new().with(|settings| settings.models = Some(directory.path().to_owned()));
    let server = bench.start().await;
    let (rows, _) = list(&server, "list_models", json!({})).await;
    assert_eq!(names(&rows), ["a.ckpt", "sandbox.safetensors"]);
    let missing = Bench::new().with(|settings| settings.models = Some(directory.path().join("missing")));
    match missing.open().await {
        Err(StartError::Setting(error)) => assert!(error.to_string().starts_with("`models`: "), "{error}"),
        other => panic!("{other:?}"),
    }
    // The default models directory need not exist.
    let server = Bench::new().engines(Vec::new()).start().await;
    assert_eq!(list(&server, "list_models", json!({})).await, (vec![], 0));
}

/// The header of the base model decides how it is trained.
#[tokio::test]
async fn a_training_uses_the_base_model_in_the_models_directory() {
    let server = filled().await;
    let urls: Vec<_> = (0..10).map(|_| "http://127.0.0.1:8081/picture.png").collect();
    let request = json!({"taskId": "xl", "fileUrlList": urls, "pretrainedModel": "Anime/model_v007"});
    server.call("submit_training", request.clone()).await.ok();
    let tasks = server.call("list_tasks", json!({"callerId": "xl"})).await.ok();
    let command = tasks["rows"][0]["training"]["command"].as_array().unwrap().clone();
    assert!(command.contains(&json!("sdxl_train_network.py")), "{command:?}");
    assert!(command.contains(&json!("--pretrained_model_name_or_path=base/model_v007.safetensors")), "{command:?}");
    let mut wrong = request;
    wrong["taskId"] = json!("v2");
    wrong["v2"] = json!(true);
    let msg = server.call("submit_training", wrong).await.refused(422);
    assert!(msg.starts_with("`v2`, `pretrainedModel`: "), "{msg}");
}
