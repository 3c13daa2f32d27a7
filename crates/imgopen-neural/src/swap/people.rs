//! The faces of a swap, and whether they are fit for it.

use image::RgbImage;
use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::Session;

use super::classical::size;
use super::wish::{TARGET, largest};
use crate::face::{self, FoundFace, Mesh};

/// The score of a mesh below which it does not lie on a face.
const LEAST_SCORE: f32 = 0.5;

/// By how many degrees a source may be turned to the side if its pixels are moved, and if a net paints.
const MOST_TURNED: f32 = 40.0;
const MOST_TURNED_PAINTED: f32 = 60.0;

/// By how many degrees two faces may be turned differently if pixels are moved: more shows what the source hides.
const MOST_APART: f32 = 50.0;

/// The same, beyond which what the source hides is stretched so far that it may be seen.
const NOTED_APART: f32 = 25.0;

/// The share of the target's size below which a source lacks detail.
const COARSE: f32 = 0.5;

/// A face of a picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Person {
    pub face: FoundFace,
    /// Without the net for it, there is none.
    pub mesh: Option<Mesh>,
}

impl Person {
    /// Lays a mesh onto a face of the picture that a field names, if there is the net for it.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] if it does not look like a face; [`EngineError::Cancelled`], and [`EngineError::Failed`] if the
    /// net fails.
    pub fn of(
        net: Option<&Session>,
        picture: (&RgbImage, &str),
        face: FoundFace,
        monitor: &Monitor,
    ) -> Result<Self, EngineError> {
        let (image, field) = picture;
        let Some(net) = net else { return Ok(Self { face, mesh: None }) };
        let mesh = face::mesh(net, image, &face, monitor)?;
        if mesh.score < LEAST_SCORE {
            let problem =
                "the face that was found does not show enough of itself; give a picture in which nothing covers it";
            return Err(EngineError::rejected(field, problem));
        }
        Ok(Self { face, mesh: Some(mesh) })
    }

    /// Finds the largest face of a source. Says so in a note if there are others.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of), and if there is no face.
    pub fn in_source(
        net: Option<&Session>,
        picture: (&RgbImage, &str),
        notes: &mut Vec<String>,
        monitor: &Monitor,
    ) -> Result<Self, EngineError> {
        let (image, field) = picture;
        let mut found = face::detect(image, monitor)?;
        let Some(index) = largest(&found) else {
            return Err(EngineError::rejected(field, "no face was found in the picture; give one with a face"));
        };
        if found.len() > 1 {
            notes.push(format!("`{field}`: {} faces were found, of which the largest was taken", found.len()));
        }
        Self::of(net, picture, found.swap_remove(index), monitor)
    }
}

/// What a mesh says about a face.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pose {
    /// By how many degrees it is turned to the side.
    turned: f32,
    /// The right eye of the person, and the left one.
    eyes_closed: [bool; 2],
    /// The mean of width and height in pixels.
    size: f32,
}

impl Pose {
    fn of(mesh: &Mesh) -> Self {
        Self { turned: mesh.yaw().to_degrees(), eyes_closed: mesh.eyes_closed(), size: size(&mesh.points) }
    }
}

/// Rejects faces that a swap would spoil, and notes what it makes weaker. Returns which eyes of the target stay as they are.
///
/// # Errors
///
/// [`EngineError::Rejected`] names the picture to replace.
pub(super) fn check(
    source: (&Mesh, &str),
    target: &Mesh,
    is_painted: bool,
    notes: &mut Vec<String>,
) -> Result<[bool; 2], EngineError> {
    compare((Pose::of(source.0), source.1), Pose::of(target), is_painted, notes)
}

fn compare(
    (source, field): (Pose, &str),
    target: Pose,
    is_painted: bool,
    notes: &mut Vec<String>,
) -> Result<[bool; 2], EngineError> {
    let most = if is_painted { MOST_TURNED_PAINTED } else { MOST_TURNED };
    if source.turned.abs() > most {
        let turned = source.turned.abs();
        let problem =
            format!("the face is turned by {turned:.0}° to the side; give one that is turned by at most {most}°");
        return Err(EngineError::rejected(field, problem));
    }
    if is_painted {
        notes.extend(weaknesses(target));
        return Ok([false; 2]);
    }
    let apart = (source.turned - target.turned).abs();
    if apart > MOST_APART {
        let problem = format!(
            "the face is turned by {apart:.0}° against that in `{field}`, which does not show what is seen here; give pictures \
             that differ by at most {MOST_APART}°"
        );
        return Err(EngineError::rejected(TARGET, problem));
    }
    if target.turned.abs() > MOST_TURNED {
        let turned = target.turned.abs();
        notes.push(format!(
            "`{TARGET}`: the face is turned by {turned:.0}° to the side, so less of the source is seen, and the cheek may stay \
             paler than the rest"
        ));
    } else if apart > NOTED_APART {
        notes.push(format!(
            "`{TARGET}`: the face is turned by {apart:.0}° against that in `{field}`, so a cheek that is hidden there is \
             stretched, and may be paler than the rest"
        ));
    }
    if source.size < COARSE * target.size {
        let (own, needed) = (source.size, target.size);
        notes.push(format!(
            "`{field}`: the face is {own:.0} pixels large, and {needed:.0} in the target, so it lacks detail"
        ));
    }
    let closed = source.eyes_closed.into_iter().zip(target.eyes_closed);
    let mut stays = [false; 2];
    stays.iter_mut().zip(closed).for_each(|(stays, (source, target))| *stays = source && !target);
    if stays.contains(&true) {
        notes.push(format!("`{field}`: eyes are closed, so those of the target stay; give a face with open eyes"));
    } else if target.eyes_closed.contains(&true) && !source.eyes_closed.contains(&true) {
        notes.push(format!("`{TARGET}`: eyes are closed, so their lids are stretched from open ones"));
    }
    Ok(stays)
}

