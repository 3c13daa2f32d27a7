//! Removes from EXIF data what is not to be in files that are made of a picture.

use std::ops::Range;

use super::{Directory, ENTRY, EXIF_POINTER, Field, GPS_POINTER, HEADER, LONG, NEXT, SHORT, Tiff};

/// Fields of the directory of the thumbnail: how it is packed, and where it lies.
const COMPRESSION: u16 = 0x0103;
const STRIP_OFFSETS: u16 = 0x0111;
const STRIP_LENGTHS: u16 = 0x0117;
const JPEG_OFFSET: u16 = 0x0201;
const JPEG_LENGTH: u16 = 0x0202;

/// Fields of the first directory that hold further data, in which a position may be: XMP, IPTC, resources of Photoshop, and
/// how a picture lies on the map (GeoTIFF).
const HOLDERS: [u16; 9] = [0x02bc, 0x83bb, 0x8649, 0x830e, 0x8482, 0x85d8, 0x87af, 0x87b0, 0x87b1];

/// The most directories that are searched for positions, and the most positions.
const MOST_SEARCHED: usize = 16;

/// The kind of pointers to directories in newer files, which otherwise are numbers.
const DIRECTORY: u16 = 13;
/// The most bytes that one unit of a value has.
const LARGEST: usize = 8;

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
            let end = self.end(directory);
            if end.is_some_and(|end| self.u32(end) != Some(0)) {
                self.rewrite(directory, |_| {});
            }
        }
    }

    /// Returns where the entries of a directory end.
    fn end(&self, directory: Directory) -> Option<usize> {
        self.directory(directory).map(|at| at + 2 + ENTRY * self.fields(at).len())
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

    /// Removes all positions of the camera. Of data in which not all can be found, nothing stays.
    pub(in crate::carried) fn remove_location(&mut self) {
        let Some(mut places) = self.positions() else {
            *self = Self::new();
            return;
        };
        let holders = HOLDERS.iter().filter_map(|tag| self.find(Directory::Main, *tag));
        places.extend(holders.map(|field| self.reach(&field)));
        for place in joined(places) {
            self.blank(place);
        }
        self.remove_fields(Directory::Main, &HOLDERS);
        for directory in [Directory::Main, Directory::Exif] {
            self.remove_fields(directory, &[GPS_POINTER]);
        }
    }

    /// Returns where positions and what points to them lie. `None` if that is unclear, or if they are too many.
    fn positions(&self) -> Option<Vec<Range<usize>>> {
        let fields = self.searched()?.into_iter().flat_map(|at| self.fields(at));
        let pointers: Vec<_> = fields.filter(|field| field.tag == GPS_POINTER).take(MOST_SEARCHED + 1).collect();
        if pointers.len() > MOST_SEARCHED {
            return None;
        }
        let mut places = Vec::new();
        for pointer in pointers {
            let at = self.u32(pointer.at + 8)? as usize;
            if at > 0 && !([LONG, DIRECTORY].contains(&pointer.kind) && pointer.count == 1) {
                return None;
            }
            places.push(pointer.at + 8..pointer.at + ENTRY);
            let Some(count) = self.u16(at).filter(|_| at >= HEADER) else { continue };
            places.extend(self.fields(at).iter().map(|field| self.reach(field)));
            places.push(at..(at + 2 + ENTRY * usize::from(count)).min(self.data.len()));
        }
        Some(places)
    }

    /// Returns where the directories begin that may point to positions: the first one and those that follow it, and those about
    /// how the picture was taken. `None` if they are too many.
    fn searched(&self) -> Option<Vec<usize>> {
        let is_inside = |at: &usize| (HEADER..self.data.len()).contains(at);
        let mut found: Vec<_> = self.directory(Directory::Main).into_iter().collect();
        while let Some(at) = found.last() {
            let next = self.u32(at + 2 + ENTRY * self.fields(*at).len()).map(|next| next as usize);
            match next.filter(is_inside).filter(|next| !found.contains(next)) {
                Some(_) if found.len() == MOST_SEARCHED => return None,
                Some(next) => found.push(next),
                None => break,
            }
        }
        let fields = found.iter().flat_map(|at| self.fields(*at)).filter(|field| field.tag == EXIF_POINTER);
        let others = fields.filter_map(|field| self.u32(field.at + 8)).map(|at| at as usize).filter(is_inside);
        let others: Vec<_> = others.take(MOST_SEARCHED + 1).collect();
        found.extend(&others);
        (others.len() <= MOST_SEARCHED).then_some(found)
    }

    /// Returns where the value of a field is, or all that it may be if its kind is unknown or some of it is missing.
    fn reach(&self, field: &Field) -> Range<usize> {
        self.place(field).unwrap_or_else(|| {
            let at = self.u32(field.at + 8).map_or(self.data.len(), |at| at as usize).min(self.data.len());
            at..at.saturating_add((field.count as usize).saturating_mul(LARGEST)).min(self.data.len())
        })
    }

    /// Removes fields. What follows the first directory stays, because it may be the thumbnail.
    fn remove_fields(&mut self, directory: Directory, tags: &[u16]) {
        if tags.iter().all(|tag| self.find(directory, *tag).is_none()) {
            return;
        }
        let next = self.end(directory).and_then(|end| self.u32(end)).filter(|_| directory == Directory::Main);
        let tags: Vec<_> = tags.iter().map(|tag| self.short(*tag)).collect();
        self.rewrite(directory, |entries| entries.retain(|entry| !tags.iter().any(|tag| entry[..2] == *tag)));
        if let (Some(end), Some(next)) = (self.end(directory), next) {
            let next = self.long(next);
            self.put(end, &next);
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
