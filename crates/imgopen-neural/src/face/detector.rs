//! The net that finds faces in a small picture: MediaPipe's BlazeFace for the full range, which is part of the program.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::thread;

use image::RgbImage;
use imgopen_engine::EngineError;
use imgopen_nets::convert::tflite;
use imgopen_nets::runtime::Rten;
use imgopen_nets::{Limits, Net, Tensor};

use super::candidate::Candidate;
use crate::nets::named;

/// The file as MediaPipe has it; see `nets/README.md`.
const FILE: &[u8] = include_bytes!("../../nets/face_detection_full_range.tflite");

/// What messages call it.
const NAME: &str = "face_detection_full_range.tflite";

/// The SHA-256 of the file.
const HASH: &str = "99BF9494D84F50ACC6617D89873F71BF6635A841EA699C17CB3377F9507CFEC3";

/// The sides of the picture that the net takes, in pixels.
pub(super) const SIDE: u32 = 192;

/// How many cells there are along each side. Each may have found a face.
const CELLS: usize = 48;

/// Numbers for each cell: centre, width and height of a box, and six points.
const NUMBERS: usize = 16;

/// The least side of a box, in pixels of a tile.
const LEAST_SIDE: f32 = 3.0;

/// The bytes that the net takes at most: its weights, and a run.
pub(super) const MEMORY: u64 = 16 * 1024 * 1024;

/// More threads would wait for one another: a run takes some hundredths of a second.
const MOST_THREADS: usize = 4;

/// Says which net it is, for people.
pub(super) fn described() -> String {
    format!("{} of the program itself", named(NAME, HASH))
}

/// Returns the net, which is loaded at the first call and stays.
///
/// # Errors
///
/// [`EngineError::Failed`] if it cannot be loaded.
pub(super) fn net() -> Result<&'static Net, EngineError> {
    static NET: OnceLock<Result<Net, String>> = OnceLock::new();
    NET.get_or_init(load).as_ref().map_err(|problem| EngineError::Failed(problem.clone()))
}

fn load() -> Result<Net, String> {
    let model = tflite::to_onnx(FILE).map_err(|error| format!("the model file \"{NAME}\" cannot be used: {error}"))?;
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let runtime = Rten::new(NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN));
    Net::from_bytes(NAME, model, &runtime, &Limits::default()).map_err(|error| error.to_string())
}

/// Finds what may be faces in a tile of [`SIDE`] pixels, with scores of at least `least`, in no order and several for each face.
/// The run cannot be stopped.
///
/// # Errors
///
/// [`EngineError::Failed`] if the net fails, or the tile has another size.
pub(super) fn find(net: &Net, tile: &RgbImage, least: f32) -> Result<Vec<Candidate>, EngineError> {
    let side = SIDE as usize;
    let numbers: Vec<f32> = tile.as_raw().iter().map(|sample| f32::from(*sample) / 127.5 - 1.0).collect();
    let tensor = Tensor::new([1, side, side, 3], numbers).map_err(|error| EngineError::Failed(error.to_string()))?;
    let outputs = ["reshaped_regressor_face_4", "reshaped_classifier_face_4"];
    let [boxes, scores] = net.run(&[("input", &tensor)], outputs)?;
    let unfit = || EngineError::Failed(format!("the net in \"{NAME}\" does not find faces"));
    let (boxes, scores) = (boxes.as_f32().ok_or_else(unfit)?, scores.as_f32().ok_or_else(unfit)?);
    let (boxes, _) = boxes.as_chunks::<NUMBERS>();
    let cells = boxes.iter().zip(scores).enumerate();
    let candidates = cells.filter_map(|(cell, (numbers, score))| candidate(cell, numbers, *score));
    Ok(candidates.filter(|candidate| candidate.score >= least).collect())
}

/// Reads what the net says of a cell. Its numbers are in pixels of the tile, from the middle of the cell.
fn candidate(cell: usize, numbers: &[f32; NUMBERS], score: f32) -> Option<Candidate> {
    let score = 1.0 / (1.0 + (-score).exp());
    let (pairs, _) = numbers.as_chunks::<2>();
    let [centre, size, points @ ..] = pairs else { return None };
    let pixels = SIDE as f32 / CELLS as f32;
    let middle = [cell % CELLS, cell / CELLS].map(|at| (at as f32 + 0.5) * pixels);
    let place = |[x, y]: [f32; 2]| [x + middle[0], y + middle[1]];
    let points: [[f32; 2]; 6] = points.try_into().ok()?;
    let is_box = score.is_finite() && size.iter().all(|side| *side >= LEAST_SIDE);
    is_box.then(|| Candidate { centre: place(*centre), size: *size, points: points.map(place), score })
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// That of the package, as `nets/README.md` and the catalogue of packs have it.
    #[test]
    fn the_file_is_the_pinned_one() {
        let hash: String = Sha256::digest(FILE).iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(hash, HASH);
        assert_eq!(described(), "`face_detection_full_range.tflite` (SHA-256 99BF9494D84F…) of the program itself");
    }

    #[test]
    fn the_net_is_whole_and_takes_no_more_memory_than_it_may() {
        let file = net().unwrap().file();
        let working = file.working(&[]).unwrap().unwrap();
        assert!(file.weights() + working <= MEMORY, "{} {working}", file.weights());
    }

    #[test]
    fn cells_are_counted_row_by_row() {
        let mut numbers = [0.0; NUMBERS];
        numbers[..6].copy_from_slice(&[3.0, -1.0, 20.0, 24.0, -4.0, 5.0]);
        let found = candidate(CELLS + 2, &numbers, 0.0).unwrap();
        assert_eq!((found.centre, found.size, found.score), ([13.0, 5.0], [20.0, 24.0], 0.5));
        assert_eq!((found.points[0], found.points[5]), ([6.0, 11.0], [10.0, 6.0]));
        assert_eq!(candidate(0, &numbers, f32::NAN), None);
        numbers[2] = 1.0;
        assert_eq!(candidate(0, &numbers, 5.0), None);
    }

    /// An evenly coloured tile has no face, and one of another size is not taken.
    #[test]
    fn tiles_have_the_size_of_the_net() {
        assert_eq!(find(net().unwrap(), &RgbImage::new(SIDE, SIDE), 0.4).unwrap(), []);
        assert!(matches!(find(net().unwrap(), &RgbImage::new(SIDE, 10), 0.4), Err(EngineError::Failed(_))));
    }
}
