//! What results consist of. Only operations that make pictures or files count against `assets.bytes_per_key`, and wait for the
//! disk of the pictures.

use imgopen_engine::Offer;
use imgopen_types::{Operation, operation, operations};

/// Whether an operation makes pictures, by its id. One that is not known may.
pub fn has_pictures(id: &str) -> bool {
    operation::find(id).is_none_or(Operation::makes_pictures)
}

/// Whether what carries out an offer makes pictures or files. A trainer makes a file, unless it only prepares.
pub fn makes_assets(offer: &Offer) -> bool {
    let is_training = *offer.operation == operations::SUBMIT_TRAINING;
    has_pictures(offer.operation.id) || (is_training && !offer.prepares_only)
}

/// The most notes of a result.
const MOST_NOTES: usize = 64;
/// The most characters of a note.
const NOTE_LENGTH: usize = 500;

/// Returns the notes of a result as they are kept: each on one line, and bounded in length and number.
pub fn bounded_notes(notes: Vec<String>) -> Vec<String> {
    let count = notes.len();
    let mut notes: Vec<_> = notes.into_iter().take(MOST_NOTES).map(bounded_note).collect();
    if count > MOST_NOTES {
        notes.truncate(MOST_NOTES - 1);
        notes.push(format!("{} more notes are left out", count - notes.len()));
    }
    notes
}

fn bounded_note(note: String) -> String {
    let is_long = note.chars().nth(NOTE_LENGTH).is_some();
    let kept = if is_long { NOTE_LENGTH - 1 } else { NOTE_LENGTH };
    let characters = note.chars().take(kept).map(|c| if c.is_control() { ' ' } else { c });
    characters.chain(is_long.then_some('…')).collect()
}

#[cfg(test)]
mod tests {
    use imgopen_engine::Grade;

    use super::*;

    #[test]
    fn a_training_makes_a_file_unless_it_is_only_prepared() {
        let makes =
            |operation, prepares_only| makes_assets(&Offer { prepares_only, ..Offer::new(operation, Grade::Neural) });
        assert!(makes(&operations::SUBMIT_TRAINING, false) && makes(&operations::TEXT_TO_IMAGE, false));
        assert!(!makes(&operations::SUBMIT_TRAINING, true) && !makes(&operations::DETECT_FACES, false));
    }

    #[test]
    fn notes_are_bounded_in_length_and_number() {
        let notes = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(bounded_notes(notes(64)), notes(64));
        let many = bounded_notes(notes(70));
        assert_eq!((many.len(), &many[..63], many[63].as_str()), (64, &notes(63)[..], "7 more notes are left out"));
        let [fitting, long] = [500, 501].map(|length| "ü".repeat(length));
        let cut = format!("{}…", "ü".repeat(499));
        assert_eq!(bounded_notes(vec![fitting.clone(), long]), [fitting, cut]);
        assert_eq!(bounded_notes(vec!["a\n\0b".to_owned()]), ["a  b"]);
    }

    #[test]
    fn what_answers_with_texts_makes_no_pictures() {
        assert!(["enlarge_image", "text_to_image", "preview_controlnet"].into_iter().all(has_pictures));
        assert!(!["expand_prompt", "detect_faces", "submit_training"].into_iter().any(has_pictures));
    }
}
