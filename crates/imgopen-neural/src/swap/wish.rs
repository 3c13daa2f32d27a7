//! What a request asks for, and which faces that concerns.

use imgopen_engine::{EngineError, Job, JobRequest};
use imgopen_types::{SwapFaceRequest, SwapFaceV2Request, SwapFacesRequest};

use crate::face::FoundFace;
use crate::restore;

/// The field of the picture whose faces are changed.
pub(super) const TARGET: &str = "targetUrl";

/// The field that says which face is changed.
const FACE: &str = "faceIdx";

/// What a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wish {
    /// The fields of the pictures that give faces, in order.
    pub sources: Vec<String>,
    pub which: Which,
    /// How faces are repaired afterwards, if they are: from 0, the most repair, to 1, the least change.
    pub fidelity: Option<f32>,
}

/// Which faces of the target are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Largest,
    /// The first, or the first two, from left to right: as many as there are sources.
    FromLeft,
    /// The one with that number, counted from 1, from left to right.
    Number(u64),
}

/// Which source goes onto which face of the target, both counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub source: usize,
    pub target: usize,
}

impl Wish {
    /// Reads the request of a job.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the field.
    pub fn of(job: &Job) -> Result<Self, EngineError> {
        Self::read(job.checked_request())
    }

    /// Reads a request.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the field.
    pub fn read(request: &JobRequest) -> Result<Self, EngineError> {
        let single = || vec!["sourceUrl".to_owned()];
        match request.operation().id {
            "swap_face" => {
                request.typed::<SwapFaceRequest>()?;
                Ok(Self { sources: single(), which: Which::Largest, fidelity: None })
            }
            "swap_face_v2" => {
                let SwapFaceV2Request { fidelity_weight, extra, .. } = request.typed()?;
                // The request is open, because its published table is cut; what else it may hold is not done here.
                if let Some(name) = extra.keys().next() {
                    return Err(EngineError::rejected(name, "not known to the face swap; leave it out"));
                }
                let fidelity = restore::fidelity(fidelity_weight.as_deref())?;
                Ok(Self { sources: single(), which: Which::Largest, fidelity: Some(fidelity) })
            }
            _ => Self::of_several(&request.typed()?),
        }
    }

    fn of_several(request: &SwapFacesRequest) -> Result<Self, EngineError> {
        let count = request.source_url.len();
        let which = match request.face_idx.map(u64::try_from) {
            None => Which::FromLeft,
            Some(_) if count > 1 => {
                let problem = format!(
                    "it names one face to change, but {count} pictures in `sourceUrl` give faces; give one picture, or leave it \
                     out"
                );
                return Err(EngineError::rejected(FACE, problem));
            }
            Some(Ok(number)) if number > 0 => Which::Number(number),
            Some(_) => return Err(EngineError::rejected(FACE, "faces are counted from 1, from left to right")),
        };
        let sources = (0..count).map(|index| format!("sourceUrl[{index}]")).collect();
        Ok(Self { sources, which, fidelity: None })
    }

    /// Returns which source goes onto which of the faces that were found in the target, from left to right, and what to say about
    /// others.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] with the number of faces that were found, if that is too small.
    pub fn pairs(&self, found: &[FoundFace]) -> Result<(Vec<Pair>, Option<String>), EngineError> {
        let count = found.len();
        let Some(largest) = largest(found) else {
            return Err(EngineError::rejected(TARGET, "no face was found in the picture; give one with a face"));
        };
        let first = |target: usize| vec![Pair { source: 0, target }];
        match self.which {
            Which::Largest => {
                let note = (count > 1).then(|| {
                    let number = largest + 1;
                    format!(
                        "`{TARGET}`: {count} faces were found, of which the largest, number {number} from the left, was changed; \
                         `swap_faces` changes others"
                    )
                });
                Ok((first(largest), note))
            }
            Which::Number(number) => match usize::try_from(number).ok().filter(|number| *number <= count) {
                Some(number) => Ok((first(number.saturating_sub(1)), None)),
                None => {
                    let problem = format!("{number} given, but {} found in the target; {}", faces(count), range(count));
                    Err(EngineError::rejected(FACE, problem))
                }
            },
            Which::FromLeft => {
                let sources = self.sources.len();
                if sources > count {
                    let problem = format!(
                        "{sources} pictures given, but {} found in `{TARGET}`; give as many pictures as faces are to be changed",
                        faces(count)
                    );
                    return Err(EngineError::rejected("sourceUrl", problem));
                }
                let note = (count > sources).then(|| {
                    let which = if sources == 1 { "the first" } else { "the first two" };
                    format!(
                        "`{TARGET}`: {count} faces were found, of which {which} from the left changed; `{FACE}` names another"
                    )
                });
                Ok(((0..sources).map(|index| Pair { source: index, target: index }).collect(), note))
            }
        }
    }
}

/// Returns which of the faces is the largest.
pub(super) fn largest(found: &[FoundFace]) -> Option<usize> {
    let area = |index: &usize| found.get(*index).map_or(0.0, |face| face.width * face.height);
    (0..found.len()).max_by(|one, other| area(one).total_cmp(&area(other)))
}

