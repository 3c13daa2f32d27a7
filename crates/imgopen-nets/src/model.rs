//! A model file: which net it is, what the net takes and returns, and how much memory it needs.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::convolutions;
use crate::error::NetError;
use crate::onnx::outline::{self, Outline};
use crate::shapes::{self, Working};
use crate::tensor::Port;

/// Limits on a model file and its runs, so that a broken or hostile one is refused rather than exhausting the machine.
///
/// They hold for what the file declares. A net whose operators compute sizes from values can exceed them; use model files from
/// sources that you trust, or run them [apart](crate::runtime::Apart).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest file in bytes. Default 1.5 GiB.
    pub file: u64,
    /// The most bytes of one tensor, in the file or within the net. Default 1 GiB.
    pub tensor: u64,
    /// The most bytes that a run may take beside the weights. Default 4 GiB.
    pub working: u64,
    /// The longest side of the pictures that the net is given where its file leaves that open, if it is known: runtimes may make use of
    /// that. Runs with longer ones are refused. Default `None`.
    pub side: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        let mebibyte = 1024 * 1024;
        Self { file: 1536 * mebibyte, tensor: 1024 * mebibyte, working: 4096 * mebibyte, side: None }
    }
}

/// What is known of a model file without loading it into a runtime.
#[derive(Debug, Clone)]
pub struct ModelFile {
    name: String,
    hash: String,
    size: u64,
    outline: Outline,
    /// The results of convolutions that may be rewritten.
    rewritable: HashSet<String>,
    limits: Limits,
}

impl ModelFile {
    /// Reads a model file. It takes a moment, as long as reading and hashing the file.
    ///
    /// # Errors
    ///
    /// [`NetError::File`] if it cannot be read, is not an ONNX model, or exceeds the limits.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, NetError> {
        let (name, bytes) = read(path, limits)?;
        Self::from_bytes(&name, &bytes, limits)
    }

    /// Reads a model file from its bytes. Messages call it by `name`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_bytes(name: &str, bytes: &[u8], limits: &Limits) -> Result<Self, NetError> {
        let refused = |problem: String| NetError::File { file: name.to_owned(), problem };
        let size = bytes.len() as u64;
        if size > limits.file {
            return Err(refused(too_large(limits)));
        }
        let outline = outline::read(bytes, limits.tensor).map_err(refused)?;
        let rewritable = convolutions::rewritable(&outline).into_keys().collect();
        // Sizes that the file itself determines are checked now, others with the inputs.
        shapes::working(&outline, &rewritable, &[], limits.tensor).map_err(refused)?;
        let hash = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect();
        Ok(Self { name: name.to_owned(), hash, size, outline, rewritable, limits: *limits })
    }

    /// Returns the name of the file, without directories.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the SHA-256 of the file, 64 hexadecimal digits in upper case.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Returns the size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the inputs, all of which a run needs.
    pub fn inputs(&self) -> &[Port] {
        &self.outline.inputs
    }

    /// Returns the outputs.
    pub fn outputs(&self) -> &[Port] {
        &self.outline.outputs
    }

    /// Returns the names of its operators, in an order in which they can run. Those of subgraphs are left out.
    pub fn operators(&self) -> impl Iterator<Item = &str> {
        self.outline.nodes.iter().map(|node| node.operator.as_str())
    }

    /// Returns whether the file has a tensor of these dimensions.
    pub fn has_weights(&self, shape: &[u64]) -> bool {
        self.outline.constants.values().any(|constant| constant.shape == shape)
    }

    /// Returns how many bytes the weights take at most, while they are loaded and later.
    pub fn weights(&self) -> u64 {
        self.size.saturating_add(self.outline.weights)
    }

    /// Returns how many bytes a run with inputs of these shapes takes at most beside the weights, the inputs and outputs
    /// included; `None` if the file does not determine that. Inputs that are left out have the shapes that the file declares.
    ///
    /// # Errors
    ///
    /// [`NetError::Use`] if a tensor within the net or the run exceeds the limits.
    pub fn working(&self, inputs: &[(&str, &[usize])]) -> Result<Option<u64>, NetError> {
        let refused = |problem: String| NetError::Use { file: self.name.clone(), problem };
        if let Some(side) = self.limits.side {
            let given = |port: &Port| inputs.iter().find(|(name, _)| *name == port.name).map(|(_, shape)| *shape);
            let is_longer =
                |port: &Port| given(port).is_some_and(|shape| port.open_sides(shape).any(|given| given > side));
            if let Some(port) = self.inputs().iter().find(|port| is_longer(port)) {
                return Err(refused(format!("its input `{}` is given sides of more than {side} pixels", port.name)));
            }
        }
        let Working { bytes, is_whole } =
            shapes::working(&self.outline, &self.rewritable, inputs, self.limits.tensor).map_err(refused)?;
        if bytes > self.limits.working {
            let problem = format!("a run takes {bytes} bytes of memory; at most {} are allowed", self.limits.working);
            return Err(refused(problem));
        }
        Ok(is_whole.then_some(bytes))
    }
}

/// Reads a file, and returns its name and its bytes.
pub(crate) fn read(path: &Path, limits: &Limits) -> Result<(String, Vec<u8>), NetError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let refused = |problem: String| NetError::File { file: name.clone(), problem };
    let file = File::open(path).map_err(|error| refused(error.to_string()))?;
    let mut bytes = Vec::new();
    // It may grow, or be a device without an end.
    file.take(limits.file.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| refused(error.to_string()))?;
    match bytes.len() as u64 <= limits.file {
        true => Ok((name, bytes)),
        false => Err(refused(too_large(limits))),
    }
}

fn too_large(limits: &Limits) -> String {
    format!("it is larger than the limit of {} bytes", limits.file)
}
