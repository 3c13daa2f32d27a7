use super::*;

/// EXIF data as cameras write it, in either byte order: the make and orientation; the width and a note of the maker; a position; a
/// thumbnail of four bytes at the end.
fn camera(is_little: bool) -> Vec<u8> {
    let short = |value: u16| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
    let long = |value: u32| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        [&short(tag)[..], &short(kind), &long(count), &value].concat()
    };
    let small = |value: u16| [short(value), [0, 0]].concat().try_into().unwrap();
    let mut data = if is_little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
    data.extend(long(8));
    // At 8: four entries and the pointer to the thumbnail, up to 62; the make follows, up to 68.
    data.extend(short(4));
    data.extend(entry(0x010f, 2, 6, long(62)));
    data.extend(entry(0x0112, 3, 1, small(6)));
    data.extend(entry(0x8769, 4, 1, long(68)));
    data.extend(entry(0x8825, 4, 1, long(106)));
    data.extend(long(148));
    data.extend(b"Canon\0");
    // At 68: two entries, up to 98; the note follows, up to 106.
    data.extend(short(2));
    data.extend(entry(0x927c, 7, 8, long(98)));
    data.extend(entry(0xa002, 3, 1, small(4000)));
    data.extend(long(0));
    data.extend(b"the note");
    // At 106: one entry, up to 124; the latitude follows, up to 148.
    data.extend(short(1));
    data.extend(entry(0x0002, 5, 3, long(124)));
    data.extend(long(0));
    for number in [47, 1, 22, 1, 30, 1] {
        data.extend(long(number));
    }
    // At 148: three entries, up to 190; the thumbnail follows.
    data.extend(short(3));
    data.extend(entry(0x0103, 3, 1, small(6)));
    data.extend(entry(0x0201, 4, 1, long(190)));
    data.extend(entry(0x0202, 4, 1, long(4)));
    data.extend(long(0));
    data.extend(b"\xff\xd8\xff\xd9");
    assert_eq!(data.len(), 194);
    data
}

#[test]
fn fields_are_read_in_both_byte_orders() {
    for is_little in [false, true] {
        for prefix in [&b""[..], b"Exif\0\0"] {
            let tiff = Tiff::read(&[prefix, &camera(is_little)].concat()).unwrap();
            assert_eq!(tiff.is_little(), is_little);
            assert_eq!(tiff.text(0x010f).as_deref(), Some("Canon"));
            assert_eq!(tiff.number(Directory::Main, 0x0112), Some(6));
            assert_eq!(tiff.number(Directory::Exif, 0xa002), Some(4000));
            assert_eq!(tiff.value(Directory::Exif, 0x927c), Some((7, &b"the note"[..])));
        }
    }
}

#[test]
fn the_thumbnail_and_the_position_go_and_all_else_stays_in_place() {
    for is_little in [false, true] {
        let mut tiff = Tiff::read(&camera(is_little)).unwrap();
        tiff.remove_location();
        tiff.remove_thumbnail();
        // The thumbnail and its directory were the last 46 bytes, and the position the 42 before.
        assert_eq!(tiff.data().len(), 148);
        assert_eq!(tiff.data()[106..], [0; 42]);
        assert_eq!(tiff.data()[98..106], *b"the note");
        assert_eq!(tiff.value(Directory::Exif, 0x927c), Some((7, &b"the note"[..])));
        assert_eq!(tiff.value(Directory::Main, GPS_POINTER), None);
        assert_eq!((tiff.text(0x010f).as_deref(), tiff.number(Directory::Main, 0x0112)), (Some("Canon"), Some(6)));
        // Three entries, and nothing behind them.
        let at = 8 + 2 + 3 * 12;
        assert_eq!(tiff.data()[at..at + 4], [0; 4]);
    }
}

/// A directory with these fields (their tags, kinds, counts and values or places) and a pointer to the next.
fn directory(fields: &[(u16, u16, u32, u32)], next: u32) -> Vec<u8> {
    let mut data = (fields.len() as u16).to_be_bytes().to_vec();
    for (tag, kind, count, value) in fields {
        data.extend([&tag.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value.to_be_bytes()].concat());
    }
    data.extend(next.to_be_bytes());
    data
}

/// Puts parts together, each of them at its place.
fn laid_out(parts: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut data = b"MM\0*\0\0\0\x08".to_vec();
    for (at, part) in parts {
        data.resize(data.len().max(at + part.len()), b'.');
        data[*at..at + part.len()].copy_from_slice(part);
    }
    data
}

