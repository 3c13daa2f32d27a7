//! Puts one face onto another without a net that knows faces: each triangle of the mesh is moved to where the other face has it, and
//! gets its colours. Shape and expression stay those of the target, as do forehead, hair and the inside of the mouth.

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};

use super::mask::{blurred, faded, filled, grown};
use super::paste::{Area, Patch, Row};
use super::texture::Texture;
use super::tone::{Faces, Tone};
use super::triangles::{BROWS, EYES, FOREHEAD, LIPS, MOUTH, OVAL};
use super::warp::{Warp, facing, orientation};
use crate::lab;
use crate::pixels::{self, Channels};
use crate::plane::{Place, Plane, places};

/// The longest side of the copy on which masks and colours are worked out.
const COPY: u32 = 384;

/// The bytes that a face takes at most beside the pixels of its picture: some 60 planes of the copy.
pub(super) const PLANES: u64 = 60 * (COPY as u64) * (COPY as u64) * 4;

/// How much of the picture around a face is worked on, as a share of the face.
const MARGIN: f32 = 0.15;

/// How much of the forehead is taken along, as a share of what is above the brows. There is hair on the rest of many.
const FOREHEAD_TAKEN: f32 = 0.2;

/// Over how much a face fades in, as a share of its size.
const FADING: f32 = 0.035;

/// The same for the inside of the mouth, and for eyes that stay.
const FADING_INSIDE: f32 = 0.008;

/// How far a triangle has to face the viewer in the source and in the target: the cosine of the angle. Others show what is behind
/// the face.
const LEAST_FACING: (f32, f32) = (0.35, 0.1);

/// The factors by which the outlines of eyes, brows and lips are larger than their points.
const AROUND_EYES: f32 = 1.5;
const AROUND_BROWS: f32 = 1.3;
const AROUND_LIPS: f32 = 1.1;

/// The opacity below which nothing is shown.
const SHOWN: f32 = 1.0 / 512.0;

/// A face in its picture.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub image: &'a DynamicImage,
    /// The points of the mesh.
    pub points: &'a [[f32; 3]],
}

/// A face that is ready to be put onto its target.
#[derive(Debug)]
pub(super) struct Face {
    pub area: Area,
    warp: Warp,
    texture: Texture,
    tone: Tone,
    opacity: Plane,
    /// Where the pixels of the area lie on the copy, and on the grid of the tone.
    on_copy: Raster,
    on_grid: Raster,
}

#[derive(Debug)]
struct Raster {
    columns: Vec<Place>,
    rows: Vec<Place>,
}

/// The raster of a copy of a part of the target.
struct Canvas {
    area: Area,
    width: usize,
    height: usize,
    /// How many pixels of the target a pixel of the copy has.
    step: [f32; 2],
}

impl Face {
    /// Fits a face onto another one. Eyes that `stays` names, the right one of the person first, are left as the target has them.
    /// `None` if one of the faces does not lie within its picture.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`], and [`EngineError::Failed`] for pixel types that decoded pictures do not have.
    pub fn fitted(
        source: Seen<'_>,
        target: Seen<'_>,
        stays: [bool; 2],
        monitor: &Monitor,
    ) -> Result<Option<Self>, EngineError> {
        let (width, height) = (target.image.width(), target.image.height());
        let points = target.points.iter().map(|[x, y, _]| [*x, *y]);
        let Some(area) = Area::around(points, MARGIN, width, height) else { return Ok(None) };
        let copy = Canvas::of(area);
        let factor = size(target.points) / size(source.points).max(1.0);
        let Some(texture) = Texture::around(source.image, source.points, factor.min(1.0))? else { return Ok(None) };
        let on_copy = (factor / copy.step[0].max(copy.step[1])).min(1.0);
        let Some(small) = Texture::around(source.image, source.points, on_copy)? else { return Ok(None) };
        let warp = Warp::between(target.points, source.points, |_, _| true);
        let opacity = copy.opacity(source.points, target.points, monitor)?;
        let old = labs(Channels::of(&pixels::resized(&area.of(target.image), copy.width as u32, copy.height as u32)?)?);
        let new = copy.warped(&warp, &small, &old, monitor)?;
        let features = copy.features(target.points);
        let size = size(target.points) / copy.step[0];
        let faces = Faces { new: &new, old: &old, opacity: &opacity, features: &features, size };
        let tone = Tone::between(&faces, monitor)?;
        let opacity = copy.without(opacity, target.points, stays, monitor)?;
        let on_copy = Raster::of(&opacity, area);
        let on_grid = Raster::of(&tone.added[0], area);
        Ok(Some(Self { area, warp, texture, tone, opacity, on_copy, on_grid }))
    }
}

