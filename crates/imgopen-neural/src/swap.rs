//! Puts faces of pictures onto faces of others.
//!
//! | what is there | method | grade |
//! |---|---|---|
//! | the operator's own inswapper and ArcFace | a net paints the aligned face with the looks of the source | neural |
//! | the pack `faces` | the source's pixels are moved, triangle by triangle of a mesh, and get the target's light | classical |
//!
//! - **Which faces.** A source gives its largest face. `swap_face` and `swap_face_v2` change the largest face of the target;
//!   `swap_faces` changes the one that `faceIdx` names, counted from 1 from the left, or the first one or two from the left, by the
//!   order of `sourceUrl`.
//! - **What stays.** Shape and expression of the target, its hair and forehead, and where pixels are moved, the inside of its mouth.
//!   All pixels beyond the faces stay exactly as they were, as do opacity, 16 bits, gray, and what the file carries.
//! - **What is refused.** Pictures without a face; sources in profile, which lack half of it; where pixels are moved, targets that
//!   are turned otherwise. Closed eyes of a source do not replace open ones.
//! - **What is said.** Profiles and closed eyes that a swap spoils in part; that they were not looked for, without the pack `faces`.
//! - **Repair.** `swap_face_v2` repairs the faces that it has changed, as [`restore`](crate::restore) does, if there is a net for it.
//! - **Likeness.** With ArcFace, a note gives how similar each face is to its source, before and after.

mod classical;
mod mask;
mod membrane;
mod neural;
mod paste;
mod people;
mod texture;
mod tone;
mod triangles;
mod warp;
mod wish;

use std::ops::Range;

use futures_util::future::BoxFuture;
use image::{DynamicImage, RgbImage};
use imgopen_engine::{Engine, EngineError, Grade, Job, JobRequest, Monitor, Offer, Output};
use imgopen_nets::Session;
use imgopen_picture::{self as picture, Decoded, EncodeError, write_like};
use imgopen_tools::{blocking, memory};
use imgopen_types::{Operation, operations};

use self::classical::{Face, Seen};
use self::neural::{Painter, Points, Recogniser, similarity};
use self::paste::paste;
use self::people::Person;
use self::wish::{TARGET, Wish};
use crate::face::{self, FoundFace};
use crate::nets::{FACES, Held, Nets, Role, UPSCALE, Weights, unavailable};
use crate::restore::{Repair, repair_face};

/// The bytes for each pixel of a source, beside those of any picture: its part with the face, and planes of that.
const SOURCE: u64 = 48;

/// The bytes for each pixel of the target: copies for the detector, and the part with the face.
const COPIES: u64 = 16;

/// The bytes that a run of the mesh net takes, if its file does not determine that.
const MESH: u64 = 64 * 1024 * 1024;

/// What a result says if there is no net that shows how faces are turned.
const UNSEEN: &str =
    "whether faces are in profile, or have closed eyes, was not looked at, because the pack `faces` is not installed";

/// The engine `face-swap`, which offers `swap_face`, `swap_face_v2` and `swap_faces` while the pack `faces` is installed, or while
/// the operator has nets for swaps and for recognising faces.
#[derive(Debug, Clone)]
pub struct Swap {
    nets: Nets,
}

/// The nets that are there.
struct Means {
    mesh: Option<Weights>,
    painter: Option<Weights>,
    recogniser: Option<Weights>,
}

/// The nets of a job, loaded.
struct Tools {
    mesh: Option<Session>,
    painter: Option<Painter>,
    recogniser: Option<Recogniser>,
}

/// A picture that gives a face.
struct Source<'a> {
    field: &'a str,
    image: DynamicImage,
    person: Person,
    /// The numbers of its face, if there is a net for them.
    numbers: Option<Vec<f32>>,
}

/// A face that was changed.
struct Changed {
    face: FoundFace,
    points: Points,
    /// Those of the source, and how similar the face was before.
    likeness: Option<(Vec<f32>, f32)>,
}

