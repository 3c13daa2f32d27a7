//! Positions and sizes of marks.

use imgopen_engine::EngineError;
use imgopen_types::WatermarkPosition;

use super::request::Print;

/// The default width of a mark as a share of the picture's.
const SCALE: f64 = 0.25;

/// The room for marks on one picture, in pixels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Space {
    /// The picture.
    width: u32,
    height: u32,
    /// The distance of the mark from the edges.
    margin: u32,
    /// The largest size of a mark.
    pub(super) room: (u32, u32),
    /// The wanted width of the mark.
    pub(super) target: u32,
    /// The largest letter size, if the request does not set the width of the mark.
    pub(super) letters: Option<f32>,
}

impl Space {
    /// Computes the room on a picture of that size. Rejects margins that leave none.
    pub(super) fn new(print: &Print, width: u32, height: u32) -> Result<Self, EngineError> {
        let shorter = width.min(height);
        let margin = match print.position {
            WatermarkPosition::Tile => 0,
            _ => print.margin.unwrap_or(usual_margin(shorter)),
        };
        let most = (shorter - 1) / 2;
        if margin > most {
            let problem =
                format!("{margin} given, which leaves no room on {width}x{height} pixels; give at most {most}");
            return Err(EngineError::rejected("margin", problem));
        }
        let room = (width - 2 * margin, height - 2 * margin);
        let target = (f64::from(width) * print.scale.unwrap_or(SCALE)).round() as u32;
        let letters = print.scale.is_none().then_some(shorter as f32 / 16.0);
        Ok(Self { width, height, margin, room, target: target.clamp(1, room.0), letters })
    }

    /// Returns the size of a picture as a mark: the wanted width, limited to the room, with its aspect ratio.
    pub(super) fn fit(&self, width: u32, height: u32) -> (u32, u32) {
        let [wide, high] = [width, height].map(f64::from);
        let times = (f64::from(self.target) / wide).min(f64::from(self.room.1) / high);
        let fit = |side: f64, most: u32| ((side * times).round() as u32).clamp(1, most);
        (fit(wide, self.target), fit(high, self.room.1))
    }

    /// Returns the upper left corners of all copies of a mark of that size.
    pub(super) fn places(&self, print: &Print, width: u32, height: u32) -> Box<dyn Iterator<Item = (i64, i64)>> {
        let size = (i64::from(width), i64::from(height));
        match print.position {
            WatermarkPosition::Tile => {
                let usual = || usual_margin(self.width.min(self.height)).max(height);
                Box::new(self.tiles(size, i64::from(print.margin.unwrap_or_else(usual))))
            }
            once => Box::new(std::iter::once(self.once(once, size))),
        }
    }

    fn once(&self, position: WatermarkPosition, (width, height): (i64, i64)) -> (i64, i64) {
        use WatermarkPosition::*;
        let margin = i64::from(self.margin);
        let (picture_width, picture_height) = (i64::from(self.width), i64::from(self.height));
        let x = match position {
            TopLeft | CenterLeft | BottomLeft => margin,
            TopCenter | Center | BottomCenter | Tile => (picture_width - width) / 2,
            TopRight | CenterRight | BottomRight => picture_width - margin - width,
        };
        let y = match position {
            TopLeft | TopCenter | TopRight => margin,
            CenterLeft | Center | CenterRight | Tile => (picture_height - height) / 2,
            BottomLeft | BottomCenter | BottomRight => picture_height - margin - height,
        };
        (x, y)
    }

    /// Returns copies laid like bricks, one of them in the middle.
    fn tiles(&self, size: (i64, i64), gap: i64) -> impl Iterator<Item = (i64, i64)> + use<> {
        let (across, down) = (size.0 + gap, size.1 + gap);
        let (x, y) = self.once(WatermarkPosition::Center, size);
        let (width, height) = (i64::from(self.width), i64::from(self.height));
        // The whole steps between the first position and the edge, so that copies cut by the edge are included.
        let before = move |place: i64, size: i64, step: i64| (place + size - 1).div_euclid(step);
        let after = move |place: i64, side: i64, step: i64| (side - 1 - place).div_euclid(step);
        (-before(y, size.1, down)..=after(y, height, down)).flat_map(move |row| {
            let x = x + if row.rem_euclid(2) == 1 { across / 2 } else { 0 };
            (-before(x, size.0, across)..=after(x, width, across))
                .map(move |column| (x + column * across, y + row * down))
        })
    }
}