impl Patch for Face {
    fn row(&self, y: u32, row: &mut Row) {
        let Some(on_copy) = self.on_copy.rows.get(y as usize) else { return };
        let Some(on_grid) = self.on_grid.rows.get(y as usize) else { return };
        let mut mixed = Vec::new();
        let mut read = |plane: &Plane, place: Place, columns: &[Place]| {
            let mut values = Vec::new();
            plane.enlarge_row(place, columns, &mut mixed, &mut values);
            values
        };
        let opacities = read(&self.opacity, *on_copy, &self.on_copy.columns);
        if opacities.iter().all(|opacity| *opacity < SHOWN) {
            return;
        }
        let added = self.tone.added.each_ref().map(|plane| read(plane, *on_grid, &self.on_grid.columns));
        let mut sources = vec![None; self.area.width as usize];
        let left = self.area.left as f32 + 0.5;
        self.warp.row((self.area.top + y) as f32 + 0.5, left, 1.0, &mut sources);
        for (x, (source, opacity)) in sources.into_iter().zip(opacities).enumerate() {
            let Some(source) = source.filter(|_| opacity >= SHOWN) else { continue };
            let toned = self.tone.apply(lab::of(self.texture.at(source)), added.each_ref().map(|plane| plane[x]));
            row.colours[x] = lab::to_rgb(toned);
            row.opacity[x] = opacity;
        }
    }
}

impl Raster {
    fn of(plane: &Plane, area: Area) -> Self {
        let columns = places(plane.width, area.width as usize);
        Self { columns, rows: places(plane.height, area.height as usize) }
    }
}

impl Canvas {
    fn of(area: Area) -> Self {
        let longest = area.width.max(area.height);
        let side = |side: u32| if longest <= COPY { side } else { (side * COPY).div_ceil(longest) };
        let (width, height) = (side(area.width), side(area.height));
        let step = [area.width as f32 / width as f32, area.height as f32 / height as f32];
        Self { area, width: width as usize, height: height as usize, step }
    }

    /// Returns where a point of the target is on the copy.
    fn place(&self, [x, y, _]: [f32; 3]) -> [f32; 2] {
        [(x - self.area.left as f32) / self.step[0], (y - self.area.top as f32) / self.step[1]]
    }

    fn outline(&self, points: &[[f32; 3]], numbers: &[usize]) -> Vec<[f32; 2]> {
        numbers.iter().filter_map(|number| Some(self.place(*points.get(*number)?))).collect()
    }

    fn filled(&self, outline: &[[f32; 2]]) -> Plane {
        filled(self.width, self.height, outline)
    }

    /// Returns how much of a face shows, its mouth and eyes included: what faces the viewer in both pictures, up to the brows.
    fn opacity(&self, source: &[[f32; 3]], target: &[[f32; 3]], monitor: &Monitor) -> Result<Plane, EngineError> {
        let signs = (orientation(target), orientation(source));
        let faces_viewer = |to: [[f32; 3]; 3], from: [[f32; 3]; 3]| {
            facing(from, signs.1) > LEAST_FACING.0 && facing(to, signs.0) > LEAST_FACING.1
        };
        let seen = self.covered(&Warp::between(target, source, faces_viewer), monitor)?;
        let mouth = self.filled(&self.outline(target, &MOUTH));
        let area = self.filled(&self.face(target)).with(&seen.with(&mouth, f32::max), f32::min);
        let radius = self.radius(target, FADING);
        faded(&area, radius, monitor)
    }

    /// Returns the outline of a face without most of its forehead.
    fn face(&self, points: &[[f32; 3]]) -> Vec<[f32; 2]> {
        let place = |number: usize| Some(self.place(*points.get(number)?));
        let lowered = |number: &usize| {
            let own = place(*number)?;
            let Some((_, brow)) = FOREHEAD.iter().find(|(top, _)| top == number) else { return Some(own) };
            let brow = place(*brow)?;
            Some([0, 1].map(|axis: usize| brow[axis] + FOREHEAD_TAKEN * (own[axis] - brow[axis])))
        };
        OVAL.iter().filter_map(lowered).collect()
    }

    /// Marks the pixels that a mapping covers.
    fn covered(&self, warp: &Warp, monitor: &Monitor) -> Result<Plane, EngineError> {
        let mut values = Vec::with_capacity(self.width * self.height);
        let mut row = vec![None; self.width];
        for y in 0..self.height {
            monitor.check_cancelled()?;
            self.row(warp, y, &mut row);
            values.extend(row.iter().map(|place| f32::from(place.is_some())));
        }
        Ok(Plane { width: self.width, height: self.height, values })
    }

    fn row(&self, warp: &Warp, y: usize, places: &mut [Option<[f32; 2]>]) {
        let [across, down] = self.step;
        let (left, top) = (self.area.left as f32, self.area.top as f32);
        warp.row(top + (y as f32 + 0.5) * down, left + across / 2.0, across, places);
    }

