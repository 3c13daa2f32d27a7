use imgopen_nets::Limits;

use super::super::testing::*;
use super::*;

fn file(bytes: &[u8]) -> ModelFile {
    ModelFile::from_bytes("any.onnx", bytes, &Limits::default()).unwrap()
}

fn found(bytes: &[u8]) -> Vec<Role> {
    roles(&file(bytes))
}

#[test]
fn each_net_has_its_role_whatever_its_name() {
    use Role::*;
    // Depth and masks are the same by their signatures; the folder decides.
    for (name, net, expected) in [
        ("u2net", u2net(), vec![Segmentation]),
        ("isnet", isnet(), vec![Segmentation, Depth]),
        ("birefnet", birefnet(), vec![Segmentation, Depth]),
        ("esrgan", esrgan(), vec![Upscaling]),
        ("gfpgan", gfpgan(), vec![FaceRestoration]),
        ("codeformer", codeformer(), vec![FaceRestoration]),
        ("inswapper", inswapper(), vec![FaceSwap]),
        ("arcface", arcface(), vec![FaceRecognition]),
        ("lama", lama(), vec![Inpainting]),
        ("wd14", tagger(448), vec![Tags]),
        ("deepdanbooru", tagger(512), vec![Tags]),
        ("depth-anything", depth(), vec![Depth]),
    ] {
        assert_eq!(found(&net), expected, "{name}");
    }
}

#[test]
fn what_does_not_fit_has_no_role() {
    type Ports = &'static [(&'static str, &'static [usize])];
    const PICTURE: &[usize] = &[1, 3, 64, 64];
    let cases: [(&str, Ports, Ports); 13] = [
        ("two colours", &[("x", &[1, 2, 64, 64])], &[("y", &[1, 3, 256, 256])]),
        ("smaller", &[("x", PICTURE)], &[("y", &[1, 3, 32, 32])]),
        ("the same size", &[("x", PICTURE)], &[("y", PICTURE)]),
        ("not the same factor", &[("x", PICTURE)], &[("y", &[1, 3, 128, 256])]),
        ("too large a factor", &[("x", PICTURE)], &[("y", &[1, 3, 576, 576])]),
        ("tiny tiles", &[("x", &[1, 3, 16, 16])], &[("y", &[1, 3, 64, 64])]),
        ("several pictures", &[("x", &[2, 3, 64, 64])], &[("y", &[2, 3, 128, 128])]),
        ("no matrix", &[("target", &[1, 3, 128, 128]), ("source", &[1, 512])], &[("y", &[1, 3, 128, 128])]),
        ("a mask of another size", &[("x", PICTURE), ("m", &[1, 1, 32, 32])], &[("y", PICTURE)]),
        ("a face of another size", &[("x", &[1, 3, 256, 256]), ("w", &[1])], &[("y", &[1, 3, 256, 256])]),
        ("a single score", &[("x", &[1, 224, 224, 3])], &[("y", &[1, 1])]),
        ("a thumbnail", &[("x", &[1, 64, 64, 3])], &[("y", &[1, 1000])]),
        ("numbers of 128", &[("x", &[1, 3, 112, 112])], &[("y", &[1, 128])]),
    ];
    for (problem, inputs, outputs) in cases {
        assert_eq!(found(&net(inputs, outputs, &["Relu"], &[])), [], "{problem}");
    }
}