impl Means {
    /// Returns what there is; `None` if it is not enough.
    ///
    /// # Errors
    ///
    /// Says why what is needed cannot be used, and what to do.
    fn of(nets: &Nets) -> Option<Result<Self, String>> {
        let own = |role: Role| match nets.own(role) {
            Held::Whole(all) => all.first().cloned(),
            Held::Missing | Held::Broken(_) => None,
        };
        let (painter, recogniser) = (own(Role::FaceSwap), own(Role::FaceRecognition));
        match (face::mesh_weights(nets), painter.is_some() && recogniser.is_some()) {
            (None, false) => None,
            (Some(Err(problem)), false) => Some(Err(problem)),
            (mesh, _) => Some(Ok(Self { mesh: mesh.and_then(Result::ok), painter, recogniser })),
        }
    }

    /// Returns the net that paints, if it can be used.
    fn painter(&self) -> Option<&Weights> {
        self.painter.as_ref().filter(|_| self.recogniser.is_some())
    }

    fn grade(&self) -> Grade {
        if self.painter().is_some() { Grade::Neural } else { Grade::Classical }
    }

    fn memory(&self) -> u64 {
        let bytes = |weights: Option<&Weights>, least: u64| weights.map_or(0, |weights| weights.memory(&[], least));
        let mesh = bytes(self.mesh.as_ref(), MESH);
        let painter = bytes(self.painter(), neural::SWAPPING);
        mesh.saturating_add(painter).saturating_add(bytes(self.recogniser.as_ref(), neural::RECOGNISING))
    }

    fn open(&self, nets: &Nets) -> Result<Tools, EngineError> {
        let mesh = self.mesh.as_ref().map(|weights| nets.open(weights)).transpose()?;
        let painter = self.painter().map(|weights| Painter::open(nets, weights)).transpose()?;
        let recogniser = self.recogniser.as_ref().map(|weights| Recogniser::open(nets, weights)).transpose()?;
        Ok(Tools { mesh, painter, recogniser })
    }

    /// Says how faces were changed.
    fn note(&self) -> String {
        match (self.painter(), &self.painter, &self.mesh) {
            (Some(painter), ..) => format!("the face was painted by the net {}", painter.described()),
            (None, unused, mesh) => {
                let by = mesh.as_ref().map(Weights::described).unwrap_or_default();
                let moved = format!("pixels of the source were moved by the mesh of the net {by}");
                let lacking = |unused: &Weights| {
                    let name = unused.file.name();
                    format!(
                        "{moved}; `{name}` is not used, because it needs a net that recognises faces, such as w600k_r50"
                    )
                };
                unused.as_ref().map_or(moved.clone(), lacking)
            }
        }
    }

    /// Names the net in the file of the result.
    fn name(&self) -> &str {
        self.painter().or(self.mesh.as_ref()).map_or("", |weights| weights.file.name())
    }
}

impl Swap {
    /// Creates the engine.
    pub fn new(nets: Nets) -> Self {
        Self { nets }
    }

