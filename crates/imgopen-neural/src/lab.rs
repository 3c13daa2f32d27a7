//! CIE L*a*b*, in which distances are about those that people see. The levels are read as those of sRGB.

/// The white of D65.
const WHITE: [f32; 3] = [0.950_47, 1.0, 1.088_83];

const TO_XYZ: [[f32; 3]; 3] = [
    [0.412_456_4, 0.357_576_1, 0.180_437_5],
    [0.212_672_9, 0.715_152_2, 0.072_175],
    [0.019_333_9, 0.119_192, 0.950_304_1],
];

const FROM_XYZ: [[f32; 3]; 3] = [
    [3.240_454_2, -1.537_138_5, -0.498_531_4],
    [-0.969_266, 1.876_010_8, 0.041_556],
    [0.055_643_4, -0.204_025_9, 1.057_225_2],
];

/// Where the curve of L* changes from a line to a root.
const EDGE: f32 = 6.0 / 29.0;

/// Returns L* from 0 to 100, a* and b* of red, green and blue from 0 to 1.
pub(crate) fn of(colour: [f32; 3]) -> [f32; 3] {
    let [x, y, z] = product(TO_XYZ, colour.map(linear));
    let curve = |level: f32| match level > EDGE.powi(3) {
        true => level.cbrt(),
        false => level / (3.0 * EDGE * EDGE) + 4.0 / 29.0,
    };
    let [x, y, z] = [curve(x / WHITE[0]), curve(y / WHITE[1]), curve(z / WHITE[2])];
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// Returns the levels of a colour, which may lie outside of 0 to 1.
pub(crate) fn to_rgb([lightness, a, b]: [f32; 3]) -> [f32; 3] {
    let y = (lightness + 16.0) / 116.0;
    let curve = |root: f32| match root > EDGE {
        true => root.powi(3),
        false => 3.0 * EDGE * EDGE * (root - 4.0 / 29.0),
    };
    let xyz = [curve(y + a / 500.0) * WHITE[0], curve(y) * WHITE[1], curve(y - b / 200.0) * WHITE[2]];
    product(FROM_XYZ, xyz).map(encoded)
}

fn product(matrix: [[f32; 3]; 3], by: [f32; 3]) -> [f32; 3] {
    matrix.map(|row| row.iter().zip(by).map(|(factor, value)| factor * value).sum())
}

fn linear(level: f32) -> f32 {
    if level <= 0.040_45 { level / 12.92 } else { ((level + 0.055) / 1.055).powf(2.4) }
}

fn encoded(level: f32) -> f32 {
    if level <= 0.003_130_8 { level * 12.92 } else { 1.055 * level.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As NumPy computes them with double precision.
    #[test]
    fn colours_have_their_known_places() {
        for (colour, expected) in [
            ([1.0, 1.0, 1.0], [100.0, 0.0, 0.0]),
            ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
            ([1.0, 0.0, 0.0], [53.241, 80.092, 67.203]),
            ([0.0, 0.0, 1.0], [32.297, 79.188, -107.86]),
            ([0.8, 0.6, 0.5], [67.403, 15.693, 20.834]),
            ([0.2, 0.4, 0.6], [42.01, -0.147, -32.845]),
        ] {
            let found = of(colour);
            let off = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
            assert!(off.fold(0.0, f32::max) < 0.02, "{colour:?}: {found:?}");
        }
    }

    #[test]
    fn every_colour_comes_back() {
        let levels = [0.0, 0.01, 0.04, 0.2, 0.5, 0.9, 1.0];
        for red in levels {
            for green in levels {
                for blue in levels {
                    let back = to_rgb(of([red, green, blue]));
                    let off = back.iter().zip([red, green, blue]).map(|(back, level)| (back - level).abs());
                    assert!(off.fold(0.0, f32::max) < 1e-3, "{red} {green} {blue}: {back:?}");
                }
            }
        }
    }
}
