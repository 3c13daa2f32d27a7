//! Splits a hole into pieces that are far from each other, so that each is filled from its own surroundings.

use imgopen_engine::{EngineError, Monitor};

use super::canvas::Area;

/// The side in pixels of the squares that are treated as one cell.
const SQUARE: usize = 64;
/// Pieces at most this many cells apart are merged.
const REACH: usize = 2;
/// The most pieces; beyond it all are merged, since each costs time.
const MOST: usize = 64;

/// Returns disjoint areas, each as small as possible, that together contain every set pixel. Sets that are close to each other
/// share one.
///
/// # Errors
///
/// [`EngineError::Cancelled`].
pub fn clusters(set: &[bool], width: usize, monitor: &Monitor) -> Result<Vec<Area>, EngineError> {
    let mut areas: Vec<Area> = Vec::new();
    let columns = width.div_ceil(SQUARE);
    for (number, rows) in set.chunks(width * SQUARE).enumerate() {
        monitor.check_cancelled()?;
        let mut squares: Vec<Option<Area>> = vec![None; columns];
        for (y, row) in rows.chunks_exact(width).enumerate() {
            for x in (0..width).filter(|x| row[*x]) {
                let y = number * SQUARE + y;
                let pixel = Area { left: x, top: y, right: x + 1, bottom: y + 1 };
                let square = &mut squares[x / SQUARE];
                *square = Some(square.map_or(pixel, |square| square.with(pixel)));
            }
        }
        for square in squares.into_iter().flatten() {
            join(&mut areas, square);
        }
    }
    if areas.len() > MOST {
        return Ok(areas.into_iter().reduce(Area::with).into_iter().collect());
    }
    Ok(areas)
}

/// Adds an area, merged with all near it, and with those near the result.
fn join(areas: &mut Vec<Area>, mut area: Area) {
    while let Some(near) = areas.iter().position(|other| other.is_near(&area, REACH * SQUARE)) {
        area = area.with(areas.swap_remove(near));
    }
    areas.push(area);
}

impl Area {
    /// Returns the smallest area that contains both.
    fn with(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    fn is_near(&self, other: &Self, by: usize) -> bool {
        self.left <= other.right + by
            && other.left <= self.right + by
            && self.top <= other.bottom + by
            && other.top <= self.bottom + by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters(set: &[bool], width: usize) -> Vec<Area> {
        super::clusters(set, width, &Monitor::new().0).unwrap()
    }

    fn set(width: usize, height: usize, areas: &[Area]) -> Vec<bool> {
        let inside = |at: usize| {
            let (x, y) = (at % width, at / width);
            areas.iter().any(|area| (area.left..area.right).contains(&x) && (area.top..area.bottom).contains(&y))
        };
        (0..width * height).map(inside).collect()
    }

    #[test]
    fn distant_pieces_are_separate() {
        let areas = [
            Area { left: 10, top: 20, right: 30, bottom: 90 },
            Area { left: 400, top: 10, right: 401, bottom: 11 },
            Area { left: 80, top: 450, right: 500, bottom: 470 },
        ];
        let mut found = clusters(&set(600, 500, &areas), 600);
        found.sort_by_key(|area| area.top);
        assert_eq!(found, [areas[1], areas[0], areas[2]]);
        assert!(clusters(&[false; 600], 600).is_empty());
    }

    #[test]
    fn what_lies_close_or_is_much_is_one() {
        let close = [40, 150].map(|left| Area { left, top: 10, right: left + 50, bottom: 60 });
        assert_eq!(clusters(&set(300, 200, &close), 300), [Area { left: 40, top: 10, right: 200, bottom: 60 }]);
        let many: Vec<Area> = (0..100)
            .map(|at| (at % 10 * 300, at / 10 * 300))
            .map(|(left, top)| Area { left, top, right: left + 1, bottom: top + 1 })
            .collect();
        let all = Area { left: 0, top: 0, right: 2701, bottom: 2701 };
        assert_eq!(clusters(&set(3000, 3000, &many), 3000), [all]);
    }
}
