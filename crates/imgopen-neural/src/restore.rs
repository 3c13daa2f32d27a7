//! Repairs faces: those that are blurred, small, or damaged by compression.
//!
//! | net | what it is given | `fidelityWeight` |
//! |---|---|---|
//! | the operator's own CodeFormer | the face, aligned to 512x512 pixels | is the net's own weight |
//! | the operator's own GFPGAN | the same | mixes the face that was given in again |
//! | Real-ESRGAN, of the pack `upscale` | the face with a margin, at most 256x256 pixels, half as many if it is blurred | the same |
//!
//! The first that is there is used. CodeFormer and GFPGAN know faces, and paint what the picture does not show; Real-ESRGAN knows
//! pictures in general, and makes what is there sharper. `fidelityWeight` is read as CodeFormer's: 0 is the most repair, 1 the
//! least change; 0.5 unless it is given.
//!
//! Faces are found by the detector in the program, and repaired one after the other, at most [`MOST_FACES`], the largest. What a
//! net makes is put back within an oval around the face, which fades at its edge. Pixels beyond it stay exactly as they were, as do
//! opacity, 16 bits, gray, and what the file carries.

mod blur;
mod frame;
mod net;
mod paste;

use std::ops::Range;

use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{Engine, EngineError, Grade, Job, JobRequest, Monitor, Offer, Output};
use imgopen_picture::{self as picture, EncodeError, write_like};
use imgopen_tools::{blocking, memory};
use imgopen_types::{Operation, RestoreFaceRequest, operations};

pub(crate) use self::net::{Repair, Repairer};
use crate::face::{self, FoundFace};
use crate::nets::{Nets, UPSCALE, unavailable};

/// The most faces that a job repairs. Others stay as they are, which a note says.
pub const MOST_FACES: usize = 16;

/// The balance of quality against fidelity where a request gives none.
const EVEN: f32 = 0.5;

/// The engine `face-restoration`, which offers `restore_face` while there is a net for it: the operator's own GFPGAN or CodeFormer,
/// or the pack `upscale`.
#[derive(Debug, Clone)]
pub struct Restore {
    nets: Nets,
}

impl Restore {
    /// Creates the engine.
    pub fn new(nets: Nets) -> Self {
        Self { nets }
    }

    fn restore(&self, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
        let fidelity = fidelity(job.request::<RestoreFaceRequest>()?.fidelity_weight.as_deref())?;
        let repair = Repair::of(&self.nets).ok_or_else(|| unavailable(missing()))?.map_err(unavailable)?;
        let mut source = picture::decode_input(job.input("image")?, job.limits(), monitor)?;
        let mut image = std::mem::take(&mut source.image);
        monitor.stage(0.05)?;
        let found = face::detect(&image.to_rgb8(), monitor)?;
        let faces = largest(&found);
        if faces.is_empty() {
            return Err(EngineError::rejected("image", "no face was found in the picture; give one with a face"));
        }
        monitor.stage(0.1)?;
        let net = repair.load(&self.nets, fidelity)?;
        for (index, face) in faces.iter().enumerate() {
            repair_face(&net, &mut image, face, monitor, part(0.1..0.95, index, faces.len()))?;
        }
        drop(net);
        let name = repair.weights.file.name();
        let done = format!("Postprocess faces: {}, Postprocess face restorer: {name}", faces.len());
        let failed = |error: EncodeError| EngineError::Failed(error.to_string());
        let picture = write_like(&source, &image, &done, monitor, failed)?;
        monitor.stage(1.0)?;
        Ok(Output { pictures: vec![picture], notes: notes(&repair, &faces, found.len()), ..Output::default() })
    }
}

impl Engine for Restore {
    fn name(&self) -> &str {
        "face-restoration"
    }

    fn offers(&self) -> Vec<Offer> {
        let offer = Offer::new(&operations::RESTORE_FACE, Grade::Neural);
        match Repair::of(&self.nets) {
            None => Vec::new(),
            Some(Ok(_)) => vec![offer],
            // It does not come back by itself, so nothing new should wait for it.
            Some(Err(problem)) => vec![Offer { away: Some(problem), is_known: false, ..offer }],
        }
    }

    fn nets(&self, operation: &Operation) -> Vec<String> {
        self.nets.names_for(operation)
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        fidelity(request.typed::<RestoreFaceRequest>()?.fidelity_weight.as_deref()).map(drop)
    }

    fn memory(&self, job: &Job) -> u64 {
        let net = match Repair::of(&self.nets) {
            Some(Ok(repair)) => repair.memory(),
            // The run ends before it takes any.
            Some(Err(_)) | None => 0,
        };
        // The copy for the detector lies within what is counted for the result.
        memory::of(job, 1.0).saturating_add(net.max(face::DETECTION))
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let engine = self.clone();
        blocking::run(job, monitor, move |job, monitor| engine.restore(job, monitor))
    }
}

/// Repairs a face of a picture in place. Before each run of the net it looks for a cancellation, and reports progress within the
/// given shares of the job.
///
/// # Errors
///
/// [`EngineError::Cancelled`], and [`EngineError::Failed`] if the net fails or is not for this.
pub(crate) fn repair_face(
    net: &Repairer,
    image: &mut DynamicImage,
    face: &FoundFace,
    monitor: &Monitor,
    progress: Range<f64>,
) -> Result<(), EngineError> {
    let Some((frame, seen)) = net.look(face, image, monitor)? else { return Ok(()) };
    let made = net.run(seen, monitor, progress)?;
    paste::paste(image, &frame, made, net.share(), monitor)
}

