//! The proof that a converted file runs: on noise, through ONNX Runtime where that is installed.

use std::path::Path;

use fer_core::classifier::EngineError;
use fer_core::host::Host;
use fer_core::random::{Purpose, Random};

use crate::{LoadError, NoOnnxRuntime, load_to_check};

/// How far the probabilities of an image may be from summing to 1.
const TOLERANCE: f32 = 1e-3;

/// The number of images.
const IMAGES: usize = 8;

/// What a check found.
#[derive(Debug)]
pub enum Checked {
    /// The file ran.
    Run {
        /// Number of images that it was run on.
        images: usize,
        /// What ran it: ONNX Runtime's version and path.
        by: String,
    },
    /// Nothing could run the file.
    NotRun(NoOnnxRuntime),
}

/// A converted file that does not run as it should.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// ONNX Runtime refuses the file.
    #[error("the converted file does not run: {0}")]
    Load(#[from] LoadError),
    /// ONNX Runtime failed on the file.
    #[error("the converted file does not run: {0}")]
    Run(#[from] EngineError),
    /// The file's outputs are not probabilities.
    #[error(
        "the converted file returns {row:?}, which are not probabilities: look at the model's weights"
    )]
    NotProbabilities {
        /// The output for an image, one value a class.
        row: Vec<f32>,
    },
}

/// Runs an ONNX file on noise.
///
/// # Errors
/// ONNX Runtime refuses the file, or its outputs are not probabilities.
pub fn check(file: &Path, host: &Host) -> Result<Checked, CheckError> {
    let mut engine = match load_to_check(file, false, host)? {
        Ok(engine) => engine,
        Err(reason) => return Ok(Checked::NotRun(reason)),
    };
    let (length, scale) = (engine.spec().image_len(), engine.spec().scale);
    let mut pixels = vec![0; IMAGES * length];
    Random::new(0, Purpose::Noise, 0, 0).fill(&mut pixels);
    let input: Vec<f32> = pixels.iter().map(|p| f32::from(*p) * scale).collect();
    let rows = engine.classify(&input)?;
    let odd = |row: &&[f32]| {
        let off = (row.iter().sum::<f32>() - 1.0).abs();
        off.is_nan() || off > TOLERANCE
    };
    if let Some(row) = rows.chunks_exact(engine.spec().labels.len()).find(odd) {
        return Err(CheckError::NotProbabilities { row: row.to_vec() });
    }
    Ok(Checked::Run {
        images: IMAGES,
        by: engine.description().library.clone(),
    })
}
