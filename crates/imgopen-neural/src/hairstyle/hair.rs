//! Finds the hair of a person.
//!
//! A net finds the person in a part of the picture around the head, without what is nearer to the heads of others, or belongs to their
//! bodies. What of it is hair is decided by place and colour: the crown shows the colours of the hair, cheeks and nose those of the
//! skin, and each pixel beside the face belongs to the colours that it is nearer to. Below the jaw, hair has to be nearer to those of
//! hair than to those of the clothes on the chest; face, jaw and neck are never hair. Only what hangs together with the crown counts.
//! The edges of that follow those of the picture, by the same guided filter that refines backgrounds. Hair of the colour of skin, and
//! below the jaw hair of the colour of clothes, is found in part only.

use image::{DynamicImage, GrayImage, Luma};
use imgopen_engine::{EngineError, Monitor};

use super::head::{Head, Part};
use crate::background::People;
use crate::background::matte::{Matte, refine};
use crate::lab;
use crate::nets::Nets;
use crate::pixels::{self, Channels};
use crate::plane::{Plane, places};

/// The longest side, in pixels, of the copy on which hair is found.
const COPY: u32 = 384;

/// The bytes that finding takes at most: some 60 planes of the copy.
pub(super) const PLANES: u64 = 60 * (COPY as u64) * (COPY as u64) * 4;

/// The radius of the guided filter, in pixels of the copy.
const RADIUS: usize = 5;

/// The fewest pixels of the copy that show the colours of hair, or of skin.
const FEWEST: usize = 30;

/// The area of hair below which none was found, in squares of the head's unit.
const LEAST_AREA: f32 = 0.4;

/// The level from which on a pixel is hair.
const IS_HAIR: f32 = 0.5;

/// The variances, of lightness and of both numbers of colour, that are added to those that are measured.
const TOLERANCE: [f32; 3] = [25.0, 4.0, 4.0];

/// The squared distance from the colours of hair beyond which a pixel is less likely to be hair, and over which that fades.
const NEAR: [f32; 2] = [12.0, 8.0];

/// How many squared deviations in favour of hair a place beside the face counts, where skin does not show.
const BESIDE: f32 = 8.0;

/// By how many squared deviations colours below the jaw have to be nearer to those of hair than to those of clothes.
const SURE: f32 = 2.0;

/// How often the colours of hair are taken again from what was found.
const ROUNDS: usize = 3;

/// How much nearer to the head hair is looked for if there are others.
const CROWDED: f32 = 0.79;

/// The height of the middle of a head above the eyes.
const MIDDLE: f32 = 0.3;

/// By how many units a hole for a new style is larger than the hair.
const GROWN: f32 = 0.35;

/// The same for styles with volume.
const GROWN_LARGE: f32 = 0.8;

/// The hair of a person in a picture.
pub(super) struct Hair {
    pub part: Part,
    /// Opacity within the part, on the copy.
    pub matte: Matte,
    /// The mean colour, in L*a*b*.
    pub mean: [f32; 3],
    head: Head,
    /// How much of each pixel of the copy is hair, and how much of it belongs to the person.
    hair: Plane,
    person: Plane,
}

/// The copy of a part, with what its pixels are.
struct Scene {
    colours: [Plane; 3],
    /// Lightness and colour of each pixel.
    labs: Vec<[f32; 3]>,
    /// The place of each pixel in relation to the head.
    places: Vec<[f32; 2]>,
    /// How much of each pixel belongs to the person whose hair is looked for.
    person: Plane,
    /// By which factor the distance from the head counts up to which hair is looked for.
    reach: f32,
}

/// What colours are compared with.
struct Others {
    skin: Tones,
    /// Those of the chest, if it shows.
    clothes: Option<Tones>,
}

/// Colours that belong together, as a normal distribution.
struct Tones {
    middle: [f32; 3],
    /// The inverse of the covariance: 11, 12, 13, 22, 23, 33.
    spread: [f32; 6],
    /// The logarithm of the determinant of the covariance: how much room they take.
    size: f32,
}

