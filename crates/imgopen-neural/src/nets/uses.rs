//! Which nets are used for which operations. Engines name theirs by this table, and lists of packs say by it what a pack is for.

use imgopen_types::{Operation, operations};

use self::Source::{Own, Pack};
use super::names::{BACKGROUND, FACES, PORTRAIT, TAGS, UPSCALE};
use super::signature::Role;

/// Where a net is from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// The operator.
    Own(Role),
    /// These files of a pack.
    Pack(&'static str, &'static [&'static str]),
}

const OBJECTS: Source = Pack(BACKGROUND, &["isnet-medium.onnx", "isnet-small.onnx"]);
const PEOPLE: Source = Pack(PORTRAIT, &["selfie_segmentation.onnx"]);
const MESH: Source = Pack(FACES, &["face_landmark.onnx"]);
const MESH_AND_IRISES: Source = Pack(FACES, &["face_landmark.onnx", "iris_landmark.onnx"]);
const PHOTOGRAPHS: Source = Pack(UPSCALE, &["realesrgan-x4plus.onnx"]);
const PICTURES: Source = Pack(
    UPSCALE,
    &[
        "realesrgan-x4plus.onnx",
        "realesrgan-x4plus-anime.onnx",
        "realesr-animevideov3-x2.onnx",
        "realesr-animevideov3-x4.onnx",
    ],
);
const CLASSES: Source = Pack(TAGS, &["efficientnet-lite0.onnx"]);

/// The nets for an operation, those first that are preferred.
type Use = (&'static Operation, &'static [Source]);

static USES: &[Use] = &[
    (&operations::REMOVE_BACKGROUND, &[Own(Role::Segmentation), OBJECTS, PEOPLE]),
    (&operations::CHANGE_HAIRSTYLE, &[PEOPLE, Own(Role::Segmentation), OBJECTS]),
    (&operations::SUPER_RESOLUTION, &[Own(Role::Upscaling), PICTURES]),
    (&operations::RESTORE_FACE, &[Own(Role::FaceRestoration), PHOTOGRAPHS]),
    (&operations::SWAP_FACE, &[Own(Role::FaceSwap), Own(Role::FaceRecognition), MESH]),
    (
        &operations::SWAP_FACE_V2,
        &[Own(Role::FaceSwap), Own(Role::FaceRecognition), MESH, Own(Role::FaceRestoration), PHOTOGRAPHS],
    ),
    (&operations::SWAP_FACES, &[Own(Role::FaceSwap), Own(Role::FaceRecognition), MESH]),
    (&operations::PREVIEW_CONTROLNET, &[Own(Role::Depth), MESH_AND_IRISES]),
    (&operations::CONTROLNET, &[Own(Role::Depth), MESH_AND_IRISES]),
    (&operations::DESCRIBE_IMAGE, &[Own(Role::Tags), CLASSES]),
    (&operations::REMOVE_OBJECT, &[Own(Role::Inpainting)]),
    (&operations::OUTPAINT, &[Own(Role::Inpainting)]),
];

/// Returns the nets for an operation, those first that are preferred.
pub(super) fn of(operation: &Operation) -> &'static [Source] {
    USES.iter().find(|(of, _)| of.id == operation.id).map(|(_, sources)| *sources).unwrap_or_default()
}

/// Returns the operations that use networks of a pack, by its name in the built-in catalogue. Some need a back end, or another net, too.
pub fn operations_of(pack: &str) -> Vec<&'static Operation> {
    let is_meant = |source: &Source| matches!(source, Pack(name, _) if *name == pack);
    USES.iter().filter(|(_, sources)| sources.iter().any(is_meant)).map(|(operation, _)| *operation).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use imgopen_packs::Catalogue;

    use super::*;
    use crate::nets::names::SAFETY;

    /// What nothing uses need not be fetched.
    #[test]
    fn every_file_of_the_packs_is_used_and_no_other() {
        let sources = USES.iter().flat_map(|(_, sources)| sources.iter());
        let files = sources.filter_map(|source| match source {
            Pack(pack, files) => Some(files.iter().map(move |file| (*pack, *file))),
            Own(_) => None,
        });
        let used: BTreeSet<_> = files.flatten().collect();
        // That one is for audits.
        let packs = Catalogue::built_in().packs().iter().filter(|pack| pack.name != SAFETY);
        let files = packs.flat_map(|pack| pack.files.iter().map(move |file| (pack.name.as_str(), file.name.as_str())));
        let installed: BTreeSet<_> = files.collect();
        assert_eq!(used, installed);
    }

    #[test]
    fn packs_are_for_operations() {
        let ids = |pack: &str| operations_of(pack).iter().map(|operation| operation.id).collect::<Vec<_>>();
        assert_eq!(ids(UPSCALE), ["super_resolution", "restore_face", "swap_face_v2"]);
        assert_eq!(ids(TAGS), ["describe_image"]);
        assert_eq!(ids(SAFETY), [""; 0]);
    }
}
