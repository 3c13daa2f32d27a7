//! Enlarging keeps the content of a photograph, and is sharper than simpler filters.

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage, imageops};
use imgopen_engine::{Monitor, PictureLimits};
use imgopen_picture as picture;
use imgopen_tools::lanczos;

use crate::support::{file, input, python};

const PHOTOS: [&str; 4] = ["astronaut", "chelsea", "coffee", "rocket"];

fn enlarged(photo: &RgbImage, scale: f64) -> RgbImage {
    let small = input(file(&DynamicImage::from(photo.clone()), ImageFormat::Png));
    let limits = PictureLimits::default();
    let large = lanczos::enlarge(&small, scale, &limits, &Monitor::new().0).unwrap();
    picture::decode(&large.bytes, &limits).unwrap().image.to_rgb8()
}

/// Returns the mean square of the Laplacian, a measure of fine detail.
fn sharpness(image: &RgbImage) -> f64 {
    let gray: GrayImage = imageops::grayscale(image);
    let at = |x: u32, y: u32| f64::from(gray.get_pixel(x, y).0[0]);
    let (width, height) = gray.dimensions();
    let inner = (1..height - 1).flat_map(|y| (1..width - 1).map(move |x| (x, y)));
    let squares = inner.map(|(x, y)| {
        let laplacian = at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * at(x, y);
        laplacian * laplacian
    });
    squares.sum::<f64>() / (f64::from(width - 2) * f64::from(height - 2))
}

/// Peak signal to noise ratio in decibels.
fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let squares = a.iter().zip(b.iter()).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    let mean = squares.sum::<f64>() / a.len() as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

#[test]
fn what_was_made_smaller_comes_back_better_than_by_plainer_filters() {
    for name in PHOTOS {
        let photo = python::photo(name);
        let (width, height) = (photo.width() / 2 * 2, photo.height() / 2 * 2);
        let photo = imageops::crop_imm(&photo, 0, 0, width, height).to_image();
        let small = imageops::resize(&photo, width / 2, height / 2, imageops::FilterType::Lanczos3);
        let ours = enlarged(&small, 2.0);
        let bilinear = imageops::resize(&small, width, height, imageops::FilterType::Triangle);
        let (sharp, plain) = (sharpness(&ours), sharpness(&bilinear));
        let (like, plainly_like) = (psnr(&ours, &photo), psnr(&bilinear, &photo));
        println!("{name}: sharpness {sharp:.1} against {plain:.1}, {like:.2} dB against {plainly_like:.2} dB");
        assert!(sharp > 1.5 * plain, "{name}: sharpness {sharp:.1}, bilinear {plain:.1}");
        assert!(like > plainly_like + 0.5, "{name}: {like:.2} dB, bilinear {plainly_like:.2} dB");
    }
}

#[test]
fn four_times_as_large_is_what_opencv_makes() {
    let script = "import cv2, sys\n\
        image = cv2.imread(sys.argv[1])\n\
        cv2.imwrite(sys.argv[2], cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_LANCZOS4))";
    for name in PHOTOS {
        let theirs = tempfile(name);
        python::run(script, &[python::photo_file(name).to_str().unwrap(), theirs.to_str().unwrap()]);
        let bytes = std::fs::read(&theirs).unwrap();
        let theirs = picture::decode(&bytes, &PictureLimits::default()).unwrap().image.to_rgb8();
        let ours = enlarged(&python::photo(name), 4.0);
        let like = psnr(&ours, &theirs);
        let sharper = sharpness(&ours) / sharpness(&theirs);
        println!("{name}: {like:.1} dB from OpenCV's Lanczos, {sharper:.2} times as sharp");
        assert!(like > 45.0, "{name}: {like:.1} dB");
        assert!((0.9..1.1).contains(&sharper), "{name}: {sharper:.2}");
    }
}

fn tempfile(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("enlarged-{name}.png"))
}