fn faces(count: usize) -> String {
    if count == 1 { "1 face was".to_owned() } else { format!("{count} faces were") }
}

fn range(count: usize) -> String {
    if count == 1 { "give 1, or leave it out".to_owned() } else { format!("give a number from 1 to {count}") }
}

#[cfg(test)]
mod tests {
    use imgopen_types::Operation;
    use imgopen_types::operations::{SWAP_FACE, SWAP_FACE_V2, SWAP_FACES};
    use serde_json::{Value, json};

    use super::*;

    const URL: &str = "https://example.com/a.png";

    fn wish(operation: &'static Operation, mut body: Value) -> Result<Wish, String> {
        body["businessTaskId"] = "1".into();
        body[TARGET] = URL.into();
        Wish::read(&JobRequest::new("1", operation, body)).map_err(|error| error.to_string())
    }

    fn several(count: usize, mut body: Value) -> Result<Wish, String> {
        body["sourceUrl"] = vec![URL; count].into();
        wish(&SWAP_FACES, body)
    }

    /// Faces from left to right with these sides.
    fn found(sides: &[f32]) -> Vec<FoundFace> {
        let face = |(index, side): (usize, &f32)| {
            let left = index as f32 * 100.0;
            FoundFace { left, top: 0.0, width: *side, height: *side, score: 0.9, points: [[left, 0.0]; 6] }
        };
        sides.iter().enumerate().map(face).collect()
    }

    fn targets(wish: &Wish, sides: &[f32]) -> Result<Vec<(usize, usize)>, String> {
        let pairs = wish.pairs(&found(sides)).map_err(|error| error.to_string())?.0;
        Ok(pairs.into_iter().map(|pair| (pair.source, pair.target)).collect())
    }

    #[test]
    fn a_single_swap_changes_the_largest_face() {
        let wish = wish(&SWAP_FACE, json!({"sourceUrl": URL})).unwrap();
        assert_eq!((&wish.sources[..], wish.fidelity), (&["sourceUrl".to_owned()][..], None));
        assert_eq!(targets(&wish, &[30.0, 50.0, 40.0]), Ok(vec![(0, 1)]));
        let note = wish.pairs(&found(&[30.0, 50.0, 40.0])).unwrap().1.unwrap();
        assert!(note.contains("3 faces were found") && note.contains("number 2 from the left"), "{note}");
        assert_eq!(wish.pairs(&found(&[30.0])).unwrap().1, None);
        assert!(targets(&wish, &[]).unwrap_err().starts_with("`targetUrl`: no face was found"));
    }

    #[test]
    fn a_swap_with_repair_has_a_weight_and_nothing_unknown() {
        let fidelity = |body: Value| wish(&SWAP_FACE_V2, body).map(|wish| wish.fidelity);
        assert_eq!(fidelity(json!({"sourceUrl": URL, "fidelityWeight": "0.25"})), Ok(Some(0.25)));
        assert!(fidelity(json!({"sourceUrl": URL})).unwrap().is_some());
        let error = fidelity(json!({"sourceUrl": URL, "codeformerWeight": 1})).unwrap_err();
        assert!(error.starts_with("`codeformerWeight`: not known"), "{error}");
    }

    #[test]
    fn sources_go_onto_the_faces_from_left_to_right() {
        assert_eq!(targets(&several(1, json!({})).unwrap(), &[30.0, 50.0]), Ok(vec![(0, 0)]));
        let two = several(2, json!({})).unwrap();
        assert_eq!(two.sources, ["sourceUrl[0]", "sourceUrl[1]"]);
        assert_eq!(targets(&two, &[30.0, 50.0, 40.0]), Ok(vec![(0, 0), (1, 1)]));
        let note = two.pairs(&found(&[30.0, 50.0, 40.0])).unwrap().1.unwrap();
        assert!(note.contains("3 faces were found, of which the first two from the left changed"), "{note}");
        let error = targets(&two, &[30.0]).unwrap_err();
        assert!(error.starts_with("`sourceUrl`: 2 pictures given, but 1 face was found in `targetUrl`"), "{error}");
    }

    #[test]
    fn one_face_is_named_by_its_number_from_the_left() {
        let number = |number: u64| several(1, json!({"faceIdx": number})).unwrap();
        assert_eq!(targets(&number(3), &[30.0, 50.0, 40.0]), Ok(vec![(0, 2)]));
        assert_eq!(targets(&number(1), &[30.0, 50.0, 40.0]), Ok(vec![(0, 0)]));
        let error = targets(&number(4), &[30.0, 50.0, 40.0]).unwrap_err();
        assert_eq!(error, "`faceIdx`: 4 given, but 3 faces were found in the target; give a number from 1 to 3");
        let error = targets(&number(4_000_000_000), &[30.0]).unwrap_err();
        assert!(error.ends_with("but 1 face was found in the target; give 1, or leave it out"), "{error}");
        assert!(several(1, json!({"faceIdx": 0})).unwrap_err().starts_with("`faceIdx`"));
        let error = several(2, json!({"faceIdx": 1})).unwrap_err();
        assert!(error.starts_with("`faceIdx`: it names one face to change, but 2 pictures"), "{error}");
    }
}
