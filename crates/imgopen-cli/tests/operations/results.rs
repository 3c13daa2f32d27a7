//! The results that the examples ask for.

use std::path::Path;

use serde_json::{Value, json};

use crate::World;
use crate::common::pictures::{correlation, fetch, parameters, picture_file, pixels, scene, seed, shows};
use crate::common::rows::text;
use crate::jobs::Ended;

/// The result that an operation's example asks for.
pub struct Want {
    pub id: &'static str,
    result: Kind,
}

enum Kind {
    /// Test cards: their number, size, first seed and the first line of the prompt.
    Cards(usize, (u32, u32), Seed, Option<&'static str>),
    /// The picture itself, enlarged.
    Enlarged((u32, u32)),
    /// A value in a member of the report.
    Value(&'static str, Value),
    Training,
}

#[derive(Clone, Copy, PartialEq)]
enum Seed {
    None,
    Given(i64),
    Random,
}

/// Returns the results of all operations that start jobs, for the examples with every field.
pub fn wants() -> Vec<Want> {
    let card = |id, size, seed, prompt| Want { id, result: Kind::Cards(1, size, seed, prompt) };
    let cards = |id, count, size, seed, prompt| Want { id, result: Kind::Cards(count, size, seed, prompt) };
    let value = |id, name, value| Want { id, result: Kind::Value(name, value) };
    let (given, side) = (Seed::Given(1_221_212), (512, 512));
    let caption = "SANDBOX text of describe_image, in place of deepdanbooru: no picture was looked at";
    let face = json!([{
        "index": 1, "box": {"x": 128, "y": 128, "width": 256, "height": 256}, "score": 0,
        "landmarks": [{"x": 208, "y": 208}, {"x": 304, "y": 208}, {"x": 256, "y": 312}],
    }]);
    vec![
        cards("text_to_image", 2, (1024, 1024), given, Some("{best quality},")),
        cards("image_to_image", 2, (1024, 1024), given, Some("{best quality},")),
        card("controlnet", (768, 768), given, Some("{best quality},")),
        card("flux_text_to_image", side, Seed::None, Some("blue sea, light yellow moon")),
        card("swap_face", side, Seed::None, None),
        card("swap_face_v2", side, Seed::None, None),
        card("instant_id", (960, 960), given, Some("Cute ceramic doll")),
        card("restore_face", side, Seed::None, None),
        card("super_resolution", (2048, 2048), Seed::None, None),
        value("describe_image", "caption", json!(caption)),
        card("swap_faces", side, Seed::None, None),
        value("detect_faces", "faces", face),
        card("change_hairstyle", side, Seed::None, Some("with a fringe")),
        card("remove_object", side, Seed::None, None),
        value("recognize_style", "styleLabels", json!([{"label": "sandbox", "confidence": 0}])),
        cards("outpaint", 2, (896, 768), Seed::Random, Some("a wide beach at dusk")),
        card("preview_controlnet", side, Seed::None, None),
        card("remove_background", side, Seed::None, None),
        // 60x41, enlarged by 2.5.
        Want { id: "enlarge_image", result: Kind::Enlarged((150, 103)) },
        card("watermark_image", side, Seed::None, None),
        Want { id: "submit_training", result: Kind::Training },
    ]
}

impl Want {
    /// Whether the result comes from the sandbox: a test card, or a text in its place.
    pub fn is_card(&self) -> bool {
        matches!(self.result, Kind::Cards(..) | Kind::Value(..))
    }

    /// Checks the result of a job.
    pub async fn check(&self, world: &World, job: &Ended) {
        let mut files = Vec::new();
        for url in urls(&job.report) {
            files.push(fetch(&reqwest::Client::new(), url).await);
        }
        let engine =
            if let Kind::Enlarged(_) = self.result { ("lanczos", "classical") } else { ("sandbox", "sandbox") };
        match &self.result {
            Kind::Training => return check_training(world, job),
            _ => assert_eq!((text(&job.row, "engine"), text(&job.row, "grade")), engine, "{}", self.id),
        }
        assert_eq!(
            (job.failure.as_ref(), text(&job.report, "desc"), &job.row["progress"]),
            (None, "success", &json!(100))
        );
        match &self.result {
            Kind::Cards(count, size, seed, prompt) => {
                assert_eq!(files.len(), *count, "{}", self.id);
                check_seeds(self.id, &job.report, *seed, &files);
                for (number, file) in (1..).zip(&files) {
                    check_card(job, file, (number, *count), *size, *prompt);
                }
            }
            Kind::Enlarged(size) => check_enlarged(&files, *size),
            Kind::Value(name, value) => assert_eq!((&job.report[*name], files.len()), (value, 0), "{}", self.id),
            Kind::Training => {}
        }
    }
}

/// Returns the URLs of the pictures in a report.
fn urls(report: &Value) -> Vec<&str> {
    let many = report["outputImageUrlList"].as_array().or(report["differentialImageRspList"].as_array());
    let Some(many) = many else { return report["outputImageUrl"].as_str().into_iter().collect() };
    let urls: Vec<_> = many.iter().map(|one| one.as_str().unwrap_or_else(|| text(one, "image_url"))).collect();
    let first = report["outputImageUrl"].as_str();
    assert!(first.is_none_or(|first| first == urls[0]), "{report}");
    urls
}

/// Checks that seeds are consecutive, in the files and in reports that contain seeds.
fn check_seeds(id: &str, report: &Value, wanted: Seed, files: &[Vec<u8>]) {
    let found: Vec<_> = files.iter().map(|file| seed(&parameters(file))).collect();
    let first = match wanted {
        Seed::None => return assert_eq!(found, [None], "{id}"),
        Seed::Given(seed) => seed,
        Seed::Random => found[0].unwrap(),
    };
    let rising: Vec<_> = (first..).take(files.len()).map(Some).collect();
    assert_eq!(found, rising, "{id}");
    if let Some(pictures) = report["differentialImageRspList"].as_array() {
        assert_eq!(pictures.iter().map(|picture| picture["seed"].as_i64()).collect::<Vec<_>>(), rising, "{id}");
    }
}

fn check_card(job: &Ended, file: &[u8], (number, count): (usize, usize), size: (u32, u32), prompt: Option<&str>) {
    let (card, text) = (pixels(file), parameters(file));
    assert_eq!(card.dimensions(), size, "{}", job.operation);
    let (width, height) = size;
    let mut facts = vec!["SANDBOX".to_owned(), format!("{width}x{height}"), format!("{number}/{count}")];
    facts.extend([job.operation.to_owned(), format!("task {}", job.platform_id)]);
    facts.extend(seed(&text).map(|seed| format!("seed {seed}")));
    facts.extend(prompt.map(str::to_owned));
    for fact in facts {
        assert!(shows(&card, &fact), "the card of {} does not show {fact:?}", job.operation);
    }
    // The check itself can fail.
    assert!(!shows(&card, "no such text"));
    let begins = prompt.map_or_else(|| format!("sandbox test card of {}", job.operation), str::to_owned);
    assert!(text.starts_with(&begins), "{}: {text}", job.operation);
}

fn check_enlarged(files: &[Vec<u8>], size: (u32, u32)) {
    assert_eq!(files.len(), 1);
    let large = pixels(&files[0]);
    assert_eq!(large.dimensions(), size);
    let alike = correlation(&scene(), &large);
    assert!(alike > 0.98, "{alike}");
    // The check itself can fail.
    let turned = image::imageops::rotate180(&large);
    assert!(correlation(&scene(), &turned) < 0.8);
}

/// Checks that a training fails, but only after every picture of the data set was fetched.
fn check_training(world: &World, job: &Ended) {
    let reason = job.failure.as_ref().unwrap();
    assert!(reason.starts_with("no training engine configured"), "{reason}");
    assert_eq!((text(&job.row, "state"), &job.report["maxEpochs"]), ("failed", &json!(20)));
    let mut paths = world.pictures.fetched();
    paths.retain(|path| path.starts_with("/train/"));
    let expected: Vec<_> = (1..=10).map(|number| format!("/train/{number:02}.png")).collect();
    assert_eq!(paths, expected);
    let folder = world.folder.path().join("datasets").join(&job.platform_id);
    let inside =
        |folder: &Path| std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    // The directory's name makes the trainer show each picture ten times.
    let [pictures] = &inside(&folder.join("img"))[..] else { panic!("one directory of pictures is expected") };
    assert!(pictures.file_name().unwrap().to_str().unwrap().starts_with("10_"), "{pictures:?}");
    let script = std::fs::read_to_string(folder.join("train.sh")).unwrap();
    let command: Vec<_> =
        job.row["training"]["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert!(script.contains("train_network.py") && command.contains(&"--max_train_epochs=20"), "{script} {command:?}");
    let files = inside(pictures);
    assert_eq!(files.len(), 10);
    assert!(files.iter().all(|file| std::fs::read(file).unwrap() == picture_file(scene())));
}
