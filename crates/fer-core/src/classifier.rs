//! Engines turn a batch of tensors into probabilities, behind one trait ([`Classifier`]): ONNX
//! Runtime, compiled-in code, a trained network, or a fake for tests.

mod note;

pub use note::Note;

use crate::calibration::Calibration;
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
    /// The model returned a wrong number of values.
    #[error(
        "{model} returned {values} values for {images} images; {wanted} for each make {}",
        images.saturating_mul(*wanted)
    )]
    WrongOutput {
        /// The model: a built-in one's name or a path.
        model: String,
        /// How many values it returned.
        values: usize,
        /// How many images it was given.
        images: usize,
        /// How many values its output has for an image.
        wanted: usize,
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

/// A loaded model that classifies batches of preprocessed images.
pub trait Classifier: Send {
    /// What the model expects and returns.
    fn spec(&self) -> &ModelSpec;

    /// What was loaded.
    fn description(&self) -> &Description;

    /// Runs the model on `n` images. `input` holds `n × image_len` values in the model's layout.
    /// The result is the raw outputs: for each image one value per class, or the only one
    /// ([`OutputKind::values`]). If the model fixes its batch size, `n` is that size.
    ///
    /// # Errors
    /// The engine failed.
    fn forward(&mut self, input: &[f32], n: usize) -> Result<Vec<f32>, EngineError>;

    /// Returns the model's own outputs for a batch of any size, as [`forward`](Self::forward).
    ///
    /// # Errors
    /// The engine failed or returned a wrong number of values.
    fn outputs(&mut self, input: &[f32]) -> Result<Vec<f32>, EngineError> {
        let spec = self.spec();
        let (image_len, wanted) = (spec.image_len(), spec.output.values(spec.labels.len()));
        let n = input.len() / image_len;
        let output = match spec.fixed_batch {
            None => self.forward(input, n)?,
            Some(size) => {
                let mut output = Vec::with_capacity(n * wanted);
                for chunk in input.chunks(size * image_len) {
                    let used = chunk.len() / image_len;
                    let mut chunk = chunk.to_vec();
                    chunk.resize(size * image_len, 0.0);
                    let mut rows = self.forward(&chunk, size)?;
                    rows.truncate(used * wanted);
                    output.append(&mut rows);
                }
                output
            }
        };
        if output.len() != n * wanted {
            return Err(EngineError::WrongOutput {
                model: self.description().model.clone(),
                values: output.len(),
                images: n,
                wanted,
            });
        }
        Ok(output)
    }

    /// Returns the probabilities for a batch of any size. `input` holds `n × image_len` values. The
    /// result is `[n, classes]`, calibrated as the model's spec says. Each row sums to 1, except
    /// for [`OutputKind::Scores`].
    ///
    /// # Errors
    /// The engine failed or returned a wrong number of values.
    fn classify(&mut self, input: &[f32]) -> Result<Vec<f32>, EngineError> {
        let output = self.outputs(input)?;
        let ModelSpec {
            output: kind,
            calibration,
            ..
        } = *self.spec();
        Ok(probabilities(
            output,
            self.spec().labels.len(),
            kind,
            calibration,
        ))
    }
}

/// Turns a model's raw outputs, `[n, values]`, into calibrated probabilities, `[n, classes]`.
pub fn probabilities(
    output: Vec<f32>,
    classes: usize,
    kind: OutputKind,
    calibration: Calibration,
) -> Vec<f32> {
    let (mut rows, kind) = match kind {
        OutputKind::Probability => {
            let row = |p: &f32| [1.0 - p, *p];
            (
                output.iter().flat_map(row).collect(),
                OutputKind::Probabilities,
            )
        }
        OutputKind::Logit => {
            let row = |z: &f32| [0.0, *z];
            (output.iter().flat_map(row).collect(), OutputKind::Logits)
        }
        _ => (output, kind),
    };
    rows.chunks_exact_mut(classes)
        .for_each(|row| calibrate(row, kind, calibration));
    rows
}

/// Turns one value per class into calibrated probabilities, in place.
fn calibrate(row: &mut [f32], kind: OutputKind, calibration: Calibration) {
    match kind {
        OutputKind::Scores => return,
        OutputKind::Probabilities if calibration == Calibration::NONE => return,
        // Logits up to a constant, which the calibration removes.
        OutputKind::Probabilities => row
            .iter_mut()
            .for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }.ln()),
        _ => {}
    }
    calibration.apply(row);
    softmax(row);
}

/// A classifier whose outputs are read by another spec than the one that it was loaded with.
pub struct Respecified {
    inner: Box<dyn Classifier>,
    spec: ModelSpec,
    description: Description,
}

impl Respecified {
    /// Reads the outputs by `spec`, which has the classifier's input and number of output values.
    /// The description gets the notes about that spec, before its own.
    pub fn new(inner: Box<dyn Classifier>, spec: ModelSpec) -> Self {
        let mut description = inner.description().clone();
        description.notes.splice(..0, Note::about(&spec));
        Self {
            inner,
            spec,
            description,
        }
    }

    /// Returns the model's own outputs instead of probabilities. A model with a single output value
    /// then has the second of its two classes alone.
    pub fn raw(inner: Box<dyn Classifier>) -> Self {
        let mut spec = inner.spec().clone();
        if spec.output.values(spec.labels.len()) == 1 {
            spec.labels = spec.labels.split_off(1);
        }
        (spec.output, spec.calibration) = (OutputKind::Scores, Calibration::NONE);
        let description = inner.description().clone();
        Self {
            inner,
            spec,
            description,
        }
    }
}

impl Classifier for Respecified {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn description(&self) -> &Description {
        &self.description
    }

    fn forward(&mut self, input: &[f32], n: usize) -> Result<Vec<f32>, EngineError> {
        self.inner.forward(input, n)
    }
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
            calibrate(
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

    #[test]
    fn one_value_is_of_the_second_class_and_scores_stay_as_they_are() {
        let rows = |kind, output: &[f32], classes, temperature| {
            let exponent = 1.0;
            let calibration = Calibration {
                temperature,
                exponent,
            };
            probabilities(output.to_vec(), classes, kind, calibration)
        };
        let kind = OutputKind::Probability;
        assert_eq!(rows(kind, &[0.25, 1.0], 2, 1.0), [0.75, 0.25, 0.0, 1.0]);
        let sigmoid = |z: f32| 1.0 / (1.0 + (-z).exp());
        let found = rows(OutputKind::Logit, &[3.0, -2.0], 2, 2.0);
        for (found, z) in found.chunks(2).zip([1.5, -1.0]) {
            assert!((found[1] - sigmoid(z)).abs() < 1e-6, "{found:?}");
            assert!((found[0] + found[1] - 1.0).abs() < 1e-6, "{found:?}");
        }
        let scores = [0.9, 0.8, 0.1];
        assert_eq!(rows(OutputKind::Scores, &scores, 3, 1.0), scores);
    }
}
