//! Reads the file of the SeetaFace detector: levels of branches of classifiers.

/// The side of the classifiers' window, in pixels.
pub(super) const WINDOW: usize = 40;
/// The values of a SURF feature: eight sums in each of 2x2 cells.
pub(super) const DIMENSIONS: usize = 32;
/// The number of features after which a boosted cascade compares the votes with a threshold.
pub(super) const GROUP: usize = 10;

const BYTES: &[u8] = include_bytes!("../../models/seeta_fd_frontal_v1.0.bin");
const BOOSTED: i32 = 0;
const NETWORK: i32 = 1;

/// The detector.
#[derive(Debug)]
pub(super) struct Model {
    /// The cascades applied to every window.
    pub(super) first: Vec<Boosted>,
    /// The networks applied to the remaining windows, level by level.
    pub(super) levels: Vec<Vec<Branch>>,
    /// The patches from which the networks' features are computed.
    pub(super) patches: Vec<Patch>,
}

/// A cascade on LAB features: each value of a feature votes.
#[derive(Debug)]
pub(super) struct Boosted {
    /// The positions of the features in the window.
    pub(super) places: Vec<(usize, usize)>,
    /// The vote for each value of a feature.
    pub(super) votes: Vec<[f32; 256]>,
    /// The least sum of votes after each group of features.
    pub(super) thresholds: Vec<f32>,
}

/// Networks applied in order to the windows of some branches of the level before.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) sources: Vec<usize>,
    pub(super) stages: Vec<Network>,
}

/// A perceptron on SURF features. Its outputs are a score and the position of the face.
#[derive(Debug)]
pub(super) struct Network {
    /// Indices of patches.
    pub(super) features: Vec<usize>,
    pub(super) threshold: f32,
    pub(super) layers: Vec<Layer>,
}

#[derive(Debug)]
pub(super) struct Layer {
    pub(super) inputs: usize,
    /// A row for each output.
    pub(super) weights: Vec<f32>,
    pub(super) biases: Vec<f32>,
}

/// The position of a SURF feature of 2x2 cells in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Model {
    /// Reads the embedded model.
    pub(super) fn embedded() -> Result<Self, String> {
        let mut file = File { rest: BYTES };
        let model = file.model()?;
        match file.rest.len() {
            0 => Ok(model),
            left => Err(format!("the face model has {left} bytes too many")),
        }
    }
}

struct File<'a> {
    rest: &'a [u8],
}

