//! The proof that a converted file runs: on noise, through ONNX Runtime where that is installed.

use std::fmt::Display;
use std::path::Path;

use fer_core::host::Host;
use fer_core::images::Pixels;
use fer_core::random::{Purpose, Random};
use fer_core::spec::ModelSpec;
use fer_core::stream::{Stream, StreamOptions};

use crate::open_to_check;

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
    let failed = |e: &dyn Display| format!("the converted file does not run: {e}");
    let session = match open_to_check(file, false, host) {
        Ok(Ok(session)) => session,
        Ok(Err(reason)) => {
            return Ok(Checked {
                images: 0,
                by: reason,
            });
        }
        Err(e) => return Err(failed(&e)),
    };
    let noise = (0..IMAGES).map(|i| noise(session.spec(), i));
    let mut problem = None;
    let stream = Stream::whole(&session, StreamOptions::default());
    let run = stream.run(noise, &mut |seen| {
        problem = problem.take().or(match seen.prediction() {
            Ok(prediction) => not_probabilities(&prediction.probabilities),
            Err(e) => Some(e.to_string()),
        });
        Ok(())
    });
    run.map_err(|e| failed(&e))?;
    match problem {
        Some(problem) => Err(problem),
        None => Ok(Checked {
            images: IMAGES,
            by: session.description().library.clone(),
        }),
    }
}

/// Image number `i` of noise, of the model's size.
fn noise(spec: &ModelSpec, i: usize) -> Pixels {
    let mut data = vec![0; spec.image_len()];
    Random::new(0, Purpose::Noise, 0, i as u64).fill(&mut data);
    Pixels {
        width: spec.input.width,
        height: spec.input.height,
        channels: spec.input.channels,
        data,
    }
}

/// Why a row is not one of probabilities.
fn not_probabilities(row: &[f32]) -> Option<String> {
    let off = (row.iter().sum::<f32>() - 1.0).abs();
    (off.is_nan() || off > TOLERANCE).then(|| {
        format!(
            "the converted file returns {row:?}, which are not probabilities: look at the model's \
             weights"
        )
    })
}