/// Reads `fidelityWeight`, a number from 0 to 1 as text.
///
/// # Errors
///
/// [`EngineError::Rejected`] if it is another text.
pub(crate) fn fidelity(weight: Option<&str>) -> Result<f32, EngineError> {
    let Some(text) = weight else { return Ok(EVEN) };
    let number = text.trim().parse::<f32>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| {
        EngineError::rejected("fidelityWeight", format!("\"{text}\" given; give a number from 0 to 1 as text"))
    })
}

/// Returns the largest faces, as many as are repaired, in their order.
fn largest(found: &[FoundFace]) -> Vec<&FoundFace> {
    let mut faces: Vec<(usize, &FoundFace)> = found.iter().enumerate().collect();
    faces.sort_by(|(_, one), (_, other)| (other.width * other.height).total_cmp(&(one.width * one.height)));
    faces.truncate(MOST_FACES);
    faces.sort_by_key(|(index, _)| *index);
    faces.into_iter().map(|(_, face)| face).collect()
}

/// Returns the share of a range that one of several equal parts has.
fn part(range: Range<f64>, index: usize, count: usize) -> Range<f64> {
    let at = |index: usize| range.start + (range.end - range.start) * index as f64 / count.max(1) as f64;
    at(index)..at(index + 1)
}

fn notes(repair: &Repair, faces: &[&FoundFace], found: usize) -> Vec<String> {
    let repaired = faces.len();
    let what = if repaired == 1 { "1 face was".to_owned() } else { format!("{repaired} faces were") };
    let mut notes = vec![format!("{what} repaired by the net {}", repair.weights.described())];
    if found > repaired {
        notes.push(format!("{found} faces were found, of which the {repaired} largest were repaired"));
    }
    let profiles = faces.iter().filter(|face| face.is_in_profile()).count();
    notes.extend(profile_note(if repair.knows_faces() { profiles } else { 0 }));
    notes
}

/// Says that nets which know faces do so from the front above all.
fn profile_note(profiles: usize) -> Option<String> {
    let what = match profiles {
        0 => return None,
        1 => "1 face is".to_owned(),
        count => format!("{count} faces are"),
    };
    Some(format!(
        "{what} in profile, where the net errs more; compare the result, and give a larger `fidelityWeight` for less change"
    ))
}

fn missing() -> String {
    format!("no net that repairs faces is there any more; pull one with `imgopen models pull {UPSCALE}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(left: f32, side: f32) -> FoundFace {
        FoundFace { left, top: 0.0, width: side, height: side, score: 0.9, points: [[left, 0.0]; 6] }
    }

    #[test]
    fn the_weight_is_a_number_from_0_to_1_as_text() {
        assert_eq!(fidelity(None), Ok(0.5));
        assert_eq!([" 0.25 ", "0", "1", "1e-1"].map(|text| fidelity(Some(text)).unwrap()), [0.25, 0.0, 1.0, 0.1]);
        for text in ["", "much", "-0.1", "1.01", "NaN", "inf"] {
            let error = fidelity(Some(text)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`fidelityWeight`: \"{text}\" given; give a number")), "{error}");
        }
    }

    #[test]
    fn the_largest_faces_are_repaired_from_left_to_right() {
        let found: Vec<_> = (0..20).map(|index| face(index as f32 * 10.0, 40.0 - index as f32)).collect();
        let lefts = |faces: &[&FoundFace]| faces.iter().map(|face| face.left).collect::<Vec<_>>();
        let expected: Vec<_> = (0..16).map(|index| index as f32 * 10.0).collect();
        assert_eq!(lefts(&largest(&found)), expected);
        // The large ones are on the right.
        let found: Vec<_> = (0..20).map(|index| face(index as f32 * 10.0, 40.0 + index as f32)).collect();
        let expected: Vec<_> = (4..20).map(|index| index as f32 * 10.0).collect();
        assert_eq!(lefts(&largest(&found)), expected);
        assert!(largest(&[]).is_empty());
    }

    #[test]
    fn a_face_is_in_profile_if_the_nose_is_beyond_an_eye() {
        let is_in_profile = |right: [f32; 2], left: [f32; 2], nose: [f32; 2]| {
            let points = [right, left, nose, [0.0; 2], [0.0; 2], [0.0; 2]];
            FoundFace { points, ..face(0.0, 90.0) }.is_in_profile()
        };
        assert!(!is_in_profile([40.0, 50.0], [75.0, 50.0], [57.0, 70.0]));
        assert!(is_in_profile([40.0, 50.0], [75.0, 50.0], [78.0, 70.0]));
        assert!(is_in_profile([40.0, 50.0], [75.0, 50.0], [39.0, 70.0]));
        // Lying on its side.
        assert!(!is_in_profile([50.0, 40.0], [50.0, 75.0], [30.0, 57.0]));
        assert!(is_in_profile([50.0, 40.0], [50.0, 75.0], [30.0, 80.0]));
        assert_eq!(profile_note(0), None);
        assert!(profile_note(1).unwrap().starts_with("1 face is in profile, where the net errs more"));
        assert!(profile_note(3).unwrap().starts_with("3 faces are in profile"));
    }

    #[test]
    fn parts_of_a_range_follow_each_other() {
        let parts: Vec<_> = (0..4).map(|index| part(0.0..1.0, index, 4)).collect();
        assert_eq!(parts, [0.0..0.25, 0.25..0.5, 0.5..0.75, 0.75..1.0]);
    }
}