    /// Returns a face as it is on the copy: L*, a* and b*. Outside of it, that of the target goes on.
    fn warped(
        &self,
        warp: &Warp,
        texture: &Texture,
        old: &[Plane; 3],
        monitor: &Monitor,
    ) -> Result<[Plane; 3], EngineError> {
        let mut new = old.clone();
        let mut row = vec![None; self.width];
        for y in 0..self.height {
            monitor.check_cancelled()?;
            self.row(warp, y, &mut row);
            for (x, place) in row.iter().enumerate() {
                let Some(place) = place else { continue };
                let colour = lab::of(texture.at(*place));
                new.iter_mut().zip(colour).for_each(|(plane, value)| plane.values[y * self.width + x] = value);
            }
        }
        Ok(new)
    }

    /// Marks eyes, brows and lips.
    fn features(&self, points: &[[f32; 3]]) -> Plane {
        let mut marked = self.filled(&grown(&self.outline(points, &LIPS), AROUND_LIPS));
        let eyes = EYES.iter().map(|eye| grown(&self.outline(points, eye), AROUND_EYES));
        let brows = BROWS.iter().map(|brow| grown(&self.outline(points, brow), AROUND_BROWS));
        for outline in eyes.chain(brows) {
            marked = marked.with(&self.filled(&outline), f32::max);
        }
        marked
    }

    /// Takes the inside of the mouth, and eyes that stay, out of what shows.
    fn without(
        &self,
        opacity: Plane,
        points: &[[f32; 3]],
        stays: [bool; 2],
        monitor: &Monitor,
    ) -> Result<Plane, EngineError> {
        let radius = self.radius(points, FADING_INSIDE);
        let mut kept = self.filled(&self.outline(points, &MOUTH));
        for (eye, _) in EYES.iter().zip(stays).filter(|(_, stays)| *stays) {
            kept = kept.with(&self.filled(&grown(&self.outline(points, eye), AROUND_EYES)), f32::max);
        }
        let kept = blurred(&kept, radius, monitor)?;
        Ok(opacity.with(&kept, |opacity, kept| opacity * (1.0 - kept)))
    }

    fn radius(&self, points: &[[f32; 3]], share: f32) -> usize {
        ((share * size(points) / self.step[0]).round() as usize).max(1)
    }
}

/// Returns the mean of width and height of a face in pixels.
pub(super) fn size(points: &[[f32; 3]]) -> f32 {
    let extent = |axis: usize| {
        let values = points.iter().map(|point| point[axis]);
        values.clone().fold(f32::NEG_INFINITY, f32::max) - values.fold(f32::INFINITY, f32::min)
    };
    ((extent(0) + extent(1)) / 2.0).max(0.0)
}