fn usual_margin(shorter: u32) -> u32 {
    (f64::from(shorter) / 50.0).round() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::watermark::request::Content;

    fn print(position: WatermarkPosition, scale: Option<f64>, margin: Option<u32>) -> Print {
        Print { content: Content::Picture, position, opacity: 1.0, scale, margin }
    }

    #[test]
    fn a_margin_that_leaves_no_room_is_rejected_with_one_that_fits() {
        let print = |margin| print(WatermarkPosition::TopLeft, None, Some(margin));
        let error = Space::new(&print(50), 200, 100).unwrap_err().to_string();
        assert_eq!(error, "`margin`: 50 given, which leaves no room on 200x100 pixels; give at most 49");
        assert_eq!(Space::new(&print(49), 200, 100).unwrap().room, (102, 2));
        assert_eq!(Space::new(&print(0), 1, 1).unwrap().room, (1, 1));
        assert!(Space::new(&print(u32::MAX), 1, 1).unwrap_err().to_string().ends_with("give at most 0"));
    }

    #[test]
    fn nine_places_lie_at_the_margins_and_in_the_middle() {
        for (index, position) in WatermarkPosition::ALL.iter().copied().take(9).enumerate() {
            let print = print(position, None, Some(7));
            let space = Space::new(&print, 101, 61).unwrap();
            let places: Vec<_> = space.places(&print, 11, 21).collect();
            assert_eq!(places, [([7, 45, 83][index % 3], [7, 20, 33][index / 3])]);
        }
    }

    #[test]
    fn tiles_cover_the_picture_like_bricks() {
        let print = print(WatermarkPosition::Tile, None, Some(5));
        let space = Space::new(&print, 100, 40).unwrap();
        let places: Vec<_> = space.places(&print, 20, 10).collect();
        assert_eq!(places[..5], [(2, 0), (27, 0), (52, 0), (77, 0), (-10, 15)]);
        assert!(places.contains(&(40, 15)) && places.contains(&(52, 30)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_picture_as_a_mark_stays_inside_and_keeps_its_shape(
            picture in (1..3000_u32, 1..3000_u32), mark in (1..3000_u32, 1..3000_u32), scale in 0.001..=1.0_f64,
            position in 0..9_usize,
        ) {
            let print = print(WatermarkPosition::ALL[position], Some(scale), None);
            let space = Space::new(&print, picture.0, picture.1).unwrap();
            let (width, height) = space.fit(mark.0, mark.1);
            for (x, y) in space.places(&print, width, height) {
                prop_assert!(x >= 0 && y >= 0);
                prop_assert!(x + i64::from(width) <= i64::from(picture.0));
                prop_assert!(y + i64::from(height) <= i64::from(picture.1));
            }
            let times = f64::from(width) / f64::from(mark.0);
            prop_assert!((f64::from(mark.1) * times - f64::from(height)).abs() <= 1.0 + f64::from(mark.1) / f64::from(mark.0));
        }

        #[test]
        fn tiles_touch_the_picture_and_leave_no_larger_gap(
            picture in (100..300_u32, 100..300_u32), mark in (1..60_u32, 1..60_u32), gap in 0..40_u32,
        ) {
            let print = print(WatermarkPosition::Tile, None, Some(gap));
            let space = Space::new(&print, picture.0, picture.1).unwrap();
            let mut covered = vec![false; (picture.0 * picture.1) as usize];
            for (x, y) in space.places(&print, mark.0, mark.1) {
                // Including the gap around it.
                let columns = (x - i64::from(gap)).max(0)..(x + i64::from(mark.0 + gap)).min(picture.0.into());
                prop_assert!(x < i64::from(picture.0) && x + i64::from(mark.0) > 0);
                prop_assert!(y < i64::from(picture.1) && y + i64::from(mark.1) > 0);
                for row in (y - i64::from(gap)).max(0)..(y + i64::from(mark.1 + gap)).min(picture.1.into()) {
                    for column in columns.clone() {
                        covered[(row * i64::from(picture.0) + column) as usize] = true;
                    }
                }
            }
            prop_assert!(covered.iter().all(|covered| *covered));
        }
    }
}