#[test]
fn what_a_trial_makes_shows_what_a_net_is_not_for() {
    let misfit = |role: Role, net: &[u8], made: &[usize]| role.misfit(&file(net), made);
    for factor in 2..=8 {
        assert_eq!(misfit(Role::Upscaling, &esrgan(), &[1, 3, 32 * factor, 32 * factor]), None);
    }
    for made in [&[1, 3, 32, 32][..], &[1, 3, 288, 288], &[1, 3, 64, 128], &[1, 1, 64, 64], &[3, 64, 64], &[]] {
        assert!(misfit(Role::Upscaling, &esrgan(), made).is_some(), "{made:?}");
    }
    assert_eq!(
        misfit(Role::Upscaling, &esrgan(), &[1, 3, 32, 32]).unwrap(),
        "it makes 1x3x32x32 out of 1x3x32x32; a net for super resolution enlarges 2 to 8 times"
    );
    for (role, net, side) in [
        (Role::FaceRestoration, codeformer(), 512),
        (Role::FaceSwap, inswapper(), 128),
        (Role::Inpainting, lama(), 512),
    ] {
        assert_eq!(misfit(role, &net, &[1, 3, side, side]), None);
        assert!(misfit(role, &net, &[1, 3, side / 2, side / 2]).is_some_and(|problem| problem.contains("same size")));
    }
    // Masks and depth are resampled, whatever their size.
    assert_eq!(misfit(Role::Depth, &depth(), &[1, 1, 56, 56]), None);
}

#[test]
fn masks_of_any_size_need_attention() {
    let free = |operators: &[&str]| net(&[("x", &[1, 3, 0, 0])], &[("y", &[1, 1, 0, 0])], operators, &[]);
    assert_eq!(found(&free(&["Relu"])), [Role::Depth]);
    assert_eq!(found(&free(&["Softmax", "Relu"])), [Role::Segmentation, Role::Depth]);
}

#[test]
fn nets_that_cut_out_differ_in_size_and_operators() {
    assert_eq!(cutter(&file(&u2net())), Cutter::U2net);
    assert_eq!(cutter(&file(&isnet())), Cutter::Isnet);
    let anime = net(&[("img", &[1, 3, 1024, 1024])], &[("mask", &[1, 1, 1024, 1024])], &["Relu", "Sigmoid"], &[]);
    assert_eq!(cutter(&file(&anime)), Cutter::Anime);
    assert_eq!(cutter(&file(&birefnet())), Cutter::Birefnet);
    let free = net(&[("x", &[1, 3, 0, 0])], &[("y", &[1, 1, 0, 0])], &["Softmax", "Sigmoid"], &[]);
    assert_eq!(cutter(&file(&free)), Cutter::Birefnet);
}

#[test]
fn a_signature_is_written_for_people() {
    assert_eq!(
        shown(&file(&codeformer())),
        "takes `x` (float, 1x3x512x512), `w` (float, 1); returns `y` (float, 1x3x512x512), `logits` (float, 1x256x1024), \
         `style` (float, 1x256x16x16)"
    );
    let scalar = net(&[("x", &[1, 3, 8, 8]), ("w", &[])], &[("y", &[1, 3, 0, 0])], &["Relu"], &[]);
    assert!(shown(&file(&scalar)).contains("`w` (float, one number); returns `y` (float, 1x3xside_2x?)"));
}

/// The builder writes inputs of `float`; here each is made one of `float16`.
#[test]
fn half_precision_is_named_with_what_to_do() {
    let mut bytes = net(&[("x", &[1, 3, 64, 64])], &[("y", &[1, 3, 256, 256])], &["Relu"], &[]);
    // The type of a tensor, 1, is followed by its shape.
    let places: Vec<_> = (0..bytes.len() - 2).filter(|place| bytes[*place..*place + 3] == [0x08, 1, 0x12]).collect();
    assert_eq!(places.len(), 2);
    places.iter().for_each(|place| bytes[place + 1] = 10);
    let expected =
        "takes `x` (float16, 1x3x64x64); returns `y` (float16, 1x3x256x256), in half precision; convert it to `float`";
    assert_eq!(shown(&file(&bytes)), expected);
}

#[test]
fn sizes_are_those_of_the_picture() {
    assert_eq!(sizes(file(&lama()).inputs()), Some((Some(512), Some(512))));
    assert_eq!(sizes(file(&esrgan()).inputs()), Some((None, None)));
    assert_eq!(sizes(file(&tagger(448)).inputs()), None);
}