/// Finds the hair around a face; `None` if there is none. `others` are the heads of other people in the picture.
///
/// # Errors
///
/// [`EngineError::Cancelled`], and as for loading and running a net.
pub(super) fn find(
    people: &People,
    nets: &Nets,
    image: &DynamicImage,
    head: Head,
    others: &[Head],
    monitor: &Monitor,
) -> Result<Option<Hair>, EngineError> {
    let Some(part) = head.part((image.width(), image.height())) else { return Ok(None) };
    let cut = image.crop_imm(part.left, part.top, part.width, part.height);
    monitor.check_cancelled()?;
    let (width, height) = copy_size(part);
    let cut = if width < part.width || height < part.height { pixels::resized(&cut, width, height)? } else { cut };
    let person = people.find(nets, &cut)?;
    monitor.check_cancelled()?;
    let scene = Scene::of(&cut, part, &head, others, person)?;
    let unit = head.unit * width as f32 / part.width as f32;
    let Some(mask) = scene.mask(monitor)? else { return Ok(None) };
    let matte = refine(&mask, &scene.colours, RADIUS, monitor)?;
    let hair = matte.on(&scene.colours);
    let area: f32 = hair.values.iter().sum();
    if area < LEAST_AREA * unit * unit {
        return Ok(None);
    }
    let mean = std::array::from_fn(|axis| {
        let sum: f32 = scene.labs.iter().zip(&hair.values).map(|(lab, share)| lab[axis] * share).sum();
        sum / area
    });
    Ok(Some(Hair { part, matte, mean, head, hair, person: scene.person }))
}

impl Hair {
    /// Returns a mask for a new style: white where hair is, or the style may put some.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`].
    pub fn hole(&self, style: &str, (width, height): (u32, u32), monitor: &Monitor) -> Result<GrayImage, EngineError> {
        let style = style.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| style.contains(word));
        let is_long = has(&["long", "shoulder", "waist", "braid", "dreadlock", "lob"]);
        let is_large = has(&["afro", "curl", "volum", "big", "perm"]);
        let part = self.part;
        let scale = self.hair.width as f32 / part.width as f32;
        let grown = if is_large { GROWN_LARGE } else { GROWN };
        let radius = (grown * self.head.unit * scale).ceil() as usize;
        let spots = self.places();
        let crown = spots.iter().zip(&self.person.values);
        let crown = crown.map(|([side, above], person)| *person > 0.5 && is_crown(*side, *above));
        let marked = self.hair.values.iter().zip(crown).map(|(hair, crown)| f32::from(u8::from(*hair > 0.3 || crown)));
        let marked = Plane { values: marked.collect(), ..self.hair };
        let mut near = marked.mean(radius, monitor)?;
        for (near, [side, above]) in near.values.iter_mut().zip(&spots) {
            let is_below = is_long && side.abs() < 2.3 && (-4.5..0.8).contains(above) && is_beside(*side, *above);
            let is_marked = (*near > 0.0 || is_below) && !is_inner(*side, *above);
            *near = f32::from(u8::from(is_marked));
        }
        let mut hole = GrayImage::new(width, height);
        let columns = places(near.width, part.width as usize);
        let (mut mixed, mut row) = (Vec::new(), Vec::new());
        for (y, place) in (part.top..).zip(places(near.height, part.height as usize)) {
            monitor.check_cancelled()?;
            near.enlarge_row(place, &columns, &mut mixed, &mut row);
            for (x, _) in (part.left..).zip(&row).filter(|(_, level)| **level >= 0.5) {
                hole.put_pixel(x, y, Luma([255]));
            }
        }
        Ok(hole)
    }

    fn places(&self) -> Vec<[f32; 2]> {
        spots(self.part, (self.hair.width, self.hair.height), &self.head)
    }
}

impl Scene {
    fn of(cut: &DynamicImage, part: Part, head: &Head, others: &[Head], person: Plane) -> Result<Self, EngineError> {
        let Channels { colours, opacity } = Channels::of(cut)?;
        let [red, green, blue] = &colours;
        let pixels = red.values.iter().zip(&green.values).zip(&blue.values);
        let labs = pixels.map(|((red, green), blue)| lab::of([*red, *green, *blue])).collect();
        let places = spots(part, (red.width, red.height), head);
        // What is transparent is not seen.
        let mut person = person.with(&opacity, |person, opacity| person * opacity);
        for other in others {
            let theirs = spots(part, (red.width, red.height), other);
            let pairs = places.iter().zip(theirs).zip(&mut person.values);
            pairs.filter(|((own, other), _)| !is_own(**own, *other)).for_each(|(_, person)| *person = 0.0);
        }
        let reach = if others.is_empty() { 1.0 } else { CROWDED };
        Ok(Self { colours, labs, places, person, reach })
    }