    fn swap(&self, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
        let wish = Wish::of(job)?;
        let means = Means::of(&self.nets).ok_or_else(|| unavailable(missing()))?.map_err(unavailable)?;
        let mut target = picture::decode_input(job.input(TARGET)?, job.limits(), monitor)?;
        monitor.stage(0.05)?;
        let seen = target.image.to_rgb8();
        let found = face::detect(&seen, monitor)?;
        let (pairs, note) = wish.pairs(&found)?;
        monitor.stage(0.15)?;
        let tools = means.open(&self.nets)?;
        let mut notes = vec![means.note()];
        notes.extend(note);
        if tools.mesh.is_none() {
            notes.push(UNSEEN.to_owned());
        }
        let mut changed = Vec::with_capacity(pairs.len());
        for (index, pair) in pairs.iter().enumerate() {
            let (Some(field), Some(face)) = (wish.sources.get(pair.source), found.get(pair.target)) else { continue };
            let source = tools.source(job, field, &target, &mut notes, monitor)?;
            monitor.stage(share(0.2..0.7, 2 * index + 1, 2 * pairs.len()))?;
            changed.push(tools.change(&source, (&mut target.image, &seen), face, &mut notes, monitor)?);
            monitor.stage(share(0.2..0.7, 2 * index + 2, 2 * pairs.len()))?;
        }
        drop(seen);
        if let Some(fidelity) = wish.fidelity {
            notes.push(self.repair(&mut target.image, &changed, fidelity, monitor)?);
        }
        notes.extend(tools.likeness(&target.image, &changed)?);
        drop(tools);
        monitor.stage(0.9)?;
        let done = format!("Postprocess face swap: {}", means.name());
        let failed = |error: EncodeError| EngineError::Failed(error.to_string());
        let picture = write_like(&target, &target.image, &done, monitor, failed)?;
        monitor.stage(1.0)?;
        Ok(Output { pictures: vec![picture], notes, ..Output::default() })
    }

    /// Repairs the faces that were changed, and says by what.
    fn repair(
        &self,
        image: &mut DynamicImage,
        changed: &[Changed],
        fidelity: f32,
        monitor: &Monitor,
    ) -> Result<String, EngineError> {
        let repair = match Repair::of(&self.nets) {
            Some(Ok(repair)) => repair,
            Some(Err(problem)) => return Ok(format!("the face was not repaired: {problem}")),
            None => {
                return Ok(format!(
                    "the face was not repaired, because there is no net for that; the server's operator can install one with \
                     `imgopen models pull {UPSCALE}`"
                ));
            }
        };
        let net = repair.load(&self.nets, fidelity)?;
        for (index, Changed { face, .. }) in changed.iter().enumerate() {
            let at = |index: usize| share(0.7..0.9, index, changed.len());
            repair_face(&net, image, face, monitor, at(index)..at(index + 1))?;
        }
        Ok(format!("the face was repaired by the net {}", repair.weights.described()))
    }
}

impl Tools {
    /// Reads a picture that gives a face, with colours in the space of the target.
    fn source<'a>(
        &self,
        job: &Job,
        field: &'a str,
        target: &Decoded,
        notes: &mut Vec<String>,
        monitor: &Monitor,
    ) -> Result<Source<'a>, EngineError> {
        let decoded = picture::decode_input(job.input(field)?, job.limits(), monitor)?;
        let image = picture::to_space_of(decoded, target);
        let image = if target.image.color().has_color() { image } else { image.grayscale() };
        let seen = image.to_rgb8();
        let person = Person::in_source(self.mesh.as_ref(), (&seen, field), notes, monitor)?;
        let numbers = |net: &Recogniser| net.numbers(&seen, &Points::of(&person.face, person.mesh.as_ref()));
        let numbers = self.recogniser.as_ref().map(numbers).transpose()?;
        Ok(Source { field, image, person, numbers })
    }

    /// Puts the face of a source onto one of the target, which is given as it is by now, and as it was.
    fn change(
        &self,
        source: &Source<'_>,
        (image, seen): (&mut DynamicImage, &RgbImage),
        face: &FoundFace,
        notes: &mut Vec<String>,
        monitor: &Monitor,
    ) -> Result<Changed, EngineError> {
        let target = Person::of(self.mesh.as_ref(), (seen, TARGET), face.clone(), monitor)?;
        let points = Points::of(face, target.mesh.as_ref());
        let meshes = source.person.mesh.as_ref().zip(target.mesh.as_ref());
        let is_painted = self.painter.is_some();
        let stays = match meshes {
            Some((from, onto)) => people::check((from, source.field), onto, is_painted, notes)?,
            None => [false; 2],
        };
        let before = self.recogniser.as_ref().map(|net| net.numbers(seen, &points)).transpose()?;
        let outside =
            || EngineError::rejected(TARGET, "the face does not lie within the picture; give one that shows it");
        match (&self.painter, &source.numbers, meshes) {
            (Some(painter), Some(numbers), _) => {
                let painted = painter.paint(seen, &points, painter.latent(numbers)?, monitor)?.ok_or_else(outside)?;
                paste(image, painted.area, &painted, monitor)?;
            }
            (_, _, Some((from, onto))) => {
                let source = Seen { image: &source.image, points: &from.points };
                let onto = Seen { image, points: &onto.points };
                let fitted = Face::fitted(source, onto, stays, monitor)?.ok_or_else(outside)?;
                paste(image, fitted.area, &fitted, monitor)?;
            }
            _ => return Err(unavailable(missing())),
        }
        let likeness = before.zip(source.numbers.clone()).map(|(before, own)| {
            let similar = similarity(&before, &own);
            (own, similar)
        });
        Ok(Changed { face: face.clone(), points, likeness })
    }

    /// Says how similar the faces are to their sources now.
    fn likeness(&self, image: &DynamicImage, changed: &[Changed]) -> Result<Vec<String>, EngineError> {
        let Some(net) = &self.recogniser else { return Ok(Vec::new()) };
        let image = image.to_rgb8();
        let note = |face: &Changed| -> Option<Result<String, EngineError>> {
            let (source, before) = face.likeness.as_ref()?;
            let after = net.numbers(&image, &face.points).map(|now| similarity(&now, source));
            Some(after.map(|after| {
                let compared =
                    format!("likeness to the source: {before:.2} before, {after:.2} after; 1 is the same picture");
                match after > *before {
                    true => compared,
                    false => format!("{compared}; the face did not come nearer to it"),
                }
            }))
        };
        changed.iter().filter_map(note).collect()
    }
}