fn labs(channels: Channels) -> [Plane; 3] {
    let mut planes = channels.colours;
    let [red, green, blue] = &mut planes;
    for ((red, green), blue) in red.values.iter_mut().zip(&mut green.values).zip(&mut blue.values) {
        [*red, *green, *blue] = lab::of([*red, *green, *blue]);
    }
    planes
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Rgb, RgbImage};

    use super::super::paste::paste;
    use super::super::warp::tests::{flat, moved};
    use super::*;

    /// A face of 80x100 pixels times `scale`, with its middle at a place.
    fn mesh(scale: f32, middle: [f32; 2]) -> Vec<[f32; 3]> {
        moved(&flat(80.0, 100.0), scale, middle)
    }

    /// Skin with a fine pattern, and a dark mark at the nose of a face with its middle there.
    fn skin(size: (u32, u32), colour: [u8; 3], middle: [f32; 2], scale: f32) -> DynamicImage {
        let image: RgbImage = ImageBuffer::from_fn(size.0, size.1, |x, y| {
            let off = (x as f32 + 0.5 - middle[0]).hypot(y as f32 + 0.5 - middle[1] - 2.5 * scale);
            let pattern = ((x * 7 + y * 13) % 8) as u8;
            Rgb(colour.map(|level| if off < 6.0 * scale { level / 3 } else { level - pattern }))
        });
        image.into()
    }

    fn swapped(
        source: (&DynamicImage, &[[f32; 3]]),
        target: (&DynamicImage, &[[f32; 3]]),
        stays: [bool; 2],
    ) -> DynamicImage {
        let monitor = Monitor::new().0;
        let seen = |(image, points)| Seen { image, points };
        let face = Face::fitted(seen(source), seen(target), stays, &monitor).unwrap().unwrap();
        let mut made = target.0.clone();
        paste(&mut made, face.area, &face, &monitor).unwrap();
        made
    }

    fn off(one: &Rgb<u8>, other: &Rgb<u8>) -> u8 {
        one.0.iter().zip(other.0).map(|(one, other)| one.abs_diff(other)).max().unwrap_or(0)
    }

    #[test]
    fn a_face_on_itself_stays_nearly_the_same() {
        let (middle, size) = ([80.0, 90.0], (160, 180));
        let (image, mesh) = (skin(size, [210, 170, 140], middle, 1.0), mesh(1.0, middle));
        let made = swapped((&image, &mesh), (&image, &mesh), [false; 2]).to_rgb8();
        let before = image.to_rgb8();
        let most = made.pixels().zip(before.pixels()).map(|(made, before)| off(made, before)).max();
        assert!(most <= Some(3), "{most:?}");
    }

    #[test]
    fn a_face_gets_the_skin_of_its_target_and_keeps_its_marks() {
        let (here, there) = ([70.0, 80.0], [150.0, 170.0]);
        let source = skin((140, 160), [210, 170, 140], here, 1.0);
        // Without a mark.
        let target = skin((300, 340), [120, 90, 80], [-900.0, -900.0], 1.0);
        let (from, onto) = (mesh(1.0, here), mesh(2.0, there));
        let made = swapped((&source, &from), (&target, &onto), [false; 2]).to_rgb8();
        let before = target.to_rgb8();
        let at = |image: &RgbImage, x: u32, y: u32| image.get_pixel(x, y).0.map(i32::from);
        let [red, green, blue] = at(&made, 150, 175);
        assert!(red < 80 && green < 70 && blue < 65, "the mark is {red} {green} {blue}");
        // A cheek.
        let cheek = at(&made, 110, 190).iter().zip([117, 87, 77]).map(|(made, skin)| (made - skin).abs()).max();
        assert!(cheek <= Some(12), "{cheek:?}");
        let mut changed = 0;
        for (x, y, pixel) in made.enumerate_pixels() {
            let (across, down) = ((x as f32 + 0.5 - there[0]) / 80.0, (y as f32 + 0.5 - there[1]) / 100.0);
            if across.hypot(down) > 1.0 {
                assert_eq!(pixel, before.get_pixel(x, y), "{x},{y}");
            } else if pixel != before.get_pixel(x, y) {
                changed += 1;
            }
        }
        assert!(changed > 5000, "{changed}");
        // The inside of the mouth stays, and what is above the brows.
        assert_eq!(at(&made, 150, 213), at(&before, 150, 213));
        assert_eq!(at(&made, 150, 75), at(&before, 150, 75));
    }

    #[test]
    fn eyes_that_stay_are_those_of_the_target() {
        let middle = [150.0, 170.0];
        // The mark is on the eye on the left of the picture.
        let source = skin((300, 340), [210, 170, 140], [119.0, 143.5], 2.0);
        let target = skin((300, 340), [120, 90, 80], middle, 2.0);
        let mesh = mesh(2.0, middle);
        let before = target.to_rgb8();
        let changed = |stays: [bool; 2]| {
            let made = swapped((&source, &mesh), (&target, &mesh), stays).to_rgb8();
            off(made.get_pixel(119, 147), before.get_pixel(119, 147))
        };
        let [stayed, other, none] = [[true, false], [false, true], [false; 2]].map(changed);
        assert!(stayed < 5 && other > 40 && none > 40, "{stayed} {other} {none}");
    }

    #[test]
    fn faces_outside_of_their_pictures_are_not_fitted() {
        let (image, here) = (skin((100, 100), [120, 90, 80], [50.0, 50.0], 1.0), mesh(1.0, [50.0, 50.0]));
        let away = mesh(1.0, [900.0, 50.0]);
        for (from, onto) in [(&here, &away), (&away, &here)] {
            let seen = |points| Seen { image: &image, points };
            let fitted = Face::fitted(seen(&from[..]), seen(&onto[..]), [false; 2], &Monitor::new().0).unwrap();
            assert!(fitted.is_none());
        }
    }

    #[test]
    fn a_cancelled_job_ends_wherever_it_is_cancelled() {
        let (image, mesh) = (skin((100, 120), [120, 90, 80], [50.0, 60.0], 1.0), mesh(1.0, [50.0, 60.0]));
        let seen = Seen { image: &image, points: &mesh };
        let fit = |last: u64| {
            let (monitor, _watch, checks) = Monitor::counted(last);
            (Face::fitted(seen, seen, [false; 2], &monitor).map(drop), checks.count())
        };
        let (done, all) = fit(u64::MAX);
        assert_eq!(done, Ok(()));
        for last in [1, all / 3, all / 2, all - 1] {
            assert_eq!(fit(last), (Err(EngineError::Cancelled), last));
        }
    }
}