    /// Returns how likely each pixel is hair, from 0 to 1; `None` if no colours of hair show.
    fn mask(&self, monitor: &Monitor) -> Result<Option<Plane>, EngineError> {
        let crown = |index: usize| {
            let [side, above] = self.places[index];
            self.person.values[index] > 0.9 && (0.95..1.45).contains(&above) && side.abs() < 0.9
        };
        let cheeks = |index: usize| {
            let [side, above] = self.places[index];
            (side / 1.05).hypot((above + 0.35) / 1.45) < 0.75 && (-1.1..0.1).contains(&above)
        };
        let chest = |index: usize| {
            let [side, above] = self.places[index];
            self.person.values[index] > 0.9 && (-4.2..-2.5).contains(&above) && side.abs() < 1.0
        };
        let (Some(mut hair), Some(skin)) = (self.tones(crown), self.tones(cheeks)) else { return Ok(None) };
        let others = Others { skin, clothes: self.tones(chest) };
        monitor.check_cancelled()?;
        let mut likely = self.likely(&hair, &others, monitor)?;
        // At first only what is beside the head and above.
        let mut lowest = -0.2;
        for _ in 0..ROUNDS {
            let is_near = |index: usize| hair.distance(self.labs[index]) < others.skin.distance(self.labs[index]);
            let is_sure = |index: usize| {
                (likely.values[index] > 0.6 && self.places[index][1] > lowest) || (crown(index) && is_near(index))
            };
            let Some(next) = self.tones(is_sure) else { return Ok(None) };
            hair = next;
            likely = self.likely(&hair, &others, monitor)?;
            lowest = -0.5;
        }
        self.connected(likely, monitor).map(Some)
    }

    /// Returns the tones of the pixels that are chosen; `None` if there are too few.
    fn tones(&self, is_chosen: impl Fn(usize) -> bool) -> Option<Tones> {
        let chosen = (0..self.labs.len()).filter(|index| is_chosen(*index)).map(|index| self.labs[index]);
        Tones::of(&chosen.collect::<Vec<_>>())
    }

    fn likely(&self, hair: &Tones, others: &Others, monitor: &Monitor) -> Result<Plane, EngineError> {
        let mut values = Vec::with_capacity(self.labs.len());
        for (index, ((lab, [side, above]), person)) in
            self.labs.iter().zip(&self.places).zip(&self.person.values).enumerate()
        {
            if index % self.person.width == 0 {
                monitor.check_cancelled()?;
            }
            let region = person * region(*side, *above, self.reach);
            values.push(if region > 0.0 { region * others.likelihood(hair, *lab, [*side, *above]) } else { 0.0 });
        }
        Ok(Plane { values, ..self.person })
    }

    /// Clears what does not hang together with the crown.
    fn connected(&self, mut likely: Plane, monitor: &Monitor) -> Result<Plane, EngineError> {
        let (width, height) = (likely.width, likely.height);
        let is_hair = |index: usize| likely.values[index] > IS_HAIR;
        let is_crown = |index: usize| self.places[index][1] > 0.9 && self.places[index][0].abs() < 1.3;
        let mut reached = vec![0.0; width * height];
        let mut open: Vec<usize> = (0..width * height).filter(|index| is_hair(*index) && is_crown(*index)).collect();
        open.iter().for_each(|index| reached[*index] = 1.0);
        let mut count = 0_usize;
        while let Some(index) = open.pop() {
            if count.is_multiple_of(width) {
                monitor.check_cancelled()?;
            }
            count += 1;
            let (x, y) = (index % width, index / width);
            let beside = [
                (x > 0).then(|| index - 1),
                (x + 1 < width).then(|| index + 1),
                (y > 0).then(|| index - width),
                (y + 1 < height).then(|| index + width),
            ];
            for next in beside.into_iter().flatten() {
                if reached[next] == 0.0 && is_hair(next) {
                    reached[next] = 1.0;
                    open.push(next);
                }
            }
        }
        // With its edge, where levels are lower.
        let near = Plane { width, height, values: reached }.mean(2, monitor)?;
        likely.values.iter_mut().zip(near.values).filter(|(_, near)| *near <= 0.0).for_each(|(level, _)| *level = 0.0);
        Ok(likely)
    }
}

