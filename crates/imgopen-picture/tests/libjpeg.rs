//! JPEG files of every sampling, scan order and kind of mark are read as `djpeg` of libjpeg-turbo reads them.
//!
//! `cjpeg` makes the files, many hundred in some seconds. Both programs are part of Debian's package libjpeg-turbo-progs.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{DynamicImage, GrayImage, RgbImage};
use imgopen_picture::{FileFormat, PictureLimits, Problem, decode};

/// The sides are no multiples of units.
const SIZES: [(u32, u32); 3] = [(133, 97), (49, 130), (17, 9)];
/// The largest mean difference in levels of 255. The decoders round differently.
const CLOSE: f64 = 1.0;

/// What became of the files of a test.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    read: usize,
    not_supported: usize,
}

/// A directory with pictures for `cjpeg`.
struct Maker {
    directory: PathBuf,
    count: Count,
}

impl Maker {
    fn new(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).unwrap();
        for (width, height) in SIZES {
            let colors = RgbImage::from_fn(width, height, |x, y| {
                let (x, y) = (f64::from(x), f64::from(y));
                let wave = |a: f64, b: f64| (128.0 + 70.0 * (x / a).sin() + 50.0 * (y / b + x / 9.0).cos()) as u8;
                image::Rgb([wave(7.0, 11.0), wave(13.0, 5.0), wave(4.0, 17.0)])
            });
            let write = |extension: &str, kind: &str, pixels: &[u8]| {
                let file = [format!("{kind}\n{width} {height}\n255\n").as_bytes(), pixels].concat();
                fs::write(directory.join(format!("{width}.{extension}")), file).unwrap();
            };
            write("ppm", "P6", &colors);
            write("pgm", "P5", &image::imageops::grayscale(&colors));
        }
        Self { directory, count: Count::default() }
    }

    /// Makes a file of a picture, with a scan script if there is one.
    fn make(&self, picture: &str, arguments: &[&str], scans: &str) -> Vec<u8> {
        let mut command = Command::new("cjpeg");
        command.current_dir(&self.directory).args(["-quality", "92"]).args(arguments);
        if !scans.is_empty() {
            fs::write(self.directory.join("scans"), scans).unwrap();
            command.args(["-scans", "scans"]);
        }
        run(command.arg(picture))
    }

    /// Compares what is read from a file with what `djpeg` reads. `name` is for messages.
    fn compare(&mut self, name: &str, bytes: &[u8]) {
        match decode(bytes, &PictureLimits::default()) {
            Ok(decoded) => {
                let difference = difference(&decoded.image, &self.read(bytes));
                assert!(difference <= CLOSE, "{name}: {difference} levels");
                self.count.read += 1;
            }
            Err(Problem::UnsupportedJpeg(_)) => self.count.not_supported += 1,
            Err(problem) => panic!("{name}: {problem}"),
        }
    }

    fn read(&self, bytes: &[u8]) -> DynamicImage {
        fs::write(self.directory.join("file.jpg"), bytes).unwrap();
        // As Pillow decodes: by exact integers, and with smooth colours.
        pnm(&run(Command::new("djpeg").current_dir(&self.directory).args(["-dct", "int", "file.jpg"])))
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?} cannot be run: {error}; install Debian's package libjpeg-turbo-progs or the like")
    });
    // 2 stands for warnings, such as that of a missing end.
    let is_done = matches!(output.status.code(), Some(0 | 2));
    assert!(is_done, "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Reads a binary PPM or PGM file.
fn pnm(file: &[u8]) -> DynamicImage {
    let mut words = file.splitn(4, |byte| byte.is_ascii_whitespace());
    let mut word = || words.next().unwrap();
    let (kind, width, height) = (word(), word(), word());
    let side = |text: &[u8]| String::from_utf8_lossy(text).parse().unwrap();
    let pixels = word().strip_prefix(b"255\n").unwrap().to_vec();
    match kind {
        b"P6" => RgbImage::from_raw(side(width), side(height), pixels).unwrap().into(),
        _ => GrayImage::from_raw(side(width), side(height), pixels).unwrap().into(),
    }
}

fn difference(one: &DynamicImage, other: &DynamicImage) -> f64 {
    assert_eq!((one.color(), one.width(), one.height()), (other.color(), other.width(), other.height()));
    let pairs = one.as_bytes().iter().zip(other.as_bytes());
    pairs.map(|(one, other)| f64::from(one.abs_diff(*other))).sum::<f64>() / one.as_bytes().len() as f64
}

/// Every combination of the factors of three components that libjpeg writes.
fn samplings() -> Vec<[(u32, u32); 3]> {
    let factors: Vec<(u32, u32)> = (1..=4).flat_map(|across| (1..=4).map(move |down| (across, down))).collect();
    let mut found = Vec::new();
    for &y in &factors {
        for &blue in &factors {
            for &red in &factors {
                let all = [y, blue, red];
                let across = all.iter().map(|factors| factors.0).max().unwrap();
                let down = all.iter().map(|factors| factors.1).max().unwrap();
                let is_whole = all.iter().all(|factors| across % factors.0 == 0 && down % factors.1 == 0);
                let blocks: u32 = all.iter().map(|factors| factors.0 * factors.1).sum();
                if is_whole && blocks <= 10 {
                    found.push(all);
                }
            }
        }
    }
    found
}

#[test]
fn every_sampling_is_read() {
    let mut maker = Maker::new("jpeg-samplings");
    let samplings = samplings();
    for (arguments, scans) in [(&[][..], ""), (&["-progressive"], ""), (&[], "1; 0; 2;")] {
        for (index, sampling) in samplings.iter().enumerate() {
            let text = sampling.map(|(across, down)| format!("{across}x{down}")).join(",");
            let picture = format!("{}.ppm", SIZES[index % SIZES.len()].0);
            let arguments = [&["-sample", &text], arguments].concat();
            let file = maker.make(&picture, &arguments, scans);
            maker.compare(&format!("{picture} {arguments:?} {scans}"), &file);
        }
        let is_interleaved = arguments.is_empty() && scans.is_empty();
        assert!(
            !is_interleaved || maker.count == Count { read: samplings.len(), not_supported: 0 },
            "{:?}",
            maker.count
        );
    }
    println!("{} samplings: {:?}", samplings.len(), maker.count);
    assert_eq!(maker.count.read + maker.count.not_supported, 3 * samplings.len());
    // Factors of 2 beside 4, and of 3 that do not fit, with each component in scans of its own.
    assert!(maker.count.not_supported * 6 < maker.count.read, "{:?}", maker.count);
}

#[test]
fn every_order_of_scans_is_read() {
    const SEQUENTIAL: [&str; 12] = [
        "0;1;2;", "0;2;1;", "1;2;0;", "2;1;0;", "1;0;2;", "2;0;1;", "0 1;2;", "0;1 2;", "1 2;0;", "0 2;1;", "0 1 2;",
        "2;0 1;",
    ];
    const PROGRESSIVE: [&str; 5] = [
        "0,1,2:0-0,0,0;0:1-63,0,0;1:1-63,0,0;2:1-63,0,0;",
        "1:0-0,0,0;2:0-0,0,0;0:0-0,0,0;2:1-63,0,0;1:1-63,0,0;0:1-63,0,0;",
        "0:0-0,0,1;1:0-0,0,1;2:0-0,0,1;0:0-0,1,0;1:0-0,1,0;2:0-0,1,0;0:1-63,0,0;1:1-63,0,0;2:1-63,0,0;",
        "0,1:0-0,0,0;2:0-0,0,0;0:1-63,0,0;1:1-63,0,0;2:1-63,0,0;",
        "0,1,2:0-0,0,1;0:1-5,0,2;2:1-63,0,1;1:1-63,0,1;0:6-63,0,2;0:1-63,2,1;0,1,2:0-0,1,0;2:1-63,1,0;1:1-63,1,0;\
         0:1-63,1,0;",
    ];
    let mut maker = Maker::new("jpeg-scans");
    for scans in SEQUENTIAL.iter().chain(&PROGRESSIVE) {
        for sampling in ["1x1", "2x1", "1x2", "2x2", "4x1", "1x4"] {
            for restarts in [&[][..], &["-restart", "3B"], &["-restart", "1"]] {
                for (width, _) in SIZES {
                    let arguments = [&["-sample", sampling], restarts].concat();
                    let file = maker.make(&format!("{width}.ppm"), &arguments, scans);
                    maker.compare(&format!("{width} {arguments:?} {scans}"), &file);
                }
            }
        }
    }
    assert_eq!(maker.count, Count { read: (12 + 5) * 6 * 3 * 3, not_supported: 0 });
}

#[test]
fn gray_pictures_are_read_whatever_their_factors() {
    let mut maker = Maker::new("jpeg-gray");
    for (width, _) in SIZES {
        for kind in ["-baseline", "-progressive"] {
            for factors in [0x11, 0x21, 0x12, 0x22, 0x41, 0x14, 0x44, 0x31, 0x33] {
                let mut file = maker.make(&format!("{width}.pgm"), &[kind], "");
                let frame = file.windows(2).position(|pair| matches!(pair, [0xff, 0xc0 | 0xc2])).unwrap();
                file[frame + 11] = factors;
                maker.compare(&format!("{width} {kind} {factors:x}"), &file);
            }
        }
    }
    assert_eq!(maker.count, Count { read: 3 * 2 * 9, not_supported: 0 });
}

/// What the channels are follows from marks and from their ids.
#[test]
fn colours_are_what_the_marks_say() {
    const JFIF: usize = 18;
    let mut maker = Maker::new("jpeg-marks");
    let file = maker.make("133.ppm", &[], "");
    let (jfif, rest) = file[2..].split_at(JFIF);
    let adobe = |transform: u8| [&b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"[..], &[transform]].concat();
    // The ids stand in the header of the frame and in that of the scan.
    let with_ids = |ids: [u8; 3]| {
        let mut rest = rest.to_vec();
        let frame = rest.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        let scan = rest.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
        for (at, id) in ids.into_iter().enumerate() {
            rest[frame + 10 + 3 * at] = id;
            rest[scan + 5 + 2 * at] = id;
        }
        rest
    };
    let mut files = 0;
    for ids in [*b"\x01\x02\x03", *b"RGB", *b"rgb", [0, 1, 2], [1, 34, 35], [7, 9, 200]] {
        let rest = with_ids(ids);
        for mark in [None, Some(0), Some(1), Some(2), Some(9)] {
            let mark = mark.map(adobe).unwrap_or_default();
            for marks in [mark.clone(), [jfif, &mark].concat(), [&mark, jfif].concat()] {
                maker.compare(&format!("{ids:?} {marks:?}"), &[b"\xff\xd8", &marks[..], &rest].concat());
                files += 1;
            }
        }
    }
    assert_eq!(maker.count, Count { read: files, not_supported: 0 });
}

#[test]
fn only_the_end_marker_may_be_missing() {
    let mut maker = Maker::new("jpeg-ends");
    for (arguments, scans) in
        [(&[][..], ""), (&["-progressive"], ""), (&["-restart", "4B"], ""), (&[], "2;1;0;"), (&["-optimize"], "")]
    {
        let file = maker.make("133.ppm", arguments, scans);
        for end in [file.len() - 1, file.len() - 2] {
            maker.compare(&format!("{arguments:?} {scans} without its end"), &file[..end]);
        }
        for percent in [30, 50, 66, 80, 90, 95] {
            let cut = decode(&file[..file.len() * percent / 100], &PictureLimits::default());
            assert_eq!(cut, Err(Problem::Truncated(FileFormat::Jpeg)), "{arguments:?} {scans} {percent} %");
        }
    }
    assert_eq!(maker.count.read, 10);
}
