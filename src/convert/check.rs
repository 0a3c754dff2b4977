//! Checks that a converted file runs: on noise, through ONNX Runtime if it is installed.

use std::path::Path;

use fer_core::host::Host;
use fer_core::probe;
use fer_core::spec::{ModelSpec, OutputKind};
use fer_core::stream::{ItemError, Stream, StreamError, StreamOptions};

use crate::{LoadError, NoOnnxRuntime, open_to_check};

/// The largest deviation from 1 of the sum of an image's probabilities.
const TOLERANCE: f32 = 1e-3;

/// The number of images.
const IMAGES: usize = 8;

/// The result of a check.
#[derive(Debug)]
pub enum Checked {
    /// The file ran.
    Run {
        /// Number of images that it was run on.
        images: usize,
        /// The engine: ONNX Runtime's version and path.
        by: String,
        /// What it expects and returns, with what its outputs showed.
        spec: Box<ModelSpec>,
    },
    /// No engine could run the file.
    NotRun(NoOnnxRuntime),
}

/// A converted file does not run correctly.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// ONNX Runtime rejects the file.
    #[error("the converted file does not run: {0}")]
    Load(#[from] LoadError),
    /// ONNX Runtime failed on the file.
    #[error("the converted file does not run: {0}")]
    Run(#[from] StreamError),
    /// The file's outputs are not finite.
    #[error("the converted file gives no predictions for noise: {0}")]
    Prediction(#[from] ItemError),
    /// The file's outputs are not probabilities.
    #[error(
        "the converted file returns {row:?}, which are not probabilities; check the model's weights"
    )]
    NotProbabilities {
        /// The output for an image, one value per class.
        row: Vec<f32>,
    },
}

/// Runs an ONNX file on noise. If the file does not say for sure what its outputs are, they show
/// it.
///
/// # Errors
/// ONNX Runtime rejects the file, or its outputs are not what they should be.
pub fn check(file: &Path, host: &Host) -> Result<Checked, CheckError> {
    let session = match open_to_check(file, false, host)? {
        Ok(session) => session,
        Err(reason) => return Ok(Checked::NotRun(reason)),
    };
    let noise = (0..IMAGES).map(|i| probe::noise(&session.spec().input, i));
    let mut problem = None;
    let stream = Stream::whole(&session, StreamOptions::default());
    stream.run(noise, &mut |seen| {
        problem = problem.take().or(match seen.prediction() {
            Ok(prediction) if session.spec().output == OutputKind::Scores => {
                not_scores(prediction.probabilities)
            }
            Ok(prediction) => not_probabilities(prediction.probabilities),
            Err(e) => Some(CheckError::Prediction(e)),
        });
        Ok(())
    })?;
    match problem {
        Some(problem) => Err(problem),
        None => Ok(Checked::Run {
            images: IMAGES,
            by: session.description().library.clone(),
            spec: Box::new(session.spec().clone()),
        }),
    }
}

/// What is wrong with a row that is not a row of scores.
fn not_scores(row: Vec<f32>) -> Option<CheckError> {
    let within = row
        .iter()
        .all(|v| (-TOLERANCE..=1.0 + TOLERANCE).contains(v));
    (!within).then_some(CheckError::NotProbabilities { row })
}

/// What is wrong with a row that is not a row of probabilities.
fn not_probabilities(row: Vec<f32>) -> Option<CheckError> {
    let off = (row.iter().sum::<f32>() - 1.0).abs();
    (off > TOLERANCE).then_some(CheckError::NotProbabilities { row })
}
