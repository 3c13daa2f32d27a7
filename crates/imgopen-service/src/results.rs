//! Which operations make pictures: only they count against `assets.bytes_per_key`, and wait for the disk of the pictures.

use imgopen_types::{Operation, operations};

/// The operations whose results are texts, faces or data sets.
static WITHOUT_PICTURES: [&Operation; 5] = [
    &operations::EXPAND_PROMPT,
    &operations::DESCRIBE_IMAGE,
    &operations::DETECT_FACES,
    &operations::RECOGNIZE_STYLE,
    &operations::SUBMIT_TRAINING,
];

/// Whether an operation makes pictures, by its id.
pub fn has_pictures(operation: &str) -> bool {
    WITHOUT_PICTURES.iter().all(|known| known.id != operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_with_texts_makes_no_pictures() {
        assert!(["enlarge_image", "text_to_image", "preview_controlnet"].into_iter().all(has_pictures));
        assert!(!["expand_prompt", "detect_faces", "submit_training"].into_iter().any(has_pictures));
    }
}