impl Engine for Swap {
    fn name(&self) -> &str {
        "face-swap"
    }

    fn offers(&self) -> Vec<Offer> {
        let all = [&operations::SWAP_FACE, &operations::SWAP_FACE_V2, &operations::SWAP_FACES];
        match Means::of(&self.nets) {
            None => Vec::new(),
            Some(Ok(means)) => all.map(|operation| Offer::new(operation, means.grade())).into(),
            // It does not come back by itself, so nothing new should wait for it.
            Some(Err(problem)) => {
                let away = |operation| Offer {
                    away: Some(problem.clone()),
                    is_known: false,
                    ..Offer::new(operation, Grade::Classical)
                };
                all.map(away).into()
            }
        }
    }

    fn nets(&self, operation: &Operation) -> Vec<String> {
        self.nets.names_for(operation)
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        Wish::read(request).map(drop)
    }

    fn memory(&self, job: &Job) -> u64 {
        let nets = match Means::of(&self.nets) {
            Some(Ok(means)) => means.memory(),
            // The run ends before it takes any.
            Some(Err(_)) | None => 0,
        };
        let repair = match (Wish::of(job), Repair::of(&self.nets)) {
            (Ok(Wish { fidelity: Some(_), .. }), Some(Ok(repair))) => repair.memory(),
            _ => 0,
        };
        let copies = job.inputs().iter().filter_map(|input| {
            let pixels = picture::inspect(&input.bytes, job.limits()).ok()?.pixels();
            Some(pixels.saturating_mul(if input.field == TARGET { COPIES } else { SOURCE }))
        });
        let working = copies.fold(classical::PLANES.max(face::DETECTION), u64::saturating_add);
        memory::of(job, 1.0).saturating_add(nets).saturating_add(repair).saturating_add(working)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let engine = self.clone();
        blocking::run(job, monitor, move |job, monitor| engine.swap(job, monitor))
    }
}

/// Returns the place in a range after some of several equal parts.
fn share(range: Range<f64>, done: usize, of: usize) -> f64 {
    range.start + (range.end - range.start) * done as f64 / of.max(1) as f64
}

fn missing() -> String {
    format!("the pack `{FACES}` is not installed any more; pull it with `imgopen models pull {FACES}`")
}
