//! Colours of sRGB in the space CIE L*a*b*, where lightness is apart from colour.

/// The white of sRGB, D65.
const WHITE: [f32; 3] = [0.950_47, 1.0, 1.088_83];

/// Where the curve of lightness becomes straight.
const BEND: f32 = 6.0 / 29.0;

/// Returns lightness from 0 to 100, and the two numbers of colour, of red, green and blue from 0 to 1.
pub(super) fn of(colour: [f32; 3]) -> [f32; 3] {
    let [r, g, b] = colour.map(|level| match level {
        ..=0.040_45 => level / 12.92,
        _ => ((level + 0.055) / 1.055).powf(2.4),
    });
    let xyz = [
        0.412_456 * r + 0.357_576 * g + 0.180_437 * b,
        0.212_673 * r + 0.715_152 * g + 0.072_175 * b,
        0.019_334 * r + 0.119_192 * g + 0.950_304 * b,
    ];
    let bent = |value: f32| match value > BEND.powi(3) {
        true => value.cbrt(),
        false => value / (3.0 * BEND * BEND) + 4.0 / 29.0,
    };
    let [x, y, z] = std::array::from_fn(|axis| bent(xyz[axis] / WHITE[axis]));
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// Returns red, green and blue, cut off at 0 and 1.
pub(super) fn to_rgb([lightness, a, b]: [f32; 3]) -> [f32; 3] {
    let y = (lightness + 16.0) / 116.0;
    let straight = |value: f32| match value > BEND {
        true => value.powi(3),
        false => 3.0 * BEND * BEND * (value - 4.0 / 29.0),
    };
    let bent = [y + a / 500.0, y, y - b / 200.0];
    let [x, y, z] = std::array::from_fn(|axis| straight(bent[axis]) * WHITE[axis]);
    let linear = [
        3.240_454 * x - 1.537_139 * y - 0.498_531 * z,
        -0.969_266 * x + 1.876_011 * y + 0.041_556 * z,
        0.055_643 * x - 0.204_026 * y + 1.057_225 * z,
    ];
    linear.map(|level| {
        let level = match level {
            ..=0.003_130_8 => 12.92 * level,
            _ => 1.055 * level.powf(1.0 / 2.4) - 0.055,
        };
        level.clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As scikit-image converts them.
    #[test]
    fn colours_are_those_of_the_standard() {
        for (colour, expected) in [
            ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
            ([1.0, 1.0, 1.0], [100.0, 0.0, 0.0]),
            ([1.0, 0.0, 0.0], [53.24, 80.09, 67.2]),
            ([0.2, 0.4, 0.6], [42.01, -0.15, -32.85]),
        ] {
            let found = of(colour);
            assert!(found.iter().zip(expected).all(|(one, other)| (one - other).abs() < 0.3), "{colour:?}: {found:?}");
        }
    }

    #[test]
    fn colours_survive_the_way_there_and_back() {
        for index in 0..1000 {
            let colour = [index / 100, index / 10 % 10, index % 10].map(|level| level as f32 / 9.0);
            let back = to_rgb(of(colour));
            assert!(back.iter().zip(colour).all(|(one, other)| (one - other).abs() < 1e-3), "{colour:?}: {back:?}");
        }
    }
}
