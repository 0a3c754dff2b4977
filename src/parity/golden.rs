//! Keras's recorded inputs and probabilities, written by `scripts/keras/golden.py` and compiled in.

use fer_core::calibration::Calibration;
use fer_core::spec::{EMOTIONS, InputSpec, Layout, ModelSpec, OutputKind};
use safetensors::SafeTensors;

/// The file that `scripts/keras/golden.py` writes.
const FILE: &[u8] = include_bytes!("../../tests/golden/notebook.safetensors");

/// The name of its model.
pub const MODEL: &str = "notebook";

/// Keras's inputs and outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    /// `[n, 48, 48, 1]` values, row-major.
    pub input: Vec<f32>,
    /// `[n, 7]` probabilities, row-major.
    pub probabilities: Vec<f32>,
    /// The number of images.
    pub images: usize,
}

impl Golden {
    /// The spec of the recorded model.
    pub fn spec() -> ModelSpec {
        ModelSpec {
            labels: EMOTIONS.map(String::from).to_vec(),
            input: InputSpec::new(Layout::Nhwc, 48, 48, 1),
            output: OutputKind::Probabilities,
            calibration: Calibration::NONE,
            crop: None,
            fixed_batch: None,
            assumed: Vec::new(),
        }
    }
}
/// The compiled-in file is damaged.
#[derive(Debug, thiserror::Error)]
#[error("the file of Keras's recorded outputs is damaged: {0}")]
pub struct Damaged(#[from] safetensors::SafeTensorError);

/// Reads the golden file.
///
/// # Errors
/// The compiled-in file is damaged.
pub fn read() -> Result<Golden, Damaged> {
    let file = SafeTensors::deserialize(FILE)?;
    let values = |name: &str| -> Result<(Vec<f32>, usize), Damaged> {
        let tensor = file.tensor(name)?;
        let value = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let images = tensor.shape().first().copied().unwrap_or(0);
        Ok((tensor.data().chunks_exact(4).map(value).collect(), images))
    };
    let ((input, images), (probabilities, _)) = (values("input")?, values("probabilities")?);
    Ok(Golden {
        input,
        probabilities,
        images,
    })
}