#[test]
fn positions_go_wherever_they_are() {
    const SECRET: &[u8] = b"position";
    // Pointers in the first directory, twice; in the one behind it; and in a second one of EXIF. The first position has many
    // fields, the second one of an unknown kind, and the third one whose end is missing.
    let many: Vec<_> = (0..300_u16).map(|index| (index, UNDEFINED, 8, 2000 + 8 * u32::from(index))).collect();
    let data = laid_out(&[
        (
            8,
            directory(
                &[
                    (0x010f, ASCII, 6, 300),
                    (EXIF_POINTER, LONG, 1, 600),
                    (EXIF_POINTER, LONG, 1, 500),
                    (GPS_POINTER, LONG, 1, 5000),
                    (GPS_POINTER, 13, 1, 9000),
                ],
                400,
            ),
        ),
        (300, b"Canon\0".to_vec()),
        (400, directory(&[(0x0103, SHORT, 1, 6 << 16), (GPS_POINTER, LONG, 1, 9100)], 0)),
        (500, directory(&[(GPS_POINTER, LONG, 1, 9200)], 0)),
        (600, directory(&[(0xa002, LONG, 1, 4000)], 0)),
        (2000, SECRET.repeat(300)),
        (5000, directory(&many, 0)),
        (9000, directory(&[(2, 99, 1, 9050)], 0)),
        (9050, SECRET.to_vec()),
        (9100, directory(&[(2, UNDEFINED, 8, 9150)], 0)),
        (9150, SECRET.to_vec()),
        (9200, directory(&[(2, UNDEFINED, 800, 9250)], 0)),
        (9250, SECRET.to_vec()),
    ]);
    let mut tiff = Tiff::read(&data).unwrap();
    tiff.remove_location();
    tiff.remove_thumbnail();
    assert!(!tiff.data().windows(SECRET.len()).any(|window| window == SECRET));
    assert_eq!(tiff.find(Directory::Main, GPS_POINTER).map(|field| field.tag), None);
    assert_eq!((tiff.text(0x010f).as_deref(), tiff.number(Directory::Exif, 0xa002)), (Some("Canon"), Some(4000)));
}

/// XMP, IPTC, and how the picture lies on the map, as EXIF data has them that was copied from a TIFF file.
#[test]
fn data_in_which_a_position_may_be_goes() {
    let fields = [
        (0x010f, ASCII, 6, 100),
        (0x02bc, UNDEFINED, 8, 200),
        (0x83bb, UNDEFINED, 8, 250),
        (0x8482, 12, 1, 300),
        (0x87af, SHORT, 2, 1 << 16),
    ];
    let parts = [
        (8, directory(&fields, 0)),
        (100, b"Canon\0".to_vec()),
        (200, b"exif:GPS".to_vec()),
        (250, b"geo:lat=".to_vec()),
        (300, vec![7; 8]),
    ];
    let mut tiff = Tiff::read(&laid_out(&parts)).unwrap();
    tiff.remove_location();
    assert_eq!((tiff.text(0x010f).as_deref(), tiff.fields(8).len()), (Some("Canon"), 1));
    for at in [200, 250, 300] {
        assert_eq!(tiff.data()[at..at + 8], [0; 8], "{at}");
    }
}

#[test]
fn without_a_way_to_all_positions_nothing_stays() {
    let position = (1000, directory(&[(2, UNDEFINED, 8, 3000)], 0));
    let secret = (3000, b"position".to_vec());
    let pointers: Vec<_> = (0..17).map(|index| (GPS_POINTER, LONG, 1, 1000 + 100 * index)).collect();
    for pointers in [pointers, vec![(GPS_POINTER, SHORT, 1, 1000 << 16)], vec![(GPS_POINTER, LONG, 2, 1000)]] {
        let data = laid_out(&[(8, directory(&pointers, 0)), position.clone(), secret.clone()]);
        let mut tiff = Tiff::read(&data).unwrap();
        tiff.remove_location();
        assert_eq!(tiff, Tiff::new());
    }
    // Nor does a ring of directories last for ever.
    let mut tiff = Tiff::read(&laid_out(&[(8, directory(&[(0x0112, SHORT, 1, 6 << 16)], 8))])).unwrap();
    tiff.remove_location();
    assert_eq!(tiff.number(Directory::Main, 0x0112), Some(6));
}

