//! `detect_faces` beside OpenCV's cascade for frontal faces: how many of the faces in photographs of groups are found, and the time from
//! bytes to boxes.
//!
//! OpenCV's own net for faces, YuNet, is not compared: no package of a registry ships its weights, nor does OpenCV.

use std::path::{Path, PathBuf};

use imgopen_neural::Faces;
use imgopen_types::Face;
use imgopen_types::operations::DETECT_FACES;
use serde_json::json;

use crate::peer::Peer;
use crate::{Bench, Result, python, times};

/// The packages with the photographs: one of a group at a table, and six of others.
const GROUP: (&str, &str) = ("insightface==2.1", "insightface/data/images/t1.jpg");
const SAMPLES: &str = "@vladmandic/face-api@1.7.15";

/// How many faces each has, the group first.
const FACES: [usize; 7] = [6, 3, 3, 3, 4, 5, 4];

/// The intersection over the union from which on two boxes are at one face.
const SAME: f64 = 0.3;

const ROUNDS: usize = 5;

/// Left, top, width and height in pixels.
type Place = [f64; 4];

pub fn compare(bench: &Bench) -> Result<()> {
    let photos = photos()?;
    let names = photos.iter().map(|file| utf8(file)).collect::<Result<Vec<_>>>()?;
    let mut haar =
        Peer::start("haar", &[&["haarcascade_frontalface_default.xml"], &names[..]].concat(), &bench.models)?;
    let engine = Faces::new();
    let run = |file: &Path| bench.run(&engine, &DETECT_FACES, "imageUrl", file, json!({}));
    let result = python::work("faces")?.join("haar.txt");
    let (mut ours, mut theirs) = ([0; 2], [0; 2]);
    println!("  | photograph | faces | found, by Haar | false, by Haar |\n  |---|---|---|---|");
    for (number, (file, count)) in photos.iter().zip(FACES).enumerate() {
        let found: Vec<Place> = run(file)?.faces.iter().map(place).collect();
        haar.work(&number.to_string(), Some(&result))?;
        let boxes = boxes(&std::fs::read_to_string(&result)?)?;
        // Those of the engine are at the faces: the tests of quality compare them with what was marked by hand.
        let seen = found.iter().filter(|face| boxes.iter().any(|other| overlap(**face, *other) > SAME)).count();
        let wrong = boxes.iter().filter(|other| found.iter().all(|face| overlap(*face, **other) <= SAME)).count();
        let [own, own_wrong] = [found.len().min(count), found.len().saturating_sub(count)];
        println!("  | {number} | {count} | {own}, {seen} | {own_wrong}, {wrong} |");
        (ours[0], ours[1], theirs[0], theirs[1]) =
            (ours[0] + own, ours[1] + own_wrong, theirs[0] + seen, theirs[1] + wrong);
    }
    let all: usize = FACES.iter().sum();
    println!("  | all | {all} | {}, {} | {}, {} |", ours[0], theirs[0], ours[1], theirs[1]);
    if ours[0] < all || ours[1] > 0 || ours[0] < theirs[0] {
        println!("  MISSED: all faces, and nothing else");
    }
    let file = photos.first().ok_or("no photographs")?;
    times("bytes to boxes, 1280x886", ROUNDS, None, || run(file).map(drop), || haar.work("0", None))
}

/// Returns the files of the photographs.
fn photos() -> Result<Vec<PathBuf>> {
    let folder = python::work("faces")?;
    let group = folder.join("group.jpg");
    std::fs::write(&group, python::packaged(GROUP.0, GROUP.1))?;
    let script = "import sys, tarfile\n\
        archive, folder = sys.argv[1:]\n\
        archive = tarfile.open(archive)\n\
        for number in range(1, 7):\n    \
            data = archive.extractfile(f'package/demo/sample{number}.jpg').read()\n    \
            open(f'{folder}/sample{number}.jpg', 'wb').write(data)";
    let archive = python::packed(SAMPLES)?;
    python::run(script, &[utf8(&archive)?, utf8(&folder)?]);
    let samples = (1..FACES.len()).map(|number| folder.join(format!("sample{number}.jpg")));
    Ok([group].into_iter().chain(samples).collect())
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| "the path is not UTF-8".into())
}

fn place(face: &Face) -> Place {
    [face.box_.x, face.box_.y, face.box_.width, face.box_.height].map(|number| number as f64)
}

/// Reads boxes, one a line.
fn boxes(text: &str) -> Result<Vec<Place>> {
    let read = |line: &str| -> Result<Place> {
        let numbers = line.split(' ').map(str::parse).collect::<std::result::Result<Vec<f64>, _>>()?;
        numbers.try_into().map_err(|_| "a box has not four numbers".into())
    };
    text.lines().map(read).collect()
}

/// Returns the intersection of two boxes over their union.
fn overlap(one: Place, other: Place) -> f64 {
    let along = |side: usize| {
        let end = (one[side] + one[side + 2]).min(other[side] + other[side + 2]);
        (end - one[side].max(other[side])).max(0.0)
    };
    let both = along(0) * along(1);
    both / (one[2] * one[3] + other[2] * other[3] - both)
}
