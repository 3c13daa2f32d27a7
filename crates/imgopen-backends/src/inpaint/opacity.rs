//! How much of the new part shows at each pixel: all of it in the hole, less and less beyond, so that no edge is seen.

use imgopen_engine::{EngineError, Monitor};

use super::region::Region;

/// Returns the opacity of the new part for each pixel of a region, row by row: 255 in the hole and just around it, then
/// less, and 0 from the region's reach on. `hole` is that of the whole picture, which is `width` pixels wide.
pub(super) fn opacity(hole: &[bool], width: u32, region: &Region, monitor: &Monitor) -> Result<Vec<u8>, EngineError> {
    let reach = region.reach;
    let whole = reach / 4;
    let distances = distances(hole, width, region, monitor)?;
    let shown = |distance: u32| match distance {
        _ if distance <= whole => 255,
        _ if distance >= reach => 0,
        _ => (255 * (reach - distance) / (reach - whole)) as u8,
    };
    Ok(distances.into_iter().map(shown).collect())
}

/// Returns the distance of each pixel of a region from the hole, the larger one of both directions, at most the reach.
/// Two passes, in each of which a pixel learns from the neighbours that came before it.
fn distances(hole: &[bool], width: u32, region: &Region, monitor: &Monitor) -> Result<Vec<u32>, EngineError> {
    let (columns, rows) = (region.width as usize, region.height as usize);
    let mut distances = Vec::with_capacity(columns * rows);
    for row in region.rows(width) {
        distances.extend(hole[row].iter().map(|hole| if *hole { 0 } else { region.reach }));
    }
    let mut learn = |x: usize, y: usize, row_before: Option<usize>, column_before: Option<usize>| {
        let mut nearest = distances[y * columns + x];
        if let Some(column) = column_before {
            nearest = nearest.min(distances[y * columns + column] + 1);
        }
        if let Some(row) = row_before {
            let beside = x.saturating_sub(1)..(x + 2).min(columns);
            let above = distances[row * columns..][beside].iter().min();
            nearest = above.map_or(nearest, |above| nearest.min(above + 1));
        }
        distances[y * columns + x] = nearest;
    };
    for y in 0..rows {
        monitor.check_cancelled()?;
        (0..columns).for_each(|x| learn(x, y, y.checked_sub(1), x.checked_sub(1)));
    }
    for y in (0..rows).rev() {
        monitor.check_cancelled()?;
        (0..columns).rev().for_each(|x| {
            learn(x, y, Some(y + 1).filter(|row| *row < rows), Some(x + 1).filter(|column| *column < columns));
        });
    }
    Ok(distances)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: u32 = 60;
    const HEIGHT: u32 = 50;

    fn region(reach: u32) -> Region {
        Region { left: 3, top: 2, width: 50, height: 40, work: (64, 64), reach }
    }

    fn holes() -> (Vec<(u32, u32)>, Vec<bool>) {
        let holes = vec![(20, 15), (21, 15), (40, 30), (4, 39)];
        let is_hole = |x, y| holes.contains(&(x, y));
        let hole = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y))).map(|(x, y)| is_hole(x, y)).collect();
        (holes, hole)
    }

    #[test]
    fn distances_are_those_to_the_nearest_pixel_of_the_hole() {
        let (holes, hole) = holes();
        let region = region(11);
        let found = distances(&hole, WIDTH, &region, &Monitor::new().0).unwrap();
        for (at, distance) in found.into_iter().enumerate() {
            let (x, y) = (region.left + at as u32 % region.width, region.top + at as u32 / region.width);
            let nearest = holes.iter().map(|hole| hole.0.abs_diff(x).max(hole.1.abs_diff(y))).min().unwrap();
            assert_eq!(distance, nearest.min(11), "{x},{y}");
        }
    }

    #[test]
    fn the_new_part_fades_out_within_its_reach() {
        let mut hole = vec![false; (WIDTH * HEIGHT) as usize];
        hole[(20 * WIDTH + 20) as usize] = true;
        let region = region(8);
        let shown = opacity(&hole, WIDTH, &region, &Monitor::new().0).unwrap();
        let row = ((20 - region.top) * region.width) as usize;
        let along: Vec<_> = (0..10).map(|away| shown[row + (20 - region.left) as usize + away]).collect();
        assert_eq!(along, [255, 255, 255, 212, 170, 127, 85, 42, 0, 0]);
    }

    #[test]
    fn cancellation_stops_it() {
        let (_, hole) = holes();
        let (monitor, watch) = Monitor::new();
        watch.cancel.cancel();
        assert_eq!(opacity(&hole, WIDTH, &region(8), &monitor), Err(EngineError::Cancelled));
    }
}
