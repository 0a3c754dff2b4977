//! Engines turn a batch of tensors into probabilities, behind one trait ([`Classifier`]): ONNX
//! Runtime, compiled-in code, a trained network, or a fake for tests.

use std::fmt;

use crate::calibration::Calibration;
use crate::onnx::flush::TINY;
use crate::spec::{ModelSpec, OutputKind};

/// A loaded model failed while running. Errors of loading are in the engine's crate.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine failed.
    #[error("{model} failed in {engine}: {reason}")]
    Run {
        /// The model: a built-in one's name or a path.
        model: String,
        /// The engine, and its device if there is a choice.
        engine: String,
        /// The engine's message.
        reason: String,
    },
    /// The model returned a wrong number of values: not one per class and image.
    #[error(
        "{model} returned {values} values for {images} images; {classes} classes make {}",
        images.saturating_mul(*classes)
    )]
    WrongOutput {
        /// The model: a built-in one's name or a path.
        model: String,
        /// How many values it returned.
        values: usize,
        /// How many images it was given.
        images: usize,
        /// How many classes it has.
        classes: usize,
    },
}

/// What was loaded, for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `ort` or `burn`.
    pub engine: &'static str,
    /// What it runs on, e.g. `cpu` or `cuda:0`.
    pub provider: String,
    /// The model: a built-in one's name or a path.
    pub model: String,
    /// The library behind the engine, e.g. ONNX Runtime's path and version.
    pub library: String,
    /// What the user should know.
    pub notes: Vec<Note>,
}

/// Something to know about a loaded model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The model's file does not state everything about its input and output.
    Assumed(Vec<String>),
    /// Tiny weights were set to zero for speed (see [`crate::onnx::flush`]).
    Flushed {
        /// How many.
        weights: usize,
    },
    /// The weights are in other files, so tiny ones were not set to zero.
    ExternalWeights,
    /// Some operators run on other providers than the requested one.
    Elsewhere {
        /// The requested provider.
        provider: String,
        /// How many operators the model has.
        total: usize,
        /// (operator, provider that runs it, how many of them).
        operators: Vec<(String, String, usize)>,
    },
    /// Burn runs the model, because ONNX Runtime can't.
    NoOnnxRuntime {
        /// Why the library can't be used; `None` if none was found.
        unusable: Option<String>,
    },
    /// Layers of a compiled-in model that take time and that the kernels don't support. Burn
    /// computes them.
    Generic(&'static [&'static str]),
    /// Burn may multiply float32 as TF32 on this device.
    Tf32,
    /// The model is an unfinished training run.
    Unfinished {
        /// The epoch of its weights, in words.
        progress: String,
        /// The number of epochs that the run is configured for.
        epochs: u32,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assumed(what) => {
                write!(
                    f,
                    "assumed, because the file does not state it: {}",
                    what.join("; ")
                )
            }
            Self::Flushed { weights } => {
                write!(f, "{weights} weights below {TINY:e} set to zero, for speed")
            }
            Self::Generic(layers) => {
                let layers = layers.join(", ");
                write!(
                    f,
                    "computed by Burn, because the kernels do not support it: {layers}"
                )
            }
            Self::ExternalWeights => f.write_str(
                "tiny weights are not set to zero, because the weights are in other files",
            ),
            Self::Elsewhere {
                provider,
                total,
                operators,
            } => {
                let count: usize = operators.iter().map(|(.., n)| n).sum();
                write!(f, "{count} of {total} operators are not on {provider}: ")?;
                for (i, (operator, on, n)) in operators.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{operator} ×{n} on {on}")?;
                }
                Ok(())
            }
            Self::NoOnnxRuntime { unusable: None } => {
                f.write_str("ONNX Runtime is not installed: running on burn")
            }
            Self::NoOnnxRuntime {
                unusable: Some(reason),
            } => write!(f, "{reason}: running on burn"),
            Self::Tf32 => f.write_str("Burn may multiply float32 as TF32 on this device"),
            Self::Unfinished { progress, epochs } => {
                write!(f, "its weights are those of {progress} of {epochs}")
            }
        }
    }
}

/// A loaded model that classifies batches of preprocessed images.
pub trait Classifier: Send {
    /// What the model expects and returns.
    fn spec(&self) -> &ModelSpec;

    /// What was loaded.
    fn description(&self) -> &Description;