impl Others {
    /// Returns how likely a colour at a place is that of hair.
    fn likelihood(&self, hair: &Tones, lab: [f32; 3], [side, above]: [f32; 2]) -> f32 {
        let distance = hair.distance(lab);
        let favour = BESIDE * beside_face(side, above);
        let likely = likelihood(distance, self.skin.distance(lab) + favour);
        let below = smooth((-1.1 - above) / 0.5);
        match &self.clothes {
            Some(clothes) if below > 0.0 => {
                let other = clothes.distance(lab) + clothes.size - hair.size;
                likely * (1.0 - below + below * nearer(distance + SURE, other))
            }
            _ => likely,
        }
    }
}

impl Tones {
    fn of(labs: &[[f32; 3]]) -> Option<Self> {
        if labs.len() < FEWEST {
            return None;
        }
        let middle = std::array::from_fn(|axis| {
            let mut values: Vec<f32> = labs.iter().map(|lab| lab[axis]).collect();
            values.sort_by(f32::total_cmp);
            values[values.len() / 2]
        });
        let mean = |first: usize, second: usize| {
            let product = |lab: &[f32; 3]| (lab[first] - middle[first]) * (lab[second] - middle[second]);
            labs.iter().map(product).sum::<f32>() / labs.len() as f32
        };
        let [a, d, f] = [0, 1, 2].map(|axis| mean(axis, axis) + TOLERANCE[axis]);
        let (b, c, e) = (mean(0, 1), mean(0, 2), mean(1, 2));
        let (first, second, third) = (d * f - e * e, c * e - b * f, b * e - c * d);
        let determinant = a * first + b * second + c * third;
        let spread = [first, second, third, a * f - c * c, b * c - a * e, a * d - b * b];
        Some(Self { middle, spread: spread.map(|factor| factor / determinant), size: determinant.ln() })
    }

    /// Returns the square of how many standard deviations a colour is away.
    fn distance(&self, lab: [f32; 3]) -> f32 {
        let [x, y, z] = std::array::from_fn(|axis| lab[axis] - self.middle[axis]);
        let [a, b, c, d, e, f] = self.spread;
        a * x * x + d * y * y + f * z * z + 2.0 * (b * x * y + c * x * z + e * y * z)
    }
}

/// Returns how likely a colour is that of hair, by its squared distances from hair and from skin.
fn likelihood(hair: f32, skin: f32) -> f32 {
    let [near, fade] = NEAR;
    nearer(hair, skin) * (-(hair - near).max(0.0) / fade).exp()
}

/// Returns how likely the first of two squared distances is the right one.
fn nearer(one: f32, other: f32) -> f32 {
    1.0 / (1.0 + ((one - other) / 2.0).clamp(-30.0, 30.0).exp())
}

/// Returns how likely hair is at a place, by the place alone.
fn region(side: f32, above: f32, reach: f32) -> f32 {
    if is_skin(side, above) {
        return 0.0;
    }
    let around = smooth((1.0 - (side / 2.9).hypot((above - 0.1) / 3.3) / reach) / 0.15);
    let hanging = smooth((2.1 - side.abs()) / 0.5) * smooth((above + 5.0) / 1.5);
    around.max(if above < 0.1 { hanging } else { 0.0 })
}

/// Returns whether a place is one of face, jaw or neck, below a fringe.
fn is_skin(side: f32, above: f32) -> bool {
    let is_face = above < 0.45 && side.hypot((above + 0.45) / 1.35) < 1.0;
    let is_brow = (side / 0.8).hypot((above - 0.45) / 0.35) < 1.0;
    let is_jaw = above < -0.35 && (side / 1.15).hypot((above + 0.35) / 1.65) < 1.0;
    let is_neck = above < -1.3 && side.abs() < 1.15;
    is_face || is_brow || is_jaw || is_neck
}

