//! Removes from EXIF data what is not to be in files that are made of a picture.

use std::ops::Range;

use super::{Directory, ENTRY, Field, GPS_POINTER, HEADER, NEXT, SHORT, Tiff};

/// Fields of the directory of the thumbnail: how it is packed, and where it lies.
const COMPRESSION: u16 = 0x0103;
const STRIP_OFFSETS: u16 = 0x0111;
const STRIP_LENGTHS: u16 = 0x0117;
const JPEG_OFFSET: u16 = 0x0201;
const JPEG_LENGTH: u16 = 0x0202;

/// The most directories that are searched for positions, and the most positions.
const MOST_SEARCHED: usize = 16;

impl Tiff {
    /// Removes the thumbnail.
    pub(in crate::carried) fn remove_thumbnail(&mut self) {
        let Some(main) = self.directory(Directory::Main) else { return };
        let end = main + 2 + ENTRY * self.fields(main).len();
        let next = self.u32(end).map_or(0, |next| next as usize);
        let fields = if next >= HEADER { self.fields(next) } else { Vec::new() };
        if fields.iter().any(|field| [COMPRESSION, STRIP_OFFSETS, JPEG_OFFSET].contains(&field.tag)) {
            self.put(end, &[0; NEXT]);
            self.blank_thumbnail(next, &fields);
        }
    }

    /// Moves directories behind which there is no pointer, as some programs write them, to where there is room for one.
    pub(in crate::carried) fn repair(&mut self) {
        for directory in [Directory::Main, Directory::Exif, Directory::Gps, Directory::Interoperability] {
            let end = self.directory(directory).map(|at| at + 2 + ENTRY * self.fields(at).len());
            if end.is_some_and(|end| self.u32(end) != Some(0)) {
                self.rewrite(directory, |_| {});
            }
        }
    }

    fn blank_thumbnail(&mut self, directory: usize, fields: &[Field]) {
        let number = |tag: u16| {
            let field = fields.iter().find(|field| field.tag == tag)?;
            let value =
                if field.kind == SHORT { self.u16(field.at + 8).map(u32::from) } else { self.u32(field.at + 8) };
            value.map(|value| value as usize)
        };
        let mut places: Vec<_> = fields.iter().filter_map(|field| self.place(field)).collect();
        for (at, length) in [(JPEG_OFFSET, JPEG_LENGTH), (STRIP_OFFSETS, STRIP_LENGTHS)] {
            if let (Some(at), Some(length)) = (number(at), number(length)) {
                places.push(at..at.saturating_add(length).min(self.data.len()));
            }
        }
        places.push(directory..(directory + 2 + ENTRY * fields.len() + NEXT).min(self.data.len()));
        // Damaged data may say that it lies where the header or other fields are.
        let others = self.directories();
        let is_apart = |place: &Range<usize>| {
            place.start >= HEADER && others.iter().all(|other| place.end <= other.start || other.end <= place.start)
        };
        places.retain(is_apart);
        let places = joined(places);
        for place in &places {
            self.blank(place.clone());
        }
        // It is mostly the last thing there.
        if let Some(last) = places.last().filter(|place| place.end == self.data.len()) {
            self.data.truncate(last.start);
        }
    }

    /// Returns where the known directories lie, without the pointers behind them.
    fn directories(&self) -> Vec<Range<usize>> {
        let known = [Directory::Main, Directory::Exif, Directory::Gps, Directory::Interoperability];
        let places = known.into_iter().filter_map(|directory| self.directory(directory));
        places.map(|at| at..at + 2 + ENTRY * self.fields(at).len()).collect()
    }

    /// Removes the position of the camera.
    pub(in crate::carried) fn remove_location(&mut self) {
        for directory in [Directory::Main, Directory::Exif] {
            let Some(at) = self.directory(directory) else { continue };
            if self.field(at, GPS_POINTER).is_none() {
                continue;
            }
            if let Some(gps) = self.pointer(at, GPS_POINTER) {
                let fields = self.fields(gps);
                let places: Vec<_> = fields.iter().take(MOST_REMOVED).filter_map(|field| self.place(field)).collect();
                places.into_iter().for_each(|place| self.blank(place));
                self.blank(gps..(gps + 2 + ENTRY * fields.len()).min(self.data.len()));
            }
            let pointer = self.short(GPS_POINTER);
            self.rewrite(directory, |entries| entries.retain(|entry| entry[..2] != pointer));
        }
    }
}

/// Returns places in their order, and those that overlap or touch as one.
fn joined(mut places: Vec<Range<usize>>) -> Vec<Range<usize>> {
    places.retain(|place| !place.is_empty());
    places.sort_by_key(|place| place.start);
    let mut joined: Vec<Range<usize>> = Vec::new();
    for place in places {
        match joined.last_mut() {
            Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
            _ => joined.push(place),
        }
    }
    joined
}