#[test]
fn a_thumbnail_in_the_place_of_something_else_harms_nothing() {
    for is_little in [false, true] {
        let long = |value: u32| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
        // The place and the length of the thumbnail: over all else, and over the last directory of the others.
        for (start, length) in [(0, 194), (8, 186), (9, 60), (100, 94), (60, u32::MAX)] {
            let mut data = camera(is_little);
            data[148 + 2 + 12 + 8..][..4].copy_from_slice(&long(start));
            data[148 + 2 + 24 + 8..][..4].copy_from_slice(&long(length));
            let mut tiff = Tiff::read(&data).unwrap();
            tiff.remove_thumbnail();
            let tiff = Tiff::read(tiff.data()).unwrap();
            assert_eq!((tiff.text(0x010f).as_deref(), tiff.number(Directory::Main, 0x0112)), (Some("Canon"), Some(6)));
            assert_eq!(tiff.value(Directory::Exif, 0x927c), Some((UNDEFINED, &b"the note"[..])));
        }
        // A value of eight bytes in the place of the header.
        let mut data = camera(is_little);
        data[148 + 2 + 4..][..8].copy_from_slice(&[long(4), long(0)].concat());
        let mut tiff = Tiff::read(&data).unwrap();
        tiff.remove_thumbnail();
        assert_eq!(Tiff::read(tiff.data()).unwrap().text(0x010f).as_deref(), Some("Canon"));
    }
}

#[test]
fn texts_are_found_by_the_name_that_begins_them() {
    for (text, found) in
        [(&b"Prompt:{}\0"[..], Some("{}")), (b"prompt: {}", Some(" {}")), (b"prompter:{}\0", None), (b"prompt\0", None)]
    {
        let mut tiff = Tiff::read(&camera(false)).unwrap();
        tiff.set(Directory::Main, 0x0110, ASCII, text);
        assert_eq!(tiff.named("prompt").as_deref(), found);
    }
}

#[test]
fn values_are_set_in_place_if_they_fit() {
    let mut tiff = Tiff::read(&camera(true)).unwrap();
    tiff.set(Directory::Main, 0x010f, ASCII, b"Sony\0");
    assert_eq!((tiff.text(0x010f).as_deref(), tiff.data().len()), (Some("Sony"), 194));
    tiff.set(Directory::Main, 0x010f, ASCII, b"Panasonic\0");
    assert_eq!((tiff.text(0x010f).as_deref(), tiff.data().len()), (Some("Panasonic"), 204));
    tiff.set(Directory::Main, 0x010f, ASCII, b"HP\0");
    assert_eq!((tiff.text(0x010f).as_deref(), tiff.data().len()), (Some("HP"), 204));
}

#[test]
fn fields_are_added_in_the_order_of_their_tags() {
    for mut tiff in [Tiff::new(), Tiff::read(&camera(true)).unwrap(), Tiff::read(&camera(false)).unwrap()] {
        tiff.remove_thumbnail();
        for (directory, tag) in [(Directory::Main, 0x8298), (Directory::Exif, 0x9286), (Directory::Main, 0x010e)] {
            tiff.set(directory, tag, ASCII, format!("field {tag}\0").as_bytes());
        }
        for directory in [Directory::Main, Directory::Exif] {
            let fields = tiff.fields(tiff.directory(directory).unwrap());
            assert!(fields.is_sorted_by(|one, next| one.tag < next.tag), "{fields:?}");
        }
        assert_eq!(tiff.text(0x8298).as_deref(), Some("field 33432"));
        assert_eq!(tiff.value(Directory::Exif, 0x9286), Some((ASCII, &b"field 37510\0"[..])));
        let read = Tiff::read(tiff.data()).unwrap();
        assert_eq!(read, tiff);
    }
}

#[test]
fn a_directory_without_a_pointer_behind_it_gets_one() {
    // As piexif writes it: the comment stands where the pointer should.
    let mut data = b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0".to_vec();
    data.extend(b"\0\x01\x92\x86\0\x07\0\0\0\x10\0\0\0\x28ASCII\0\0\0Steps: 9");
    let mut tiff = Tiff::read(&data).unwrap();
    tiff.repair();
    assert_eq!(tiff.value(Directory::Exif, 0x9286), Some((UNDEFINED, &b"ASCII\0\0\0Steps: 9"[..])));
    let at = tiff.directory(Directory::Exif).unwrap();
    assert_eq!(tiff.u32(at + 14), Some(0));
}

#[test]
fn nothing_is_taken_for_granted() {
    let mut random = fastrand::Rng::with_seed(3);
    for is_little in [false, true] {
        let whole = camera(is_little);
        for length in 0..whole.len() {
            edited(&whole[..length]);
        }
        for _ in 0..5000 {
            let mut damaged = whole.clone();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..damaged.len());
                damaged[at] = if random.bool() { random.u8(..) } else { 0xff };
            }
            edited(&damaged);
        }
    }
}

fn edited(data: &[u8]) {
    let Some(mut tiff) = Tiff::read(data) else { return };
    tiff.remove_location();
    tiff.remove_thumbnail();
    tiff.repair();
    tiff.set(Directory::Exif, 0x9286, UNDEFINED, b"ASCII\0\0\0a comment");
    tiff.set(Directory::Main, 0x0112, SHORT, &[0, 1]);
    assert!(tiff.data().len() <= data.len() + 2000);
}
