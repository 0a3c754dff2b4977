//! The proof that a converted file runs: on noise, through ONNX Runtime where that is installed.

use std::path::Path;

use fer_core::host::Host;
use fer_core::random::{Purpose, Random};

use crate::load_to_check;

/// How far the probabilities of an image may be from summing to 1.
const TOLERANCE: f32 = 1e-3;

/// The number of images.
const IMAGES: usize = 8;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Number of images that the file was run on; 0 if nothing could run it.
    pub images: usize,
    /// What ran it, or why nothing did.
    pub by: String,
}

/// Runs an ONNX file on noise.
///
/// # Errors
/// ONNX Runtime refuses the file, or it answers what are no probabilities.
pub fn check(file: &Path, host: &Host) -> Result<Checked, String> {
    let mut engine = match load_to_check(file, false, host) {
        Ok(Ok(engine)) => engine,
        Ok(Err(reason)) => {
            return Ok(Checked {
                images: 0,
                by: reason,
            });
        }
        Err(e) => return Err(format!("the converted file does not run: {e}")),
    };
    let (length, scale) = (engine.spec().image_len(), engine.spec().input.scale);
    let mut pixels = vec![0; IMAGES * length];
    Random::new(0, Purpose::Noise, 0, 0).fill(&mut pixels);
    let input: Vec<f32> = pixels.iter().map(|p| f32::from(*p) * scale).collect();
    let rows = engine
        .classify(&input)
        .map_err(|e| format!("the converted file does not run: {e}"))?;
    let odd = |row: &&[f32]| {
        let off = (row.iter().sum::<f32>() - 1.0).abs();
        off.is_nan() || off > TOLERANCE
    };
    if let Some(row) = rows.chunks_exact(engine.spec().labels.len()).find(odd) {
        return Err(format!(
            "the converted file answers {row:?}, which are no probabilities: look at the model's weights"
        ));
    }
    Ok(Checked {
        images: IMAGES,
        by: engine.description().library.clone(),
    })
}