/// Returns how far a place is beside the face or above it, from 0 to 1, where skin does not show; 0 below the jaw.
fn beside_face(side: f32, above: f32) -> f32 {
    let out = (side / 1.1).hypot((above + 0.3) / 1.5);
    smooth((out - 1.0) / 0.3) * smooth((above + 1.2) / 0.5)
}

/// Returns whether a place belongs to a person rather than to another one, by where it is in relation to the heads of both. The body of
/// the other begins below the chin, and ends at this one's head.
fn is_own([side, above]: [f32; 2], [other_side, other_above]: [f32; 2]) -> bool {
    let is_nearer = side.hypot(above - MIDDLE) <= other_side.hypot(other_above - MIDDLE);
    let is_head = (side / 1.6).hypot((above - 0.1) / 1.5) <= 1.0;
    let is_body = other_side.abs() < 3.0 && (-9.0..-1.2).contains(&other_above);
    is_nearer && (is_head || !is_body)
}

/// Returns whether a place is one of eyes, nose or mouth.
fn is_inner(side: f32, above: f32) -> bool {
    (side / 0.95).hypot((above + 0.45) / 1.3) < 1.0
}

/// Returns whether a place is above the brows and beside the face, no farther than hair usually is.
fn is_crown(side: f32, above: f32) -> bool {
    above > 0.5 && is_beside(side, above) && (side / 2.2).hypot(above / 3.0) < 1.0
}

/// Returns whether a place is beside the face.
fn is_beside(side: f32, above: f32) -> bool {
    (side / 1.05).hypot((above + 0.35) / 1.45) > 1.0
}

fn smooth(share: f32) -> f32 {
    let share = share.clamp(0.0, 1.0);
    share * share * (3.0 - 2.0 * share)
}

/// Returns the place of each pixel of a copy of a part.
fn spots(part: Part, (width, height): (usize, usize), head: &Head) -> Vec<[f32; 2]> {
    let across = part.width as f32 / width as f32;
    let down = part.height as f32 / height as f32;
    let spot = |index: usize| {
        let (x, y) = ((index % width) as f32 + 0.5, (index / width) as f32 + 0.5);
        head.place([part.left as f32 + x * across, part.top as f32 + y * down])
    };
    (0..width * height).map(spot).collect()
}

