use proptest::prelude::*;

use super::*;

fn picture(channels: usize, width: usize, height: usize, seed: u32) -> Planes {
    let value = |index: usize| {
        let mixed = (index as u32).wrapping_mul(2_654_435_761).wrapping_add(seed);
        (mixed >> 8) as f32 / 16_777_216.0
    };
    Planes::new(channels, width, height, (0..channels * width * height).map(value).collect()).unwrap()
}

/// Averages each pixel with its neighbours; those beyond the edge count as zero. It sees one pixel around each.
fn blurred(planes: &Planes) -> Planes {
    let mut result = Planes::zeros(planes.channels(), planes.width(), planes.height());
    for channel in 0..planes.channels() {
        for y in 0..planes.height() {
            for x in 0..planes.width() {
                let rows = (y + 1..y + 4).filter_map(|row| row.checked_sub(2)).filter(|row| *row < planes.height());
                let mut sum = 0.0;
                for row in rows {
                    let columns = (x + 1..x + 4).filter_map(|column| column.checked_sub(2));
                    let row = planes.row(channel, row);
                    sum += columns.filter_map(|column| row.get(column)).sum::<f32>();
                }
                result.row_mut(channel, y)[x] = sum / 9.0;
            }
        }
    }
    result
}

fn enlarged(planes: &Planes, scale: usize) -> Planes {
    let mut result = Planes::zeros(planes.channels(), planes.width() * scale, planes.height() * scale);
    for channel in 0..planes.channels() {
        for y in 0..result.height() {
            let row = planes.row(channel, y / scale).to_vec();
            result.row_mut(channel, y).iter_mut().enumerate().for_each(|(x, value)| *value = row[x / scale]);
        }
    }
    result
}

/// A net with a receptive field of `blurs` pixels.
fn net(planes: Planes, blurs: usize, scale: usize) -> Planes {
    enlarged(&(0..blurs).fold(planes, |planes, _| blurred(&planes)), scale)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// If the margin covers what the net sees around a pixel, exactly.
    #[test]
    fn the_tiled_result_is_that_of_the_whole_picture(
        (width, height, channels) in (1..48_usize, 1..40_usize, 1..3_usize),
        (blurs, more, blend, room, scale) in (0..3_usize, 0..3_usize, 0..4_usize, 1..9_usize, 1..4_usize),
        seed in any::<u32>(),
    ) {
        let picture = picture(channels, width, height, seed);
        let margin = blurs + more;
        let tiles = Tiles { side: 2 * (margin + blend) + room, margin, blend, scale };
        let (mut calls, mut largest) = (0, (0, 0));
        let tiled = tiles.run(&picture, &Monitor::new().0, 0.0..1.0, |tile| {
            calls += 1;
            largest = (largest.0.max(tile.width()), largest.1.max(tile.height()));
            Ok(net(tile, blurs, scale))
        });
        prop_assert_eq!(tiled.unwrap(), net(picture, blurs, scale));
        prop_assert_eq!(calls, tiles.count(width, height).unwrap());
        prop_assert_eq!(largest, tiles.largest(width, height).unwrap());
        prop_assert!(largest.0 <= tiles.side && largest.1 <= tiles.side);
    }
}

#[test]
fn a_margin_that_is_too_narrow_shows() {
    let picture = picture(1, 30, 1, 1);
    let tiles = Tiles { side: 14, margin: 1, blend: 0, scale: 1 };
    let tiled = tiles.run(&picture, &Monitor::new().0, 0.0..1.0, |tile| Ok(net(tile, 2, 1))).unwrap();
    assert_ne!(tiled, net(picture, 2, 1));
}

/// Nets that see far make tiles of different brightness, at worst.
#[test]
fn tiles_that_differ_fade_into_each_other() {
    let tiles = Tiles { side: 30, margin: 2, blend: 3, scale: 1 };
    let mut expected = vec![0.0; 17];
    expected.extend([1.0, 3.0, 5.0, 7.0, 9.0, 11.0].map(|twelfths| twelfths / 12.0));
    expected.extend([1.0; 17]);
    for (width, height) in [(40, 1), (1, 40)] {
        let mut calls = -1.0;
        let tiled = tiles.run(&Planes::zeros(1, width, height), &Monitor::new().0, 0.0..1.0, |tile| {
            calls += 1.0;
            let (width, height) = (tile.width(), tile.height());
            Ok(Planes::new(1, width, height, vec![calls; width * height]).unwrap())
        });
        for (found, expected) in tiled.unwrap().values().iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-6, "{found} in place of {expected}");
        }
    }
}

#[test]
fn a_cancelled_job_ends_before_the_next_tile() {
    let tiles = Tiles { side: 8, margin: 1, blend: 1, scale: 1 };
    let (monitor, _watch, checks) = Monitor::counted(3);
    let mut calls = 0;
    let tiled = tiles.run(&picture(1, 20, 20, 1), &monitor, 0.0..1.0, |tile| {
        calls += 1;
        Ok(tile)
    });
    assert_eq!((tiled, calls, checks.count()), (Err(EngineError::Cancelled), 2, 3));
}

#[test]
fn progress_goes_from_the_beginning_of_its_range_to_the_end() {
    let tiles = Tiles { side: 8, margin: 1, blend: 1, scale: 1 };
    let (monitor, watch) = Monitor::new();
    let mut seen = Vec::new();
    let picture = picture(1, 8, 10, 1);
    tiles
        .run(&picture, &monitor, 0.2..0.8, |tile| {
            seen.push(watch.progress.borrow().percent.round());
            Ok(tile)
        })
        .unwrap();
    // Three rows of at most four pixels.
    assert_eq!(seen, [20.0, 40.0, 60.0]);
    assert_eq!(watch.progress.borrow().percent.round(), 80.0);
}

#[test]
fn a_net_that_returns_another_size_is_an_error() {
    let tiles = Tiles { side: 8, margin: 1, blend: 1, scale: 2 };
    let tiled = tiles.run(&picture(1, 5, 4, 1), &Monitor::new().0, 0.0..1.0, Ok);
    let problem = "the net returns 5x4 pixels in 1 channels for 5x4, in place of 10x8".to_owned();
    assert_eq!(tiled, Err(EngineError::Failed(problem)));
}

#[test]
fn settings_that_leave_no_room_are_an_error() {
    let picture = picture(1, 50, 50, 1);
    for (side, margin, blend, scale) in [(8, 2, 2, 1), (8, 4, 0, 1), (8, usize::MAX, 1, 1), (8, 1, 1, 0)] {
        let tiles = Tiles { side, margin, blend, scale };
        let tiled = tiles.run(&picture, &Monitor::new().0, 0.0..1.0, Ok);
        assert!(matches!(tiled, Err(EngineError::Failed(problem)) if problem.ends_with("leave no room")));
    }
    let empty = Planes::zeros(1, 0, 5);
    assert!(Tiles { side: 8, margin: 1, blend: 1, scale: 1 }.run(&empty, &Monitor::new().0, 0.0..1.0, Ok).is_err());
}
