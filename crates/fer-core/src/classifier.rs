//! What turns a batch of tensors into probabilities, behind one trait ([`Classifier`]): ONNX Runtime,
//! compiled-in code, a trained network, or a test's fake.

use crate::calibration::Calibration;
use crate::onnx::OnnxError;
use crate::spec::{ModelSpec, OutputKind, SpecError};

/// An engine that can't be started or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The model file can't be read.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The model is no image classifier that can be fed.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Anything else: the text says what, where and what to do.
    #[error("{0}")]
    Unusable(String),
}

/// What was loaded, for the user's eyes.
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
    /// What the user should know: assumptions, flushed weights, operators that run elsewhere.
    pub notes: Vec<String>,
}

/// A loaded model that classifies batches of preprocessed images.
pub trait Classifier: Send {
    /// What the model expects and answers.
    fn spec(&self) -> &ModelSpec;

    /// What was loaded.
    fn description(&self) -> &Description;

    /// Runs the model as it is on `n` images: `input` holds `n × image_len` values in the model's
    /// layout, the result `n × classes` raw outputs. If the model fixes its batch, `n` is that
    /// number.
    ///
    /// # Errors
    /// The engine failed.
    fn forward(&mut self, input: &[f32], n: usize) -> Result<Vec<f32>, EngineError>;

    /// Probabilities of a batch of any size: `input` holds `n × image_len` values; the result
    /// `[n, classes]`, each row summing to 1, calibrated as the model's spec says.
    ///
    /// # Errors
    /// The engine failed or answered with another number of values.
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
                    let mut answer = self.forward(&chunk, size)?;
                    answer.truncate(used * classes);
                    output.append(&mut answer);
                }
                output
            }
        };
        if output.len() != n * classes {
            let model = &self.description().model;
            return Err(EngineError::Unusable(format!(
                "{model} answered {} values for {n} images; its {classes} classes make {}",
                output.len(),
                n * classes
            )));
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

/// Makes calibrated probabilities of a model's raw output, in place.
fn probabilities(row: &mut [f32], kind: OutputKind, calibration: Calibration) {
    match kind {
        OutputKind::Probabilities if calibration == Calibration::NONE => return,
        // Logits, but for a constant that the calibration takes off again.
        // Rounding may have left less than zero.
        OutputKind::Probabilities => row
            .iter_mut()
            .for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }.ln()),
        OutputKind::Logits => {}
    }
    calibration.apply(row);
    softmax(row);
}

/// Makes probabilities of logits, in place.
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
            "no number stays none"
        );
    }
}