fn copy_size(part: Part) -> (u32, u32) {
    let factor = (COPY as f32 / part.width.max(part.height) as f32).min(1.0);
    let scaled = |side: u32| ((side as f32 * factor).round() as u32).max(1);
    (scaled(part.width), scaled(part.height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::FoundFace;

    /// The eyes are at 100,100, and the mouth is 20 below.
    fn head() -> Head {
        let points = [[90.0, 100.0], [110.0, 100.0], [100.0, 110.0], [100.0, 120.0], [80.0, 100.0], [120.0, 100.0]];
        Head::of(&FoundFace { left: 80.0, top: 85.0, width: 40.0, height: 40.0, score: 0.9, points }).unwrap()
    }

    /// Pink skin, dark hair around the face, a blue shirt, and before the shirt something as dark as the hair.
    fn scene() -> (Scene, usize) {
        let part = head().part((200, 240)).unwrap();
        let size = (part.width as usize, part.height as usize);
        let places = spots(part, size, &head());
        let colour = |[side, above]: &[f32; 2]| {
            let is_dark = side.hypot(above - 0.3) < 2.6 || *above < -3.5;
            match (is_inner(*side, *above), is_dark) {
                (true, _) => [0.85, 0.65, 0.55],
                (false, true) => [0.15, 0.1, 0.08],
                (false, false) => [0.2, 0.3, 0.8],
            }
        };
        let pixels: Vec<[f32; 3]> = places.iter().map(colour).collect();
        let plane = |axis: usize| Plane {
            width: size.0,
            height: size.1,
            values: pixels.iter().map(|pixel| pixel[axis]).collect(),
        };
        let person = Plane { width: size.0, height: size.1, values: vec![1.0; size.0 * size.1] };
        let labs = pixels.iter().map(|pixel| lab::of(*pixel)).collect();
        (Scene { colours: [plane(0), plane(1), plane(2)], labs, places, person, reach: 1.0 }, size.0)
    }

    #[test]
    fn hair_is_what_has_the_colours_of_the_crown_and_hangs_together_with_it() {
        let (scene, width) = scene();
        let mask = scene.mask(&Monitor::new().0).unwrap().unwrap();
        let at = |side: f32, above: f32| {
            let near = |place: &[f32; 2]| (place[0] - side).hypot(place[1] - above);
            let nearest = scene.places.iter().enumerate().min_by(|one, other| near(one.1).total_cmp(&near(other.1)));
            mask.values[nearest.unwrap().0]
        };
        assert_eq!(mask.width, width);
        for (side, above) in [(0.0, 1.8), (1.5, 0.3), (-1.5, 0.3), (0.0, 1.2)] {
            assert!(at(side, above) > 0.9, "{side},{above}: {}", at(side, above));
        }
        for (side, above) in [(0.0, 0.0), (0.0, -1.0), (2.9, 0.0), (0.0, -2.5), (0.0, -4.2)] {
            assert!(at(side, above) < 0.05, "{side},{above}: {}", at(side, above));
        }
    }

    /// What has the colours of hair beside it, as a jaw in the shade, is neither.
    #[test]
    fn face_jaw_and_neck_are_never_hair() {
        for (side, above) in [(0.0, 0.0), (0.9, -0.9), (-0.8, -1.4), (0.0, -1.9), (1.1, -2.5), (0.0, 0.7)] {
            assert_eq!(region(side, above, 1.0), 0.0, "{side},{above}");
        }
        // A fringe, a temple, hair beside the jaw and before the shoulders.
        for (side, above) in [(0.0, 0.9), (0.9, 0.5), (1.4, -1.0), (-1.5, -2.5)] {
            assert!(region(side, above, 1.0) > 0.9, "{side},{above}");
        }
        assert!(region(2.5, 0.1, 1.0) > 0.5 && region(2.5, 0.1, CROWDED) == 0.0);
    }

    /// Below the jaw, where hair falls onto something as dark.
    #[test]
    fn hair_onto_clothes_of_its_colour_is_not_found() {
        let tones = |lightness: f32| Tones::of(&[[lightness, 2.0, 4.0]; 40]).unwrap();
        let likely = |clothes: f32, above: f32| {
            let others = Others { skin: tones(70.0), clothes: Some(tones(clothes)) };
            others.likelihood(&tones(15.0), [15.0, 2.0, 4.0], [1.5, above])
        };
        assert!(likely(15.0, -1.0) > 0.99 && likely(60.0, -3.0) > 0.99);
        // By hand: the distances are the same, less what has to be sure.
        assert!((likely(15.0, -3.0) - 1.0 / (1.0 + 1_f32.exp())).abs() < 1e-3, "{}", likely(15.0, -3.0));
    }

    #[test]
    fn others_keep_their_heads_and_bodies() {
        // Beside the own head, and before the body of someone behind.
        assert!(is_own([0.5, 1.0], [3.0, -4.0]) && is_own([1.5, 0.0], [-2.0, -3.0]));
        // Above it, where someone's arm is, and where their own head is nearer.
        assert!(!is_own([0.0, 1.8], [1.0, -4.0]) && !is_own([2.0, 0.5], [-1.5, 0.3]));
        // Far from any body.
        assert!(is_own([0.0, 1.8], [5.0, -4.0]));
    }

    #[test]
    fn nothing_is_found_where_nobody_is() {
        let (mut scene, _) = scene();
        scene.person.values.fill(0.0);
        assert_eq!(scene.mask(&Monitor::new().0).unwrap(), None);
    }

    #[test]
    fn distances_count_standard_deviations() {
        let labs: Vec<[f32; 3]> =
            (0..100).map(|index| [50.0 + if index % 2 == 0 { 12.0 } else { -12.0 }, 5.0, 5.0]).collect();
        let tones = Tones::of(&labs).unwrap();
        // The middle is one of both.
        assert_eq!(tones.middle[1..], [5.0, 5.0]);
        assert!((tones.distance([tones.middle[0], 7.0, 5.0]) - 1.0).abs() < 1e-3);
        assert!(Tones::of(&labs[..20]).is_none());
    }

    #[test]
    fn a_cancelled_job_ends_within_a_row() {
        let (scene, _) = scene();
        let (monitor, _watch, checks) = Monitor::counted(9);
        assert_eq!(scene.mask(&monitor), Err(EngineError::Cancelled));
        assert_eq!(checks.count(), 9);
    }
}