/// Says where a net that paints may fail.
fn weaknesses(target: Pose) -> impl Iterator<Item = String> {
    let turned = target.turned.abs();
    let profile = (turned > MOST_TURNED_PAINTED).then(|| {
        format!(
            "`{TARGET}`: the face is turned by {turned:.0}° to the side, where the net errs more; look at the result"
        )
    });
    let closed = target.eyes_closed.contains(&true);
    let closed = closed.then(|| format!("`{TARGET}`: eyes are closed, which the net may open"));
    profile.into_iter().chain(closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRONT: Pose = Pose { turned: 5.0, eyes_closed: [false; 2], size: 100.0 };

    fn compared(source: Pose, target: Pose, is_painted: bool) -> Result<([bool; 2], Vec<String>), String> {
        let mut notes = Vec::new();
        let stays =
            compare((source, "sourceUrl"), target, is_painted, &mut notes).map_err(|error| error.to_string())?;
        Ok((stays, notes))
    }

    #[test]
    fn faces_from_the_front_have_no_notes() {
        for is_painted in [false, true] {
            assert_eq!(compared(FRONT, FRONT, is_painted), Ok(([false; 2], Vec::new())));
        }
    }

    #[test]
    fn a_source_in_profile_is_rejected() {
        let turned = |turned: f32| Pose { turned, ..FRONT };
        let error = compared(turned(-55.0), FRONT, false).unwrap_err();
        assert_eq!(error, "`sourceUrl`: the face is turned by 55° to the side; give one that is turned by at most 40°");
        assert!(compared(turned(-55.0), FRONT, true).is_ok());
        assert!(compared(turned(65.0), FRONT, true).unwrap_err().contains("at most 60°"));
        let error = compared(turned(-30.0), turned(30.0), false).unwrap_err();
        assert!(error.starts_with("`targetUrl`: the face is turned by 60° against that in `sourceUrl`"), "{error}");
        let (_, notes) = compared(turned(20.0), turned(45.0), false).unwrap();
        assert!(notes.len() == 1 && notes[0].contains("turned by 45° to the side"), "{notes:?}");
        assert!(notes[0].ends_with("and the cheek may stay paler than the rest"), "{notes:?}");
        let (_, notes) = compared(turned(20.0), turned(-10.0), false).unwrap();
        assert!(
            notes.len() == 1 && notes[0].contains("turned by 30° against that in `sourceUrl`, so a cheek"),
            "{notes:?}"
        );
        assert_eq!(compared(turned(20.0), turned(-5.0), false).unwrap().1.len(), 0);
    }

    #[test]
    fn what_a_net_paints_badly_is_noted() {
        let of = |target: Pose| compared(FRONT, target, true).unwrap();
        let expected =
            "`targetUrl`: the face is turned by 65° to the side, where the net errs more; look at the result";
        assert_eq!(of(Pose { turned: -65.0, ..FRONT }), ([false; 2], vec![expected.to_owned()]));
        let closed = Pose { eyes_closed: [false, true], ..FRONT };
        assert_eq!(of(closed).1, ["`targetUrl`: eyes are closed, which the net may open"]);
        assert_eq!(of(Pose { turned: 60.0, ..FRONT }).1.len(), 0);
        // Those of the source do not count: the net takes only whom it shows.
        assert_eq!(compared(closed, FRONT, true).unwrap().1.len(), 0);
    }

    #[test]
    fn closed_eyes_of_a_source_do_not_replace_open_ones() {
        let closed = |eyes_closed: [bool; 2]| Pose { eyes_closed, ..FRONT };
        let (stays, notes) = compared(closed([true, false]), FRONT, false).unwrap();
        assert_eq!((stays, notes.len()), ([true, false], 1));
        let (stays, notes) = compared(closed([true; 2]), closed([true; 2]), false).unwrap();
        assert_eq!((stays, notes.len()), ([false; 2], 0));
        let (stays, notes) = compared(FRONT, closed([true; 2]), false).unwrap();
        assert!(stays == [false; 2] && notes[0].starts_with("`targetUrl`: eyes are closed"), "{notes:?}");
    }

    #[test]
    fn a_small_source_is_noted() {
        let (_, notes) = compared(Pose { size: 40.0, ..FRONT }, FRONT, false).unwrap();
        assert_eq!(notes, ["`sourceUrl`: the face is 40 pixels large, and 100 in the target, so it lacks detail"]);
    }
}
