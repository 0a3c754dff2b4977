//! The proof that a file predicts as the network that it was made of.

use std::path::Path;

use burn::tensor::Device;

use super::ExportError;
use crate::data::synth;
use crate::model::{Network, Shape, load_onnx};
use crate::train::batch::SCALE;
use crate::train::checkpoint::Trained;
use crate::train::step::logits;
use fer_core::classifier::softmax;
use fer_core::random::{Purpose, Random};
use fer_core::session::{Session, SessionError};
use fer_core::spec::EMOTIONS;

/// How far a probability may be from the network's.
pub const TOLERANCE: f32 = 1e-5;

/// Images that are run at once.
const IMAGES_A_TIME: usize = 16;

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// Number of images.
    pub images: usize,
    /// The largest difference of a probability.
    pub difference: f32,
    /// What ran the file.
    pub by: String,
}

/// Runs an exported file and the network that it came from on noise, drawn faces and `images`
/// (`[n, channels, height, width]` pixels, may be empty), and compares their probabilities.
///
/// `engine` is the file in ONNX Runtime. Without it, its weights are read back into a fresh
/// network, as a run that starts from the file does.
///
/// # Errors
/// The file can't be run, or a probability differs by more than [`TOLERANCE`].
pub fn check(
    file: &Path,
    trained: &Trained,
    images: &[u8],
    device: &Device,
    engine: Option<&Session>,
) -> Result<Checked, ExportError> {
    let mut input = inputs(trained.network.input());
    input.extend(images.iter().map(|p| f32::from(*p) * SCALE));
    let expected = probabilities(&trained.network, &input, device).map_err(ExportError)?;
    let wrong = |e: String| ExportError(format!("the exported file does not run: {e}"));
    let (found, by) = match engine {
        Some(engine) => {
            let found = classified(engine, &input).map_err(|e| wrong(e.to_string()))?;
            (found, engine.description().library.clone())
        }
        None => {
            let task = &trained.state.data.task;
            let fresh = trained.config.architecture.exported().init(
                task.shape(),
                trained.config.dropout,
                0,
                device,
            );
            let network = load_onnx(fresh, &task.spec(), file).map_err(|e| wrong(e.to_string()))?;
            (
                probabilities(&network, &input, device).map_err(wrong)?,
                "reading it back".into(),
            )
        }
    };
    let difference = largest_difference(&expected, &found);
    if difference > TOLERANCE {
        return Err(ExportError(format!(
            "the exported file's predictions differ from the network's by {difference:e}, where \
             {TOLERANCE:e} is allowed; no file was kept"
        )));
    }
    Ok(Checked {
        images: input.len() / trained.network.input().iter().product::<usize>(),
        difference,
        by,
    })
}

/// The engine's probabilities, a few images at a time: images may be large.
fn classified(engine: &Session, input: &[f32]) -> Result<Vec<f32>, SessionError> {
    let parts = input.chunks(IMAGES_A_TIME * engine.spec().image_len());
    let rows = parts.map(|part| engine.classify(part.to_vec()));
    Ok(rows.collect::<Result<Vec<_>, _>>()?.concat())
}

fn probabilities(network: &Network, input: &[f32], device: &Device) -> Result<Vec<f32>, String> {
    let mut rows = logits(network, input, IMAGES_A_TIME, device)
        .map_err(|e| format!("the device failed: {e}"))?;
    rows.chunks_exact_mut(network.classes()).for_each(softmax);
    Ok(rows)
}

/// A network and an engine that can't be compared.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The engine failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The network can't be run.
    #[error("the network can't be run: {reason}")]
    Network {
        /// What the device reported.
        reason: String,
    },
}

/// The largest difference between the probabilities of a network and of an engine that should be
/// the same, on noise and drawn faces.
///
/// # Errors
/// The engine failed.
pub fn difference(network: &Network, engine: &Session, device: &Device) -> Result<f32, CheckError> {
    let input = inputs(network.input());
    let found = classified(engine, &input)?;
    let expected =
        probabilities(network, &input, device).map_err(|reason| CheckError::Network { reason })?;
    Ok(largest_difference(&expected, &found))
}

/// Infinite where the lengths differ or a value is not a number.
fn largest_difference(expected: &[f32], found: &[f32]) -> f32 {
    if found.len() != expected.len() || found.iter().chain(expected).any(|p| !p.is_finite()) {
        return f32::INFINITY;
    }
    expected
        .iter()
        .zip(found)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// Noise, black, white, and for FER-2013's images drawn faces of every expression:
/// `[n, channels, height, width]`, 0..=1.
fn inputs(image: [usize; 3]) -> Vec<f32> {
    let pixels = image.iter().product();
    let mut inputs = vec![0; 9 * pixels];
    Random::new(0, Purpose::Noise, 0, 0).fill(&mut inputs[..8 * pixels]);
    inputs.extend(vec![255; pixels]);
    if image == Shape::FER2013.image() {
        for class in 0..EMOTIONS.len() {
            inputs.extend(synth::face(class, 0, class as u64));
        }
    }
    inputs.into_iter().map(|p| f32::from(p) * SCALE).collect()
}