    /// Runs the model on `n` images. `input` holds `n × image_len` values in the model's layout.
    /// The result is `n × classes` raw outputs. If the model fixes its batch size, `n` is that
    /// size.
    ///
    /// # Errors
    /// The engine failed.
    fn forward(&mut self, input: &[f32], n: usize) -> Result<Vec<f32>, EngineError>;

    /// Returns the probabilities for a batch of any size. `input` holds `n × image_len` values. The
    /// result is `[n, classes]`, calibrated as the model's spec says; each row sums to 1.
    ///
    /// # Errors
    /// The engine failed or returned a wrong number of values.
    fn classify(&mut self, input: &[f32]) -> Result<Vec<f32>, EngineError> {
        let (image_len, classes) = (self.spec().image_len(), self.spec().labels.len());
        let n = input.len() / image_len;
        let mut output = match self.spec().fixed_batch {
            None => self.forward(input, n)?,
            Some(size) => {
                let mut output = Vec::with_capacity(n * classes);
                for chunk in input.chunks(size * image_len) {
                    let used = chunk.len() / image_len;
                    let mut chunk = chunk.to_vec();
                    chunk.resize(size * image_len, 0.0);
                    let mut rows = self.forward(&chunk, size)?;
                    rows.truncate(used * classes);
                    output.append(&mut rows);
                }
                output
            }
        };
        if output.len() != n * classes {
            return Err(EngineError::WrongOutput {
                model: self.description().model.clone(),
                values: output.len(),
                images: n,
                classes,
            });
        }
        let ModelSpec {
            output: kind,
            calibration,
            ..
        } = *self.spec();
        output
            .chunks_exact_mut(classes)
            .for_each(|row| probabilities(row, kind, calibration));
        Ok(output)
    }
}

/// Turns a model's raw output into calibrated probabilities, in place.
fn probabilities(row: &mut [f32], kind: OutputKind, calibration: Calibration) {
    match kind {
        OutputKind::Probabilities if calibration == Calibration::NONE => return,
        // Logits up to a constant, which the calibration removes.
        OutputKind::Probabilities => row
            .iter_mut()
            .for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }.ln()),
        OutputKind::Logits => {}
    }
    calibration.apply(row);
    softmax(row);
}

/// Turns logits into probabilities, in place.
pub fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|v| *v = (*v - max).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|v| *v /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibration_means_the_same_for_logits_and_probabilities() {
        let logits = [2.0f32, -1.0, 0.5, -30.0];
        let at = |kind, mut row: [f32; 4], temperature, exponent| {
            probabilities(
                &mut row,
                kind,
                Calibration {
                    temperature,
                    exponent,
                },
            );
            row
        };
        let plain = at(OutputKind::Logits, logits, 1.0, 1.0);
        assert_eq!(
            at(OutputKind::Probabilities, plain, 1.0, 1.0),
            plain,
            "none changes nothing"
        );
        for temperature in [0.05, 0.7, 3.0, 20.0] {
            for exponent in [0.5, 1.0, 1.7] {
                let [a, b] = [
                    (OutputKind::Logits, logits),
                    (OutputKind::Probabilities, plain),
                ]
                .map(|(kind, row)| at(kind, row, temperature, exponent));
                let what = format!("{temperature} {exponent}: {a:?} {b:?}");
                assert!(
                    a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6),
                    "{what}"
                );
                assert!((b.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{what}");
            }
        }
        // exp(2/2) / (exp(2/2) + exp(-1/2) + exp(0.5/2) + exp(-15))
        assert!((at(OutputKind::Logits, logits, 2.0, 1.0)[0] - 0.589_797).abs() < 1e-5);
        // 1 / (1 + exp(-(3/2)²) + exp(-(1.5/2)²) + exp(-16²))
        assert!((at(OutputKind::Logits, logits, 2.0, 2.0)[0] - 0.596_950).abs() < 1e-5);
        let kind = OutputKind::Probabilities;
        let sure = [1.0, 0.0, 0.0, 0.0];
        assert_eq!(at(kind, sure, 2.0, 1.5), sure, "certain stays certain");
        assert_eq!(
            at(kind, [1.0, -1e-9, 0.0, 0.0], 2.0, 1.5),
            sure,
            "rounding below zero"
        );
        assert!(
            at(kind, [f32::NAN, 0.5, 0.5, 0.0], 2.0, 1.5)[0].is_nan(),
            "NaN stays NaN"
        );
    }
}