impl File<'_> {
    fn model(&mut self) -> Result<Model, String> {
        let levels = self.count()?;
        let branches = self.count()?;
        let first = (0..branches).map(|_| self.first()).collect::<Result<_, _>>()?;
        let patches = patches();
        let level = |file: &mut Self| {
            let branches = file.count()?;
            (0..branches).map(|_| file.branch(patches.len())).collect::<Result<Vec<_>, String>>()
        };
        let levels = (1..levels).map(|_| level(self)).collect::<Result<Vec<_>, _>>()?;
        let mut before = branches;
        for level in &levels {
            if level.iter().any(|branch| branch.sources.iter().any(|source| *source >= before)) {
                return Err("the face model has a branch without a source".to_owned());
            }
            before = level.len();
        }
        Ok(Model { first, levels, patches })
    }

    fn first(&mut self) -> Result<Boosted, String> {
        let (stages, kind) = (self.count()?, self.int()?);
        if (stages, kind) != (1, BOOSTED) {
            return Err(format!("the face model begins with {stages} classifiers of kind {kind}"));
        }
        let boosted = self.boosted()?;
        // It has no sources, which some files express by a negative number.
        let sources = usize::try_from(self.int()?).unwrap_or(0);
        self.take(4 * sources)?;
        Ok(boosted)
    }

    fn boosted(&mut self) -> Result<Boosted, String> {
        let (voters, values) = (self.count()?, self.count()?);
        if values != 255 || voters % GROUP != 0 {
            return Err(format!("the face model has {voters} features of {values} values"));
        }
        let places: Vec<(usize, usize)> =
            (0..voters).map(|_| Ok((self.place()?, self.place()?))).collect::<Result<_, String>>()?;
        let thresholds = self.floats(voters)?.into_iter().skip(GROUP - 1).step_by(GROUP).collect();
        let votes = self.floats(256 * voters)?.as_chunks().0.to_vec();
        Ok(Boosted { places, votes, thresholds })
    }

    fn branch(&mut self, patches: usize) -> Result<Branch, String> {
        let stages = self.count()?;
        let stages = (0..stages).map(|_| self.network(patches)).collect::<Result<_, _>>()?;
        let sources = self.count()?;
        Ok(Branch { stages, sources: (0..sources).map(|_| self.count()).collect::<Result<_, _>>()? })
    }

    fn network(&mut self, patches: usize) -> Result<Network, String> {
        let kind = self.int()?;
        if kind != NETWORK {
            return Err(format!("the face model has a classifier of kind {kind}"));
        }
        let (layers, features) = (self.count()?, self.count()?);
        let feature = |file: &mut Self| match file.count()? {
            feature if (1..=patches).contains(&feature) => Ok(feature - 1),
            feature => Err(format!("the face model has no feature {feature}")),
        };
        let features = (0..features).map(|_| feature(self)).collect::<Result<Vec<_>, _>>()?;
        let threshold = self.float()?;
        let mut inputs = self.count()?;
        let layer = |_| {
            let outputs = self.count()?;
            let layer = Layer { inputs, weights: self.floats(inputs * outputs)?, biases: self.floats(outputs)? };
            inputs = outputs;
            Ok(layer)
        };
        let layers = (1..layers).map(layer).collect::<Result<Vec<Layer>, String>>()?;
        match (layers.first(), layers.last()) {
            (Some(first), Some(last)) if first.inputs == features.len() * DIMENSIONS && !last.biases.is_empty() => {
                Ok(Network { features, threshold, layers })
            }
            _ => Err("the face model has a network that fits no features".to_owned()),
        }
    }

    fn place(&mut self) -> Result<usize, String> {
        // A LAB feature spans nine pixels.
        self.count().and_then(|place| match place <= WINDOW - 9 {
            true => Ok(place),
            false => Err(format!("the face model has a feature at {place}")),
        })
    }

    fn count(&mut self) -> Result<usize, String> {
        let count = self.int()?;
        usize::try_from(count).map_err(|_| format!("the face model has the count {count}"))
    }

    fn int(&mut self) -> Result<i32, String> {
        Ok(i32::from_le_bytes(self.word()?))
    }

    fn float(&mut self) -> Result<f32, String> {
        Ok(f32::from_le_bytes(self.word()?))
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>, String> {
        let words = self.take(4 * count)?.as_chunks().0.iter();
        Ok(words.map(|word| f32::from_le_bytes(*word)).collect())
    }

    fn word(&mut self) -> Result<[u8; 4], String> {
        let word = self.take(4)?;
        Ok([word[0], word[1], word[2], word[3]])
    }

    fn take(&mut self, bytes: usize) -> Result<&[u8], String> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or("the face model ends too early")?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Returns the patches that features were chosen from, in the order of the model's indices.
fn patches() -> Vec<Patch> {
    const LEAST: usize = 16;
    let mut patches = Vec::new();
    for (wide, high) in [(1, 1), (1, 2), (2, 1), (2, 3), (3, 2)] {
        for height in (LEAST..=WINDOW).filter(|height| height % 2 == 0 && height % high == 0) {
            let width = height / high * wide;
            if width % 2 != 0 || !(LEAST..=WINDOW).contains(&width) {
                continue;
            }
            for y in (0..=WINDOW - height).step_by(LEAST) {
                patches.extend((0..=WINDOW - width).step_by(LEAST).map(|x| Patch { x, y, width, height }));
            }
        }
    }
    patches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_model_is_whole() {
        let model = Model::embedded().unwrap();
        let shape: Vec<Vec<usize>> =
            model.levels.iter().map(|level| level.iter().map(|branch| branch.stages.len()).collect()).collect();
        assert_eq!((model.first.len(), shape, model.patches.len()), (3, vec![vec![2], vec![1]], 56));
        assert!(
            model.levels.iter().flatten().flat_map(|branch| &branch.stages).all(|network| network.layers.len() > 1)
        );
    }

    #[test]
    fn a_truncated_model_is_an_error() {
        for length in [0, 3, 4, 1000, BYTES.len() - 1] {
            assert!(File { rest: &BYTES[..length] }.model().is_err(), "{length}");
        }
    }
}
